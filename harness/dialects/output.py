"""A parsed log as JSON, as CSV and as tables for a terminal. It only shows; nothing is computed."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.dialects.compare import Comparison
from harness.dialects.records import Inference, Latency, Number, ParsedLog, Verdict
from harness.records.serialise import SCHEMA, dump, to_plain
from harness.report.figures import DASH, closeness, percent, small
from harness.report.terminal import plain

COLUMNS = ("kind", "item", "name", "type", "value", "unit", "line")


def parsed_json(parsed: ParsedLog, comparison: Comparison | None) -> str:
    """One line: the fields of `ParsedLog`, and `comparison`, null where none was asked for."""
    fields = {name: to_plain(value) for name, value in vars(parsed).items() if name != "lines_used"}
    return dump({"schema": SCHEMA, "kind": "parsed_log", **fields, "comparison": to_plain(comparison)})


def parsed_csv(parsed: ParsedLog, comparison: Comparison | None) -> str:
    """One row per figure, columns `COLUMNS`; `item` counts inferences, profiles, tables and tests
    from 0, each kind by itself, and is empty for a latency that belongs to no inference."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in _rows(parsed, comparison):
        writer.writerow(["" if cell is None else plain(str(cell)) for cell in row])
    return text.getvalue()


def _rows(parsed: ParsedLog, comparison: Comparison | None) -> Iterator[tuple[Any, ...]]:
    for item, inference in enumerate(parsed.inferences):
        for index, score in enumerate(inference.scores):
            name = _score_name(inference, index)
            yield "score", item, name, None, score, inference.score_unit, inference.line
        if inference.input is not None:
            yield "input", item, None, None, inference.input, None, inference.line
        if inference.result is not None:
            yield "result", item, None, None, inference.result, None, inference.line
        for latency in inference.latencies:
            yield "latency", item, latency.label, None, latency.value, latency.unit, latency.line
    for latency in parsed.latencies:
        yield "latency", None, latency.label, None, latency.value, latency.unit, latency.line
    for item, profile in enumerate(parsed.profiles):
        for row in profile.rows:
            yield "profile", item, row.name, row.type, row.value, profile.unit, profile.line
        yield "profile_total", item, profile.model, profile.kind, profile.total, profile.unit, profile.line
    for item, table in enumerate(parsed.memory):
        for memory in table.rows:
            sizes = (memory.internal_kb, memory.psram_kb, memory.flash_kb)
            for where, size in zip(("internal", "psram", "flash"), sizes, strict=True):
                yield "memory", item, memory.name, where, size, "KB", table.line
    for item, verdict in enumerate(parsed.verdicts):
        yield "test", item, verdict.reason, None, _verdict(verdict), None, verdict.line
    for figure, value in _figures(comparison):
        yield "comparison", None, figure, None, value, None, None
    for note in parsed.notes:
        yield "note", None, note.text, None, None, None, note.line


def render(parsed: ParsedLog, comparison: Comparison | None, console: Console) -> None:
    """Prints a table per kind of finding, then what a reader must know."""
    console.print(Text(f"dialect {parsed.dialect}", "bold"))
    if parsed.inferences:
        _print(console, "inferences", ("#", "line", "scores", "latency", "result"), _inferences(parsed))
    if parsed.latencies:
        rows = ((str(latency.line), _latency(latency)) for latency in parsed.latencies)
        _print(console, "latencies", ("line", "latency"), rows)
    for profile in parsed.profiles:
        rows_shown = [(row.name, row.type or "", f"{row.value} {profile.unit}") for row in profile.rows]
        total = DASH if profile.total is None else f"{profile.total} {profile.unit}"
        title = f"{profile.kind}, line {profile.line}"
        _print(console, title, ("name", "type", "time"), [*rows_shown, ("total", "", total)])
    for table in parsed.memory:
        cells = (
            (row.name, *map(_kilobytes, (row.internal_kb, row.psram_kb, row.flash_kb))) for row in table.rows
        )
        title = f"memory, line {table.line}" + (f": {table.model}" if table.model else "")
        _print(console, title, ("", "internal RAM", "PSRAM", "flash"), cells)
    if parsed.verdicts:
        tests = (
            (str(verdict.line), _verdict(verdict), ", ".join(verdict.outputs), verdict.reason or "")
            for verdict in parsed.verdicts
        )
        _print(console, "verdicts", ("line", "verdict", "outputs", "reason"), tests)
    if comparison:
        figures = ((name, str(value)) for name, value in _figures(comparison))
        _print(console, f"{comparison.model} on {comparison.data}", ("figure", "value"), figures)
    for note in parsed.notes:
        console.print(Text(plain(f"line {note.line}: {note.text}"), "yellow"), soft_wrap=True)


def _print(console: Console, title: str, columns: Iterable[str], rows: Iterable[tuple[str, ...]]) -> None:
    table = Table(title=Text(plain(title)), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(plain(cell)) for cell in row))
    console.print(table)


def _inferences(parsed: ParsedLog) -> Iterator[tuple[str, ...]]:
    for index, inference in enumerate(parsed.inferences):
        scores = ", ".join(
            (f"{inference.score_names[at]} " if inference.score_names else "") + _number(score)
            for at, score in enumerate(inference.scores)
        )
        latencies = ", ".join(map(_latency, inference.latencies))
        shown = scores if inference.complete else f"{scores} (not whole)"
        yield str(index), str(inference.line), shown, latencies, inference.result or ""


def _score_name(inference: Inference, index: int) -> str:
    return inference.score_names[index] if inference.score_names else str(index)


def _number(value: Number | None) -> str:
    return DASH if value is None else str(value)


def _latency(latency: Latency) -> str:
    return f"{latency.label} {latency.value} {latency.unit or '(no unit printed)'}"


def _kilobytes(size_kb: float | None) -> str:
    return DASH if size_kb is None else f"{size_kb:.2f} KB"


def _verdict(verdict: Verdict) -> str:
    return {True: "passed", False: "failed", None: "not finished"}[verdict.passed]


def _figures(comparison: Comparison | None) -> Iterator[tuple[str, str]]:
    if comparison is None:
        return
    yield "samples", str(comparison.samples)
    if gap := comparison.runtime_gap:
        yield "runtime gap, LSB", str(gap.max_lsb)
        yield "elements that differ", f"{gap.mismatching_elements} of {gap.elements}"
    if both := comparison.whole_gap:
        word = "SNR to" if both.agreement is None else "agreement with"
        yield f"{word} {both.reference}", closeness(both)
        yield f"max |device - {both.reference}|", small(both.max_abs)
    if comparison.accuracy.device is not None:
        yield "top-1, device", percent(comparison.accuracy.device)
        yield "top-1, oracle", percent(comparison.accuracy.oracle)
        yield "top-1, float", percent(comparison.accuracy.reference)
