"""What one record is about: a target, a model, a runtime and whose kernels."""

from __future__ import annotations

from dataclasses import dataclass

from harness.model.spec import ModelSpec
from harness.targets import Target


@dataclass(frozen=True)
class Item:
    """target x model x runtime x kernels."""

    target: Target
    model: ModelSpec
    runtime: str
    kernels: str

    @property
    def key(self) -> str:
        """As `records.ItemRecord.key`: unique within a run, `-portable` goes without saying."""
        parts = [self.target.id, self.model.name, self.runtime]
        return "-".join(parts if self.kernels == "portable" else [*parts, self.kernels])
