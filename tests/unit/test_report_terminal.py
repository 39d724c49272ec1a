"""The terminal's table and blocks: complete, within the width, and deaf to control characters."""

import dataclasses
import io
import re

import pytest
from rich.cells import cell_len
from rich.console import Console

from harness.records import ItemRecord, RunRecord
from harness.report import render_table
from tests.fabricated_run import fabricated

RUN, _, _ = fabricated()
PLAIN = RunRecord(
    RUN.run_id, RUN.started, "pytest", {}, tuple(i for i in RUN.items if "evil" not in i.model), 21.5
)


def shown(run: RunRecord, width: int, terminal: bool) -> str:
    console = Console(
        file=io.StringIO(), width=width, force_terminal=terminal, color_system=None, legacy_windows=False
    )
    render_table(run, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize(("width", "terminal"), [(80, True), (160, True), (80, False), (200, False)])
def test_every_figure_is_there_at_every_width(width: int, terminal: bool) -> None:
    text = re.sub(r"[\s│]+", " ", shown(PLAIN, width, terminal))
    for part in (
        "PASSED",
        "FAILED",
        "ERROR",
        "0 LSB, 0 of 400 differ",
        "1 LSB, 3 of 400 differ",
        "2 layers × 10 samples",  # noqa: RUF001
        "99.70 %",
        "0.0625",
        "95.10 %",
        "500 000",
        "instructions (emulated)",
        "cycles",
        "109.7 KiB",
        "9.6 KiB",
        "1.3 KiB",
        "fidelity",
        "isa",
        "silicon",
        "expected 0 LSB, found 1 LSB",
        "not on the chip",
        "2 passed, 1 failed, 1 error of 4 items",
    ):
        assert part in text, part


@pytest.mark.parametrize("width", [80, 150, 160])
def test_nothing_is_wider_than_the_terminal(width: int) -> None:
    assert max(cell_len(line) for line in shown(RUN, width, terminal=True).splitlines()) <= width


def test_ci_gets_one_unwrapped_line_per_statement() -> None:
    lines = shown(PLAIN, 80, terminal=False).splitlines()
    assert sum(line.startswith("Fidelity isa") and line.endswith("acted on them.") for line in lines) == 1
    assert (
        "  per inference     500 000 [500 000 … 500 000] instructions (emulated)".replace(" 000", "\u00a0000")
        in lines
    )


def test_no_notice_without_emulated_items() -> None:
    assert "not on the chip" not in shown(RunRecord("r", "", "", {}, (RUN.items[3],)), 80, terminal=False)


def test_control_characters_and_markup_stay_text() -> None:
    nasty = ItemRecord(
        "esp32", "[red]m\x1b[2J\r", "tflm", "portable", "error", error="\x1b]0;title\x07 [bold]x"
    )
    for width in (80, 160):
        text = shown(RunRecord("r", "", "", {}, (nasty,)), width, terminal=True)
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", text)
        assert "[red]m" in text
        assert "[bold]x" in text


def test_unknown_is_a_dash_and_no_zero() -> None:
    text = shown(RunRecord("r", "", "", {}, (RUN.items[4],)), 160, terminal=True)
    row = next(line for line in text.splitlines() if line.startswith(" esp32p4"))
    assert not re.search(r"\b0\b", row)


def test_the_own_time_is_that_of_the_items_that_ran_to_their_end() -> None:
    assert "processor time" not in shown(PLAIN, 160, terminal=False)
    ran = [item for item in PLAIN.items if item.runtime_gap is not None]
    images = sum(item.runtime_gap.samples for item in ran if item.runtime_gap)
    timed = tuple(dataclasses.replace(item, harness_s=images / 1000 / len(ran)) for item in PLAIN.items)
    text = shown(dataclasses.replace(PLAIN, items=timed), 160, terminal=False)
    assert f"\nThe harness's own processor time: 1.00 ms per image, of {images}\u00a0images\n" in text
