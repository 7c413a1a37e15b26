"""cfn-lint and checkov over the stack: not a warning, and no exception that nobody justified."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

import template


def _tool(name, variable):
    """Beside this Python, or where $variable says: checkov's own dependencies do not go with the others'."""
    named = os.environ.get(variable) or pathlib.Path(sys.executable).with_name(name)
    if not pathlib.Path(named).exists():
        if os.environ.get("CI") == "true":
            pytest.fail(f"{name} is not there: {named}; set {variable}")
        pytest.skip(f"{name} is not there; set {variable}")
    return str(named)


def cfn_lint_says_nothing():
    command = [_tool("cfn-lint", "LANDFALL_TEST_CFN_LINT"), "--include-checks", "I", "--", str(template.STACK)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert (ended.returncode, ended.stdout.strip(), ended.stderr.strip()) == (0, "", "")


def checkov_fails_nothing_and_every_exception_is_needed_and_says_why():
    command = [_tool("checkov", "LANDFALL_TEST_CHECKOV"), "--file", str(template.STACK), "--framework", "cloudformation",
               "--output", "json", "--quiet", "--compact", "--skip-download", "--soft-fail"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr[-2000:]
    told = json.loads(ended.stdout)
    assert told["summary"]["passed"] + told["summary"]["failed"] + told["summary"]["skipped"] > 60, told["summary"]
    assert told["summary"]["parsing_errors"] == 0
    failed = [(at["check_id"], at["resource"], at["check_name"]) for at in told["results"]["failed_checks"]]
    assert failed == []
    excused = {}
    for name, resource in template.load()["Resources"].items():
        for skip in resource.get("Metadata", {}).get("checkov", {}).get("skip", []):
            excused[skip["id"], f"{resource['Type']}.{name}"] = skip["comment"]
    assert all(len(comment) > 40 for comment in excused.values())
    assert told["summary"]["skipped"] == len(excused), "an exception that no check asks for"
