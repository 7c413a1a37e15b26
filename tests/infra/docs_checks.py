"""What the pages under docs/ tell a person to type is what the stack, the deployer and the shell take.

Neighbours: runbook_checks.py, for what concerns the runbook alone.
"""

import json
import re
import subprocess

import pytest

import template

README = template.ROOT / "README.md"
PAGES = {page.name: page.read_text() for page in [README, *sorted((template.ROOT / "docs").glob("*.md"))]}
PARAMETERS = set(template.load()["Parameters"])
OUTPUTS = set(template.load()["Outputs"])
# `ask ALIAS '{"command": …}'`, as the pages define it.
ASKED = {page: re.findall(r"ask (\w+) '(\{[^'\n]*\})'", text) for page, text in PAGES.items()}
# first-account.md, step 7: asked of the wrong alias, to see it refused.
REFUSED = {("read", "stop")}


def _commands():
    """README's table: the alias that a command takes, what it needs and what it may have."""
    table = README.read_text().split("\n### Commands\n")[1].split("\n### ")[0]
    rows = re.findall(r"^\| `([a-z]+)` \| `([a-z]+)` \|([^|]*)\|([^|]*)\|", table, re.M)
    words = lambda cell: set(re.findall(r"`(\w+)`", cell))  # noqa: E731
    return {name: (alias, words(needs), words(may)) for name, alias, needs, may in rows}


@pytest.mark.parametrize("page", PAGES)
def what_is_asked_of_the_deployer_is_a_command_of_that_alias(page):
    commands = _commands()
    for alias, payload in ASKED[page]:
        asked = json.loads(payload)
        name = asked.pop("command")
        takes, needs, may = commands[name]
        assert takes == alias or (alias, name) in REFUSED, f"{name} is asked of {takes}"
        assert needs <= set(asked) <= needs | may | {"by"}, f"{name} needs {needs} and may have {may}: {asked}"


def the_pages_ask_for_much():
    assert len(ASKED["daily-work.md"]) > 10 and len(ASKED["runbook.md"]) > 10


@pytest.mark.parametrize("page", PAGES)
def parameters_and_outputs_are_the_stacks(page):
    # What an option of the AWS CLI takes (`Name=…,Values=…`) is none.
    named = set(re.findall(r"(?<![-\w.,])([A-Z][a-z]+[A-Za-z]*)=(?!=)", PAGES[page])) - {"Name", "OutputLocation"}
    assert named <= PARAMETERS, named - PARAMETERS
    told = set(re.findall(r"outputs? `?([A-Z][A-Za-z]+)`?", PAGES[page])) | set(re.findall(r"OutputKey=='(\w+)'", PAGES[page]))
    assert told <= OUTPUTS, told - OUTPUTS


@pytest.mark.parametrize("page", PAGES)
def commands_are_read_by_the_shell(page):
    for block in re.findall(r"^ *```sh\n(.*?)^ *```", PAGES[page], re.M | re.S):
        read = subprocess.run(["bash", "-n"], input=block, text=True, capture_output=True)
        assert read.returncode == 0, f"{read.stderr}{block}"


@pytest.mark.parametrize("page", PAGES)
def links_lead_somewhere(page):
    directory = template.ROOT if page == README.name else template.ROOT / "docs"
    for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", PAGES[page]):
        path, _, section = target.partition("#")
        file = (directory / path) if path else (directory / page)
        assert file.exists(), target
        if section:
            titles = re.findall(r"^#+ (.*)$", file.read_text(), re.M)
            assert section in {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}, target
