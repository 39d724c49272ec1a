"""Runtime `tvm`: int8 QDQ .onnx files with power-of-two scales, kernels by Apache TVM (extra `tvm`).

Reads and checks the file (`reader`), gives the oracle (`oracle`), and has TVM write one C function for
each layer (`kernels`). Files are quantised by `quantise`, or brought. TVM itself runs in a child
process and is needed only to generate.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness.errors import ModelError, UnsupportedError
from harness.portable.graph import Graph
from harness.portable.plan import make_plan
from harness.portable.project import write_project
from harness.portable.source import Identity
from harness.runtimes.base import Array, Artifact, FloatModel, Oracle, Project
from harness.runtimes.planned import PlannedArtifact, PlannedRuntime, read_file
from harness.runtimes.tvm.esp_idf import COMPONENT, write_application
from harness.runtimes.tvm.kernels import kernel_files
from harness.runtimes.tvm.operators import TVM_OPERATORS
from harness.runtimes.tvm.oracle import TvmOracle
from harness.targets import Target


class Tvm(PlannedRuntime):
    name = "tvm"
    artifact_kind = "qdq.onnx"
    quantises = True
    extra = "tvm"
    operators = TVM_OPERATORS
    model_folder = str(COMPONENT)
    application = True
    conversion_hint = "Make one of the float .onnx file: harness quantise MODEL --runtime tvm --out FILE.onnx"

    def accepts(self, path: Path) -> bool:
        """An .onnx file that holds quantisers; whether they suit, `load` says."""
        if path.suffix != ".onnx":
            return False
        data = read_file(path)
        return b"QuantizeLinear" in data or b"QLinear" in data

    def quantise(self, model: FloatModel, variant: str, path: Path) -> None:  # noqa: ARG002
        from harness.runtimes.tvm.quantise import BEST, quantise

        quantise(self, model, path, BEST)

    def check_float(self, file: Path) -> None:
        from harness.runtimes.tvm.quantise import check_float

        check_float(file)

    def load(self, path: Path, variant: str = "") -> PlannedArtifact:  # noqa: ARG002
        from harness.runtimes.tvm.reader import read  # onnx: half a second

        data = read_file(path)
        try:
            graph = read(data)
            plan = make_plan(graph, TVM_OPERATORS, ("int8", "float32"))
        except (ModelError, UnsupportedError) as error:
            raise type(error)(f"{path}: {error.message}", error.remedy) from error
        return PlannedArtifact(**self.facts(path, data, graph, plan, "int8"))

    def graph(self, path: Path, variant: str = "") -> Graph:  # noqa: ARG002
        from harness.runtimes.tvm.reader import read

        return read(read_file(path))

    def oracle(self, artifact: Artifact) -> Oracle:
        return TvmOracle(self.own(artifact).graph)

    def generate(self, artifact: Artifact, kernels: str, directory: Path) -> Project:
        self.check_kernels(kernels)
        own = self.own(artifact)
        identity = Identity(self.name, own.name, own.digest)
        return write_project(own.plan, identity, directory, kernel_files(own.plan, directory))

    def write_application(self, model: Artifact, inputs: Sequence[Array], target: Target, out: Path) -> None:
        write_application(model, inputs, self.oracle(model).run(inputs), target, out)
