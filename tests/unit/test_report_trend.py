"""An item over its runs: what compares, what is marked as worse, and what a record keeps of the history."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from harness.history.store import History
from harness.history.trend import NIGHTS, trend
from harness.records.schema import CountStatistics, ItemRecord, Night, RunRecord, Trend
from harness.report.html import render_html
from harness.report.markdown import summary_md
from harness.report.trend import FIGURES, changes, followed, present
from tests import fabricated_run
from tests.fabricated_run import item, samples

BATCH = samples(20)
COUNT = next(figure for figure in FIGURES if figure.counted)
EXACT = item("esp32s3", "mlp", BATCH)


def run_of(record: ItemRecord) -> RunRecord:
    return RunRecord("tonight", "2026-01-31T03:00:00+00:00", "harness run", {"commit": "beef"}, (record,))


def emulated(*medians: float | None, baseline: int | None = None, **same: object) -> ItemRecord:
    return replace(EXACT, trend=fabricated_run.trend(medians, 20, baseline, **same))


def on_silicon(count: float, *medians: float, board: str = "unit-1") -> ItemRecord:
    counts = CountStatistics("cycles", int(count), count, int(count), 20)
    earlier = fabricated_run.trend(medians, 20, fidelity="silicon", board="unit-1", count_unit="cycles")
    return replace(EXACT, fidelity="silicon", board=board, counts=counts, trend=earlier)


def marked(record: ItemRecord) -> list[str]:
    assert record.trend is not None
    now = present(run_of(record), record)
    return [kind for _, kind in followed(COUNT, record.trend.nights, now)]


def test_one_instruction_more_is_worse_the_night_it_comes_and_no_longer() -> None:
    assert marked(emulated(499_998.0, 499_999.0, 499_999.0)) == ["passed", "worse", "passed", "worse"]


def test_runs_on_other_inputs_or_fidelity_are_not_compared() -> None:
    assert marked(emulated(1.0, 2.0, data="other")) == ["passed"]
    assert marked(emulated(1.0, 2.0, fidelity="soc")) == ["passed"]
    fewer = replace(EXACT, trend=fabricated_run.trend((1.0, 2.0), 19))
    assert marked(fewer) == ["passed"]


def test_a_broken_night_leaves_a_gap() -> None:
    assert marked(emulated(5e5, None, 5e5)) == ["passed"] * 3


def test_silicon_is_worse_beyond_its_own_noise_only() -> None:
    rng = np.random.default_rng(7)
    noise = [float(1e6 * (1 + rng.normal(0, 0.003))) for _ in range(12)]
    assert marked(on_silicon(1.004e6, *noise))[-1] == "passed"
    assert marked(on_silicon(1.03e6, *noise))[-1] == "worse"
    assert "worse" not in marked(on_silicon(1e6, *noise))
    louder = [1e6 * (1 + sign * 0.01 * step) for step in range(1, 6) for sign in (1, -1)]
    assert marked(on_silicon(1.03e6, *louder))[-1] == "passed"


def test_another_board_stands_beside_the_steps() -> None:
    assert marked(on_silicon(1e6, 1.2e6, 1.2e6, board="unit-2")) == ["elsewhere", "elsewhere", "passed"]


def test_an_item_that_broke_last_night_and_works_again_is_better() -> None:
    record = emulated(5e5, None)
    found = changes(run_of(record), record)
    assert found is not None
    assert ("better", "verdict error → passed") in [(change.word, change.text) for change in found.found]


def test_changes_are_against_the_baseline_before_the_last_run() -> None:
    against_last, against_baseline = emulated(4e5, 5e5), emulated(4e5, 5e5, baseline=0)
    assert changes(run_of(against_last), against_last).found == ()  # type: ignore[union-attr]
    found = changes(run_of(against_baseline), against_baseline)
    assert found is not None
    assert found.since == "baseline night-0"
    assert [(change.word, change.text) for change in found.found] == [
        ("worse", "per inference 400\u00a0000 → 500\u00a0000 (+25.00%)")
    ]


@pytest.mark.parametrize(("before", "word"), [("passed", "worse"), ("error", "better")])
def test_a_verdict_gets_worse_or_better(before: str, word: str) -> None:
    night = Night("night", "2026-01-01T03:00:00", before, fidelity="isa")
    record = replace(EXACT, outcome="failed", trend=Trend((night,), night))
    found = changes(run_of(record), record)
    assert found is not None
    assert (found.found[0].word, found.found[0].text) == (word, f"verdict {before} → failed")


def test_without_an_earlier_run_nothing_changed() -> None:
    for known in (None, Trend()):
        record = replace(EXACT, trend=known)
        assert changes(run_of(record), record) is None
    assert "no earlier run" in render_html(run_of(replace(EXACT, trend=Trend())), {}, {})
    assert "first run" in summary_md(run_of(replace(EXACT, trend=Trend())))


def test_markdown_tells_what_got_worse_first() -> None:
    slower = emulated(4e5)
    better = replace(emulated(6e5), target="esp32c3")
    lines = summary_md(replace(run_of(slower), items=(better, slower))).splitlines()
    told = [line for line in lines if line.startswith("- ")]
    assert [line.split()[1] for line in told] == ["**worse**", "better"]
    assert "esp32s3-mlp-tflm: per inference 400 000 → 500 000" in told[0]


def test_page_draws_the_steps_the_baseline_and_a_row_for_each_run() -> None:
    page = render_html(run_of(emulated(4e5, None, 4.9e5, baseline=0)), {}, {})
    plot = re.search(r'<svg class="plot"[^>]*aria-label="instructions[^"]*3 runs.*?</svg>', page)
    assert plot is not None
    assert plot.group().count('class="mark') == 3
    assert plot.group().count("mark worse") == 2
    assert "baseline</text>" in plot.group()
    assert 'class="steps"' in plot.group()
    assert page.count('<th scope="row">2025-12-0') == 3
    assert "3\u00a0earlier runs" in page


def test_a_record_keeps_the_last_runs_of_its_key_and_the_history_keeps_none(tmp_path: Path) -> None:
    with History(f"sqlite:///{tmp_path / 'h.sqlite'}") as history:
        for number in range(NIGHTS + 5):
            vendor = replace(EXACT, kernels="vendor")
            run = RunRecord(
                f"r{number:02d}", f"2026-01-01T00:{number:02d}:00", "", {"commit": "c"}, (EXACT, vendor)
            )
            history.add(run, {})
        history.set_baseline([history.run_entries("r03")[0]], "why")
        last = f"r{NIGHTS + 4}"
        found = trend(history, EXACT, last)
        assert [night.run_id for night in found.nights] == [f"r{n:02d}" for n in range(4, NIGHTS + 4)]
        assert found.baseline is not None
        assert found.baseline.run_id == "r03"
        night = found.nights[-1]
        assert (night.data, night.samples, night.count_median, night.commit) == ("da7a", 20, 5e5, "c")
        history.add(RunRecord("again", "2026-01-02", "", {}, (replace(EXACT, trend=found),)), {})
        assert history.record(history.run_entries("again")[0]).trend is None
