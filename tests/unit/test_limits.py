"""Limits: the bisection, the networks, what the memory map says of the tutorials' statements, the words."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.cli import main
from harness.fit.verdict import SDK_APP_BYTES, Need, Room
from harness.limits.families import Family, Sketch, families
from harness.limits.find import Limit
from harness.limits.networks import MAKERS, Maker
from harness.limits.probe import Outcome, Probe, Verdict
from harness.limits.search import LOOK_AHEAD, Found, bisect, settle
from harness.limits.show import explanations, plain
from harness.runtimes import get_runtime
from harness.targets import get_target

MIB = 1 << 20
FAMILIES = {family.name: family for family in families()}
SIZES = st.integers(1, 300)


def reckoned(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, dict]]:
    """Exit code of `harness limits --estimate`, and its rows by name."""
    code = main(["limits", "--estimate", "--json", *arguments])
    return code, {row["what"]: row for row in json.loads(capsys.readouterr().out)}


class Judge:
    """Sizes up to `limit` work; remembers who was asked."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.asked: list[int] = []

    def __call__(self, size: int) -> bool:
        self.asked.append(size)
        return size <= self.limit


@given(limit=st.integers(0, 320), smallest=SIZES, more=st.integers(0, 300))
def test_bisection_finds_the_last_size_that_works(limit: int, smallest: int, more: int) -> None:
    largest = smallest + more
    found = bisect(Judge(limit), smallest, largest)
    if limit < smallest:
        assert found == Found(None, smallest)
    elif limit >= largest:
        assert found == Found(largest, None)
    else:
        assert found == Found(limit, limit + 1)


def test_bisection_asks_few_and_only_those_in_range() -> None:
    judge = Judge(700)
    bisect(judge, 8, 4096)
    assert len(judge.asked) <= 25
    assert 8 <= min(judge.asked) <= max(judge.asked) <= 4096


def test_a_size_that_works_beyond_one_that_does_not_is_found() -> None:
    holes = {40, 41, 42}
    assert bisect(lambda size: size <= 44 and size not in holes, 1, 100) == Found(44, 45)
    far = {*range(40, 41 + LOOK_AHEAD)}
    assert bisect(lambda size: size <= 60 and size not in far, 1, 100).first == 40


@given(limit=st.integers(0, 320), guess=st.integers(0, 320), smallest=SIZES, more=st.integers(0, 300))
def test_the_second_judge_has_the_last_word(limit: int, guess: int, smallest: int, more: int) -> None:
    largest = smallest + more
    first_opinion = bisect(Judge(guess), smallest, largest)
    judge = Judge(limit)
    assert settle(judge, first_opinion, smallest, largest) == bisect(Judge(limit), smallest, largest)
    if limit == guess:
        assert len(judge.asked) <= 2


@pytest.mark.parametrize(
    ("name", "size", "parameters"),
    [("parameters", 512, 300_250), ("input", 60, 29_042), ("channels", 16, 29_042)],
)
def test_families_hold_the_tutorials_own_networks(name: str, size: int, parameters: int) -> None:
    assert FAMILIES[name].sketch(size).parameters == parameters


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_every_step_of_a_family_is_larger(family: Family) -> None:
    def amount(sketch: Sketch) -> int:
        return sketch.parameters + sketch.input[0] ** 2

    amounts = [amount(family.sketch(size)) for size in range(family.smallest, family.smallest + 40)]
    assert amounts == sorted(set(amounts))


@pytest.mark.parametrize("maker", MAKERS.values(), ids=lambda maker: maker.runtime.replace(":", "-"))
def test_no_layer_of_a_network_vanishes_or_saturates(maker: Maker, tmp_path: Path) -> None:
    sketch = FAMILIES["input"].sketch(20)
    path = tmp_path / f"net.{maker.suffix}"
    path.write_bytes(maker.make(sketch))
    assert maker.make(sketch) == path.read_bytes()
    runtime = get_runtime(maker.runtime)
    artifact = runtime.load(path)
    held = [tensor.data for tensor in artifact.graph.tensors if tensor.data is not None]
    assert sum(data.size for data in held) == sketch.parameters
    info = artifact.inputs[0]
    limits = np.iinfo(info.dtype)
    given_input = np.random.default_rng(0).integers(limits.min, limits.max, info.shape).astype(info.dtype)
    *layers, scores = runtime.oracle(artifact).run_layers([given_input])
    for output in layers[:-1]:  # the last has two values
        assert np.std(output.astype(float)) > 0.05 * limits.max
        assert np.mean(np.abs(output.astype(int)) >= limits.max) < 0.15
    assert len(np.unique(scores)) > 1


@pytest.mark.parametrize(("bits", "about", "beyond"), [(16, 300_000, 300_250), (8, 600_000, 600_000)])
def test_the_tutorials_parameters_end_at_the_default_partition(
    bits: int, about: int, beyond: int, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("--target=esp32", f"--bits={bits}", "--search=parameters")
    code, rows = reckoned(capsys, *arguments)
    row = rows["parameters"]
    assert code == 0
    assert row["first"]["ends"]["resource"] == "app partition"
    assert row["largest"]["parameters"] == pytest.approx(about, rel=0.03)
    for side, fits in (("largest", True), ("first", False)):
        app_bytes = SDK_APP_BYTES + row[side]["parameters"] * bits // 8
        assert (app_bytes <= MIB) is fits is row[side]["works"]
    _, rows = reckoned(capsys, *arguments, "--partition=1536K")
    assert rows["parameters"]["largest"]["parameters"] > beyond


def test_the_tutorials_64x64x3_ends_at_the_regions_of_the_heap(capsys: pytest.CaptureFixture[str]) -> None:
    sides = {}
    for name, more in {"int16": [], "int8": ["--bits=8"], "psram": ["--psram=2MB"]}.items():
        _, rows = reckoned(capsys, "--target=esp32", "--search=input", *more)
        sides[name] = rows["input"]["largest"]["size"]
        assert rows["input"]["first"]["ends"]["resource"].startswith("heap regions")
    assert sides["int16"] == 63
    assert min(sides["int8"], sides["psram"]) > 64


def test_what_no_kernel_takes_is_an_end_too(tmp_path: Path) -> None:
    probe = Probe(get_target("esp32"), MAKERS["espdl-v1", 8], "vendor", Room(psram_bytes=8 * MIB), tmp_path)
    refused = probe.by_map(FAMILIES["input"].sketch(320), 320)
    assert not refused.works
    limit = Limit(FAMILIES["input"], probe.by_map(FAMILIES["input"].sketch(200), 200), refused)
    assert limit.largest is not None
    assert limit.largest.works
    assert "does not fit 32 bits" in "\n".join(explanations(limit))
    assert str(tmp_path) not in "\n".join(explanations(limit))


def test_nothing_that_works_is_said_and_is_exit_code_1(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["limits", "--target=esp32", "--estimate", "--partition=400K"]) == 1
    output = capsys.readouterr().out
    assert output.count(" none ") == 3
    assert "--partition 512K" in output
    assert "Nothing was built" in output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--target=esp32", "--runtime=espdl"], "harness fit MODEL --runtime espdl"),
        (["--target=esp32", "--runtime=espdl-v1:int8"], "--bits 8"),
        (["--target=esp32", "--runtime=nope"], "unknown runtime"),
        (["--target=esp32c6"], "Targets of runtime espdl-v1"),
        (["--target=himax_we1"], "only generated for"),
        (["--target=esp32", "--search=size"], "parameters, input, channels"),
        (["--target=esp32", "--input-channels=0"], "1 to 64"),
        (["--target=esp32", "--flash-size=32MB", "--partition=14MB"], "--estimate"),
    ],
)
def test_wrong_usage_is_one_line(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["limits", *arguments]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


ENOUGH = Need("app partition", 10, 20, "")
TOO_LITTLE = Need("app partition", 30, 20, "a larger one")


def verdict(size: int, *needs: Need, outcome: Outcome | None = None) -> Verdict:
    return Verdict(size, 1000 * size, (size, size, 3), needs, outcome)


@pytest.mark.parametrize(
    ("first", "said"),
    [
        (verdict(2, TOO_LITTLE), "by the memory map"),
        (verdict(2, TOO_LITTLE, outcome=Outcome(layers=8)), "8 layers 0 LSB; too large by the count alone"),
        (
            verdict(2, ENOUGH, outcome=Outcome(refusal="built; the firmware: no room")),
            "built; the firmware: no room",
        ),
        (verdict(2, ENOUGH, outcome=Outcome(wrong="layer 1 differs")), "is WRONG: layer 1 differs"),
    ],
)
def test_what_ended_it_and_how_that_is_known_are_said(first: Verdict, said: str) -> None:
    ran = verdict(1, ENOUGH, outcome=Outcome(layers=8))
    limit = Limit(FAMILIES["input"], ran, first)
    assert ran.works
    assert not first.works
    assert limit.wrong is bool(first.outcome and first.outcome.wrong)
    lines = explanations(limit)
    assert any(line.endswith("built, ran in QEMU, 8 layers 0 LSB") for line in lines)
    assert said in "\n".join(lines)
    assert ("30 bytes needed, 20 there" in "\n".join(lines)) is (first.ends is not None)
    assert plain(limit)["first"]["works"] is False
