"""The stack in ministack: what of it ministack can make, how to start it, and how to create, update and delete it.

`local_template` is the only place where the template is changed for an emulator, by the lists below; what users deploy
is never changed. Neighbours: stack_checks.py, and the container test that builds on it.
"""

import contextlib
import copy
import io
import json
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import time
import zipfile

import boto3
import botocore.config
import botocore.exceptions

import template

# Resources that ministack 1.5 cannot make: "Unsupported resource type".
UNKNOWN_TYPES = {
    # The rule between two security groups; nothing in ministack looks at them.
    "AWS::EC2::SecurityGroupIngress",
    # The alarm over two alarms; nothing in ministack evaluates alarms.
    "AWS::CloudWatch::CompositeAlarm",
}

# EventBridge takes no events from `aws.*` but from AWS itself, and ministack does neither emit them nor take them. So
# rules listen to this source instead, and what they hand over says `aws.…` again: all else of the pattern is the stack's.
SOURCES = {
    "aws.ecr": "landfall.tests.ecr",
    "aws.ecs": "landfall.tests.ecs",
    "aws.cloudwatch": "landfall.tests.cloudwatch",
    "aws.inspector2": "landfall.tests.inspector2",
}

# ministack's schedule would look every five minutes by itself; a test says when.
SCHEDULE_STATE = "DISABLED"


def local_template(path=template.STACK, endpoint=None):
    """The template as ministack takes it. `endpoint`: where the function finds AWS; without it, it finds none."""
    made = copy.deepcopy(template.load(path))
    resources = made["Resources"]
    gone = [name for name, at in resources.items() if at["Type"] in UNKNOWN_TYPES]
    assert {resources[name]["Type"] for name in gone} == UNKNOWN_TYPES, "the list above names what the stack has not"
    for name in gone:
        del resources[name]
    # What named them, names nothing instead.
    release = resources["Release"]["Properties"]
    release["Needs"] = [item for item in release["Needs"] if not any(f'"Ref": "{name}"' in json.dumps(item) for name in gone)]
    for name, resource in resources.items():
        if resource["Type"] == "AWS::Events::Rule":
            _listen_to_tests(resource["Properties"])
        if resource["Type"] == "AWS::CloudWatch::Alarm" and "Metrics" in resource["Properties"]:
            _without_math(resource["Properties"])
    if endpoint:
        variables = resources["Deployer"]["Properties"]["Environment"]["Variables"]
        variables |= {"AWS_ENDPOINT_URL": endpoint, "S3_ENDPOINT": endpoint, "S3_PATH_STYLE": "true"}
    dangling = {name for needed in template.needs(made).values() for name in needed} - set(resources)
    assert not dangling, dangling
    return made


def _without_math(alarm):
    """ministack takes no metric math in a stack: the alarm is there, on the first of its metrics."""
    first = next(at["MetricStat"] for at in alarm.pop("Metrics") if "MetricStat" in at)
    alarm |= {"Statistic": first["Stat"], "Period": first["Period"], **first["Metric"]}


def _listen_to_tests(rule):
    if "ScheduleExpression" in rule:
        rule["State"] = SCHEDULE_STATE
        return
    source, = rule["EventPattern"]["source"]
    rule["EventPattern"]["source"] = [SOURCES[source]]
    paths = {"id": "$.id", "kind": "$.detail-type", "account": "$.account", "time": "$.time", "region": "$.region",
             "resources": "$.resources", "detail": "$.detail"}
    told = ('{"version": "0", "id": <id>, "detail-type": <kind>, "source": "%s", "account": <account>, "time": <time>, '
            '"region": <region>, "resources": <resources>, "detail": <detail>}' % source)
    for target in rule["Targets"]:
        target["InputTransformer"] = {"InputPathsMap": paths, "InputTemplate": told}


# ------------------------------------------------------------------------------------------------------- the emulator


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


class Cloud:
    """ministack's clients, and stacks in it."""

    def __init__(self, endpoint, region="us-east-1"):
        self.endpoint, self.region = endpoint, region
        self.session = boto3.session.Session("test", "test", region_name=region)

    def client(self, service):
        config = botocore.config.Config(retries={"max_attempts": 0}, s3={"addressing_style": "path"},
                                        connect_timeout=5, read_timeout=120)
        return self.session.client(service, endpoint_url=self.endpoint, config=config)

    def network(self):
        """A VPC with two subnets, a route table and a security group of brokers, as parameters of the stack."""
        ec2 = self.client("ec2")
        vpc = ec2.create_vpc(CidrBlock="10.7.0.0/16")["Vpc"]["VpcId"]
        subnets = [ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.7.{number}.0/24")["Subnet"]["SubnetId"] for number in (1, 2)]
        routes = ec2.create_route_table(VpcId=vpc)["RouteTable"]["RouteTableId"]
        brokers = ec2.create_security_group(GroupName=f"brokers-{vpc}", Description="brokers", VpcId=vpc)["GroupId"]
        return {"Vpc": vpc, "Subnets": ",".join(subnets), "RouteTables": routes, "MskSecurityGroup": brokers}

    def upload(self, bucket, key, files):
        """A zip of {name: bytes}, each executable, as Lambda's package."""
        body = io.BytesIO()
        with zipfile.ZipFile(body, "w", zipfile.ZIP_DEFLATED) as packed:
            for name, content in files.items():
                entry = zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0))
                entry.external_attr = 0o755 << 16
                packed.writestr(entry, content)
        s3 = self.client("s3")
        with contextlib.suppress(s3.exceptions.BucketAlreadyOwnedByYou, s3.exceptions.BucketAlreadyExists):
            s3.create_bucket(Bucket=bucket)
        s3.put_object(Bucket=bucket, Key=key, Body=body.getvalue())

    def _url(self, name, made):
        """Over 51,200 bytes a template comes from S3, here as on AWS (`aws cloudformation deploy --s3-bucket`)."""
        s3 = self.client("s3")
        with contextlib.suppress(s3.exceptions.BucketAlreadyOwnedByYou, s3.exceptions.BucketAlreadyExists):
            s3.create_bucket(Bucket="landfall-templates")
        s3.put_object(Bucket="landfall-templates", Key=f"{name}.json", Body=json.dumps(made).encode())
        return f"{self.endpoint}/landfall-templates/{name}.json"

    def create(self, name, made, parameters):
        self.client("cloudformation").create_stack(
            StackName=name, TemplateURL=self._url(name, made), Capabilities=["CAPABILITY_IAM"],
            Parameters=_parameters(parameters))
        return self.settled(name)

    def update(self, name, made, parameters):
        self.client("cloudformation").update_stack(
            StackName=name, TemplateURL=self._url(name, made), Capabilities=["CAPABILITY_IAM"],
            Parameters=_parameters(parameters))
        return self.settled(name)

    def delete(self, name):
        self.client("cloudformation").delete_stack(StackName=name)
        return self.settled(name)

    def settled(self, name, seconds=300):
        """The stack's status once nothing is in progress; None: it is gone."""
        cloudformation, deadline = self.client("cloudformation"), time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                stack = cloudformation.describe_stacks(StackName=name)["Stacks"][0]
            except botocore.exceptions.ClientError as error:
                if "does not exist" in str(error):
                    return None
                raise
            if not stack["StackStatus"].endswith("_IN_PROGRESS"):
                return stack["StackStatus"] if stack["StackStatus"] != "DELETE_COMPLETE" else None
            time.sleep(0.2)
        raise TimeoutError(f"stack {name} is in progress after {seconds} s: {self.events(name)}")

    def events(self, name):
        """Logical id, status and reason, oldest first."""
        pages = self.client("cloudformation").get_paginator("describe_stack_events").paginate(StackName=name)
        told = [event for page in pages for event in page["StackEvents"]]
        return [(at["LogicalResourceId"], at["ResourceStatus"], at.get("ResourceStatusReason", "")) for at in told][::-1]

    def resources(self, name):
        """Physical id by logical id."""
        told = self.client("cloudformation").describe_stack_resources(StackName=name)["StackResources"]
        return {at["LogicalResourceId"]: at["PhysicalResourceId"] for at in told
                if at["ResourceStatus"] != "DELETE_COMPLETE"}


def _parameters(values):
    return [{"ParameterKey": key, "ParameterValue": str(value)} for key, value in values.items()]


@contextlib.contextmanager
def ministack(region="us-east-1"):
    """A fresh one, for as long as the block; $LANDFALL_TEST_MINISTACK names one that runs already."""
    if os.environ.get("LANDFALL_TEST_MINISTACK"):
        yield Cloud(os.environ["LANDFALL_TEST_MINISTACK"], region)
        return
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="landfall-ministack.") as directory:
        log = pathlib.Path(directory, "log")
        environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith(("AWS_", "MINISTACK_"))},
            "BIND_HOST": "127.0.0.1", "MINISTACK_HOST": "127.0.0.1", "GATEWAY_PORT": str(port),
            "MINISTACK_ACCOUNT_ID": template.ACCOUNT, "LOG_LEVEL": "WARNING", "TMPDIR": directory,
            "NO_PROXY": "127.0.0.1,localhost", "no_proxy": "127.0.0.1,localhost",
            "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": region,
            "AWS_REGION": region,
        }
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-c", "from ministack.app import main; main()"],
                env=environment, stdout=output, stderr=output, stdin=subprocess.DEVNULL)
        try:
            _await(port, process, log)
            yield Cloud(f"http://127.0.0.1:{port}", region)
        finally:
            process.kill()
            process.wait()


def _await(port, process, log):
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.1)
    raise RuntimeError(f"ministack did not start: {log.read_text()[-2000:]}")
