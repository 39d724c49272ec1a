"""Limits that are built and run: emulated firmware and linker against the memory map, and the cache."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from harness.cli import main
from harness.fit.verdict import Room
from harness.limits.families import families
from harness.limits.find import Limit, find
from harness.limits.networks import MAKERS
from harness.limits.probe import Probe
from harness.progress import silent
from harness.runtimes.base import Project
from harness.runtimes.planned import PlannedArtifact
from harness.targets import get_target

FAMILIES = {family.name: family for family in families()}
KIB = 1 << 10


@pytest.fixture(scope="module")
def build_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("limits")


def small_chip(target: str, runtime: str, bits: int, kernels: str, build_root: Path) -> Probe:
    """A chip of the same instruction set with so little RAM that its limits are soon found."""
    chip = replace(get_target(target), heap_regions=(22_000, 12_000, 3_000), static_ram_bytes=30_000)
    return Probe(chip, MAKERS[runtime, bits], kernels, Room(), build_root)


@pytest.mark.parametrize(
    ("target", "runtime", "bits"),
    [("esp32", "espdl-v1", 16), ("esp32c3", "tflm", 8), ("esp32c3", "tflm", 16)],
)
def test_the_emulated_heap_refuses_what_the_memory_map_refuses(
    target: str, runtime: str, bits: int, build_root: Path
) -> None:
    probe = small_chip(target, runtime, bits, "vendor", build_root)
    limit = find(FAMILIES["input"], probe, True, silent)
    largest, first = ran(limit)
    assert largest.layers >= 7
    assert (largest.refusal, largest.wrong, first.wrong) == ("", "", "")
    assert limit.largest is not None
    assert limit.first is not None
    assert limit.first.size == limit.largest.size + 1
    assert limit.first.ends is not None
    assert re.search(r"no region of the heap has room for the (arena|output of layer)", first.refusal)
    assert f"{limit.first.ends.needed_bytes} bytes" in first.refusal


def test_the_linker_refuses_more_static_data_than_the_chip_has(build_root: Path) -> None:
    probe = small_chip("esp32c3", "tflm", 8, "portable", build_root)
    limit = find(FAMILIES["input"], probe, True, silent)
    largest, first = ran(limit)
    assert largest.layers == 7
    assert largest.ram_bytes <= 30_000
    assert "static data will not fit" in first.refusal
    assert limit.first is not None
    assert limit.first.ends is not None
    assert limit.first.ends.resource.startswith("static RAM")


def ran(limit: Limit) -> tuple:
    """What came of the largest that works, and of the next."""
    assert limit.largest is not None
    assert limit.largest.works
    assert limit.first is not None
    assert not limit.first.works
    return limit.largest.outcome, limit.first.outcome


class Faulty(Probe):
    """A weight of the second layer is another in the firmware than in the file."""

    def _project(self, artifact: PlannedArtifact, directory: Path) -> Project:
        project = super()._project(artifact, directory)
        weights = directory / "model_weights.c"
        head, name, values = weights.read_text(encoding="utf-8").partition("layer_01_weights")
        assert name
        changed = re.sub(r"(= \{\s+)-?\d+", r"\g<1>77", values, count=1)
        weights.write_text(f"{head}{name}{changed}", encoding="utf-8")
        return project


def test_a_wrong_layer_is_no_limit_but_a_fault(build_root: Path) -> None:
    faulty = Faulty(**vars(small_chip("esp32", "espdl-v1", 16, "vendor", build_root)))
    verdict = faulty.really(FAMILIES["input"].sketch(12), 12)
    assert not verdict.works
    assert verdict.ends is None
    assert verdict.outcome is not None
    assert "layers differ from the oracle: 1 Conv2D, " in verdict.outcome.wrong
    kept = Path(verdict.outcome.wrong.rpartition(" ")[2])
    assert kept.is_file()


def test_the_command_builds_runs_and_remembers(
    build_root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_BUILD_ROOT", str(build_root))
    before = set(build_root.rglob("limits/*.json"))
    arguments = ["limits", "--target=esp32", "--bits=16", "--search=parameters", "--json", "--partition=490K"]
    assert main(arguments) == 0
    (row,) = json.loads(capsys.readouterr().out)
    room = 490 * KIB - 464_460
    assert 2 * row["largest"]["parameters"] <= room < 2 * row["first"]["parameters"]
    # What the partition alone ends runs all the same.
    for side in ("largest", "first"):
        assert row[side]["outcome"]["layers"] == 14
        assert row[side]["outcome"]["wrong"] == row[side]["outcome"]["refusal"] == ""
    entries = set(build_root.rglob("limits/*.json")) - before
    assert len(entries) == 2
    for entry in entries:
        entry.write_text(entry.read_text(encoding="utf-8").replace('"layers": 14', '"layers": 99'))
    assert main(arguments) == 0
    (again,) = json.loads(capsys.readouterr().out)
    assert again["largest"]["outcome"]["layers"] == again["first"]["outcome"]["layers"] == 99
    assert again["largest"]["parameters"] == row["largest"]["parameters"]
