"""What the deployer is told, what wakes it, and in which order things come and go."""

import json
import re

import template

STACK = template.Stack()


def _holes(node):
    """Name and whether there is a default, of every hole in taskdefs/."""
    if isinstance(node, dict):
        return set().union(*(_holes(value) for value in node.values()))
    if isinstance(node, list):
        return set().union(*(_holes(value) for value in node)) if node else set()
    if isinstance(node, str):
        found = re.findall(r"(?<!\$)\$\{([A-Z0-9_]+)(?:\[\]|#)?(:-[^}]*)?\}", node)
        return {(name, bool(default)) for name, default in found}
    return set()


def _settings():
    return (template.ROOT / "deployer-lambda/src/settings/mod.rs").read_text()


def the_holes_without_a_default_are_filled_and_nothing_else():
    files = [json.loads((template.ROOT / "taskdefs" / name).read_text())
             for name in ("worker.taskdef.json", "worker.service.json")]
    holes = _holes(files)
    own = set(re.findall(r"`([A-Z0-9_]+)`", _settings().split("These fill holes as well")[1].split("Nothing else")[0]))
    assert {"REGION", "S3_OUTPUT_PATH", "CLUSTER"} <= own
    filled = {name.removeprefix("FILL_") for name in STACK.resources["Deployer"]["Environment"]["Variables"]
              if name.startswith("FILL_")}
    wanted = {name for name, has_default in holes if not has_default} - own - {"IMAGE"}
    assert wanted <= filled, f"no value for {wanted - filled}"
    assert filled <= {name for name, _ in holes} - own, "a FILL_ without a hole is a fault"


def the_other_variables_are_those_that_settings_know():
    known = set(re.findall(r'"([A-Z0-9_]+)"', _settings().split("const KNOWN: ")[1].split("];")[0]))
    required = set(re.findall(r'self\.required\("([A-Z0-9_]+)"', _settings())) - {"AWS_REGION"}
    given = {name for name in STACK.resources["Deployer"]["Environment"]["Variables"] if not name.startswith("FILL_")}
    assert required | {"REPOSITORY", "SNS_TOPIC_ARN"} <= given <= known


def the_rules_have_the_deployers_patterns():
    service = "arn:aws:ecs:eu-west-1:123456789012:service/landfall/landfall-shop-events"
    holes = {
        "Repository": "landfall",
        "RepositoryArn": "arn:aws:ecr:eu-west-1:123456789012:repository/landfall",
        "Service": "landfall-shop-events",
        "ServiceArn": service,
        "ClusterArn": "arn:aws:ecs:eu-west-1:123456789012:cluster/landfall",
        # Narrower than the pipeline's alarms: only those that the service's deployments watch.
        "AlarmPrefix": "landfall-shop-events-release-",
    }
    files = {}
    for path in (template.ROOT / "deployer-lambda/patterns").glob("*.json"):
        text = re.sub(r"\$\{(\w+)\}", lambda found: holes[found.group(1)], path.read_text())
        files[path.stem] = json.loads(text)
    prefix = "landfall-shop-events-"
    rules = {rule["Name"].removeprefix(prefix): rule["EventPattern"]
             for rule in STACK.of_type("AWS::Events::Rule").values() if "EventPattern" in rule}
    assert set(rules) == set(files) | {"task-ended"}
    for name, pattern in files.items():
        assert rules[name] == pattern, name


def every_rule_invokes_the_alias_events_and_loses_nothing():
    for name, rule in STACK.of_type("AWS::Events::Rule").items():
        target, = rule["Targets"]
        assert target["Arn"] == "<EventsAlias>", name
        assert target["DeadLetterConfig"] == {"Arn": "<UndeliveredEvents.Arn>"}, name
        assert target["RetryPolicy"]["MaximumEventAgeInSeconds"] >= 3600, name
    assert STACK.resources["Schedule"]["ScheduleExpression"] == "rate(5 minutes)"


def rules_go_before_the_release_is_retired():
    resources = template.load()["Resources"]
    for name, resource in resources.items():
        if resource["Type"] == "AWS::Events::Rule":
            depends = resource["DependsOn"]
            assert "Release" in ([depends] if isinstance(depends, str) else depends), name


def what_tasks_and_their_service_need_outlives_the_release():
    """Roles, network, logs, alarms: all are made before the first look and deleted after the last task is gone."""
    before = template.upstream(template.load(), "Release")
    assert {
        "Deployer", "DeployerRole", "DeployerLogs", "EventsAlias", "EventsInvocations", "FailedInvocations", "Topic",
        "TaskRole", "ExecutionRole", "WorkerLogs", "WorkerSecurityGroup", "Cluster", "Repository", "Bucket",
        "BucketPolicy", "MskIngress", "EndpointSecurityGroup", "EcrApiEndpoint", "EcrDkrEndpoint", "LogsEndpoint",
        "MonitoringEndpoint", "S3Endpoint", "DamageAlarm", "NoProgressAlarm",
    } <= before
    assert not any(template.load()["Resources"][name]["Type"] == "AWS::Events::Rule" for name in before)


def the_service_and_its_task_definitions_are_not_the_stacks():
    kinds = {resource["Type"] for resource in template.load()["Resources"].values()}
    assert not {kind for kind in kinds if kind in ("AWS::ECS::Service", "AWS::ECS::TaskDefinition")}
    assert not any(kind.startswith("AWS::ApplicationAutoScaling") for kind in kinds)


def a_change_of_what_a_release_is_made_of_changes_the_custom_resource():
    def release(**changed):
        return template.Stack({**template.PARAMETERS, **changed}).resources["Release"]
    as_it_was = release()
    for changed in (
        {"TaskdefsHash": "0f1e"}, {"DeployerKey": "deployer-2.zip"}, {"TaskSize": "2048-4096"}, {"WorkerLog": "debug"},
        {"CpuArchitecture": "ARM64"}, {"KafkaBootstrap": "broker:9098"}, {"Subnets": "subnet-0cccccccccccccccc"},
        {"Egress": "nat", "RouteTables": ""}, {"OutputPrefix": "lake/"}, {"RepositoryName": "other"},
        {"ClusterName": "other"},
    ):
        assert release(**changed) != as_it_was, changed


def _milliseconds(file, name):
    path = template.ROOT / "deployer-lambda/src" / file
    found = re.search(rf"\b{name}: i64 = ([0-9_]+);", path.read_text()) if path.exists() else None
    return int(found.group(1).replace("_", "")) if found else None


def the_function_has_time_for_a_deletion_and_none_for_an_announced_call_that_was_given_up():
    lease = _milliseconds("plan/intent.rs", "LEASE_MS")
    timeout = STACK.resources["Deployer"]["Timeout"] * 1000
    # Where the code bounds its own work, the timeout is for the stack's deletion; else it is the bound itself.
    work, gone_within = _milliseconds("serve.rs", "WORK_MS"), _milliseconds("reconcile/stack.rs", "GONE_WITHIN_MS")
    assert (work or timeout) < lease
    if gone_within:
        answer = _milliseconds("serve.rs", "STACK_ANSWER_MS") + _milliseconds("serve.rs", "MARGIN_MS")
        assert timeout >= gone_within + answer, f"set Timeout to {(gone_within + answer) // 1000} or more"
        assert timeout < STACK.resources["Release"]["ServiceTimeout"] * 1000


def the_function_has_no_reserved_concurrency_and_no_vpc():
    function = STACK.resources["Deployer"]
    assert "ReservedConcurrentExecutions" not in function and "VpcConfig" not in function


def each_alias_that_the_code_knows_is_there():
    known = set(re.findall(r'Some\("([a-z]+)"\) => Alias::', (
        template.ROOT / "deployer-lambda/src/event/alias.rs").read_text()))
    assert {alias["Name"] for alias in STACK.of_type("AWS::Lambda::Alias").values()} == known
    assert len(known) == 4


def the_brokers_port_is_the_bootstraps():
    for bootstrap, port in (("broker:9092", "9092"), ("a.b-c:9098,d:9098", "9098")):
        stack = template.Stack({**template.PARAMETERS, "KafkaBootstrap": bootstrap})
        assert (stack.resources["MskIngress"]["FromPort"], stack.resources["MskIngress"]["ToPort"]) == (port, port)
        assert stack.resources["WorkerSecurityGroup"]["SecurityGroupEgress"][1]["FromPort"] == port


def a_stack_of_the_fewest_parameters_makes_nothing_that_was_not_asked_for():
    few = {name: value for name, value in template.PARAMETERS.items()
           if name in ("Pipeline", "KafkaBootstrap", "Vpc", "Subnets", "BucketName", "DeployerBucket", "DeployerKey")}
    stack = template.Stack({**few, "Egress": "public-ip"})
    kinds = {stack.type(name) for name in stack.resources}
    assert not kinds & {"AWS::EC2::VPCEndpoint", "AWS::EC2::SecurityGroupIngress", "AWS::Glue::Table",
                        "AWS::SNS::Subscription"}
    assert stack.resources["Deployer"]["Environment"]["Variables"]["FILL_ASSIGN_PUBLIC_IP"] == "ENABLED"
    yours = template.Stack({**few, "Egress": "nat", "CreateBucket": "no", "CreateCluster": "no", "CreateRepository": "no"})
    assert not {yours.type(name) for name in yours.resources} & {
        "AWS::S3::Bucket", "AWS::S3::BucketPolicy", "AWS::ECS::Cluster", "AWS::ECR::Repository"}


def names_and_descriptions_have_only_what_aws_takes():
    """What a linter cannot see behind Sub, and CreateSecurityGroup or PutRule would refuse half way."""
    longest = template.Stack({**template.PARAMETERS, "Pipeline": "p" * 40})
    takes = re.compile(r"[a-zA-Z0-9 ._\-:/()#,@\[\]+=&;{}!$*]{0,255}")
    for name, resource in longest.resources.items():
        if longest.type(name).startswith("AWS::EC2::SecurityGroup"):
            rules = resource.get("SecurityGroupIngress", []) + resource.get("SecurityGroupEgress", [])
            for at in [resource, *rules]:
                for key in ("Description", "GroupDescription"):
                    assert takes.fullmatch(at.get(key, "")), f"{name}: {at[key]}"
    for kind, key, most in (("AWS::Events::Rule", "Name", 64), ("AWS::Lambda::Function", "FunctionName", 64),
                            ("AWS::SQS::Queue", "QueueName", 80), ("AWS::CloudWatch::Alarm", "AlarmName", 255),
                            ("AWS::SNS::Topic", "DisplayName", 100)):
        named = longest.of_type(kind)
        assert named and all(len(at[key]) <= most for at in named.values()), kind
    for role in longest.of_type("AWS::IAM::Role").values():
        # IAM counts inline policies of a role together, without blanks: 10,240 characters at most.
        assert sum(len(json.dumps(policy, separators=(",", ":"))) for policy in role["Policies"]) < 10_000


def an_image_of_the_deployer_needs_no_zip():
    image = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/deployer@sha256:" + "0" * 64
    given = {name: value for name, value in template.PARAMETERS.items() if not name.startswith("Deployer")}
    function = template.Stack({**given, "DeployerImage": image}).resources["Deployer"]
    assert function["Code"] == {"ImageUri": image} and function["PackageType"] == "Image"
    assert "Runtime" not in function and "Handler" not in function


def the_first_lifecycle_rule_keeps_what_proved_itself():
    rules = json.loads(STACK.resources["Repository"]["LifecyclePolicy"]["LifecyclePolicyText"])["rules"]
    first = min(rules, key=lambda rule: rule["rulePriority"])
    prefix = re.search(r'KEEP_PREFIX: &str = "([^"]+)"', "".join(
        path.read_text() for path in (template.ROOT / "deployer-lambda/src").rglob("*.rs"))).group(1)
    assert first["selection"]["tagPrefixList"] == [prefix]
