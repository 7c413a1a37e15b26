"""What the stack's roles may do is what the code does, and no more widely than AWS can scope."""

import re

import pytest
from policy_sentry.querying import actions as service_authorization

import template

STACK = template.Stack()
ROLES = ("TaskRole", "ExecutionRole", "DeployerRole")

# What a role needs although no line of ours calls it.
IMPLIED = {
    "TaskRole": {
        "kms:Decrypt": "S3 decrypts with the bucket's key in the caller's name; for multipart uploads too",
        "kms:GenerateDataKey": "S3 encrypts with it",
    },
    "ExecutionRole": {
        "ecr:GetAuthorizationToken": "ECS pulls the image",
        "ecr:BatchCheckLayerAvailability": "ECS pulls the image",
        "ecr:BatchGetImage": "ECS pulls the image",
        "ecr:GetDownloadUrlForLayer": "ECS pulls the image",
        "logs:CreateLogStream": "the awslogs driver",
        "logs:PutLogEvents": "the awslogs driver",
        "secretsmanager:GetSecretValue": "ECS gives the container what the task definition names under `secrets`",
    },
    "DeployerRole": {
        "cloudwatch:DeleteAlarms": "Application Auto Scaling asks whether the caller could remove a policy's alarms",
        "cloudwatch:PutMetricAlarm": "and whether the caller could make them",
        "iam:CreateServiceLinkedRole": "ECS and its scaling make their own role with an account's first one, in the caller's name",
        "kms:Decrypt": "as in the task role",
        "kms:GenerateDataKey": "as in the task role",
        "logs:CreateLogStream": "Lambda's log",
        "logs:PutLogEvents": "Lambda's log",
        "sqs:SendMessage": "Lambda's on-failure destination, in the function's name",
    },
}

# Actions that AWS can scope and that stand with "*" all the same.
JUSTIFIED = {
    "cloudwatch:DescribeAlarms": "with a narrower resource it leaves composite alarms out without a word",
    "ecs:ListTasks": "its only resource is a container instance, which Fargate has not; bound by ecs:cluster",
}

# Calls of ledger/src/store/s3 by what IAM asks for.
S3_CALLS = {
    "abort_multipart_upload": {"s3:AbortMultipartUpload"},
    "complete_multipart_upload": {"s3:PutObject"},
    "copy_object": {"s3:GetObject", "s3:PutObject"},
    "create_multipart_upload": {"s3:PutObject"},
    "delete_object": {"s3:DeleteObject"},
    "get_object": {"s3:GetObject"},
    "head_bucket": {"s3:ListBucket"},
    "head_object": {"s3:GetObject"},
    "list_multipart_uploads": {"s3:ListBucketMultipartUploads"},
    "list_objects_v2": {"s3:ListBucket"},
    "put_object": {"s3:PutObject"},
    "upload_part": {"s3:PutObject"},
}


def _list(value):
    return value if isinstance(value, list) else [value]


def _statements(role):
    return [statement for policy in STACK.resources[role]["Policies"]
            for statement in policy["PolicyDocument"]["Statement"]]


def _actions(role):
    return {action for statement in _statements(role) for action in _list(statement["Action"])}


def _section(file, heading):
    text = (template.ROOT / file).read_text()
    assert f"\n{heading}\n" in text, f"{file} has no section {heading}"
    return re.split(r"\n##+ ", text.split(f"\n{heading}\n", 1)[1])[0]


def the_deployers_actions_are_those_that_its_code_calls():
    source = (template.ROOT / "deployer-lambda/src/aws/calls.rs").read_text()
    calls = set(re.findall(r'"([a-z0-9-]+:[A-Za-z]+)"', source.split("ACTIONS")[1].split("];")[0]))
    told = set(re.findall(r"^\| `([a-z0-9-]+:[A-Za-z]+)` \|", _section("ARCHITECTURE.md", "### AWS actions"), re.M))
    assert len(calls) >= 20
    # The journal and the ledger are behind the store: ARCHITECTURE.md lists what of it the deployer needs.
    storage = {action for action in told if action.startswith("s3:")}
    assert told - storage == calls, "a test of the crate holds this table against the code"
    assert _actions("DeployerRole") == calls | storage | set(IMPLIED["DeployerRole"])


def the_workers_actions_are_those_that_the_readme_lists():
    text = _section("README.md", "### On AWS")
    told, service = set(), None
    for word in re.findall(r"`([A-Za-z0-9:-]+)`", text):
        if re.fullmatch(r"[a-z0-9-]+:[A-Z][A-Za-z]+", word):
            service = word.split(":")[0]
            told.add(word)
        elif service and re.fullmatch(r"[A-Z][A-Za-z]+", word):
            told.add(f"{service}:{word}")
    assert _actions("TaskRole") == told | set(IMPLIED["TaskRole"])


def the_workers_s3_actions_are_those_of_the_stores_calls():
    sources = (template.ROOT / "ledger/src/store/s3").glob("*.rs")
    source = "".join(path.read_text().split("#[cfg(test)]")[0] for path in sources if path.name != "tests.rs")
    squeezed = re.sub(r"\s+", "", source)
    calls = set(re.findall(r"client\.([a-z_0-9]+)\(\)", squeezed))
    assert calls == set(S3_CALLS), "a new call gets its actions in S3_CALLS"
    wanted = set().union(*S3_CALLS.values())
    assert {action for action in _actions("TaskRole") if action.startswith("s3:")} == wanted


def nobody_else_may_do_anything():
    assert set(STACK.of_type("AWS::IAM::Role")) == set(ROLES)
    assert _actions("ExecutionRole") == set(IMPLIED["ExecutionRole"])
    for name, policy in STACK.of_type("AWS::IAM::ManagedPolicy").items():
        statement, = policy["PolicyDocument"]["Statement"]
        assert (statement["Action"], statement["Resource"]) == ("lambda:InvokeFunction", f"<{name[:-6]}Alias>")


def what_is_implied_is_not_called_by_the_code():
    source = (template.ROOT / "deployer-lambda/src/aws/calls.rs").read_text()
    calls = set(re.findall(r'"([a-z0-9-]+:[A-Za-z]+)"', source.split("ACTIONS")[1].split("];")[0]))
    assert not calls & set(IMPLIED["DeployerRole"]), "it is a call of the code now: take it off IMPLIED"


def _known(action):
    service, name = action.split(":")
    data = service_authorization.get_action_data(service, name)
    assert data, f"AWS has no action {action} (as of this policy_sentry)"
    return data[service]


@pytest.mark.parametrize("role", ROLES)
def every_action_is_scoped_as_tightly_as_aws_can(role):
    for statement in _statements(role):
        assert statement["Effect"] == "Allow"
        for action in _list(statement["Action"]):
            rows = _known(action)
            formats = [row["resource_arn_format"] for row in rows if row["resource_arn_format"] != "*"]
            for resource in _list(statement["Resource"]):
                if resource == "*":
                    assert not formats or action in JUSTIFIED, f"{role}: {action} can be scoped to {formats}"
                    own = {key for row in rows for key in row["condition_keys"] if not key.startswith("aws:")}
                    own = {key for key in own if "ResourceTag" not in key}
                    assert statement.get("Condition") or not own, f"{role}: {action} on * could be bound by {own}"
                elif resource.startswith("<"):
                    assert formats, f"{role}: {action} knows no resource"
                else:
                    fits = [re.sub(r"\\\$\\\{[A-Za-z]+\\\}", ".*", re.escape(each)) for each in formats]
                    assert any(re.fullmatch(fit, resource) for fit in fits), f"{role}: {action} on {resource}"


def a_wildcard_that_is_justified_is_there():
    starred = {action for role in ROLES for statement in _statements(role) if statement["Resource"] == "*"
               for action in _list(statement["Action"])}
    assert set(JUSTIFIED) <= starred, "what has a resource now needs no excuse"


def only_the_tasks_two_roles_can_be_passed_and_only_to_tasks():
    passing = [statement for statement in _statements("DeployerRole") if "iam:PassRole" in _list(statement["Action"])]
    assert [statement["Resource"] for statement in passing] == [["<TaskRole.Arn>", "<ExecutionRole.Arn>"]]
    assert passing[0]["Condition"] == {"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}}


def policies_of_yours_are_attached_where_they_are_given():
    given = {"TaskPolicyArn": "arn:aws:iam::123456789012:policy/reader", "ExecutionPolicyArn": "arn:aws:iam::aws:policy/X"}
    with_them = template.Stack({**template.PARAMETERS, **given})
    assert [with_them.resources[role].get("ManagedPolicyArns") for role in ROLES] == [
        [given["TaskPolicyArn"]], [given["ExecutionPolicyArn"]], None]
    assert not any("ManagedPolicyArns" in STACK.resources[role] for role in ROLES)


def the_msk_arns_come_from_the_clusters():
    resources = {statement["Sid"]: statement["Resource"] for statement in _statements("TaskRole")}
    cluster = template.PARAMETERS["MskClusterArn"]
    assert resources["Connect"] == cluster
    assert resources["ReadTopics"] == cluster.replace(":cluster/", ":topic/") + "/shop-*"
    assert resources["JoinTheGroup"] == cluster.replace(":cluster/", ":group/") + "/shop-events"
    without = template.Stack({**template.PARAMETERS, "MskClusterArn": "", "TopicPattern": ""})
    assert [policy["PolicyName"] for policy in without.resources["TaskRole"]["Policies"]] == ["output", "key"]


@pytest.mark.parametrize("uuid", ["0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0-7", "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0-s1"])
def the_arns_of_provisioned_and_serverless_msk_clusters_are_taken(uuid):
    pattern = template.load()["Parameters"]["MskClusterArn"]["AllowedPattern"]
    assert re.fullmatch(pattern, f"arn:aws:kafka:eu-west-1:{template.ACCOUNT}:cluster/shop/{uuid}")


def the_bucket_lets_nobody_rewrite_the_ledger_and_lets_the_journal_be_replaced():
    policy = STACK.resources["BucketPolicy"]["PolicyDocument"]["Statement"]
    by_sid = {statement["Sid"]: statement for statement in policy}
    ledger = "arn:aws:s3:::shop-lake/shop-events/_landfall/ledger/*"
    once, kept = by_sid["ALedgerEntryIsWrittenOnce"], by_sid["NobodyDeletesLedgerEntries"]
    assert (once["Action"], once["Resource"], once["Condition"]) == (
        "s3:PutObject", ledger, {"Null": {"s3:if-none-match": "true"}})
    assert (kept["Action"], kept["Resource"]) == (["s3:DeleteObject", "s3:DeleteObjectVersion"], ledger)
    assert {statement["Effect"] for statement in policy} == {"Deny"}
    assert {statement["Principal"] for statement in policy} == {"*"}


def nothing_that_is_current_expires_and_uploads_outlive_the_ledgers_promise():
    for versioning in ("Enabled", "Suspended"):
        stack = template.Stack({**template.PARAMETERS, "Versioning": versioning})
        rules = stack.resources["Bucket"]["LifecycleConfiguration"]["Rules"]
        assert not any("Expiration" in key and "Noncurrent" not in key for rule in rules for key in rule), rules
    days = template.load()["Parameters"]["AbandonedUploadDays"]
    assert days["MinValue"] >= 8 and days["Default"] >= days["MinValue"]


@pytest.mark.parametrize("name", ["Bucket", "BucketPolicy", "Repository"])
def what_holds_data_outlives_the_stack(name):
    resource = template.load()["Resources"][name]
    assert (resource["DeletionPolicy"], resource["UpdateReplacePolicy"]) == ("RetainExceptOnCreate", "Retain")


def the_worker_writes_where_the_ledger_says_and_nowhere_else():
    source = (template.ROOT / "ledger/src/entry.rs").read_text()
    prefixes = dict(re.findall(r'pub const (\w+)_PREFIX: &str = "([^"]+)"', source))
    assert set(prefixes) == {"DATA", "DEAD_LETTER", "LEDGER", "SUPERSEDED"}
    journal = re.search(r'KEY: &str = "([^"]+)"', (
        template.ROOT / "deployer-lambda/src/journal/mod.rs").read_text()).group(1)
    output = "arn:aws:s3:::shop-lake/shop-events/"
    written = {}
    for role in ("TaskRole", "DeployerRole"):
        for statement in _statements(role):
            for action in _list(statement["Action"]):
                written.setdefault((role, action), set()).update(_list(statement["Resource"]))
    files = {f"{output}{prefixes[name]}*" for name in ("DATA", "DEAD_LETTER", "SUPERSEDED")}
    assert written["TaskRole", "s3:DeleteObject"] == files
    assert written["TaskRole", "s3:PutObject"] == files | {f"{output}{prefixes['LEDGER']}*"}
    assert written["DeployerRole", "s3:PutObject"] == {output + journal, f"{output}{prefixes['LEDGER']}*"}
