"""Stored figures: what new ones are shown beside, and the tables of docs/performance.md made from them.

`instructions.json` holds what is the same on every machine, `machine.json` what is of one machine and its
load, and says which. Measures nothing.
"""

from __future__ import annotations

import datetime
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
EXACT, MACHINE = ROOT / "benchmarks" / "instructions.json", ROOT / "benchmarks" / "machine.json"
PAGE = ROOT / "docs" / "performance.md"
BEGIN, END = "<!-- begin: written by ./run benchmark --store -->", "<!-- end -->"

PER_MAC, PER_INFERENCE = "instructions per MAC", "instructions per inference"
ARENA, FLASH = "arena bytes", "flash bytes"
Table = dict[str, dict[str, float]]
"""Row, column, figure."""
Figures = dict[str, Table]
Parts = dict[str, dict[str, Any]]
"""By name a part of machine.json: `taken`, `cores`, `load` and `figures` by row."""

_COLUMNS = {"esp32c3": "rv32imc", "esp32s3": "Xtensa"}
_EXACT_HOW = {
    PER_MAC: "Counted by QEMU over the whole layer, requantisation included; random weights, a scale per "
    "channel. Every output byte was compared with the oracle's first.",
    PER_INFERENCE: "Counted by QEMU for one random input, the sum over the layers, each compared first.",
    ARENA: "*Here* is the plan's. tflite-micro's is what its recording allocator counts on a PC: activations "
    "alone, which a chip needs as well, and with its own records, which are smaller on a chip.",
}


@dataclass(frozen=True)
class Row:
    """How a figure of machine.json is written, what is wanted, and how it is taken."""

    unit: str
    wanted: str
    how: str
    digits: int = 2

    def text(self, value: float) -> str:
        return f"{value:,.{self.digits}f} {self.unit}"


_PROCESSOR = "processor time of the same: the wall time of a machine with nothing else to do"
_LINK = (
    "300 inputs of 784 bytes to native firmware behind a line paced at the rate: its time that carried inputs"
)
_NIGHT = "docs/nightly/nightly.toml: the zoo, every runtime, two chips; a process for each core"
ROWS: dict[str, dict[str, Row]] = {
    "start-up": {
        "harness --help": Row("s", "below 0.3", "wall time, median of five processes"),
        "harness --help, processor": Row("s", "", _PROCESSOR),
        "pytest --collect-only --target esp32c3": Row("s", "below 2", "wall time, median of five processes"),
        "pytest --collect-only --target esp32c3, processor": Row("s", "", _PROCESSOR),
    },
    "own-time": {
        "of the harness, per image": Row(
            "ms",
            "below 1",
            "mnist_mlp, 1,000 images, emulated ESP32-C3: processor time from first sample to result",
        ),
    },
    "link": {
        f"{baud:,} baud": Row("%", "95 or more", _LINK, 1) for baud in (115_200, 460_800, 921_600, 2_000_000)
    },
    "night": {
        "cold": Row("min", "at most 25", f"{_NIGHT}; nothing built before", 1),
        "warm": Row("min", "at most 10", "the same again", 1),
        "items": Row("", "", "how many these are", 0),
        "items passed": Row("", "", "in the worse of the two", 0),
        "images": Row("", "", "of all items", 0),
        "own time of the harness, per image": Row("ms", "below 1", "the warm one's, mean over all images"),
    },
}


def load(path: Path) -> dict[str, Any]:
    """What was stored, or nothing."""
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {}


def store(exact: Figures, parts: Parts) -> None:
    """Writes what is given, keeps the rest, and makes the page's tables from all."""
    for path, new in ((EXACT, exact), (MACHINE, parts)):
        if new:
            path.write_text(json.dumps({**load(path), **new}, indent=2) + "\n", encoding="utf-8")
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(with_tables(page, load(EXACT), load(MACHINE)), encoding="utf-8")


def taken(figures: dict[str, float], load_before: float) -> dict[str, Any]:
    """A part of machine.json, with what it is of."""
    return {
        "taken": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "cores": len(os.sched_getaffinity(0)),
        "load": round(load_before, 1),
        "figures": figures,
    }


def circumstances(part: dict[str, Any]) -> str:
    return f"{part['taken']}, {part['cores']} cores, load {part['load']} before"


def printed(title: str, rows: Table, stored: Table) -> str:
    """For a terminal: each figure with its change since the stored one."""
    columns = list(next(iter(rows.values())))
    lines = [f"{title:40}" + "".join(f"{column:>28}" for column in columns)]
    for name, row in rows.items():
        cells = [
            f"{_text(title, row[column]):>19} {_change(row, stored, name, column):>8}" for column in columns
        ]
        lines.append((f"{name:40}" + "".join(cells)).rstrip())
    return "\n".join(lines)


def _change(row: dict[str, float], stored: Table, name: str, column: str) -> str:
    before = stored.get(name, {}).get(column)
    if before is None:
        return "new"
    change = f"{100 * (row[column] / before - 1):+.1f} %"
    return "" if change in ("+0.0 %", "-0.0 %") else change


def printed_part(name: str, part: dict[str, Any], stored: dict[str, Any] | None) -> str:
    """For a terminal: the figures of one part, what is wanted, and what was stored."""
    lines = [f"{name} ({circumstances(part)})"]
    for row, value in part["figures"].items():
        kind, before = ROWS[name][row], (stored or {"figures": {}})["figures"].get(row)
        was = f"was {kind.text(before)}, {circumstances(stored)}" if stored and before is not None else "new"
        wanted = f"wanted {kind.wanted}; " if kind.wanted else ""
        lines.append(f"  {row:50}{kind.text(value):>14}   {wanted}{was}")
    return "\n".join(lines)


def with_tables(page: str, exact: Figures, parts: Parts) -> str:
    """The page with what stands between its two marks made anew."""
    before, rest = page.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n{tables(exact, parts)}\n{END}{after}"


def tables(exact: Figures, parts: Parts) -> str:
    """Everything stored but the flash bytes, as Markdown."""
    made = []
    for title, how in _EXACT_HOW.items():
        rows = exact[title]
        columns = list(next(iter(rows.values())))
        made += [f"### {title.capitalize()}", "", how, ""]
        made += _markdown([title, *(_COLUMNS.get(column, column) for column in columns)], "r" * len(columns))
        made += [
            f"| {name} | " + " | ".join(_text(title, row[c]) for c in columns) + " |"
            for name, row in rows.items()
        ]
        made.append("")
    made += ["### Of one machine", "", "These change with the machine and its load.", ""]
    made += _markdown(["what", "figure", "wanted", "how it was taken", "when"], "rlll")
    for name, part in parts.items():
        for row, value in part["figures"].items():
            kind = ROWS[name][row]
            cells = [f"{name}: {row}", kind.text(value).strip(), kind.wanted, kind.how, circumstances(part)]
            made.append(f"| {' | '.join(cells)} |")
    return "\n".join(made)


def _markdown(head: list[str], alignment: str) -> list[str]:
    """Head and rule of a table whose columns after the first are aligned so."""
    rule = ["---", *("---:" if side == "r" else "---" for side in alignment)]
    return [f"| {' | '.join(head)} |", f"|{'|'.join(rule)}|"]


def _text(title: str, value: float) -> str:
    return f"{value:.2f}" if title == PER_MAC else f"{value:,}"
