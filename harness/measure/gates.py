"""Gates: is a measured figure inside its declared limits, and no worse than the baseline?

A measurement is PASS, FAIL or UNSET: not measured, not in the declared unit, or nothing fit to compare
with. That is no statement about the run, which may be an error for reasons of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from harness.measure.statistics import greater, share_interval
from harness.records.schema import Measurement

PASS, FAIL, UNSET = "PASS", "FAIL", "UNSET"
P_MAX = 0.001
"""A slow-down on silicon must be less likely than this without one; a night in a thousand at most."""
MINIMUM_EFFECT = 0.01
"""And be more than this, whatever is declared: with enough samples any change is significant."""
LEAST_SAMPLES = 8
BASELINE_NIGHTS = 10
"""On silicon the first so many passed runs from the baseline on are the reference. Later ones are not, so
that a creeping slow-down does not move what it is measured against."""
EXACT_UNITS = ("instructions (emulated)",)


@dataclass(frozen=True)
class Figure:
    """Whether less is better; `counted`: has the unit of the device's counter; `timed`: is time;
    `samples`: the figure with the number of samples, where the figure is a share of them; `of_data`: other
    inputs give another value; `decibels`: the baseline is compared by difference, not by share.
    """

    less_is_better: bool = True
    counted: bool = False
    timed: bool = False
    samples: str | None = None
    of_data: bool = True
    decibels: bool = False


FIGURES = {
    **{f"count_{name}": Figure(counted=True) for name in ("median", "maximum", "p90", "p99", "cold")},
    **{f"latency_us_{name}": Figure(timed=True) for name in ("median", "maximum", "p90", "p99", "cold")},
    "top1_device": Figure(less_is_better=False, samples="top1_samples"),
    "quantisation_gap_agreement": Figure(less_is_better=False, samples="quantisation_gap_samples"),
    "quantisation_gap_snr_db": Figure(less_is_better=False, decibels=True),
    "quantisation_gap_max_abs": Figure(),
    "quantisation_gap_rmse": Figure(),
    "runtime_gap_max_lsb": Figure(),
    "reconstruction_auc_device": Figure(less_is_better=False),
    "reconstruction_mse_device": Figure(),
    **{
        f"memory_{name}_bytes": Figure(of_data=False)
        for name in ("flash", "ram", "arena", "model", "stack_used")
    },
    **{
        f"memory_{name}_low_bytes": Figure(less_is_better=False, of_data=False)
        for name in ("heap", "task_stack")
    },
}
"""What can be declared: names of `report.figures.flat_figures`."""


@dataclass(frozen=True)
class Declared:
    """A measurement as declared; see `harness.model.measurements` for what its fields mean."""

    name: str
    figure: str
    unit: str = ""
    doc: str = ""
    minimum: float | None = None
    maximum: float | None = None
    regression: float | None = None

    @property
    def limits(self) -> str:
        """ "0.95 or more, at most 2 % worse than the baseline"."""
        parts = []
        if self.minimum is not None:
            parts.append(f"{self.minimum:.10g} or more")
        if self.maximum is not None:
            parts.append(f"{self.maximum:.10g} or less")
        if self.regression is not None:
            points = FIGURES[self.figure].samples is not None
            worse = f"{self.regression * 100:g}{' points' if points else ' %'}"
            if FIGURES[self.figure].decibels:
                worse = f"{self.regression:g} dB"
            parts.append(f"at most {worse} worse than the baseline")
        return ", ".join(parts)


@dataclass(frozen=True)
class Measured:
    """What one run of an item knows: its figures, what its counts mean, its data, each inference's count."""

    figures: Mapping[str, object]
    fidelity: str | None
    data: str | None
    counts: NDArray[np.int64] = field(default_factory=lambda: np.array([], np.int64))
    run_id: str = ""

    def value(self, figure: str) -> float | None:
        value = self.figures.get(figure)
        return float(value) if isinstance(value, int | float) else None


def pooled(nights: Sequence[Measured]) -> Measured:
    """The baseline's night and the first ones after it as one: where counts vary, one night alone may be off.

    All figures are the first's but the median of counts, which is that of all inferences.
    """
    counts = np.concatenate([night.counts for night in nights])
    since = f" and {len(nights) - 1} since" if len(nights) > 1 else ""
    return Measured(
        {**nights[0].figures, "count_median": float(np.median(counts))},
        nights[0].fidelity,
        nights[0].data,
        counts,
        f"{nights[0].run_id}{since}",
    )


def judge(declared: Declared, now: Measured, baseline: Measured | None) -> Measurement:
    """The verdict on one measurement, with the reason in one phrase."""
    value = now.value(declared.figure)
    before = baseline.value(declared.figure) if baseline and declared.regression is not None else None
    why = _unfit(declared, now)
    verdicts = [(UNSET, why)] if why else []
    if not verdicts and value is not None:
        verdicts += [_absolute(declared, value, now)] if _bounded(declared) else []
        verdicts += [_relative(declared, value, now, baseline)] if declared.regression is not None else []
    verdict = next((one for one in (FAIL, UNSET) if any(found == one for found, _ in verdicts)), PASS)
    return Measurement(
        name=declared.name,
        figure=declared.figure,
        unit=declared.unit,
        doc=declared.doc,
        limits=declared.limits,
        value=value,
        verdict=verdict,
        reason="; ".join(reason for found, reason in verdicts if found == verdict),
        baseline=before,
        baseline_run=baseline.run_id if baseline and before is not None else None,
    )


def _bounded(declared: Declared) -> bool:
    return declared.minimum is not None or declared.maximum is not None


def _unfit(declared: Declared, now: Measured) -> str:
    """Why a value must not be judged; "" when it may."""
    figure = FIGURES[declared.figure]
    if now.value(declared.figure) is None:
        return "not measured"
    if figure.timed and now.fidelity != "silicon":
        return f"time on fidelity {now.fidelity} is not the chip's"
    unit = now.figures.get("count_unit")
    if figure.counted and unit != declared.unit:
        return f"this board counts {unit}, declared are {declared.unit}"
    return ""


def _absolute(declared: Declared, value: float, now: Measured) -> tuple[str, str]:
    low, high = declared.minimum, declared.maximum
    samples = FIGURES[declared.figure].samples
    number = int(now.value(samples) or 0) if samples else 0
    if number:
        # A share of some samples: out of range only where the whole interval is.
        least, most = share_interval(value, number)
        interval = f"{value:.4f} of {number} samples, 95 % interval {least:.4f} … {most:.4f}"
        outside = (low is not None and most < low) or (high is not None and least > high)
        return (FAIL if outside else PASS), interval
    outside = (low is not None and value < low) or (high is not None and value > high)
    return (FAIL if outside else PASS), f"{value:.10g}"


def _relative(declared: Declared, value: float, now: Measured, baseline: Measured | None) -> tuple[str, str]:
    if baseline is None:
        return UNSET, "no baseline: harness baseline set"
    before = baseline.value(declared.figure)
    if before is None:
        return UNSET, f"the baseline {baseline.run_id} did not measure it"
    if FIGURES[declared.figure].of_data and baseline.data != now.data:
        return UNSET, f"the baseline {baseline.run_id} ran on other data"
    if why := _unfit(declared, baseline):
        return UNSET, f"the baseline {baseline.run_id}: {why}"
    allowed, figure = declared.regression or 0.0, FIGURES[declared.figure]
    lost = before - value
    if figure.samples:
        return (FAIL if lost > allowed + 1e-12 else PASS), f"{value:.4f}, baseline {before:.4f}"
    if figure.decibels:
        return (FAIL if lost > allowed + 1e-12 else PASS), f"{value:.4g} dB, baseline {before:.4g} dB"
    change = value / before - 1 if before else float(value > 0)
    worse = change if figure.less_is_better else -change
    said = f"{value:.10g}, {change:+.2%} against {before:.10g}"
    exact = not (figure.timed or figure.counted) or declared.unit in EXACT_UNITS
    if exact:
        return (FAIL if worse > allowed + 1e-12 else PASS), said
    return _slower(declared, worse, allowed, said, now, baseline)


def _slower(
    declared: Declared, worse: float, allowed: float, said: str, now: Measured, baseline: Measured
) -> tuple[str, str]:
    """A count that varies from run to run: worse by more than is allowed, and not by chance."""
    if "silicon" not in (now.fidelity, baseline.fidelity) or now.fidelity != baseline.fidelity:
        return UNSET, f"fidelity {baseline.fidelity} then, {now.fidelity} now: only silicon has a speed"
    if declared.figure != "count_median":
        return UNSET, "only count_median can be compared inference by inference"
    if min(len(now.counts), len(baseline.counts)) < LEAST_SAMPLES:
        return UNSET, f"fewer than {LEAST_SAMPLES} inferences to compare"
    p = greater(now.counts, baseline.counts)
    slower = p < P_MAX and worse > max(allowed, MINIMUM_EFFECT)
    return (FAIL if slower else PASS), f"{said}, p {p:.2g}"
