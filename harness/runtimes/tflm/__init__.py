"""Runtime `tflm`: int8 .tflite files, as TensorFlow Lite for Microcontrollers runs them.

Reads and checks the file (`reader`), gives the oracle (`oracle`), and has the portable
kernels generated. It does not quantise: .tflite files come quantised.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from harness.errors import ModelError, UnsupportedError, UsageError
from harness.portable.graph import Graph
from harness.portable.plan import Plan, make_plan
from harness.portable.project import write_project
from harness.portable.source import Identity
from harness.runtimes.base import Artifact, Oracle, Project, Runtime
from harness.runtimes.tflm.oracle import TflmOracle
from harness.runtimes.tflm.reader import read
from harness.tensors import Layer


@dataclass(frozen=True)
class TflmArtifact(Artifact):
    """An artifact with what was read from it; `plan` also proves that every operator is supported."""

    graph: Graph
    plan: Plan


class Tflm(Runtime):
    name = "tflm"
    kernels = ("portable",)
    artifact_kind = "tflite"
    conversion_hint = (
        "Convert it with full-integer quantisation (TFLiteConverter with a representative dataset and "
        "TFLITE_BUILTINS_INT8), batch 1"
    )

    def load(self, path: Path, variant: str = "") -> TflmArtifact:  # noqa: ARG002 - all chips take one file
        try:
            data = path.read_bytes()
        except OSError as error:
            raise ModelError(f"cannot read {path}: {error.strerror}", "Check the path") from error
        try:
            graph = read(data)
            plan = make_plan(graph)
        except (ModelError, UnsupportedError) as error:
            raise type(error)(f"{path}: {error.message}", error.remedy) from error
        return TflmArtifact(
            runtime=self.name,
            name=path.parent.name if path.stem == "model" else path.stem,
            path=path,
            data=data,
            digest=hashlib.sha256(data).hexdigest(),
            inputs=tuple(graph.tensors[index].info for index in graph.inputs),
            outputs=tuple(graph.tensors[index].info for index in graph.outputs),
            layers=tuple(Layer(step.index, step.op, step.writes[0].info, step.macs) for step in plan.steps),
            graph=graph,
            plan=plan,
        )

    def oracle(self, artifact: Artifact) -> Oracle:
        own = _own(artifact)
        return TflmOracle(own.graph, own.data)

    def generate(self, artifact: Artifact, kernels: str, directory: Path) -> Project:
        if kernels not in self.kernels:
            raise UsageError(
                f"runtime tflm has no kernels '{kernels}'", f"Use one of: {', '.join(self.kernels)}"
            )
        own = _own(artifact)
        return write_project(own.plan, Identity(self.name, own.name, own.digest), directory)


def _own(artifact: Artifact) -> TflmArtifact:
    if not isinstance(artifact, TflmArtifact):
        raise UsageError(f"artifact of runtime '{artifact.runtime}' given to tflm")
    return artifact
