"""What the documentation says exists, does: links and their headings, commands, options, modules to run."""

from __future__ import annotations

import re
import shlex
from functools import cache
from pathlib import Path

import pytest

from harness.cli import COMMANDS, _parser
from harness.settings import OPTIONS

ROOT = Path(__file__).parents[2]
FOLDERS = ("", "docs", "docs/tutorials", "models", "reports", "benchmarks")
PAGES = sorted(page for folder in FOLDERS for page in (ROOT / folder).glob("*.md"))
# Of pytest, pytest-embedded and pytest-xdist.
PYTEST = {"--target", "--port", "--baud", "--port-mac", "--port-location", "--skip-autoflash", "--help", "-n"}
PYTEST |= {
    "--collect-only",
    "--junitxml",
    "--embedded-services",
    "--resume",
    "-W",
    "-s",
    "-q",
    "-k",
    "-m",
    "-p",
}


def prose(page: Path) -> str:
    return re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


@cache
def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in headings}


@cache
def options(command: str) -> set[str]:
    (commands,) = (action for action in _parser(command)._actions if action.choices)
    return set(commands.choices[command]._option_string_actions)  # type: ignore[index, call-overload]


def commands_in(text: str) -> list[list[str]]:
    """The words of each `harness ...`, `pytest ...` or `python -m ...`, in a code block or within a line."""
    blocks = re.findall(r"^```(?:console|sh|shell|bash)?\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    lines += re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))
    found = []
    for line in lines:
        start = re.match(r"\s*(?:\$ )?((?:harness|pytest|python -m) .*)", line)
        if start is None:
            continue
        for part in re.split(r"&&|\|\||[|;]", start[1]):
            try:
                words = shlex.split(part, comments=True)
            except ValueError:  # an excerpt of a line
                continue
            if len(words) > 1:
                found.append(words)
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    lost = []
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        path, _, anchor = link.partition("#")
        if "://" in link:
            continue
        goal = (page.parent / path).resolve() if path else page
        if not goal.exists() or (anchor and goal.suffix == ".md" and anchor not in anchors(goal)):
            lost.append(link)
    assert lost == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_and_their_options_exist(page: Path) -> None:
    unknown = []
    for program, *words in commands_in(page.read_text(encoding="utf-8")):
        given = {word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)}
        if program == "harness" and re.fullmatch(r"[a-z][a-z0-9-]*", words[0]):
            if words[0] not in COMMANDS:
                unknown.append(f"harness {words[0]}")
                continue
            unknown += [f"harness {words[0]} {name}" for name in given - options(words[0])]
        elif program == "pytest":
            unknown += [f"pytest {name}" for name in given - PYTEST - {option.flag for option in OPTIONS}]
        elif program == "python" and words[1].split(".")[0] in ("harness", "tests", "benchmarks"):
            module = ROOT / words[1].replace(".", "/")
            if not (module.with_suffix(".py").exists() or (module / "__main__.py").exists()):
                unknown.append(f"python -m {words[1]}")
    assert unknown == []


def test_the_readme_leads_to_every_page() -> None:
    linked = {(ROOT / link).resolve() for link in re.findall(r"\]\(([^)#\s]+)", prose(ROOT / "README.md"))}
    folders = {goal.parent for goal in linked if goal.name == "README.md"}
    lost = [
        page.name
        for page in PAGES
        if page not in linked and page.parent not in folders and page != ROOT / "README.md"
    ]
    assert lost == []


def test_what_is_not_there_is_found() -> None:
    text = (
        "```console\n$ harness run x --target y --no-such 1   # why\nharness nope\n```\n`pytest --foo=1 -x`"
    )
    assert commands_in(text) == [
        ["harness", "run", "x", "--target", "y", "--no-such", "1"],
        ["harness", "nope"],
        ["pytest", "--foo=1", "-x"],
    ]
    assert "--no-such" not in options("run")
    assert "--target" in options("run")
