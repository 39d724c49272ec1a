"""The time an inference may take on the chip, with error bars, from figures published for real boards.

The figures are of Espressif's own kernels (latency.toml); the portable ones have never been timed on a chip.
Emulated instruction counts have no part in it.
"""

from __future__ import annotations

import functools
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from harness.portable.plan import Plan

ONE_POINT_FACTOR = 2.0


@dataclass(frozen=True)
class Latency:
    """Expected on silicon: `expected_us` in `low_us` to `high_us`, from `points` published figures."""

    low_us: float
    expected_us: float
    high_us: float
    clock_mhz: int
    points: int
    source: str


@dataclass(frozen=True)
class Engine:
    """Published figures of one engine on one chip. `ns_per_mac` fits them in the middle; a network may be so
    much faster (`low`) or slower (`high`) as theirs were.
    """

    clock_mhz: int
    source: str
    cache_bytes: int | None
    flash_bytes_per_s: float
    ns_per_mac: float
    low: float
    high: float
    points: int


def expected(plan: Plan, runtime: str, target: str) -> Latency | None:
    """For a network in a runtime, quantised as `runtime` says; None where no figure is published."""
    engine = _engines().get((runtime, target))
    if engine is None:
        return None
    macs = sum(step.macs for step in plan.steps)
    refill = refill_bytes(plan, engine.cache_bytes) if engine.cache_bytes else 0
    if macs == 0:
        return None
    middle_us = macs * engine.ns_per_mac / 1e3 + _refill_us(refill, engine.flash_bytes_per_s)
    return Latency(
        low_us=middle_us * engine.low,
        expected_us=middle_us,
        high_us=middle_us * engine.high,
        clock_mhz=engine.clock_mhz,
        points=engine.points,
        source=engine.source,
    )


def refill_bytes(plan: Plan, cache_bytes: int) -> int:
    """What is read from flash where a layer's weights, needed at every pixel, exceed the cache."""
    total = 0
    for step in plan.steps:
        arrays = [each.values for each in step.constants() if each.name.startswith("weights")]
        weights_bytes = sum(array.nbytes for array in arrays)
        if weights_bytes > cache_bytes:
            total += weights_bytes * step.macs // max(array.size for array in arrays)
    return total


def _refill_us(refill: int, flash_bytes_per_s: float) -> float:
    return refill / flash_bytes_per_s * 1e6 if refill else 0.0


@functools.cache
def _engines() -> dict[tuple[str, str], Engine]:
    text = (files("harness") / "fit" / "latency.toml").read_text(encoding="utf-8")
    return {(row["runtime"], row["target"]): _engine(row) for row in tomllib.loads(text)["engine"]}


def _engine(row: Mapping[str, Any]) -> Engine:
    points, flash = row["points"], row.get("flash_bytes_per_s", 0.0)
    refills = [_refill_us(point.get("refill_bytes", 0), flash) for point in points]
    # The rate is that of the points in which arithmetic, not flash, is what is waited for.
    rates = [
        (point["us"] - refill) * 1e3 / point["macs"]
        for point, refill in zip(points, refills, strict=True)
        if refill < point["us"] / 2
    ]
    ns_per_mac = math.sqrt(min(rates) * max(rates))
    ratios = [
        point["us"] / (point["macs"] * ns_per_mac / 1e3 + refill)
        for point, refill in zip(points, refills, strict=True)
    ]
    alone = len(points) == 1
    return Engine(
        clock_mhz=row["clock_mhz"],
        source=row["source"],
        cache_bytes=row.get("cache_bytes"),
        flash_bytes_per_s=flash,
        ns_per_mac=ns_per_mac,
        low=1 / ONE_POINT_FACTOR if alone else min(ratios),
        high=ONE_POINT_FACTOR if alone else max(ratios),
        points=len(points),
    )
