"""What one record is about: a target, a model, a runtime and whose kernels; and the artifact it runs."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from harness.errors import ModelError, UsageError
from harness.model.keras_onnx import float_onnx
from harness.model.spec import ModelSpec
from harness.runtimes import get_runtime
from harness.runtimes.base import Artifact
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


def load_artifact(model: ModelSpec, runtime: str, target: Target | None = None) -> Artifact:
    """A model's artifact for a runtime on a chip; not every runtime needs to know which.

    Raises:
        UsageError: no chip given where the runtime's files differ by chip.
        ModelError: the model has none of the kind this runtime takes, or it does not load.
        UnsupportedError: it holds what the runtime does not support, or the runtime not the chip.
    """
    owner = get_runtime(runtime)
    if target is None and owner.by_chip:
        raise UsageError(
            f"runtime {runtime} has a file for each kind of chip", "Name one, e.g. --target esp32s3"
        )
    variant = owner.variant(target) if target else ""
    kind = owner.artifact_kind
    if variant and f"{kind}_{variant}" in model.artifacts:
        path = model.artifacts[f"{kind}_{variant}"]
    elif kind in model.artifacts:
        path = model.artifacts[kind]
    elif kind == "onnx" and (converted := float_onnx(model)) is not None:
        path = converted
    else:
        had = ", ".join(f".{key}".replace("_", " for ") for key in model.artifacts)
        chip = f" for {target.id}" if target and variant else ""
        raise ModelError(
            f"{model.name}: runtime {runtime} takes a .{kind} file{chip}, this model has {had}",
            owner.conversion_hint,
        )
    return dataclasses.replace(owner.load(path, variant), name=model.name)
