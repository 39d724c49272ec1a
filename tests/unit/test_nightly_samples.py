"""The sample files of docs/nightly: they parse, and what they run is a command that exists."""

from __future__ import annotations

import configparser
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.cli import COMMANDS, _parser
from harness.nightly import config
from harness.nightly.config import read_night

DOCS = Path(__file__).parents[2] / "docs"
SAMPLES = DOCS / "nightly"


def commands(path: Path) -> list[str]:
    return re.findall(r"\.venv/bin/harness (.*)", path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", ["harness-nightly.service", "github.yml", "gitlab.yml"])
def test_the_command_is_one(name: str) -> None:
    (line,) = commands(SAMPLES / name)
    parsed = _parser("nightly").parse_args(shlex.split(line))
    assert parsed.config == Path("nightly.toml")


def test_the_sample_night_has_every_runtime_on_both_chips(tmp_path: Path) -> None:
    night = read_night(SAMPLES / "nightly.toml", tmp_path)
    assert {(job.target, job.runtime) for job in night.jobs} >= {
        (target, runtime)
        for target in ("esp32s3", "esp32c3")
        for runtime in ("tflm", "espdl", "espdl-v1", "tvm")
    }


@pytest.mark.parametrize("name", ["harness-nightly.service", "harness-nightly.timer"])
def test_the_units_have_the_sections_systemd_wants(name: str) -> None:
    unit = configparser.ConfigParser(interpolation=None, strict=True)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read_string((SAMPLES / name).read_text(encoding="utf-8"))
    needed = {"Unit", "Timer", "Install"} if name.endswith(".timer") else {"Unit", "Service"}
    assert set(unit.sections()) == needed


def test_the_pipelines_run_the_night_and_keep_its_report() -> None:
    github: dict[Any, Any] = yaml.safe_load((SAMPLES / "github.yml").read_text(encoding="utf-8"))
    steps = github["jobs"]["night"]["steps"]
    assert github[True]["schedule"][0]["cron"]  # YAML 1.1 reads the key `on` as true
    assert any("harness nightly" in step.get("run", "") for step in steps)
    assert [step["with"]["path"] for step in steps if "upload-artifact" in step.get("uses", "")] == [
        "reports/night"
    ]
    gitlab: dict[str, Any] = yaml.safe_load((SAMPLES / "gitlab.yml").read_text(encoding="utf-8"))["nightly"]
    assert any("harness nightly" in line for line in gitlab["script"])
    assert gitlab["artifacts"]["paths"] == ["reports/night"]
    assert gitlab["allow_failure"]["exit_codes"] == 4


def test_the_page_names_every_key() -> None:
    page = (DOCS / "nightly.md").read_text(encoding="utf-8")
    keys = (*config._TOP, *config._AXES, *config._HEAVY, *config._ATTACHED, *config._OPTIONS)
    assert [key for key in keys if f"`{key}`" not in page and f"[[{key}]]" not in page] == []
    assert "nightly" in COMMANDS
