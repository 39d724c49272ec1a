"""What convolutions and fully connected layers share: weights, bias and bound of a sum.

The input's zero point is folded into the bias, so that the inner loop is one load per operand and
one multiply-accumulate. Taps outside the image read the zero point, which cancels it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from harness.portable.c_text import C_TYPES
from harness.portable.fixed_point import INT32_MAX
from harness.portable.graph import Tensor
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
    def tiled(self) -> bool:
        """There are kernels for it that add many sums at once, of int8 weights and in 32 bits."""
        return self.halved or (self.weights.dtype == np.int8 and not self.wide)

    @cached_property
    def halved(self) -> bool:
        """int16 weights taken as two of int8, whose sums fit 32 bits where those of the whole do not."""
        if self.weights.dtype != np.int16 or not self.wide:
            return False
        fits = []
        for weights, bias in zip(halves(self.weights), halves(self.bias), strict=True):
            # Channels come first or, in depthwise filters, last: the larger sum is one of the two.
            by_channel = (weights.reshape(len(bias), -1), weights.reshape(-1, len(bias)).T)
            largest = max(int(np.abs(rows).sum(axis=1).max()) for rows in by_channel)
            products = -int(np.iinfo(self.data).min) * largest
            narrow = int(weights.min()) >= -128 and int(weights.max()) <= 127
            fits.append(narrow and products + int(np.abs(bias).max()) <= INT32_MAX)
        return all(fits)

    @property
    def parts(self) -> tuple[str, ...]:
        """What the names of the weights, biases and sums of the kernels by tiles end in."""
        return ("_low", "_high") if self.halved else ("",)

    def whole(self, place: str) -> list[str]:
        """C statements: `sum` from what the kernels by tiles have left at `place`."""
        total = f"(int64_t)sums_high[{place}] * 256 + sums_low[{place}]" if self.halved else f"sums[{place}]"
        return [f"{self.sum_type} sum = {total};", ""]

    @property
    def in_tiles(self) -> str:
        """What the names of their C functions end in."""
        return "" if self.data == "int8" else "16"

    @property
    def sum_type(self) -> str:
        return "int64_t" if self.wide else "int32_t"

    @property
    def by_rows(self) -> bool:
        """convolution.h has the whole walk along a row, scaling included."""
        return False

    @property
    def dot(self) -> str:
        return dot_product(self.data, self.weights.dtype.name, wide=self.wide)

    @property
    def headers(self) -> tuple[str, ...]:
        """Headers of firmware/runtimes/portable that `store` uses."""
        return ("fixed_point.h",)

    def constants(self, weights: NDArray[np.generic]) -> list[Constant]:
        """`weights` in the order in which the kernel reads them."""
        if not self.halved:
            return [Constant("weights", weights), Constant("bias", self.bias), *self.scaling()]
        named = zip(self.parts, halves(weights), halves(self.bias), strict=True)
        split = [
            (
                Constant(f"weights{part}", half.astype(np.int8)),
                Constant(f"bias{part}", start.astype(np.int32)),
            )
            for part, half, start in named
        ]
        return [*(constant for pair in split for constant in pair), *self.scaling()]

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


def halves(values: NDArray[np.generic]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """`low` from -128 to 127 and `high` with low + 256 * high = values."""
    whole = values.astype(np.int64)
    low = (whole + 128) % 256 - 128
    return low, (whole - low) >> 8


def per_channel_axis(weights: Tensor) -> int | None:
    """The axis the scales run along, None for one scale."""
    return weights.axis if len(weights.scales) > 1 else None
