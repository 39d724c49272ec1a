"""Runtime `espdl`: .espdl files of 8 and 16 bits, as ESP-DL v3 runs them.

Reads and checks the file (`reader`), gives the oracle (`oracle`), and has the portable kernels
generated. `quantise` makes such files from float ONNX; no run needs it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harness.errors import DataError, ModelError, UnsupportedError
from harness.portable.graph import Graph
from harness.portable.ops.power_of_two_operators import ESPDL_OPERATORS
from harness.portable.plan import make_plan
from harness.runtimes.base import Array, Artifact, FloatModel, Oracle
from harness.runtimes.espdl.oracle import EspdlOracle
from harness.runtimes.espdl.reader import Contents, read
from harness.runtimes.espdl.variants import VARIANTS, variant_of
from harness.runtimes.planned import PlannedArtifact, PlannedRuntime, read_file
from harness.targets import Target

FLOAT_TOLERANCE = 1e-6


@dataclass(frozen=True)
class EspdlArtifact(PlannedArtifact):
    """With the sample that may be in the file: values by tensor name."""

    test_inputs: Mapping[str, Array]
    test_outputs: Mapping[str, Array]


class Espdl(PlannedRuntime):
    name = "espdl"
    kernels = ("portable", "vendor")
    artifact_kind = "espdl"
    by_chip = True
    schemes = ("int8", "int16", "w8a16")
    operators = ESPDL_OPERATORS
    quantises = True
    extra = "espdl"
    conversion_hint = "Make one of the .onnx file: harness quantise MODEL --target CHIP --out FILE"

    def __init__(self, scheme: str = "") -> None:
        super().__init__(scheme)
        if self.scheme != self.schemes[0]:
            self.conversion_hint += f" --scheme {self.scheme}"

    def variant(self, target: Target) -> str:
        return variant_of(target.id)

    def quantise(self, model: FloatModel, variant: str, path: Path) -> None:
        from harness.runtimes.espdl.quantise import BEST, quantise

        quantise(self, model, variant, path, BEST)

    def check_float(self, file: Path) -> None:
        from harness.runtimes.espdl.quantise import check_float

        check_float(file)

    def load(self, path: Path, variant: str = "") -> EspdlArtifact:
        data = read_file(path)
        try:
            contents = read(data, VARIANTS[variant or "c"])
            plan = make_plan(contents.graph, ESPDL_OPERATORS, ("int8", "int16", "float32"))
            _check_test_values(contents)
        except (ModelError, UnsupportedError) as error:
            raise type(error)(f"{path}: {error.message}", error.remedy) from error
        graph = contents.graph
        return EspdlArtifact(
            **self.facts(path, data, graph, plan, contents.scheme),
            test_inputs=contents.test_inputs,
            test_outputs=contents.test_outputs,
        )

    def graph(self, path: Path, variant: str = "") -> Graph:
        return read(read_file(path), VARIANTS[variant or "c"]).graph

    def oracle(self, artifact: Artifact) -> Oracle:
        return EspdlOracle(self.own(artifact).graph)


def _tolerance(contents: Contents, name: str) -> tuple[float, float]:
    """How far an output may be from its value in the file: relative, absolute.

    In 8 bits integers are equal, and float32 differs by the order of a sum. In 16 bits esp-ppq sums in
    float32 unless asked not to (debug=True), so that its integers may be one off, as ESP-DL's own
    Model::test() grants them; a Softmax makes more of it.
    """
    graph = contents.graph
    producer = next(one for one in graph.operators if graph.tensors[one.outputs[0]].info.name == name)
    step = 0.0 if contents.scheme == "int8" else 1.0
    if graph.tensors[producer.outputs[0]].info.dtype != "float32":
        return 0.0, step
    relative = math.expm1(2 * step * graph.tensors[producer.inputs[0]].info.scale) + FLOAT_TOLERANCE
    return relative, relative * FLOAT_TOLERANCE


def _check_test_values(contents: Contents) -> None:
    """The sample that esp-ppq may have put into the file must come out as it says.

    Files for the ESP32-S3 and the ESP32-P4 look alike; in 8 bits, that they round differently shows here.
    """
    names = [
        [contents.graph.tensors[i].info.name for i in side]
        for side in (contents.graph.inputs, contents.graph.outputs)
    ]
    if not set(names[0]) <= set(contents.test_inputs):
        return
    try:
        outputs = EspdlOracle(contents.graph, as_exporter=True).run(
            [contents.test_inputs[name] for name in names[0]]
        )
    except DataError as error:
        raise ModelError(f"its test values do not fit: {error}", "Export the model again") from error
    for name, got in zip(names[1], outputs, strict=True):
        expected = contents.test_outputs.get(name)
        if expected is None:
            continue
        relative, absolute = _tolerance(contents, name)
        if expected.size != got.size or not np.allclose(
            got.reshape(-1).astype(np.float64), expected.reshape(-1), rtol=relative, atol=absolute
        ):
            raise ModelError(
                f"the test values in the file do not come out: output '{name}' differs",
                "Export the model for this chip; files for the ESP32-S3 and the ESP32-P4 look alike",
            )
