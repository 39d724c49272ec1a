"""Runtime `espdl-v1`: networks as esp-dl v1 and v2 run them, from a float ONNX file or a v1 project.

It replaces the closed calibrator of esp-dl v1 (Python 3.7 only), generates the files that its tutorials
ask a person to write (`export`), reads such files (`project_reader`, `lint`), and has the portable kernels
generated. What a project's C++ says is built; the oracle has the exponents its coefficients were made with.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from harness.errors import HarnessError, OutputError, UnsupportedError
from harness.portable.graph import Graph
from harness.portable.ops.espdl_v1 import ESPDL_V1_OPERATORS
from harness.portable.plan import make_plan
from harness.runtimes.base import Artifact, FloatModel, Oracle
from harness.runtimes.espdl_v1.artifact import read_artifact, write_artifact
from harness.runtimes.espdl_v1.calibrate import SCHEMES
from harness.runtimes.espdl_v1.deploy import EspdlV1Oracle, portable_graph
from harness.runtimes.espdl_v1.from_onnx import quantise_onnx, read_float
from harness.runtimes.espdl_v1.layout import BLOCKED, CHIPS
from harness.runtimes.espdl_v1.project_reader import read_project
from harness.runtimes.espdl_v1.quantise import QuantisedNetwork
from harness.runtimes.planned import PlannedArtifact, PlannedRuntime, read_file
from harness.targets import Target


@dataclass(frozen=True)
class EspdlV1Artifact(PlannedArtifact):
    """`right` is what the oracle runs: not the plan's network where a project has a wrong exponent."""

    right: QuantisedNetwork


class EspdlV1(PlannedRuntime):
    name = "espdl-v1"
    kernels = ("portable", "vendor")
    artifact_kind = "espdlv1"
    schemes = tuple(SCHEMES)
    quantises = True
    operators = ESPDL_V1_OPERATORS
    conversion_hint = "Give the float .onnx file and typical inputs: --calibration FILE.npz"

    def variant(self, target: Target) -> str:
        """By the order of a filter's elements; only a project's files depend on it."""
        if target.id not in CHIPS:
            raise UnsupportedError(
                f"esp-dl v1 does not support {target.id}",
                f"Targets of runtime {self.name}: {', '.join(CHIPS)}",
            )
        return BLOCKED if target.id == BLOCKED else "esp32"

    def quantise(self, model: FloatModel, variant: str, path: Path) -> None:  # noqa: ARG002 - same for all
        made = quantise_onnx(model.file, model.calibration, SCHEMES[self.scheme], model.preprocess)
        try:
            path.write_bytes(write_artifact(made.network))
        except OSError as error:
            raise OutputError(f"{path}: not writable: {error.strerror}") from None

    def check_float(self, file: Path) -> None:
        read_float(file)

    def load(self, path: Path, variant: str = "") -> EspdlV1Artifact:
        """Reads a .espdlv1 file, or the directory of a v1 project for the chips of `variant`."""
        try:
            if path.is_dir():
                networks = read_project(path, variant)
                built, right = networks.built, networks.right
                data = write_artifact(built)
            else:
                data = read_file(path)
                built = right = read_artifact(data)
            graph = portable_graph(built)
            plan = make_plan(graph, ESPDL_V1_OPERATORS, ("int8", "int16", "float32"))
        except HarnessError as error:
            if error.message.startswith(str(path)):
                raise
            raise type(error)(f"{path}: {error.message}", error.remedy) from error
        return EspdlV1Artifact(**self.facts(path, data, graph, plan, built.scheme.name), right=right)

    def graph(self, path: Path, variant: str = "") -> Graph:
        built = read_project(path, variant).built if path.is_dir() else read_artifact(read_file(path))
        return portable_graph(built)

    def oracle(self, artifact: Artifact) -> Oracle:
        own = self.own(artifact)
        assert isinstance(own, EspdlV1Artifact)
        return EspdlV1Oracle(own.right)
