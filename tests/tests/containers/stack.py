"""The stack in ministack for the container test: one JSON request on stdin, one JSON answer on stdout.

  {"ask": "create", "endpoint": "http://…", "name": "…", "parameters": {…}, "files": {NAME: {"path": …} or {"text": …}}}
  {"ask": "delete", "endpoint": "http://…", "name": "…"}
  → {"status": "CREATE_COMPLETE" or null if it is gone, "events": […]}

What of the template ministack cannot make is listed in infra/local.py, and only there.
"""

import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "infra"))

import local  # noqa: E402


def content(file):
    return file["text"].encode() if "text" in file else pathlib.Path(file["path"]).read_bytes()


def create(cloud, request):
    parameters = request["parameters"]
    files = {name: content(file) for name, file in request["files"].items()}
    cloud.upload(parameters["DeployerBucket"], parameters["DeployerKey"], files)
    network = cloud.network()
    made = local.local_template(endpoint=cloud.endpoint)
    # Kafka is not MSK here, and public subnets need no endpoints.
    return cloud.create(request["name"], made, {**parameters, "Vpc": network["Vpc"], "Subnets": network["Subnets"]})


def main():
    request = json.load(sys.stdin)
    cloud = local.Cloud(request["endpoint"])
    if request["ask"] == "create":
        status = create(cloud, request)
    else:
        status = cloud.delete(request["name"])
    events = cloud.events(request["name"]) if status else []
    json.dump({"status": status, "events": events}, sys.stdout)


main()
