"""Where random numbers hardly ever look: every table entry, and sums on the edge between two results.

Whether a quotient of scales is taken in float32 or float64 makes a difference of one part in
2^24: only values that lie as close to a rounding edge can tell.
"""

from __future__ import annotations

import itertools
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from harness.portable.fixed_point import quantise_multiplier
from harness.portable.ops.lookup import Lookup
from harness.runtimes.planned import PlannedArtifact
from harness.runtimes.tflm import Tflm
from tests.engine_host import assert_exact
from tests.operator_cases import bundle
from tests.tflite_builder import ModelBuilder

COUNT = 24
TABLES = ("logistic", "tanh", "relu", "relu6", "leaky_relu", "hard_swish", "dequantize")


def artifact_of(model: ModelBuilder, outputs: list[int], tmp_path: Path) -> PlannedArtifact:
    path = tmp_path / "net.tflite"
    path.write_bytes(model.build(outputs))
    return Tflm().load(path)


@pytest.mark.parametrize("operator", TABLES)
def test_every_entry_of_many_tables(operator: str, tmp_path: Path) -> None:
    path = tmp_path / "net.tflite"
    path.write_bytes(bundle(operator, seed=21, count=150))
    assert_tables(Tflm().load(path))


def assert_tables(artifact: PlannedArtifact) -> None:
    """Every table of a model of independent lookups, entry by entry; no compiler is needed for that."""
    every = np.tile(np.arange(256, dtype=np.uint8), (2, 1))
    layers = Tflm().oracle(artifact).run_layers([every.view(info.dtype) for info in artifact.inputs])
    for step, layer in zip(artifact.plan.steps, layers, strict=True):
        assert isinstance(step, Lookup)
        assert step.table[every].tobytes() == layer.tobytes(), step.function


@pytest.mark.parametrize("operator", ["RELU", "LEAKY_RELU", "QUANTIZE"])
def test_tables_of_round_scales(operator: str, tmp_path: Path) -> None:
    """Quotients such as 0.11 / 0.02 = 5.5 put every other entry on the edge."""
    rng = np.random.default_rng(8)
    model = ModelBuilder()
    outputs = []
    for x_scale, y_scale, alpha in itertools.product(range(1, 13), range(1, 13), (1, 3, 6)):
        x = model.input((2, 256), scale=x_scale / 100, zero_point=int(rng.integers(-128, 128)))
        y = model.tensor((2, 256), scale=y_scale / 100, zero_point=int(rng.integers(-128, 128)))
        model.operator(operator, [x], [y], **({"alpha": alpha / 20} if operator == "LEAKY_RELU" else {}))
        outputs.append(y)
    assert_tables(artifact_of(model, outputs, tmp_path))


def test_hard_swish_multipliers_on_the_edge(tmp_path: Path) -> None:
    """Its multipliers keep 15 bits: scales are chosen whose quotient lies between two of them."""
    rng = np.random.default_rng(9)
    model = ModelBuilder()
    outputs = []
    for _ in range(300):
        x_scale = float(np.float32(rng.uniform(0.02, 0.2)))
        quotient = (int(rng.integers(1 << 14, 1 << 15)) + 0.5) / 2 ** int(rng.integers(18, 23))
        x = model.input((2, 256), scale=x_scale, zero_point=-128)
        y = model.tensor((2, 256), scale=float(np.float32(x_scale / 128 / quotient)), zero_point=-128)
        model.operator("HARD_SWISH", [x], [y])
        outputs.append(y)
    assert_tables(artifact_of(model, outputs, tmp_path))


@pytest.mark.parametrize("activation", [1, 2, 3])
def test_fused_limits_on_the_edge(activation: int, tmp_path: Path) -> None:
    """Scales at which 6 or 1 lies between two integers."""
    model = ModelBuilder()
    outputs = []
    options = {"padding": 1, "stride_h": 1, "stride_w": 1, "filter_height": 1, "filter_width": 1}
    for steps in range(1, 60):
        same = {"scale": (6 if activation == 3 else 1) / (steps + 0.5), "zero_point": -60}
        x, y = model.input((1, 1, 1, 256), **same), model.tensor((1, 1, 1, 256), **same)
        model.operator("MAX_POOL_2D", [x], [y], fused_activation_function=activation, **options)
        outputs.append(y)
    artifact = artifact_of(model, outputs, tmp_path)
    every = [np.arange(-128, 128).astype(np.int8).reshape(1, 1, 1, 256)] * len(artifact.inputs)
    assert_exact(artifact, tmp_path / "project", inferences=[every])


def test_floats_between_two_integers(tmp_path: Path) -> None:
    model = ModelBuilder()
    outputs, inputs = [], []
    for step in range(1, 60):
        x, y = model.input((1, 254), "float32"), model.tensor((1, 254), scale=step / 100, zero_point=3)
        model.operator("QUANTIZE", [x], [y])
        outputs.append(y)
        inputs.append(((np.arange(-127, 127) + 0.5) * (step / 100)).astype(np.float32).reshape(1, 254))
    assert_exact(artifact_of(model, outputs, tmp_path), tmp_path / "project", inferences=[inputs])


def edges(real: float, count: int) -> np.ndarray:
    """Sums near 2^30 whose product with `real` lies closest to the middle between two integers."""
    middles = [Fraction(2 * k + 1, 2) / Fraction(real) for k in range(count)]
    sums = [int(middle) + offset for middle in middles for offset in range(-60, 61, 3)]
    return np.array([value for value in sums if abs(value) < 1 << 30], np.int32)


def scales_that_tell(rng: np.random.Generator) -> tuple[float, float, float]:
    """Input, weight and output scales whose float32 and float64 products quantise differently."""
    while True:
        x, w = (float(np.float32(value)) for value in rng.uniform(0.001, 0.1, 2))
        y = float(np.float32(x * w * 2.0**22))
        if quantise_multiplier(x * w / y) != quantise_multiplier(float(np.float32(x) * np.float32(w)) / y):
            return x, w, y


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("operator", ["FULLY_CONNECTED", "CONV_2D"])
def test_sums_on_the_edge(operator: str, per_channel: bool, tmp_path: Path) -> None:
    """All weights are zero, so that each output is the requantised bias."""
    rng = np.random.default_rng(5)
    model = ModelBuilder()
    outputs = []
    for _ in range(4):
        x_scale, w_scale, y_scale = scales_that_tell(rng)
        sums = edges(x_scale * w_scale / y_scale, 100)
        channels, is_dense = len(sums), operator == "FULLY_CONNECTED"
        shape, taps = ((1, 1), (channels, 1)) if is_dense else ((1, 1, 1, 1), (channels, 1, 1, 1))
        x = model.input(shape, scale=x_scale)
        scales = [w_scale] * (channels if per_channel else 1)
        w = model.constant(np.zeros(taps, np.int8), scales=scales, axis=0)
        b = model.constant(sums, scales=[float(np.float32(x_scale * w_scale))])
        y = model.tensor((*shape[:-1], channels), scale=y_scale, zero_point=-100)
        options = {"fused_activation_function": 0}
        if not is_dense:
            options |= {"padding": 1, "stride_h": 1, "stride_w": 1}
            options |= {"dilation_h_factor": 1, "dilation_w_factor": 1}
        model.operator(operator, [x, w, b], [y], **options)
        outputs.append(y)
    assert_exact(artifact_of(model, outputs, tmp_path), tmp_path / "project", count=1)


@pytest.mark.parametrize("operator", ["ADD", "SUB", "MUL"])
def test_every_pair_of_values(operator: str, tmp_path: Path) -> None:
    """All 65536 pairs. Round decimal scales put many results of ADD and SUB on the very edge."""
    rng = np.random.default_rng(6)
    model = ModelBuilder()
    every = np.arange(-128, 128).astype(np.int8)
    outputs = []
    for _ in range(COUNT):
        first, second = (round(float(scale), 4) for scale in rng.uniform(0.01, 0.2, 2))
        a = model.constant(every.reshape(256, 1), scales=[first], zero_points=[int(rng.integers(-128, 128))])
        b = model.input((1, 256), scale=second, zero_point=int(rng.integers(-128, 128)))
        scale = round(first * second * 128, 4) if operator == "MUL" else round(first + second, 4)
        y = model.tensor((256, 256), scale=scale)
        model.operator(operator, [a, b], [y], fused_activation_function=0)
        outputs.append(y)
    artifact = artifact_of(model, outputs, tmp_path)
    assert_exact(artifact, tmp_path / "project", count=1, inferences=[[every.reshape(1, 256)] * COUNT])
