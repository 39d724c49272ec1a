"""A run on the terminal: a table where it fits, one short block per item where it does not.

In CI (no terminal) the blocks come as plain unwrapped lines. Text from devices and models
is shown without its control characters.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from rich import box
from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from harness.records.schema import ItemRecord, RunRecord
from harness.report import divergence, trend
from harness.report.comparison import Comparison, comparisons, label
from harness.report.figures import (
    DASH,
    ISA_NOTICE,
    VERDICTS,
    byte_size,
    closeness,
    count_range,
    count_unit,
    duration,
    grouped,
    layers_checked,
    least_free,
    measurement,
    memory_line,
    micros,
    own_time,
    percent,
    reconstruction_lines,
    runtime_gap,
    runtime_label,
    small,
    spread,
    verdict_sentence,
)

TABLE_WIDTH = 150
"""Columns the table needs; narrower terminals get blocks."""

NAMES = 18
"""Columns for the names of figures."""

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_STYLES = {"passed": "green", "failed": "bold red", "error": "bold magenta"}


def plain(text: str) -> str:
    """Without control characters, so that no log can move the cursor or change colours."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)


def render_table(run: RunRecord, console: Console) -> None:
    """Prints every item's figures, what went wrong, and the verdict over all."""
    if any(item.fidelity == "isa" for item in run.items):
        notice = Text(ISA_NOTICE, "yellow")
        _print(
            console, Panel(notice, border_style="yellow", box=box.ROUNDED) if console.is_terminal else notice
        )
    if console.is_terminal and console.width >= TABLE_WIDTH:
        console.print(_table(run), highlight=False)
        for item in run.items:
            if lines := [*_reasons(item), *_remarks(item), *_changes(run, item)]:
                _print(console, Text(plain(item.key), "bold"))
                _print_lines(console, lines)
    else:
        for item in run.items:
            _print_block(console, run, item)
    for comparison in comparisons(run):
        _print_comparison(console, comparison)
    if own := own_time(run):
        _print(console, Text(own.capitalize()))
    outcome = next(
        (name for name in ("error", "failed") if any(i.outcome == name for i in run.items)), "passed"
    )
    _print(console, Text(f"{verdict_sentence(run)} in {duration(run.duration_s)}", _STYLES[outcome]))


def _print(console: Console, renderable: RenderableType) -> None:
    console.print(renderable, soft_wrap=not console.is_terminal)


@dataclass(frozen=True)
class Line:
    """A figure or remark below an item's name. `name` "" goes on with the one before, None is a sentence."""

    name: str | None
    text: str
    style: str = ""


def _print_lines(console: Console, lines: Sequence[Line]) -> None:
    """On a terminal long texts wrap beside their names; elsewhere each is one line."""
    for sentences, group in groupby(lines, key=lambda line: line.name is None):
        if sentences or not console.is_terminal:
            for line in group:
                name = "" if line.name is None else f"{line.name:<{NAMES - 1}} "
                _print_indented(console, Text(name + line.text, line.style))
            continue
        grid = Table.grid(padding=(0, 1, 0, 0))
        grid.add_column(width=NAMES - 1, overflow="fold")
        grid.add_column(overflow="fold")
        for line in group:
            grid.add_row(Text(line.name or "", line.style), Text(line.text, line.style))
        _print(console, Padding(grid, (0, 0, 0, 2)))


def _reasons(item: ItemRecord) -> list[Line]:
    reasons = [*item.failures, *([item.error] if item.error else [])]
    return [Line(None, plain(reason), "red") for reason in reasons]


def _verdict(item: ItemRecord) -> Text:
    return Text(VERDICTS.get(item.outcome, plain(item.outcome)), _STYLES.get(item.outcome, ""))


def _top1(item: ItemRecord) -> tuple[str, str, str]:
    accuracy = item.accuracy
    if accuracy is None:
        return DASH, DASH, DASH
    return percent(accuracy.device), percent(accuracy.oracle), percent(accuracy.reference)


def _print_block(console: Console, run: RunRecord, item: ItemRecord) -> None:
    head = Text.assemble(
        _verdict(item),
        "  ",
        (" ".join(plain(part) for part in (item.target, item.model, runtime_label(item))), "bold"),
        f"  fidelity {plain(item.fidelity or DASH)}",
    )
    _print(console, head)
    notes = [Line(None, plain(note), "dim") for note in item.notes]
    figures = [Line(name, value) for name, value in _block_lines(item)]
    _print_lines(console, [*_reasons(item), *notes, *figures, *_remarks(item), *_changes(run, item)])


def _print_comparison(console: Console, comparison: Comparison) -> None:
    """One aligned line for each way the model ran; a star where no other beats it."""
    names = [plain(label(item)) for item in comparison.items]
    width = max(map(len, names)) + 2
    title = f"{plain(comparison.model)} on {plain(comparison.target)}: {len(names)} ways to run it"
    _print(console, Text(f"{title}; * no other is as accurate and as cheap", "bold"))
    for name, item in zip(names, comparison.items, strict=True):
        gap, memory = item.quantisation_gap, item.memory
        star = "*" if comparison.unbeaten(item) else " "
        figures = [
            f"{comparison.quality} {comparison.show(comparison.quality_of(item)):>9}",
            f"agreement {percent(gap.agreement if gap else None):>9}",
            f"max |Δ| {small(gap.max_abs if gap else None):>9}",
            f"flash {byte_size(memory.flash_bytes if memory else None):>10}",
            f"arena {byte_size(memory.arena_bytes if memory else None):>9}",
            f"{grouped(comparison.count_of(item)):>12} {comparison.unit or ''}",
        ]
        if comparison.quality != "top-1":
            del figures[1]
        _print_indented(console, Text(f"{star} {name:<{width}}{'  '.join(figures)}".rstrip()))


def _print_indented(console: Console, line: Text) -> None:
    _print(console, Padding(line, (0, 0, 0, 2)) if console.is_terminal else Text("  ") + line)


def _remarks(item: ItemRecord) -> list[Line]:
    """The measurements and the first wrong layer."""
    found = [*_measurement_lines(item), *_divergence_lines(item)]
    return [Line(name, value) for name, value in found]


def _changes(run: RunRecord, item: ItemRecord) -> Iterator[Line]:
    """What got better or worse since the baseline or the last run, where something did."""
    if (found := trend.changes(run, item)) is None:
        return
    for change in found.found:
        text = f"{plain(change.text)} since {plain(found.since)}"
        yield Line(change.word, text, "red" if change.worse else "green")


def _divergence_lines(item: ItemRecord) -> list[tuple[str, str]]:
    if item.divergence is None:
        return []
    return [(name, plain(text)) for name, text in divergence.lines(item.divergence)]


def _measurement_lines(item: ItemRecord) -> list[tuple[str, str]]:
    """All but memory that fits, which has a line already."""
    shown = [
        one for one in item.measurements if one.verdict != "PASS" or not one.figure.startswith("memory_")
    ]
    return [(plain(one.name), plain(measurement(one))) for one in shown]


def _block_lines(item: ItemRecord) -> Iterator[tuple[str, str]]:
    if item.runtime_gap:
        yield "runtime gap", runtime_gap(item)
        yield "layers checked", layers_checked(item)
    if item.quantisation_gap:
        gap = item.quantisation_gap
        agreed = gap.agreement is not None or gap.snr_db is None  # older records know no SNR
        first = f"{'agreement' if agreed else 'SNR'} {closeness(gap)}, max |Δ| {small(gap.max_abs)}"
        yield "quantisation gap", first if agreed else f"{first}, RMSE {small(gap.rmse)}"
    if item.accuracy and item.accuracy.device is not None:
        yield "top-1", "device {}, oracle {}, float {}".format(*_top1(item))
    if item.reconstruction:
        yield from reconstruction_lines(item.reconstruction)
    if item.counts:
        yield "per inference", plain(count_range(item))
        if count_unit(item):
            yield from (("", "; ".join(found)) for found in [spread(item.counts)] if found)
    if item.latency:
        yield "time", micros(item)
        yield from (("", "; ".join(found)) for found in [spread(item.latency)] if found)
    if item.memory:
        yield "memory", memory_line(item.memory)
        if free := least_free(item.memory):
            yield "least free", plain(free)


def _table(run: RunRecord) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("target, model\nruntime/kernels", overflow="fold")
    table.add_column("verdict\nfidelity")
    table.add_column("runtime gap\nlayers checked", overflow="fold")
    table.add_column("agreement or SNR\nmax |Δ|", justify="right")
    table.add_column("top-1 device\noracle / float", justify="right")
    table.add_column("per inference: median\n\\[min … max]", justify="right")
    table.add_column("flash\narena / stack", justify="right")
    for item in run.items:
        table.add_row(*_table_cells(item))
    return table


def _table_cells(item: ItemRecord) -> Iterator[RenderableType]:
    quantisation, counts, memory, unit = item.quantisation_gap, item.counts, item.memory, count_unit(item)
    device, oracle, reference = _top1(item)
    yield Text(f"{plain(item.target)} {plain(item.model)}\n{plain(runtime_label(item))}")
    yield Text.assemble(_verdict(item), f"\n{plain(item.fidelity or DASH)}")
    yield f"{runtime_gap(item)}\n{layers_checked(item)}"
    yield f"{closeness(quantisation)}\n{small(quantisation.max_abs if quantisation else None)}"
    yield f"{device}\n{oracle} / {reference}"
    if counts and unit:
        yield Text(
            f"{grouped(counts.median)} {plain(unit)}\n[{grouped(counts.minimum)} … {grouped(counts.maximum)}]"
        )
    else:
        yield f"{DASH}\n{DASH}"
    if memory:
        low = f"{byte_size(memory.arena_bytes)} / {byte_size(memory.stack_used_bytes)}"
        yield f"{byte_size(memory.flash_bytes)}\n{low}"
    else:
        yield f"{DASH}\n{DASH}"
