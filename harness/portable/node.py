"""One operator together with its tensors: what each operator family plans from.

Holds the checks every family shares (types, constants, fused activations) and the
one way to refuse. Every number that the kernels of tflite-micro would only check on
the device, or not at all, is checked here, before anything is built or run.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from harness.errors import ModelError, UnsupportedError
from harness.portable.fixed_point import INT32_MAX, INT32_MIN, round_half_away
from harness.portable.graph import Graph, Operator, Option, Tensor

MAX_RANK = 6
# TensorType of the TFLite schema.
INT32_TYPE = 2
# Values of ActivationFunctionType in the TFLite schema.
ACTIVATIONS = {0: "NONE", 1: "RELU", 2: "RELU_N1_TO_1", 3: "RELU6"}
ACTIVATION_BOUNDS = {
    "NONE": (None, None),
    "RELU": (0.0, None),
    "RELU_N1_TO_1": (-1.0, 1.0),
    "RELU6": (0.0, 6.0),
}


def largest_magnitude(dtype: str) -> int:
    """Of a value less its zero point; int16 has none."""
    return {"int8": 255, "uint8": 255, "int16": 1 << 15}[dtype]


@dataclass(frozen=True)
class Node:
    graph: Graph
    operator: Operator

    @property
    def title(self) -> str:
        return f"operator {self.operator.index} ({self.operator.op})"

    def refuse(self, why: str, remedy: str = "") -> NoReturn:
        """The operator is on the list, but not in this form."""
        raise UnsupportedError(f"{self.title}: {why}", remedy)

    def malformed(self, why: str) -> NoReturn:
        """The file contradicts itself."""
        raise ModelError(f"{self.title}: {why}", "Convert the model again")

    def require(self, condition: bool, why: str) -> None:
        """Refuses unless `condition` holds."""
        if not condition:
            self.refuse(why)

    def check_counts(self, inputs: range | int, outputs: int = 1) -> None:
        """The number of tensors going in and out, -1 for an absent input counted."""
        allowed = range(inputs, inputs + 1) if isinstance(inputs, int) else inputs
        if len(self.operator.inputs) not in allowed or len(self.operator.outputs) != outputs:
            self.malformed(f"has {len(self.operator.inputs)} inputs and {len(self.operator.outputs)} outputs")

    def has_input(self, position: int) -> bool:
        return position < len(self.operator.inputs) and self.operator.inputs[position] >= 0

    def input(self, position: int = 0) -> Tensor:
        if not self.has_input(position):
            self.malformed(f"input {position} is missing")
        return self.graph.tensors[self.operator.inputs[position]]

    def output(self, position: int = 0) -> Tensor:
        return self.graph.tensors[self.operator.outputs[position]]

    def _option(self, name: str) -> Option:
        if name not in self.operator.options:
            self.malformed("its options table is missing or of another operator")
        return self.operator.options[name]

    def integer(self, name: str, low: int, high: int) -> int:
        """An option that must lie in [low, high]."""
        value = self._option(name)
        if not isinstance(value, int) or not low <= value <= high:
            self.malformed(f"{name} is {value}, expected {low} to {high}")
        return value

    def flag(self, name: str) -> bool:
        """A yes-or-no option."""
        return bool(self._option(name))

    def real(self, name: str) -> float:
        """An option that must be finite."""
        value = self._option(name)
        if not isinstance(value, (int, float)) or not math.isfinite(value):
            self.malformed(f"{name} is {value}, expected a number")
        return float(value)

    def text(self, name: str) -> str:
        """An option that is a word."""
        value = self._option(name)
        if not isinstance(value, str):
            self.malformed(f"{name} is {value}, expected a word")
        return value

    def integers(self, name: str) -> tuple[int, ...]:
        """An option that is a list."""
        value = self._option(name)
        return value if isinstance(value, tuple) else ()

    def require_dtype(self, tensor: Tensor, *dtypes: str) -> None:
        if tensor.info.dtype not in dtypes:
            self.refuse(f"tensor '{tensor.info.name}' is {tensor.info.dtype}, expected {' or '.join(dtypes)}")

    def int8_activation(self, tensor: Tensor) -> Tensor:
        """`tensor` if it is int8 with one scale and a zero point in int8's range."""
        self.require_dtype(tensor, "int8")
        self.require(
            len(tensor.scales) == 1, f"tensor '{tensor.info.name}' has {len(tensor.scales)} scales, not 1"
        )
        if not -128 <= tensor.info.zero_point <= 127:
            self.malformed(f"zero point {tensor.info.zero_point} of '{tensor.info.name}' is outside int8")
        return tensor

    def activation(self, tensor: Tensor) -> Tensor:
        """`tensor` if it is int8 as above, or int16, which has no zero point."""
        if tensor.info.dtype != "int16":
            return self.int8_activation(tensor)
        if len(tensor.scales) != 1 or tensor.info.zero_point:
            self.malformed(f"int16 tensor '{tensor.info.name}' has other than one scale, or a zero point")
        return tensor

    def constant(self, tensor: Tensor) -> NDArray[np.generic]:
        """The values of `tensor`, which must be stored in the file."""
        if tensor.data is None:
            self.refuse(f"tensor '{tensor.info.name}' is computed; expected a constant")
        return tensor.data

    def constant_int32(self, tensor: Tensor) -> list[int]:
        """The values of an int32 constant, flat."""
        self.require_dtype(tensor, "int32")
        return self.constant_integers(tensor)

    def constant_integers(self, tensor: Tensor) -> list[int]:
        """The values of an int32 or int64 constant, flat."""
        self.require_dtype(tensor, "int32", "int64")
        return [int(value) for value in self.constant(tensor).reshape(-1)]

    def require_same_scale(self, a: Tensor, b: Tensor) -> None:
        """For operators that move values without changing them."""
        if (a.scales, a.zero_points) != (b.scales, b.zero_points):
            self.refuse(
                f"'{a.info.name}' and '{b.info.name}' differ in scale or zero point, which it cannot change"
            )

    def activation_range(self, tensor: Tensor) -> tuple[int, int]:
        """Clamp limits of the fused activation; CalculateActivationRangeQuantized (float32 division)."""
        activation = ACTIVATIONS.get(self.integer("fused_activation_function", 0, 127))
        if activation is None:
            self.refuse("fused activation is not one of " + ", ".join(ACTIVATIONS.values()))
        low, high = (self._bound(tensor, real) for real in ACTIVATION_BOUNDS[activation])
        limits = np.iinfo(tensor.info.dtype)
        low = int(limits.min) if low is None else max(int(limits.min), low)
        high = int(limits.max) if high is None else min(int(limits.max), high)
        self.require(low <= high, f"its fused {activation} leaves no value of '{tensor.info.name}'")
        return low, high

    def _bound(self, tensor: Tensor, real: float | None) -> int | None:
        if real is None:
            return None
        steps = round_half_away(float(np.float32(real) / np.float32(tensor.info.scale)))
        self.require(INT32_MIN // 2 < steps < INT32_MAX // 2, f"scale of '{tensor.info.name}' is too small")
        return tensor.info.zero_point + steps
