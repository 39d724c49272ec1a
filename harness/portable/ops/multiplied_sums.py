"""How TFLite scales the sums of convolutions and fully connected layers.

Sums of 32 bits are multiplied by a Q0.31 factor and rounded twice. int16 data have sums of 64 bits unless
the bias says otherwise: their factor has 15 bits and the product is rounded once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.portable.fixed_point import INT32_MAX, quantise_multiplier, reduce_multiplier
from harness.portable.node import INT32_TYPE, Node
from harness.portable.ops.sums import SMALL_SHIFT, SMALL_SUM, Sums
from harness.portable.step import Constant

# scale_reduced() in reduced.h takes shifts from this one up.
LOW_HALF_SHIFT = 17
# What MultiplyByQuantizedMultiplier of a 64-bit sum asserts.
LARGEST_WIDE_SUM, LARGEST_WIDE_SHIFT = 1 << 47, 7


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

    @property
    def by_rows(self) -> bool:
        return self.data == "int8" and self.tiled and self.small and not self.uniform

    def store(self, prefix: str, place: str = "*output++") -> list[str]:
        factors = f"{prefix}_multiplier[c], {prefix}_shift[c]"
        if self.uniform:
            factors = f"{self.multipliers[0]}, {abs(self.shifts[0])}"
        if self.small:
            scaled = [f"sum = requantise_sum(sum, {factors},", "OUTPUT_ZERO_POINT);"]
        else:
            function = "requantise" if max(self.shifts) <= 0 else "requantise_any"
            scaled = [f"sum = {function}(sum, {factors}) + OUTPUT_ZERO_POINT;"]
        return [*scaled, f"{place} = ({self.data_type})clamp(sum, LOW, HIGH);"]

    def named(self) -> list[dict[str, int]]:
        (limits,) = super().named()
        return [{"OUTPUT_ZERO_POINT": self.output_zero_point, **limits}]

    def notes(self) -> list[str]:
        folded = "; the input's zero point is in the bias" if self.data == "int8" else ""
        return [f"|sum| <= {self.bound}{folded}"]


@dataclass(frozen=True, kw_only=True)
class ReducedSums(Sums):
    """Of int16 data: scaled by multipliers of 15 bits and right shifts, rounded once.

    TFLite adds in 64 bits; here 32 are taken wherever `bound` fits them, which gives the same sums.
    """

    multipliers: tuple[int, ...]
    shifts: tuple[int, ...]

    @property
    def uniform(self) -> bool:
        """One multiplier for all channels."""
        return len(set(zip(self.multipliers, self.shifts, strict=True))) == 1

    @property
    def headers(self) -> tuple[str, ...]:
        return (*super().headers, "reduced.h")

    def scaling(self) -> list[Constant]:
        if self.uniform:
            return []
        return [
            Constant("multiplier", np.array(self.multipliers, np.int16)),
            Constant("shift", np.array(self.shifts, np.uint8)),
        ]

    def store(self, prefix: str, place: str = "*output++") -> list[str]:
        factors = f"{prefix}_multiplier[c], {prefix}_shift[c]"
        if self.uniform:
            factors = f"{self.multipliers[0]}, {self.shifts[0]}"
        low_half = not self.wide and min(self.shifts) >= LOW_HALF_SHIFT
        function = "scale_reduced" if low_half else "scale_reduced_wide"
        return [f"{place} = ({self.data_type})clamp({function}(sum, {factors}), LOW, HIGH);"]


def plan_sums(node: Node, channels_last: NDArray[np.generic], *, always_wide: bool = False) -> Sums:
    """`channels_last` are the weights as (output channel, everything that is summed).

    `always_wide`: the operator has no sums of 32 bits for int16 data, whatever its bias.
    """
    source, weights, target = node.activation(node.input(0)), node.input(1), node.activation(node.output())
    node.require(source.info.dtype == target.info.dtype, "input and output of different types")
    node.require(all(zero == 0 for zero in weights.zero_points), "weights with a zero point other than 0")
    channels, zero_point = channels_last.shape[0], source.info.zero_point
    wide = source.info.dtype == "int16" and (always_wide or not _says_32_bits(node))
    bias = _bias(node, channels, "int64" if wide else "int32")
    magnitudes = np.abs(channels_last.astype(np.int64)).sum(axis=1)
    bias = bias - zero_point * channels_last.astype(np.int64).sum(axis=1)
    largest_input = -int(np.iinfo(source.info.dtype).min)
    bound = max(abs(int(b)) + largest_input * int(m) for b, m in zip(bias, magnitudes, strict=True))
    multipliers, shifts = _multipliers(node, channels)
    low, high = node.activation_range(target)
    values = np.ascontiguousarray(node.constant(weights)).astype(np.int8).reshape(-1)
    if wide:
        return _reduced(node, values, bias, bound, (multipliers, shifts), (low, high))
    if bound << max(0, *shifts) > INT32_MAX - 256:
        node.refuse(f"its sums can reach {bound} times 2^{max(0, *shifts)}, which does not fit 32 bits")
    return MultipliedSums(
        weights=values,
        bias=bias.astype(np.int32),
        multipliers=multipliers,
        shifts=shifts,
        input_zero=zero_point,
        output_zero_point=target.info.zero_point,
        low=low,
        high=high,
        bound=bound,
        data=source.info.dtype,
    )


def _says_32_bits(node: Node) -> bool:
    """TFLite goes by the bias, or where there is none, by an option newer converters write."""
    if node.has_input(2):
        return node.input(2).info.dtype == "int32"
    return node.integer("quantized_bias_type", 0, 127) == INT32_TYPE


def _reduced(
    node: Node,
    weights: NDArray[np.int8],
    bias: NDArray[np.int64],
    bound: int,
    factors: tuple[tuple[int, ...], tuple[int, ...]],
    limits: tuple[int, int],
) -> ReducedSums:
    multipliers = tuple(reduce_multiplier(multiplier) for multiplier in factors[0])
    shifts = tuple(15 - shift for shift in factors[1])
    node.require(bound < LARGEST_WIDE_SUM, f"its sums can reach {bound}, more than tflite-micro takes")
    node.require(max(factors[1]) <= LARGEST_WIDE_SHIFT, f"its sums are scaled up by 2^{max(factors[1])}")
    reach = max((bound * m + (1 << (s - 1))) >> s for m, s in zip(multipliers, shifts, strict=True))
    node.require(reach <= INT32_MAX, f"its scaled sums can reach {reach}, which does not fit 32 bits")
    return ReducedSums(
        weights=weights,
        bias=bias.astype(np.int32 if bound <= INT32_MAX else np.int64),
        multipliers=multipliers,
        shifts=shifts,
        low=limits[0],
        high=limits[1],
        bound=bound,
        data="int16",
    )


def _bias(node: Node, channels: int, dtype: str) -> NDArray[np.int64]:
    if not node.has_input(2):
        return np.zeros(channels, np.int64)
    tensor = node.input(2)
    node.require_dtype(tensor, dtype)
    values = node.constant(tensor).reshape(-1).astype(np.int64)
    if len(values) != channels:
        node.malformed(f"has {len(values)} biases for {channels} channels")
    node.require(int(np.abs(values).max(initial=0)) < LARGEST_WIDE_SUM, "a bias of more than 47 bits")
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
