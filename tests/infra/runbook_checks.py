"""Every alarm leads a person to a section of docs/runbook.md that has what he needs, and no section is left over."""

import re

import pytest

import template

STACK = template.Stack()
PARTS = ["**What it means.**", "**First look.**", "**Likely causes.**", "**To type.**", "**How to undo.**"]
RUNBOOK = (template.ROOT / "docs" / "runbook.md").read_text()
SECTIONS = {title: body for title, body in re.findall(r"^### (\S+)\n(.*?)(?=^##|\Z)", RUNBOOK, re.M | re.S)}

ALARMS = {**STACK.of_type("AWS::CloudWatch::Alarm"), **STACK.of_type("AWS::CloudWatch::CompositeAlarm")}
TELLING = {name: alarm for name, alarm in ALARMS.items() if "AlarmActions" in alarm}


def _suffix(alarm):
    return alarm["AlarmName"].removeprefix("landfall-shop-events-")


@pytest.mark.parametrize("name", sorted(TELLING))
def an_alarm_says_what_it_means_and_what_to_do_first_and_links_to_its_section(name):
    alarm = TELLING[name]
    said = alarm["AlarmDescription"]
    assert re.fullmatch(r"[A-Z][^.]*\. First [^.]*(\.[^.]+)*\. \S+", said), said
    assert said.endswith(f" docs/runbook.md#{_suffix(alarm)}"), said
    assert len(said) <= 1024
    assert alarm["AlarmActions"] == alarm["OKActions"] == ["<Topic>"]
    body = SECTIONS[_suffix(alarm)]
    at = [body.find(part) for part in PARTS]
    assert all(place >= 0 for place in at) and at == sorted(at), f"{_suffix(alarm)} has {PARTS} in this order"
    assert "```sh" in body, f"{_suffix(alarm)} has no command to type"


def every_section_about_an_alarm_has_its_alarm():
    assert set(SECTIONS) == {_suffix(alarm) for alarm in TELLING.values()}


def what_tells_nobody_is_only_a_part_of_what_does():
    silent = {_suffix(alarm) for alarm in ALARMS.values() if "AlarmActions" not in alarm}
    composed = STACK.resources["NoRunningTaskAlarm"]["AlarmRule"]
    assert silent == set(re.findall(r'ALARM\("landfall-shop-events-([a-z-]+)"\)', composed))


def the_names_in_the_commands_are_the_stacks():
    for name in re.findall(r"landfall-\$P-([a-z-]+)", RUNBOOK):
        known = {_suffix({"AlarmName": at}) for at in (
            [alarm["AlarmName"] for alarm in ALARMS.values()]
            + [rule["Name"] for rule in STACK.of_type("AWS::Events::Rule").values()]
            + [queue["QueueName"] for queue in STACK.of_type("AWS::SQS::Queue").values()]
            + [STACK.resources["Deployer"]["FunctionName"]])}
        assert name in known, name
    groups = {group["LogGroupName"].replace("shop-events", "$P") for group in STACK.of_type("AWS::Logs::LogGroup").values()}
    assert set(re.findall(r"/landfall/\$P/[a-z]+", RUNBOOK)) == groups


def what_is_looked_for_in_a_log_is_what_the_program_says():
    crates = {"worker": "worker", "deployer": "deployer-lambda"}
    looked = re.findall(r"said /landfall/\$P/(\w+)[^|\n]*\| grep(?: -\w+)? ('[^'\n]+'|\S+)", RUNBOOK)
    assert len(looked) > 5
    for program, words in looked:
        sources = [path.read_text() for path in sorted((template.ROOT / crates[program] / "src").rglob("*.rs"))]
        said = " ".join(re.findall(r'\b(?:info|warn|error)!\([^";]*"([^"\n]*)"', "\n".join(sources))).lower()
        for word in words.strip("'").split("|"):
            # Levels are in every line, and REPORT is Lambda's own.
            assert word in {"WARN", "ERROR", "REPORT"} or word.lower() in said, f"no line of the {program} has `{word}`"
