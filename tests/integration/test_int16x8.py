"""int16 activations with int8 weights: every operator tflite-micro has for them, 0 LSB, with sanitizers."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.portable.ops.multiplied_sums import MultipliedSums, ReducedSums
from harness.runtimes.tflm import Tflm
from tests.engine_host import assert_exact
from tests.int16x8_cases import bundle

SUMS = ("conv_2d", "depthwise_conv_2d", "fully_connected", "wide_sums")
# Those that must agree in more than shapes; what only moves values is left to the emulators.
OTHERS = (
    "average_pool_2d", "max_pool_2d", "mean", "add", "sub", "mul", "pad", "softmax", "logistic", "tanh",
    "fine_sigmoid", "relu", "relu6", "leaky_relu", "quantize", "dequantize",
)  # fmt: skip


@pytest.mark.parametrize(("operators", "count"), [(SUMS, 6), (OTHERS, 3)], ids=["sums", "others"])
def test_operators_are_exact(operators: tuple[str, ...], count: int, tmp_path: Path) -> None:
    path = tmp_path / "net.tflite"
    path.write_bytes(bundle(operators, seed=1, count=count))
    artifact = Tflm().load(path)
    if operators == SUMS:
        kinds = {(type(step.sums), step.sums.wide) for step in artifact.plan.steps}
        assert kinds == {(MultipliedSums, False), (ReducedSums, False), (ReducedSums, True)}
    assert_exact(artifact, tmp_path / "project", seed=2)
