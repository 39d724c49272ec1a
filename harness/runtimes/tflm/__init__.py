"""Runtime `tflm`: int8 .tflite files, as TensorFlow Lite for Microcontrollers runs them.

Reads and checks the file (`reader`), gives the oracle (`oracle`), and has the portable
kernels generated. It does not quantise: .tflite files come quantised.
"""

from __future__ import annotations

from pathlib import Path

from harness.errors import ModelError, UnsupportedError
from harness.portable.plan import make_plan
from harness.runtimes.base import Artifact, Oracle
from harness.runtimes.planned import PlannedArtifact, PlannedRuntime, read_file
from harness.runtimes.tflm.oracle import TflmOracle
from harness.runtimes.tflm.reader import read


class Tflm(PlannedRuntime):
    name = "tflm"
    kernels = ("portable", "vendor", "vendor-ansi")
    artifact_kind = "tflite"
    conversion_hint = (
        "Convert it with full-integer quantisation (TFLiteConverter with a representative dataset and "
        "TFLITE_BUILTINS_INT8), batch 1"
    )

    def load(self, path: Path, variant: str = "") -> PlannedArtifact:  # noqa: ARG002 - all chips take one file
        data = read_file(path)
        try:
            graph = read(data)
            plan = make_plan(graph)
        except (ModelError, UnsupportedError) as error:
            raise type(error)(f"{path}: {error.message}", error.remedy) from error
        return PlannedArtifact(**self.facts(path, data, graph, plan, "int8"))

    def oracle(self, artifact: Artifact) -> Oracle:
        own = self.own(artifact)
        return TflmOracle(own.graph, own.data)
