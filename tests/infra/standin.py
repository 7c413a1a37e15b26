#!/usr/bin/env python3
"""Lambda's `bootstrap` for tests of the stack alone: answers CloudFormation, writes down whatever it is given, in order.

Each event goes to s3://<bucket of S3_OUTPUT_PATH>/events/<nanoseconds>.json, with the invoked ARN beside it. The real
deployer has its own tests; this one tells what the stack sends, to which alias, and when.
"""

import json
import os
import time
import urllib.request

RUNTIME = f"http://{os.environ['AWS_LAMBDA_RUNTIME_API']}/2018-06-01/runtime/invocation"


def put(url, body, method="PUT"):
    request = urllib.request.Request(url, json.dumps(body).encode(), method=method)
    urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30).read()


while True:
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(f"{RUNTIME}/next") as answer:
        identity = answer.headers["Lambda-Runtime-Aws-Request-Id"]
        arn = answer.headers["Lambda-Runtime-Invoked-Function-Arn"]
        event = json.load(answer)
    bucket = os.environ["S3_OUTPUT_PATH"].removeprefix("s3://").split("/")[0]
    seen = {"arn": arn, "event": event, "variables": dict(os.environ)}
    # ministack takes unsigned requests.
    put(f"{os.environ['AWS_ENDPOINT_URL']}/{bucket}/events/{time.time_ns()}.json", seen)
    if "ResponseURL" in event:
        put(event["ResponseURL"], {
            "Status": "SUCCESS", "PhysicalResourceId": "landfall-" + event["ResourceProperties"]["Pipeline"],
            **{key: event[key] for key in ("StackId", "RequestId", "LogicalResourceId")}})
    put(f"{RUNTIME}/{identity}/response", {"ok": True}, "POST")
