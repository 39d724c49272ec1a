"""Runtime `tflm`: .tflite files, int8 or int16 over int8 weights, as TensorFlow Lite Micro runs them.

Reads and checks the file (`reader`), gives the oracle (`oracle`), and has the portable kernels generated. Of
a float model that brings no .tflite, TensorFlow makes one (`quantise`, extra `keras`).
"""

from __future__ import annotations

from pathlib import Path

from harness.errors import ModelError, UnsupportedError
from harness.model.spec import ModelSpec
from harness.portable.graph import Graph
from harness.portable.ops import OPERATORS
from harness.portable.plan import make_plan
from harness.runtimes.base import Artifact, FloatModel, Oracle
from harness.runtimes.planned import PlannedArtifact, PlannedRuntime, read_file
from harness.runtimes.tflm.oracle import TflmOracle


class Tflm(PlannedRuntime):
    name = "tflm"
    kernels = ("portable", "vendor", "vendor-ansi")
    artifact_kind = "tflite"
    schemes = ("int8", "int16x8")
    operators = OPERATORS
    quantises = True
    float_kinds = ("keras", "savedmodel", "tflite_float")
    extra = "keras"
    conversion_hint = (
        "Convert it with full-integer quantisation (TFLiteConverter with a representative dataset and "
        "TFLITE_BUILTINS_INT8), batch 1; of a .keras or .h5 file, a float .tflite or a SavedModel: "
        "harness quantise MODEL --runtime tflm --data FILE --out FILE.tflite"
    )

    def makes_from(self, model: ModelSpec) -> bool:
        """Not where the model brings a .tflite: that says how it is to be quantised."""
        return "tflite" not in model.artifacts and super().makes_from(model)

    def float_file(self, model: ModelSpec) -> Path | None:
        """The file itself: TensorFlow reads them all, and no ONNX."""
        return next((model.artifacts[kind] for kind in self.float_kinds if kind in model.artifacts), None)

    def quantise(self, model: FloatModel, variant: str, path: Path) -> None:  # noqa: ARG002
        from harness.runtimes.tflm.quantise import quantise_file

        quantise_file(model, self.scheme, path)

    def check_float(self, file: Path) -> None:
        from harness.runtimes.tflm.quantise import check_float

        check_float(file)

    def load(self, path: Path, variant: str = "") -> PlannedArtifact:  # noqa: ARG002 - all chips take one file
        from harness.runtimes.tflm.reader import read  # a hundred modules of tflite

        data = read_file(path)
        try:
            graph = read(data)
            plan = make_plan(graph)
        except (ModelError, UnsupportedError) as error:
            raise type(error)(f"{path}: {error.message}", error.remedy) from error
        return PlannedArtifact(**self.facts(path, data, graph, plan, _scheme(graph)))

    def graph(self, path: Path, variant: str = "") -> Graph:  # noqa: ARG002
        from harness.runtimes.tflm.reader import read

        return read(read_file(path))

    def oracle(self, artifact: Artifact) -> Oracle:
        own = self.own(artifact)
        return TflmOracle(own.graph, own.data)


def _scheme(graph: Graph) -> str:
    """By the data of the layers with weights; where there are none, by any activation's."""
    from harness.runtimes.tflm.reader import WEIGHTED

    weighted = [graph.tensors[o.inputs[0]] for o in graph.operators if o.op in WEIGHTED]
    computed = [graph.tensors[index] for operator in graph.operators for index in operator.outputs]
    return "int16x8" if any(tensor.info.dtype == "int16" for tensor in weighted or computed) else "int8"
