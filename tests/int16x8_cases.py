"""The operators of `operator_cases` with int16 data and int8 weights, and those that differ for int16."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.errors import UnsupportedError
from harness.portable.node import INT32_TYPE
from harness.portable.plan import make_plan
from harness.runtimes.tflm.reader import read
from tests import operator_cases
from tests.operator_cases import Generator, scale
from tests.tflite_builder import ModelBuilder

# What logistic, softmax and tanh must give: for int8, and for int16.
SCALES_OF_RESULTS, SCALE_OF_RESULTS = (1 / 256, 1 / 128), 1 / 32768


class Int16Builder(ModelBuilder):
    """Makes int16 of what a case asks for as int8: no zero points, scales 256 times finer.

    Biases become int64, or stay int32 while `narrow_bias` is set, for sums of 32 bits.
    """

    narrow_bias = False

    def tensor(
        self,
        shape: Sequence[int],
        dtype: str = "int8",
        scale: float = 0.0,
        zero_point: int = 0,
        name: str = "",
    ) -> int:
        if dtype != "int8":
            return super().tensor(shape, dtype, scale, zero_point, name)
        finer = SCALE_OF_RESULTS if scale in SCALES_OF_RESULTS else float(np.float32(scale / 256))
        if any(scale in tensor.scales for tensor in self.tensors):
            finer = scale  # taken from another tensor, for an operator that must not change it
        return super().tensor(shape, "int16", finer, 0, name)

    def constant(
        self,
        data: NDArray[Any],
        scales: Sequence[float] = (),
        zero_points: Sequence[int] | None = None,
        axis: int = 0,
    ) -> int:
        if zero_points is not None:
            finer = [float(np.float32(scale / 256)) for scale in scales]
            return super().constant(data.astype(np.int16) * 255, finer, [0] * len(finer), axis)
        if data.dtype == np.int32 and scales:
            data = data * np.int32(256) if self.narrow_bias else data.astype(np.int64) * 256
        return super().constant(data, scales, zero_points, axis)


def quantize(rng: Generator, model: ModelBuilder) -> list[int]:
    """Each of the four changes of type, at every value where the input has few."""
    outputs = []
    for source, target in (("int16", "int16"), ("int16", "int8"), ("raw8", "int16"), ("float32", "int16")):
        x_scale = 0.0 if source == "float32" else scale(rng, 0.0005, 0.1)
        zero = int(rng.integers(-128, 128)) if source == "raw8" else 0
        x = ModelBuilder.tensor(
            model,
            (2, 256),
            "int8" if source == "raw8" else source,
            x_scale,
            zero,
            f"input_{len(model.inputs)}",
        )
        model.inputs.append(x)
        zero = int(rng.integers(-128, 128)) if target == "int8" else 0
        outputs.append(ModelBuilder.tensor(model, (2, 256), target, scale(rng, 0.0005, 0.1), zero))
        model.operator("QUANTIZE", [x], [outputs[-1]])
    return outputs


def dequantize(rng: Generator, model: ModelBuilder) -> list[int]:
    x = model.input((2, 256), scale=scale(rng))
    y = model.tensor((2, 256), "float32")
    model.operator("DEQUANTIZE", [x], [y])
    return [y]


def wide_sums(rng: Generator, model: ModelBuilder) -> list[int]:
    """Sums that only fit 64 bits: long ones, and biases far beyond 32."""
    inputs = int(rng.integers(600, 900))
    x = model.input((2, inputs), scale=scale(rng))
    weights = model.constant(rng.choice([-127, 127], (5, inputs)).astype(np.int8), scales=[0.01] * 5, axis=0)
    y = model.tensor((2, 5), scale=model.tensors[x].scales[0] * 256 * scale(rng, 0.2, 2))
    model.operator("FULLY_CONNECTED", [x, weights, -1], [y], fused_activation_function=0)
    return [y, _wide(rng, model, "CONV_2D"), _wide(rng, model, "DEPTHWISE_CONV_2D")]


def declared_sums(rng: Generator, model: ModelBuilder) -> list[int]:
    """No bias, and the option that says what its type would be: int32 means sums of 32 bits."""
    x = model.input((2, 30), scale=scale(rng))
    weights = model.constant(rng.integers(-127, 128, (5, 30), np.int8), scales=[0.01] * 5, axis=0)
    y = model.tensor((2, 5), scale=model.tensors[x].scales[0] * 256 * scale(rng, 0.2, 2))
    model.operator(
        "FULLY_CONNECTED", [x, weights, -1], [y], fused_activation_function=0, quantized_bias_type=INT32_TYPE
    )
    return [y]


def _wide(rng: Generator, model: ModelBuilder, op: str) -> int:
    depthwise = op == "DEPTHWISE_CONV_2D"
    x = model.input((1, 5, 6, 3), scale=scale(rng))
    shape = (1, 3, 3, 3) if depthwise else (3, 3, 3, 3)
    weights = model.constant(
        rng.integers(-127, 128, shape, np.int8), scales=[0.01, 0.02, 0.005], axis=3 if depthwise else 0
    )
    bias = model.constant(rng.integers(-(1 << 40), 1 << 40, 3, np.int64), scales=[1e-5] * 3)
    y = model.tensor((1, 5, 6, 3), scale=model.tensors[x].scales[0] * 256 * 3e5)
    options = {"padding": 0, "stride_h": 1, "stride_w": 1, "fused_activation_function": 0}
    options |= {"dilation_h_factor": 1, "dilation_w_factor": 1}
    if depthwise:
        options["depth_multiplier"] = 1
    model.operator(op, [x, weights, bias], [y], **options)
    return y


def fine_sigmoid(rng: Generator, model: ModelBuilder) -> list[int]:
    """LOGISTIC and TANH of inputs whose scale is a power of two, and of coarse ones that saturate."""
    outputs = []
    for op in ("LOGISTIC", "TANH"):
        for x_scale in (2.0**-12, 2.0**-11, 2.0**-13, scale(rng, 1e-5, 1e-2), scale(rng, 0.1, 2.0)):
            x = model.input((2, 256), scale=x_scale * 256)
            y = model.tensor((2, 256), scale=1 / 256)
            model.operator(op, [x], [y])
            outputs.append(y)
    return outputs


WITHOUT_INT16 = ("hard_swish",)
OWN = (quantize, dequantize, wide_sums, declared_sums, fine_sigmoid)
CASES: dict[str, Callable[[Generator, ModelBuilder], list[int]]] = {
    **{name: case for name, case in operator_cases.CASES.items() if name not in WITHOUT_INT16},
    **{case.__name__: case for case in OWN},
}


def bundle(names: Sequence[str], seed: int, count: int) -> bytes:
    """A model of `count` random configurations of each operator, side by side.

    A third of the layers with a choice have sums of 32 bits; one whose sums would not fit is thrown again.
    """
    rng = np.random.default_rng([seed, *"".join(names).encode()])
    model: ModelBuilder = Int16Builder()
    outputs: list[int] = []
    for name in names:
        for position in range(count):
            narrow = name in ("conv_2d", "fully_connected") and position % 3 == 0
            model, made = _accepted(rng, model, CASES[name], narrow)
            outputs += made
    return model.build(outputs)


def _accepted(
    rng: Generator, model: ModelBuilder, case: Callable[[Generator, ModelBuilder], list[int]], narrow: bool
) -> tuple[ModelBuilder, list[int]]:
    while True:
        trial = copy.deepcopy(model)
        assert isinstance(trial, Int16Builder)
        trial.narrow_bias = narrow
        made = case(rng, trial)
        try:
            make_plan(read(trial.build(made)))
        except UnsupportedError:
            continue
        return trial, made
