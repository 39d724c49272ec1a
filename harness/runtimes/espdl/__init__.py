"""Runtime `espdl`: int8 .espdl files, as ESP-DL v3 runs them.

Reads and checks the file (`reader`), gives the oracle (`oracle`), and has the portable kernels
generated. `quantise` makes such files from float ONNX; no run needs it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harness.errors import DataError, ModelError, UnsupportedError
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
    quantises = True
    extra = "espdl"
    conversion_hint = "Make one of the .onnx file: harness quantise MODEL --target CHIP --out FILE"

    def variant(self, target: Target) -> str:
        return variant_of(target.id)

    def quantise(self, model: FloatModel, variant: str, path: Path) -> None:
        from harness.runtimes.espdl.quantise import BEST, quantise

        quantise(self, model, variant, path, BEST)

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
            **self.facts(path, data, graph, plan, "int8"),
            test_inputs=contents.test_inputs,
            test_outputs=contents.test_outputs,
        )

    def oracle(self, artifact: Artifact) -> Oracle:
        return EspdlOracle(self.own(artifact).graph)


def _check_test_values(contents: Contents) -> None:
    """The sample that esp-ppq may have put into the file must come out as it says.

    Files for the ESP32-S3 and the ESP32-P4 look alike; that they round differently shows here.
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
        # Within what float32 makes of the order of a sum; integers must be equal.
        tolerance = FLOAT_TOLERANCE if got.dtype == np.float32 else 0.0
        if expected.size != got.size or not np.allclose(
            got.reshape(-1), expected.reshape(-1), rtol=tolerance, atol=tolerance * 1e-6
        ):
            raise ModelError(
                f"the test values in the file do not come out: output '{name}' differs",
                "Export the model for this chip; files for the ESP32-S3 and the ESP32-P4 look alike",
            )
