"""One model in several runtimes: which items belong together, which no other beats, how it shows."""

import re
from dataclasses import replace

from rich.console import Console

from harness.records import ItemRecord, RunRecord
from harness.records.schema import Accuracy, CountStatistics, Memory
from harness.report import plots, render_table
from harness.report.comparison import comparisons, label
from harness.report.html import render_html
from tests.fabricated_run import INJECTION, INSTRUCTIONS, item, samples


def way(
    runtime: str, scheme: str, top1: float, count: int, flash_bytes: int, **changes: object
) -> ItemRecord:
    fields: dict[str, object] = {
        "runtime": runtime,
        "scheme": scheme,
        "accuracy": Accuracy(top1, top1, 0.97, 100),
        "counts": CountStatistics(INSTRUCTIONS, count, float(count), count, 100),
        "memory": Memory(flash_bytes, 1, 1, 1, 1, 1, 1, 1),
    }
    return replace(item("esp32c3", "cnn", samples(3)), **(fields | changes))  # type: ignore[arg-type]


def run_of(*items: ItemRecord) -> RunRecord:
    return RunRecord("r", "", "", {}, items)


FOUR = (
    way("tflm", "int8", 0.95, 900, 30_000),
    way("espdl", "int8", 0.95, 800, 30_000),  # beats tflm: fewer instructions, the rest equal
    way("espdl:int16", "int16", 0.97, 3000, 60_000),
    way("espdl-v1", "int16", 0.96, 3500, 61_000),  # beaten by espdl int16 in everything
)


def test_what_no_other_beats_is_marked() -> None:
    (found,) = comparisons(run_of(*FOUR))
    assert (found.quality, found.unit, found.reference) == ("top-1", INSTRUCTIONS, 0.97)
    assert {label(one): found.unbeaten(one) for one in found.items} == {
        "tflm int8": False,
        "espdl int8": True,
        "espdl int16": True,
        "espdl-v1 int16": False,
    }


def test_equal_ways_do_not_beat_each_other() -> None:
    (found,) = comparisons(run_of(FOUR[0], replace(FOUR[0], runtime="espdl")))
    assert [found.unbeaten(one) for one in found.items] == [True, True]


def test_only_what_ran_of_one_model_and_target_is_compared() -> None:
    other = replace(FOUR[1], target="esp32s3")
    broken = replace(FOUR[1], runtime_gap=None)
    assert comparisons(run_of(FOUR[0], other, broken, replace(FOUR[1], model="mlp"))) == []


def test_without_labels_the_agreement_counts_and_mixed_units_are_no_cost() -> None:
    bare = [replace(one, accuracy=None) for one in FOUR[:2]]
    bare[1] = replace(bare[1], counts=CountStatistics("cycles", 1, 1.0, 1, 3), fidelity="silicon")
    (found,) = comparisons(run_of(*bare))
    assert (found.quality, found.unit, found.reference) == ("agreement", None, None)
    assert found.quality_of(bare[0]) == 0.997
    assert found.count_of(bare[0]) is None


def test_the_page_has_one_table_and_two_plots_with_every_way() -> None:
    page = render_html(run_of(*FOUR), {}, {})
    section = page[page.index('class="item comparison"') : page.index('id="item-1"')]
    assert section.count("<tr>") == 1 + len(FOUR)
    assert section.count('class="plot"') == 2
    assert section.count("★") == 1 + 2
    for one in FOUR:
        assert label(one) in section
    assert 'class="item comparison"' not in render_html(run_of(FOUR[0]), {}, {})


def test_hostile_names_stay_text() -> None:
    page = render_html(run_of(FOUR[0], way(INJECTION, INJECTION, 0.9, 10, 10)), {}, {})
    assert "<script>window" not in page
    assert "<img" not in page


def test_the_terminal_lists_them_in_one_line_each() -> None:
    console = Console(record=True, width=200, file=None, force_terminal=False, quiet=False)
    with console.capture() as captured:
        render_table(run_of(*FOUR), console)
    text = captured.get()
    assert "cnn on esp32c3: 4 ways to run it" in text
    (line,) = [line for line in text.splitlines() if line.startswith("  * espdl int16")]
    assert "top-1   97.00" in line
    assert "3\N{NO-BREAK SPACE}000 instructions (emulated)" in line


def test_labels_do_not_cover_each_other() -> None:
    far = plots.Choice("far", 200.0, 0.9, True)
    drawn = plots.trade_off([plots.Choice("a way", 100.0, 0.9, False)] * 4 + [far], "cost", "top-1", None)
    heights = re.findall(r'class="name" x="[\d.]+" y="([\d.]+)">a way', drawn)
    assert len(set(heights)) == 4
    assert plots.trade_off([far], "cost", "top-1", None) == ""
