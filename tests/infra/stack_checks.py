"""The stack created, updated and deleted in ministack, with a stand-in for the deployer that writes down what it is told.

What ministack cannot make is listed in local.py. It enforces neither IAM nor KMS nor routes, and evaluates no alarm.
"""

import json
import pathlib
import time

import botocore.exceptions
import pytest

import local
import template

NAME = "landfall-checks"
STANDIN = pathlib.Path(__file__).with_name("standin.py").read_bytes()
IDENTITY = "landfall-shop-events"


@pytest.fixture(scope="module")
def cloud():
    with local.ministack() as cloud:
        cloud.upload("shop-packages", "deployer-1.zip", {"bootstrap": STANDIN})
        cloud.upload("shop-packages", "deployer-2.zip", {"bootstrap": STANDIN, "note": b"another"})
        yield cloud


@pytest.fixture(scope="module")
def parameters(cloud):
    return {**template.PARAMETERS, **cloud.network()}


@pytest.fixture(scope="module")
def made(cloud):
    return local.local_template(endpoint=cloud.endpoint)


def _told(cloud):
    """What the stand-in was given, oldest first."""
    s3 = cloud.client("s3")
    found = s3.list_objects_v2(Bucket="shop-lake", Prefix="events/").get("Contents", [])
    keys = sorted(at["Key"] for at in found)
    return [json.load(s3.get_object(Bucket="shop-lake", Key=key)["Body"]) for key in keys]


def _until(look, seconds=30):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = look()
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError("waited in vain")


def _asked(cloud):
    return [at["event"]["RequestType"] for at in _told(cloud) if "RequestType" in at["event"]]


def _is_there(call, **asked):
    try:
        call(**asked)
        return True
    except botocore.exceptions.ClientError:
        return False


def _exist(cloud):
    """Whether each kind of thing that the stack makes is there."""
    client = cloud.client
    names = lambda told, key: {at[key] for at in told}  # noqa: E731
    alarms = client("cloudwatch").describe_alarms(AlarmNamePrefix="landfall-shop-events-")["MetricAlarms"]
    rules = client("events").list_rules(NamePrefix="landfall-shop-events-")["Rules"]
    return {
        "alarms": names(alarms, "AlarmName"),
        "rules": names(rules, "Name"),
        "function": _is_there(client("lambda").get_function, FunctionName="landfall-shop-events-deployer"),
        "cluster": bool([at for at in client("ecs").describe_clusters(clusters=["landfall"])["clusters"]
                         if at["status"] == "ACTIVE"]),
        "dashboard": _is_there(client("cloudwatch").get_dashboard, DashboardName="landfall-shop-events"),
        "table": _is_there(client("glue").get_table, DatabaseName="shop", Name="shop_events"),
        "bucket": _is_there(client("s3").head_bucket, Bucket="shop-lake"),
        "bucket policy": _is_there(client("s3").get_bucket_policy, Bucket="shop-lake"),
        "repository": _is_there(client("ecr").describe_repositories, repositoryNames=["landfall"]),
    }


def a_stack_is_created_updated_and_deleted(cloud, parameters, made):
    status = cloud.create(NAME, made, parameters)
    assert status == "CREATE_COMPLETE", cloud.events(NAME)
    _everything_exists(cloud, made)
    _a_push_comes_through_the_stacks_own_rule(cloud)
    _an_update_is_told(cloud, made, parameters)
    _a_deletion_is_told_after_the_rules_are_gone(cloud)
    _what_holds_data_is_taken_over_by_the_next_stack(cloud, made, parameters)


def _everything_exists(cloud, made):
    there = _exist(cloud)
    wanted = template.Stack(template=made)
    assert there.pop("alarms") == {at["AlarmName"] for at in wanted.of_type("AWS::CloudWatch::Alarm").values()}
    assert there.pop("rules") == {at["Name"] for at in wanted.of_type("AWS::Events::Rule").values()}
    assert all(there.values()), there
    aliases = cloud.client("lambda").list_aliases(FunctionName="landfall-shop-events-deployer")["Aliases"]
    assert {at["Name"]: at["FunctionVersion"] for at in aliases} == dict.fromkeys(
        ["events", "read", "operate", "approve"], "$LATEST")
    assert set(cloud.resources(NAME)) == wanted.logical
    created, = _told(cloud)
    assert created["event"]["RequestType"] == "Create"
    assert created["event"]["ResourceProperties"]["ServiceToken"].endswith(":landfall-shop-events-deployer:events")
    variables = created["variables"]
    assert variables["S3_OUTPUT_PATH"] == "s3://shop-lake/shop-events"
    assert variables["FILL_DAMAGE_ALARM"] == "landfall-shop-events-release-damage"
    assert variables["FILL_SECURITY_GROUPS"].startswith("sg-") and variables["FILL_SUBNETS"].count("subnet-") == 2
    assert ":role/" in variables["FILL_TASK_ROLE_ARN"] and variables["FILL_LOG_GROUP"] == "/landfall/shop-events/worker"


def _a_push_comes_through_the_stacks_own_rule(cloud):
    before = len(_told(cloud))
    for repository in ("another", "landfall"):
        detail = {"result": "SUCCESS", "repository-name": repository, "image-digest": "sha256:" + "0" * 64,
                  "action-type": "PUSH", "image-tag": "1.0.0"}
        entry = {"Source": local.SOURCES["aws.ecr"], "DetailType": "ECR Image Action", "Detail": json.dumps(detail)}
        assert cloud.client("events").put_events(Entries=[entry])["FailedEntryCount"] == 0
    _until(lambda: len(_told(cloud)) > before)
    told = _told(cloud)[before:]
    assert [at["event"]["detail"]["repository-name"] for at in told] == ["landfall"]
    assert (told[0]["event"]["source"], told[0]["event"]["detail-type"]) == ("aws.ecr", "ECR Image Action")
    # ministack tells the function of its alias only where it is invoked directly.
    cloud.client("lambda").invoke(FunctionName="landfall-shop-events-deployer", Qualifier="operate", Payload=b'{"command": "stop"}')
    assert _told(cloud)[-1]["arn"].endswith(":landfall-shop-events-deployer:operate")


def _an_update_is_told(cloud, made, parameters):
    for changed in ({"TaskdefsHash": "0f1e2d"}, {"TaskdefsHash": "0f1e2d", "TaskSize": "2048-4096"},
                    {"TaskdefsHash": "0f1e2d", "TaskSize": "2048-4096", "DeployerKey": "deployer-2.zip"}):
        before = len(_asked(cloud))
        status = cloud.update(NAME, made, {**parameters, **changed})
        assert status == "UPDATE_COMPLETE", cloud.events(NAME)
        assert _asked(cloud)[before:] == ["Update"], changed
        told = _told(cloud)[-1]
        assert told["event"]["PhysicalResourceId"] == IDENTITY
    assert told["variables"]["FILL_MEMORY"] == "4096", "the function has its new variables before it is asked to look"
    # What is no part of a release asks for no look.
    before = len(_asked(cloud))
    assert cloud.update(NAME, made, {**parameters, **changed, "LagSecondsMax": "1800"}) == "UPDATE_COMPLETE"
    assert _asked(cloud)[before:] == []
    assert cloud.client("cloudwatch").describe_alarms(AlarmNames=["landfall-shop-events-lag"])[
        "MetricAlarms"][0]["Threshold"] == 1800


def _a_deletion_is_told_after_the_rules_are_gone(cloud):
    identity = cloud.client("cloudformation").describe_stacks(StackName=NAME)["Stacks"][0]["StackId"]
    assert cloud.delete(NAME) is None
    events = cloud.events(identity)
    steps = [(name, status) for name, status, _ in events]
    gone = steps.index(("Release", "DELETE_IN_PROGRESS"))
    rules = [name for name, at in template.load()["Resources"].items() if at["Type"] == "AWS::Events::Rule"]
    assert all(steps.index((name, "DELETE_COMPLETE")) < gone for name in rules), steps
    assert all(steps.index((name, "DELETE_COMPLETE")) > gone for name in ("Deployer", "DeployerRole", "Cluster",
                                                                          "WorkerSecurityGroup", "TaskRole")), steps
    assert _asked(cloud)[-1] == "Delete"
    there = _exist(cloud)
    kept = {name for name, is_there in there.items() if is_there}
    assert kept == {"bucket", "bucket policy", "repository"}


def _what_holds_data_is_taken_over_by_the_next_stack(cloud, made, parameters):
    again = {**parameters, "CreateBucket": "no", "CreateRepository": "no", "Egress": "nat", "RouteTables": ""}
    assert cloud.create(NAME, made, again) == "CREATE_COMPLETE", cloud.events(NAME)
    assert {"Bucket", "BucketPolicy", "Repository", "S3Endpoint"}.isdisjoint(cloud.resources(NAME))
    assert cloud.delete(NAME) is None


# What is wrong, and what its error must name.
NONSENSE = [
    ({"Subnets": "OF-ANOTHER-VPC"}, ["Subnets", "Vpc"]),
    ({"RouteTables": ""}, ["RouteTables", "create-endpoints"]),
    ({"Egress": "nat"}, ["RouteTables", "Egress"]),
    ({"Egress": "none"}, ["Egress"]),
    ({"DeployerKey": "none"}, ["DeployerBucket", "DeployerKey", "DeployerImage"]),
    ({"DeployerImage": "123456789012.dkr.ecr.us-east-1.amazonaws.com/deployer@sha256:" + "0" * 64},
     ["DeployerKey", "DeployerImage", "not both"]),
    ({"DeployerImage": "123456789012.dkr.ecr.us-east-1.amazonaws.com/deployer:latest"}, ["DeployerImage", "DIGEST"]),
    ({"TopicPattern": ""}, ["MskClusterArn", "TopicPattern"]),
    ({"CreateBucket": "no", "Versioning": "Enabled"}, ["Versioning"]),
    ({"Pipeline": "Shop.Events"}, ["Pipeline", "pipeline.toml"]),
    ({"KafkaBootstrap": "kafka://broker:9098"}, ["KafkaBootstrap", "host:port"]),
    ({"KafkaBootstrap": ""}, ["KafkaBootstrap", "IAM"]),
    ({"MskClusterArn": "shop"}, ["MskClusterArn", "arn:aws:kafka"]),
    ({"GroupId": "a:b"}, ["GroupId", "colon"]),
    ({"MskSecurityGroup": "brokers"}, ["MskSecurityGroup", "sg-"]),
    ({"BucketName": "Shop_Lake"}, ["BucketName", "lower-case"]),
    ({"OutputPrefix": "lake"}, ["OutputPrefix", "slash"]),
    ({"KmsKeyArn": "alias/shop"}, ["KmsKeyArn", "alias"]),
    ({"AbandonedUploadDays": "1"}, ["AbandonedUploadDays", "ledger"]),
    ({"TaskSize": "256-8192"}, ["TaskSize", "Fargate"]),
    ({"TasksMax": "0"}, ["TasksMax", "1 to 100"]),
    ({"LagSecondsTarget": "5"}, ["LagSecondsTarget", "60"]),
    ({"SecretArns": "shop/kafka"}, ["SecretArns", "ARNs"]),
    ({"TaskPolicyArn": "reader"}, ["TaskPolicyArn"]),
    ({"ExecutionPolicyArn": "reader"}, ["ExecutionPolicyArn"]),
    ({"TopicPattern": "a:b"}, ["TopicPattern"]),
    ({"RepositoryName": "Landfall"}, ["RepositoryName", "lower-case"]),
    ({"GlueDatabase": "shop-events"}, ["GlueDatabase"]),
    ({"WorkerLog": "a b"}, ["WorkerLog"]),
    ({"RunbookUrl": "https://example.com/runbook#top"}, ["RunbookUrl", "#"]),
    ({"RouteTables": "main"}, ["RouteTables", "rtb-"]),
    ({"Email": "on-call"}, ["Email"]),
    ({"ClusterName": "arn:aws:ecs:us-east-1:123456789012:cluster/shop"}, ["ClusterName", "ARN"]),
]


@pytest.mark.parametrize("wrong, named", NONSENSE, ids=[",".join(wrong) + f"-{at}" for at, (wrong, _) in enumerate(NONSENSE)])
def nonsense_is_refused_before_anything_is_made_and_named(cloud, parameters, made, wrong, named):
    wrong = dict(wrong)
    if wrong.get("Subnets") == "OF-ANOTHER-VPC":
        wrong["Subnets"] = cloud.network()["Subnets"]
    with pytest.raises(botocore.exceptions.ClientError) as refused:
        cloud.create("landfall-nonsense", made, {**parameters, **wrong})
    said = str(refused.value)
    missing = [word for word in named if word not in said]
    # ministack's own words stand for a ConstraintDescription, which AWS appends; so the remedy is looked up there.
    described = made["Parameters"].get(next(iter(wrong)), {}).get("ConstraintDescription", "")
    assert all(word in described for word in missing), f"{said}: does not name {missing}"
    assert len(said) < 2000
    told = cloud.client("cloudformation").list_stacks()["StackSummaries"]
    assert "landfall-nonsense" not in {at["StackName"] for at in told}


def every_parameter_with_a_pattern_or_a_bound_is_refused_once():
    declared = template.load()["Parameters"]
    bounded = {name for name, at in declared.items() if "AllowedPattern" in at or "ConstraintDescription" in at}
    named = {name for wrong, _ in NONSENSE for name in wrong}
    assert bounded <= named, f"no nonsense for {bounded - named}"
    assert all("ConstraintDescription" in declared[name] for name in bounded)


def a_task_that_ends_by_itself_counts_and_one_that_ecs_stops_does_not(cloud):
    """The rule behind no-running-task, against the recorded events and what EventBridge (ministack) makes of them."""
    stack = template.Stack({**template.PARAMETERS, "ClusterName": "data"})
    pattern = json.dumps(stack.resources["TaskEndedRule"]["EventPattern"])
    events = {}
    for path in sorted((template.ROOT / "deployer-lambda/tests/events").glob("*.json")):
        text = path.read_text().replace("service/data/shop-events", "service/data/landfall-shop-events")
        events[path.stem] = text.replace("service:shop-events", "service:landfall-shop-events")
    stopped = events["ecs-task-stopped"]
    for code in ("ServiceSchedulerInitiated", "UserInitiated", "TaskFailedToStart", "SpotInterruption"):
        events[f"stopped by {code}"] = stopped.replace("EssentialContainerExited", code)
        assert events[f"stopped by {code}"] != stopped
    test = cloud.client("events").test_event_pattern
    counted = {name for name, event in events.items() if test(EventPattern=pattern, Event=event)["Result"]}
    assert counted == {"ecs-task-stopped", "ecs-service-impaired", "ecs-service-placement",
                       "stopped by TaskFailedToStart", "stopped by SpotInterruption"}
