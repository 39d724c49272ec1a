"""What convolutions and fully connected layers share: bias, bound and requantisation of a sum.

The input's zero point is folded into the bias, so that the inner loop is one load per operand and
one multiply-accumulate. Taps outside the image read the zero point, which cancels it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.portable.c_text import C_TYPES
from harness.portable.fixed_point import INT32_MAX, quantise_multiplier
from harness.portable.graph import Tensor
from harness.portable.node import Node
from harness.portable.step import Constant

# requantise_sum() in fixed_point.h takes sums and shifts up to these.
SMALL_SUM, SMALL_SHIFT = 1 << 29, 23


def dot_product(data: str, weights: str, *, wide: bool) -> str:
    """The C function for operands of these types; `wide`: sums of 64 bits, for int16 data alone.

    int8 data have only the strided one: whole rows of them go by tiles.
    """
    if data == "int8":
        return "dot"
    return f"dot16x{8 * np.dtype(weights).itemsize}{'_wide' if wide else ''}"


def dot_header(data: str) -> str:
    """Where that function is."""
    return "dot.h" if data == "int8" else "dot16.h"


@dataclass(frozen=True, kw_only=True)
class Sums(ABC):
    """Per output channel: weights, and what the sum starts from; how it is scaled is the subclass's.

    `data` is the type of input and output, int8 or int16; weights are no wider. `bound` is the
    largest magnitude any partial sum can have, `input_zero` what an input of zero is stored as.
    """

    weights: NDArray[np.generic]
    bias: NDArray[np.generic]
    low: int
    high: int
    bound: int
    data: str = "int8"
    input_zero: int = 0

    @property
    def wide(self) -> bool:
        """Sums need 64 bits."""
        return self.bound > INT32_MAX

    @property
    def data_type(self) -> str:
        """The C type of inputs and outputs."""
        return C_TYPES[self.data]

    @property
    def weight_type(self) -> str:
        return C_TYPES[self.weights.dtype.name]

    @property
    def sum_type(self) -> str:
        return "int64_t" if self.wide else "int32_t"

    @property
    def dot(self) -> str:
        return dot_product(self.data, self.weights.dtype.name, wide=self.wide)

    @property
    def headers(self) -> tuple[str, ...]:
        """Headers of firmware/runtimes/portable that `store` uses."""
        return ("fixed_point.h",)

    def constants(self, weights: NDArray[np.generic]) -> list[Constant]:
        """`weights` in the order in which the kernel reads them."""
        return [Constant("weights", weights), Constant("bias", self.bias), *self.scaling()]

    @abstractmethod
    def scaling(self) -> list[Constant]:
        """The arrays `store` refers to."""

    @abstractmethod
    def store(self, prefix: str, place: str = "*output++") -> list[str]:
        """C statements: `place` in the output from `sum` of channel c, requantised and clamped."""

    def named(self) -> list[dict[str, int]]:
        """The constants that `store` refers to by name."""
        return [{"LOW": self.low, "HIGH": self.high}]

    def notes(self) -> list[str]:
        return [f"|sum| <= {self.bound}"]


@dataclass(frozen=True, kw_only=True)
class MultipliedSums(Sums):
    """Scaled by a multiplier and a shift, rounded twice, as TFLite has it."""

    multipliers: tuple[int, ...]
    shifts: tuple[int, ...]
    output_zero_point: int

    @property
    def uniform(self) -> bool:
        """One multiplier for all channels."""
        return len(set(zip(self.multipliers, self.shifts, strict=True))) == 1

    def scaling(self) -> list[Constant]:
        if self.uniform:
            return []
        return [
            Constant("multiplier", np.array(self.multipliers, np.int32)),
            Constant("shift", self._shift_array()),
        ]

    def _shift_array(self) -> NDArray[np.generic]:
        """Right shifts, unless some channel is scaled up; then signed, positive to the left."""
        if max(self.shifts) <= 0:
            return np.array([-shift for shift in self.shifts], np.uint8)
        return np.array(self.shifts, np.int8)

    @property
    def small(self) -> bool:
        """What requantise_sum() in fixed_point.h takes."""
        return self.bound <= SMALL_SUM and max(self.shifts) < 0 and min(self.shifts) >= -SMALL_SHIFT

    def store(self, prefix: str, place: str = "*output++") -> list[str]:
        factors = f"{prefix}_multiplier[c], {prefix}_shift[c]"
        if self.uniform:
            factors = f"{self.multipliers[0]}, {abs(self.shifts[0])}"
        if self.small:
            scaled = [f"sum = requantise_sum(sum, {factors},", "OUTPUT_ZERO_POINT);"]
        else:
            function = "requantise" if max(self.shifts) <= 0 else "requantise_any"
            scaled = [f"sum = {function}(sum, {factors}) + OUTPUT_ZERO_POINT;"]
        return [*scaled, f"{place} = (int8_t)clamp(sum, LOW, HIGH);"]

    def named(self) -> list[dict[str, int]]:
        (limits,) = super().named()
        return [{"OUTPUT_ZERO_POINT": self.output_zero_point, **limits}]

    def notes(self) -> list[str]:
        return [f"|sum| <= {self.bound}; the input's zero point is in the bias"]


def plan_sums(node: Node, channels_last: NDArray[np.generic]) -> MultipliedSums:
    """`channels_last` are the weights as (output channel, everything that is summed)."""
    source, weights, target = (
        node.int8_activation(node.input(0)),
        node.input(1),
        node.int8_activation(node.output()),
    )
    node.require(all(zero == 0 for zero in weights.zero_points), "weights with a zero point other than 0")
    channels = channels_last.shape[0]
    bias = _bias(node, channels)
    zero_point = source.info.zero_point
    magnitudes = np.abs(channels_last.astype(np.int64)).sum(axis=1)
    bias = bias - zero_point * channels_last.astype(np.int64).sum(axis=1)
    bound = int((np.abs(bias) + 128 * magnitudes).max())
    multipliers, shifts = _multipliers(node, channels)
    if bound << max(0, *shifts) > INT32_MAX - 256:
        node.refuse(f"its sums can reach {bound} times 2^{max(0, *shifts)}, which does not fit 32 bits")
    low, high = node.activation_range(target)
    return MultipliedSums(
        weights=np.ascontiguousarray(node.constant(weights)).astype(np.int8).reshape(-1),
        bias=bias.astype(np.int32),
        multipliers=multipliers,
        shifts=shifts,
        input_zero=zero_point,
        output_zero_point=target.info.zero_point,
        low=low,
        high=high,
        bound=bound,
    )


def _bias(node: Node, channels: int) -> NDArray[np.int64]:
    if not node.has_input(2):
        return np.zeros(channels, np.int64)
    tensor = node.input(2)
    node.require_dtype(tensor, "int32")
    values = node.constant(tensor).reshape(-1).astype(np.int64)
    if len(values) != channels:
        node.malformed(f"has {len(values)} biases for {channels} channels")
    return values


def _multipliers(node: Node, channels: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """input scale * weight scale / output scale for each channel, as multiplier and shift.

    In float64, as the oracle does it; TFLite's sources of August 2026 multiply the two scales of
    a per-tensor fully connected layer in float32.
    """
    source, weights, target = node.input(0), node.input(1), node.output()
    if len(weights.scales) not in (1, channels):
        node.malformed(f"weights have {len(weights.scales)} scales for {channels} channels")
    pairs = [quantise_multiplier(source.info.scale * scale / target.info.scale) for scale in weights.scales]
    if len(pairs) == 1:
        pairs *= channels
    return tuple(pair[0] for pair in pairs), tuple(pair[1] for pair in pairs)


def per_channel_axis(weights: Tensor) -> int | None:
    """The axis the scales run along, None for one scale."""
    return weights.axis if len(weights.scales) > 1 else None
