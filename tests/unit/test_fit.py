"""Fit: what a network needs against what a chip has, without building anything."""

import json
from pathlib import Path

import pytest

from harness.cli import main
from harness.fit.code_size import estimate
from harness.fit.latency import expected
from harness.fit.regions import BLOCK_OVERHEAD_BYTES, place
from harness.fit.verdict import SDK_APP_BYTES, Room, judge
from harness.items import Workshop, load_artifact
from harness.model.spec import load_model
from harness.portable.memory import Buffer
from harness.runtimes.planned import PlannedArtifact
from harness.targets import TARGETS, get_target

MIB = 1 << 20


def artifact(model: str, runtime: str, target: str, directory: Path) -> PlannedArtifact:
    made = load_artifact(load_model(model), runtime, get_target(target), Workshop(directory))
    assert isinstance(made, PlannedArtifact)
    return made


def activations(side: int, bits: int = 16, channels: int = 16) -> list[Buffer]:
    """Input, and the first two of 3x3 convolutions over a square RGB image, as esp-dl v1 allocates them."""
    shapes = (side * side * 3, (side - 2) ** 2 * channels, (side - 4) ** 2 * channels)
    return [Buffer(elements * bits // 8, step - 1, step) for step, elements in enumerate(shapes)]


@pytest.mark.parametrize(
    ("side", "bits", "fits"), [(60, 16, True), (63, 16, True), (64, 16, False), (64, 8, True)]
)
def test_the_tutorials_64x64x3_is_two_regions_not_total_ram(side: int, bits: int, fits: bool) -> None:
    regions = get_target("esp32").heap_regions
    placed = place(activations(side, bits), regions)
    assert (placed.lost is None) is fits
    in_one_piece = place(activations(side, bits), [sum(regions)])
    assert in_one_piece.lost is None


def test_psram_takes_what_the_regions_do_not() -> None:
    regions = get_target("esp32").heap_regions
    assert place(activations(64), (*regions, 2 * MIB)).lost is None


def test_the_block_that_is_lost_is_set_against_the_widest_gap() -> None:
    size = 100 - BLOCK_OVERHEAD_BYTES
    placed = place([Buffer(48, 0, 2), Buffer(size, 1, 2), Buffer(1, 3, 3)], [100, 90])
    assert placed.lost == Buffer(size, 1, 2)
    assert placed.gap_bytes == 90 - BLOCK_OVERHEAD_BYTES
    assert placed.alive == (64, 0)


def test_300_thousand_int16_parameters_end_at_the_default_partition(tmp_path: Path) -> None:
    esp32 = get_target("esp32")
    verdicts = {}
    for model in ("test21_mnist_273k", "test21_mnist_300k"):
        network = artifact(model, "espdl-v1", "esp32", tmp_path)
        size = estimate(network, "xtensa")
        verdicts[model] = judge(network, esp32, "vendor", size, Room())
        assert judge(network, esp32, "vendor", size, Room(partition_bytes=3 * MIB // 2)).fits
    assert verdicts["test21_mnist_273k"].fits
    ends = verdicts["test21_mnist_300k"].ends
    assert ends is not None
    assert ends.resource == "app partition"
    # The tutorial's own build took 0x104000 bytes.
    assert ends.needed_bytes == pytest.approx(0x104000, rel=0.01)
    assert "--partition 1536K" in ends.mend


@pytest.mark.parametrize(
    ("model", "published_us"),
    [
        ("test21_mnist_29k", 129_377),
        ("test21_mnist_93k", 303_660),
        ("test21_mnist_190k", 9_942_646),
        ("test21_mnist_273k", 13_914_316),
    ],
)
def test_published_times_lie_in_the_error_bars(model: str, published_us: float, tmp_path: Path) -> None:
    latency = expected(artifact(model, "espdl-v1", "esp32", tmp_path).plan, "espdl-v1", "esp32")
    assert latency is not None
    assert latency.low_us * 0.999 <= published_us <= latency.high_us * 1.001
    assert latency.high_us < 2.5 * latency.low_us


def test_no_time_where_none_was_published(tmp_path: Path) -> None:
    plan = artifact("himax_cnn", "tflm", "esp32h2", tmp_path).plan
    assert expected(plan, "tflm", "esp32h2") is None


def test_every_emulated_chip_has_its_regions() -> None:
    for target in TARGETS.values():
        assert bool(target.heap_regions) == (target.isa_platform is not None)
        assert sum(target.heap_regions) + target.static_ram_bytes < 2 * target.sram_bytes
        assert max((0, *target.heap_regions)) < target.sram_bytes


def test_json_names_the_resource_that_ends_it(capsys: pytest.CaptureFixture[str]) -> None:
    code = main(
        ["fit", "himax_cnn", "--target=esp32c3", "--runtime=tflm", "--estimate", "--json", "--partition=470K"]
    )
    (answer,) = json.loads(capsys.readouterr().out)
    assert code == 1
    assert answer["ends"] == "app partition"
    assert answer["needs"][0]["needed_bytes"] > SDK_APP_BYTES
    assert not answer["size"]["built"]


def test_emulated_counts_never_become_milliseconds(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", "himax_cnn", "--target", "esp32c3,esp32h2", "--runtime", "tflm", "--estimate"]) == 0
    lines = capsys.readouterr().out.splitlines()
    timed = [line for line in lines if " ms" in line]
    assert timed
    assert all("expected on silicon" in line and "published" in line for line in timed)
    assert any("unknown, no figure is published" in line for line in lines)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--target", "esp33"], "Known targets"),
        (["--target", "himax_we1"], "only generated for"),
        (["--partition", "much"], "expects a size"),
        (["--runtime", "nope"], "unknown runtime"),
    ],
)
def test_wrong_usage_is_one_line(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", "himax_cnn", *arguments]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
