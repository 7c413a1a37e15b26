"""AWS calls by boto3 for the tests: a line of JSON in, a line of JSON out, until the input ends.

    {"endpoint": "http://…", "service": "ecs", "call": "describe_services", "args": {…}}
    → {"answer": {…}} or {"error": {"code": "…", "message": "…"}}

An argument {"$zip": {"name": "/a/file" or {"text": "…"}}} becomes the bytes of such an archive; bodies become text.
"""

import datetime
import io
import json
import sys
import zipfile

import boto3
import botocore.config
import botocore.exceptions

ONCE = botocore.config.Config(
    retries={"max_attempts": 0}, read_timeout=120, s3={"addressing_style": "path"}
)


def archive(files):
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as out:
        for name, content in sorted(files.items()):
            entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o755 << 16
            if isinstance(content, dict):
                out.writestr(entry, content["text"])
            else:
                with open(content, "rb") as file:
                    out.writestr(entry, file.read())
    return made.getvalue()


def filled(value):
    if isinstance(value, dict):
        if set(value) == {"$zip"}:
            return archive(value["$zip"])
        return {key: filled(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [filled(inner) for inner in value]
    return value


def plain(value):
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items() if key != "ResponseMetadata"}
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    if isinstance(value, datetime.datetime):
        return value.isoformat()
    if hasattr(value, "read"):
        value = value.read()
    if isinstance(value, bytes):
        return value.decode()
    return value


def main():
    clients = {}
    for line in sys.stdin:
        asked = json.loads(line)
        which = (asked["endpoint"], asked["service"])
        if which not in clients:
            clients[which] = boto3.client(asked["service"], endpoint_url=asked["endpoint"], config=ONCE)
        try:
            call = getattr(clients[which], asked["call"])
            said = {"answer": plain(call(**filled(asked.get("args", {}))))}
        except botocore.exceptions.ClientError as error:
            told = error.response["Error"]
            said = {"error": {"code": told.get("Code", ""), "message": told.get("Message", "")}}
        print(json.dumps(said), flush=True)


if __name__ == "__main__":
    main()
