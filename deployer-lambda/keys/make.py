#!/usr/bin/env python3
"""Writes the lists of keys that the deployer's requests may have, from AWS's published model of ECS.

    pip download --no-deps botocore
    python3 make.py botocore-*.whl

A line is a key's path, its type, then `required` where AWS wants it, then the values that it may have. `[]` is any
item of a list, `{}` any key of a map; under a `document` stands whatever one likes.

Keys that ECS takes and this version of the model lacks go into ADDED, with the source of the fact, until it has them.
None is needed: botocore 1.44.8 has `thresholdConfiguration` and `resetOnHealthyTask` (July 2026).
"""

import gzip
import json
import re
import sys
import zipfile
from pathlib import Path

MODEL = "botocore/data/ecs/2014-11-13/service-2.json.gz"
OPERATIONS = {
    "RegisterTaskDefinition": "register-task-definition",
    "CreateService": "create-service",
    "UpdateService": "update-service",
}
# Operation -> lines as they would stand in the list.
ADDED: dict[str, list[str]] = {}

TYPES = {
    "boolean": "boolean",
    "double": "number",
    "float": "number",
    "integer": "integer",
    "list": "list",
    "long": "integer",
    "map": "map",
    "string": "string",
    "structure": "object",
}


def lines(shapes, name, path, required, above):
    """The lines of one shape and of all beneath it."""
    if name in above:
        sys.exit(f"{path}: {name} holds itself; a list of paths cannot say that")
    shape = shapes[name]
    kind = "document" if shape.get("document") else TYPES[shape["type"]]
    if path:
        words = [path, kind] + (["required"] if required else [])
        if "enum" in shape:
            words.append("|".join(shape["enum"]))
        yield " ".join(words)
    if kind == "object":
        for key, member in sorted(shape["members"].items()):
            below = f"{path}.{key}" if path else key
            yield from lines(shapes, member["shape"], below, key in shape.get("required", []), above + [name])
    elif kind == "list":
        yield from lines(shapes, shape["member"]["shape"], f"{path}[]", False, above + [name])
    elif kind == "map":
        yield from lines(shapes, shape["value"]["shape"], f"{path}{{}}", False, above + [name])


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    wheel = Path(sys.argv[1])
    version = re.match(r"botocore-([^-]+)-", wheel.name)
    if not version:
        sys.exit(f"{wheel.name} is not named as a wheel of botocore")
    with zipfile.ZipFile(wheel) as archive:
        model = json.loads(gzip.decompress(archive.read(MODEL)))
    for operation, file in OPERATIONS.items():
        root = model["operations"][operation]["input"]["shape"]
        found = list(lines(model["shapes"], root, "", False, []))
        for line in ADDED.get(operation, []):
            path = line.split(" ", 1)[0]
            if any(known.split(" ", 1)[0] == path for known in found):
                sys.exit(f"{operation}: the model has {path} by now; take it out of ADDED")
            found.append(line)
        head = [
            f"# {operation}: what its request may hold. Made by make.py from botocore {version[1]}, {MODEL}.",
            "# Do not edit: a key that is missing here goes into ADDED in make.py.",
        ]
        Path(__file__).with_name(f"{file}.txt").write_text("\n".join(head + sorted(found)) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
