"""The stack as CloudFormation reads it: YAML with its tags, and values for given parameters.

Neighbours: every *_checks.py here, and local.py. Pure but for reading the file. Only the functions that the stack uses
are known; another one is refused, so that nothing is looked at half evaluated.
"""

import pathlib
import re

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
STACK = ROOT / "infra" / "stack.yaml"

ACCOUNT, REGION = "123456789012", "eu-west-1"

# A stack as a user of MSK with IAM would make it. Tests change what they are about.
PARAMETERS = {
    "Pipeline": "shop-events",
    "KafkaBootstrap": "b-1.shop.kafka.eu-west-1.amazonaws.com:9098,b-2.shop.kafka.eu-west-1.amazonaws.com:9098",
    "MskClusterArn": f"arn:aws:kafka:{REGION}:{ACCOUNT}:cluster/shop/0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0-7",
    "TopicPattern": "shop-*",
    "MskSecurityGroup": "sg-0123456789abcdef0",
    "Vpc": "vpc-0123456789abcdef0",
    "Subnets": "subnet-0aaaaaaaaaaaaaaaa,subnet-0bbbbbbbbbbbbbbbb",
    "Egress": "create-endpoints",
    "RouteTables": "rtb-0123456789abcdef0",
    "BucketName": "shop-lake",
    "DeployerBucket": "shop-packages",
    "DeployerKey": "deployer-1.zip",
    "Email": "on-call@example.com",
    "KmsKeyArn": f"arn:aws:kms:{REGION}:{ACCOUNT}:key/0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0",
    "SecretArns": f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:shop/kafka-AbCdEf",
    "GlueDatabase": "shop",
    "TasksMax": "4",
    "ImagesComeByReplication": "yes",
    "InspectorScans": "yes",
}


class _Loader(yaml.SafeLoader):
    pass


def _tag(loader, suffix, node):
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)
    if suffix == "GetAtt" and isinstance(value, str):
        value = value.split(".", 1)
    return {suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}": value}


_Loader.add_multi_constructor("!", _tag)


def load(path=STACK):
    return yaml.load(pathlib.Path(path).read_text(), Loader=_Loader)


NO_VALUE = object()


class Stack:
    """The template with these parameters. Resources whose condition does not hold are absent.

    A reference to a resource becomes `<Logical>` (`<Logical.Attribute>`), but for names that the template sets itself.
    """

    def __init__(self, parameters=None, template=None):
        self.template = template or load()
        given = dict(PARAMETERS if parameters is None else parameters)
        declared = self.template["Parameters"]
        unknown = sorted(set(given) - set(declared))
        assert not unknown, f"no such parameters: {unknown}"
        missing = sorted(name for name, at in declared.items() if name not in given and "Default" not in at)
        assert not missing, f"parameters without a value: {missing}"
        self.parameters = {name: given.get(name, at.get("Default")) for name, at in declared.items()}
        self.is_list = {name for name, at in declared.items() if "List" in at["Type"]}
        self.pseudo = {
            "AWS::AccountId": ACCOUNT, "AWS::Region": REGION, "AWS::Partition": "aws", "AWS::URLSuffix": "amazonaws.com",
            "AWS::StackName": "landfall", "AWS::NoValue": NO_VALUE,
        }
        raw = self.template["Resources"]
        self.logical = {name for name, at in raw.items() if "Condition" not in at or self.holds(at["Condition"])}
        self.resources = {name: self.value(raw[name].get("Properties", {})) for name in raw if name in self.logical}

    def type(self, name):
        return self.template["Resources"][name]["Type"]

    def of_type(self, kind):
        return {name: at for name, at in self.resources.items() if self.type(name) == kind}

    def holds(self, condition):
        return self.value(self.template["Conditions"][condition])

    def ref(self, name):
        if name in self.pseudo:
            return self.pseudo[name]
        if name in self.parameters:
            value = self.parameters[name]
            return str(value).split(",") if name in self.is_list else value
        return self._named(name) or f"<{name}>"

    def _named(self, name):
        """What Ref answers where the template itself names the resource."""
        resource = self.template["Resources"][name]
        keys = {"AWS::CloudWatch::Alarm": "AlarmName", "AWS::Lambda::Function": "FunctionName",
                "AWS::Logs::LogGroup": "LogGroupName", "AWS::Events::Rule": "Name"}
        key = keys.get(resource["Type"])
        return self.value(resource["Properties"][key]) if key else None

    def value(self, node):
        if isinstance(node, list):
            values = [self.value(item) for item in node]
            return [value for value in values if value is not NO_VALUE]
        if not isinstance(node, dict):
            return node
        if len(node) == 1:
            (function, argument), = node.items()
            if function == "Ref":
                return self.ref(argument)
            if function == "Condition" and isinstance(argument, str):
                return self.holds(argument)
            if function.startswith("Fn::"):
                return self._function(function.removeprefix("Fn::"), argument)
        values = {key: self.value(item) for key, item in node.items()}
        return {key: value for key, value in values.items() if value is not NO_VALUE}

    def _function(self, name, argument):
        match name:
            case "GetAtt":
                return f"<{'.'.join(argument)}>"
            case "If":
                condition, yes, no = argument
                return self.value(yes if self.holds(condition) else no)
            case "Equals":
                left, right = (self.value(side) for side in argument)
                return str(left) == str(right)
            case "Not":
                return not self.value(argument[0])
            case "And":
                return all(self.value(item) for item in argument)
            case "Or":
                return any(self.value(item) for item in argument)
            case "Join":
                return str(argument[0]).join(str(item) for item in self.value(argument[1]))
            case "Split":
                return self.value(argument[1]).split(argument[0])
            case "Select":
                return self.value(argument[1])[int(argument[0])]
            case "Sub":
                return self._sub(argument)
        raise AssertionError(f"Fn::{name} is not known here: teach template.py first")

    def _sub(self, argument):
        text, own = (argument, {}) if isinstance(argument, str) else argument
        own = {key: self.value(item) for key, item in own.items()}

        def filled(found):
            name = found.group(1)
            if name in own:
                return str(own[name])
            return f"<{name}>" if "." in name else str(self.ref(name))
        return re.sub(r"\$\{([A-Za-z0-9:.]+)\}", filled, text)


def needs(template):
    """What each resource names, by logical id: Ref, GetAtt, Sub and DependsOn."""
    names = set(template["Resources"])

    def found(node):
        if isinstance(node, list):
            return set().union(*(found(item) for item in node)) if node else set()
        if isinstance(node, dict):
            at = set()
            for key, item in node.items():
                if key == "Ref" or key == "Fn::GetAtt":
                    at |= {item if isinstance(item, str) else item[0]}
                elif key == "DependsOn":
                    at |= {item} if isinstance(item, str) else set(item)
                elif key == "Fn::Sub":
                    text = item if isinstance(item, str) else item[0]
                    at |= {name.split(".")[0] for name in re.findall(r"\$\{([A-Za-z0-9:.]+)\}", text)}
                    at |= found(item) if isinstance(item, list) else set()
                else:
                    at |= found(item)
            return at
        return set()
    return {name: (found({key: at[key] for key in at if key != "Metadata"}) & names) - {name}
            for name, at in template["Resources"].items()}


def upstream(template, name):
    """Everything that is there before `name` is made and after it is deleted."""
    direct, seen, due = needs(template), set(), [name]
    while due:
        for other in direct[due.pop()] - seen:
            seen.add(other)
            due.append(other)
    return seen
