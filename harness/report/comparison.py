"""The same model on the same chip in several runtimes and quantisations, side by side.

Only arranges what the items' records hold: which belong together, which of them no other beats in both
accuracy and cost. Draws nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from harness.records.schema import ItemRecord, RunRecord
from harness.report.figures import count_unit, decibels, percent

SNR = "SNR"


@dataclass(frozen=True)
class Comparison:
    """`items` that ran to their end, of one model, target and set of inputs, in the run's order.

    `quality` names what they are judged by: top-1 on the device where there are labels, else the
    agreement with the float model, or where the output is no classes the SNR to it, in dB; `unit` is
    that of their counts, None where they do not share one.
    """

    model: str
    target: str
    items: tuple[ItemRecord, ...]
    quality: str
    unit: str | None

    @property
    def reference(self) -> float | None:
        """The float model's top-1, where that is what is compared."""
        shares = [item.accuracy.reference for item in self.items if item.accuracy]
        return shares[0] if shares and self.quality == "top-1" else None

    def quality_of(self, item: ItemRecord) -> float | None:
        """0..1, or dB; None where it was not measured."""
        if self.quality == "top-1":
            return item.accuracy.device if item.accuracy else None
        gap = item.quantisation_gap
        if gap is None:
            return None
        return gap.snr_db if self.quality == SNR else gap.agreement

    def show(self, quality: float | None) -> str:
        """What `quality_of` gives, with its unit."""
        return decibels(quality) if self.quality == SNR else percent(quality)

    def count_of(self, item: ItemRecord) -> float | None:
        """Median per inference in `unit`."""
        return item.counts.median if self.unit and item.counts else None

    def flash_of(self, item: ItemRecord) -> float | None:
        """Bytes of the whole image."""
        return item.memory.flash_bytes if item.memory else None

    def unbeaten(self, item: ItemRecord) -> bool:
        """On the Pareto front: no other is at least as good and as cheap in every known figure, and
        better in one.
        """
        return not any(self._beats(other, item) for other in self.items if other is not item)

    def _beats(self, a: ItemRecord, b: ItemRecord) -> bool:
        pairs = [(self.quality_of(b), self.quality_of(a))]
        pairs += [(cost(a), cost(b)) for cost in (self.count_of, self.flash_of)]
        known = [(low, high) for low, high in pairs if low is not None and high is not None]
        return all(low <= high for low, high in known) and any(low < high for low, high in known)


def label(item: ItemRecord) -> str:
    """How an item is called among others of its model and target: "espdl int16"."""
    family = item.runtime.partition(":")[0]
    kernels = "" if item.kernels == "portable" else f" {item.kernels}"
    unit = f" on {item.unit}" if item.unit else ""
    return f"{family} {item.scheme or ''}".rstrip() + kernels + unit


def comparisons(run: RunRecord) -> list[Comparison]:
    """One for each model and target that ran in more than one way."""
    return list(_found(run))


def _found(run: RunRecord) -> Iterator[Comparison]:
    groups: dict[tuple[str, str], list[ItemRecord]] = {}
    for item in run.items:
        if item.runtime_gap is not None:
            groups.setdefault((item.model, item.target), []).append(item)
    for (model, target), items in groups.items():
        if len({label(item) for item in items}) < 2:
            continue
        labelled = all(item.accuracy and item.accuracy.device is not None for item in items)
        units = {count_unit(item) for item in items}
        unit = units.pop() if len(units) == 1 else None
        classes = any(item.quantisation_gap and item.quantisation_gap.agreement is not None for item in items)
        known = any(item.quantisation_gap and item.quantisation_gap.snr_db is not None for item in items)
        quality = "top-1" if labelled else SNR if known and not classes else "agreement"
        yield Comparison(model, target, tuple(items), quality, unit)
