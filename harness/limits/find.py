"""The limit of one family of networks on one chip: the memory map is bisected, its answer built and run."""

from __future__ import annotations

from dataclasses import dataclass

from harness.limits.families import Family
from harness.limits.probe import Probe, Verdict
from harness.limits.search import Found, bisect, settle
from harness.progress import Say
from harness.report.figures import many


@dataclass(frozen=True)
class Limit:
    """`largest` works and `first`, the next size, does not; None where there is none."""

    family: Family
    largest: Verdict | None
    first: Verdict | None

    @property
    def wrong(self) -> bool:
        """Whether a network ran and did not agree: a fault of ours, no limit of the chip."""
        outcome = self.first.outcome if self.first else None
        return outcome is not None and bool(outcome.wrong)


def find(family: Family, probe: Probe, build: bool, say: Say) -> Limit:
    """Without `build`, the answer is the memory map's alone.

    Raises:
        MissingError: the compiler or QEMU is not installed.
    """
    reckoned: dict[int, Verdict] = {}
    real: dict[int, Verdict] = {}

    def by_map(size: int) -> bool:
        if size not in reckoned:
            reckoned[size] = probe.by_map(family.sketch(size), size)
        return reckoned[size].works

    def really(size: int) -> bool:
        if size not in real:
            sketch = family.sketch(size)
            title = f"{family.what}: {size} {family.unit}, {sketch.parameters:,} parameters"
            say(f"{title}: building and running")
            real[size] = probe.really(sketch, size)
            say(f"{title}: {'works' if real[size].works else 'does not work'}")
        return real[size].works

    found = bisect(by_map, family.smallest, family.largest)
    say(f"{family.what}: by the memory map, {_sizes(found)}; {many(len(reckoned), 'size')} tried")
    known = reckoned
    if build:
        found, known = settle(really, found, family.smallest, family.largest), real
    return Limit(
        family,
        None if found.largest is None else known[found.largest],
        None if found.first is None else known[found.first],
    )


def _sizes(found: Found) -> str:
    if found.largest is None:
        return f"not even {found.first} works"
    return f"{found.largest} works" + ("" if found.first is None else f", {found.first} does not")
