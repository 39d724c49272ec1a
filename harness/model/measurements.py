"""Measurements that a model.toml declares: which figure, in which unit, what for, and what is allowed.

    [measurements.speed]            a name of your own
    figure = "count_median"         of items.csv; default: the name
    unit = "instructions (emulated)"    counts are judged in this unit only
    doc = "one frame in 10 ms"      what it is good for; stands in the reports
    min = 0.95                      the least and the most that are allowed, in the figure's unit
    max = 2000000
    regression = 0.0                how much worse than the baseline is allowed: a share of it (0.02 is
                                    2 %), of top-1 and agreement the difference (0.002 is 0.2 points),
                                    of an SNR the difference in dB
    targets = ["esp32c3"]           only there; default: everywhere
    runtimes = ["tflm"]

At least one of min, max and regression. What they mean for a figure is `harness.measure.gates`.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from harness.measure.gates import FIGURES, Declared

Refuse = Callable[[str, str, object], Exception]


@dataclass(frozen=True)
class Scoped:
    """A measurement and where it holds; empty means everywhere."""

    declared: Declared
    targets: tuple[str, ...] = ()
    runtimes: tuple[str, ...] = ()

    def holds(self, target: str, runtime: str) -> bool:
        return (not self.targets or target in self.targets) and (
            not self.runtimes or runtime in self.runtimes
        )

    def table(self) -> dict[str, object]:
        """As `read_measurements` reads it."""
        one = self.declared
        values: dict[str, object] = {
            "figure": one.figure,
            "unit": one.unit,
            "doc": one.doc,
            "min": one.minimum,
            "max": one.maximum,
            "regression": one.regression,
            "targets": list(self.targets),
            "runtimes": list(self.runtimes),
        }
        return {key: value for key, value in values.items() if value not in (None, "", [])}


_KEYS = ("figure", "unit", "doc", "min", "max", "regression", "targets", "runtimes")


def read_measurements(tables: object, refuse: Refuse) -> tuple[Scoped, ...]:
    """From the TOML table [measurements]; `refuse` makes an error of key, expected, came."""
    if not isinstance(tables, dict):
        raise refuse("measurements", "tables like [measurements.count_median]", tables)
    return tuple(_one(name, table, refuse) for name, table in tables.items())


def _one(name: str, table: object, refuse: Refuse) -> Scoped:
    at = f"measurements.{name}"
    if not isinstance(table, dict):
        raise refuse(at, "a table", table)
    for key in table:
        if key not in _KEYS:
            raise refuse(f"{at}.{key}", f"one of the keys {', '.join(_KEYS)}", key)
    texts = {key: table.get(key, "") for key in ("figure", "unit", "doc")}
    for key, text in texts.items():
        if not isinstance(text, str):
            raise refuse(f"{at}.{key}", "text", text)
    figure = texts["figure"] or name
    if figure not in FIGURES:
        near = difflib.get_close_matches(figure, FIGURES, n=1)
        known = f"; did you mean {near[0]}?" if near else f", one of {', '.join(FIGURES)}"
        raise refuse(f"{at}.figure", f"a figure{known}", figure)
    limits = {key: _number(table, key, at, refuse) for key in ("min", "max", "regression")}
    if all(limit is None for limit in limits.values()):
        raise refuse(at, "at least one of min, max and regression", "none")
    if (limits["regression"] or 0) < 0:
        raise refuse(f"{at}.regression", "a number of at least 0", limits["regression"])
    if FIGURES[figure].counted and not texts["unit"]:
        raise refuse(f"{at}.unit", "the unit of the count, e.g. cycles or instructions (emulated)", "none")
    declared = Declared(
        name, figure, texts["unit"], texts["doc"], limits["min"], limits["max"], limits["regression"]
    )
    return Scoped(declared, *(_names(table, key, at, refuse) for key in ("targets", "runtimes")))


def _number(table: dict[str, Any], key: str, at: str, refuse: Refuse) -> float | None:
    value = table.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < float("inf"):
        raise refuse(f"{at}.{key}", "a finite number", value)
    return float(value)


def _names(table: dict[str, Any], key: str, at: str, refuse: Refuse) -> tuple[str, ...]:
    names = table.get(key, [])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise refuse(f"{at}.{key}", "a list of texts", names)
    return tuple(names)
