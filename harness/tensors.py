"""Descriptions of tensors and layers, and the affine arithmetic between its integers and real values."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Rounding = Literal["half_away", "half_up", "half_even", "truncate"]


@dataclass(frozen=True)
class TensorInfo:
    """Name, shape and quantisation of a tensor: real = (q - zero_point) * scale.

    `scale` is 0.0 and `zero_point` 0 for a tensor that is not quantised.
    `dtype` is a numpy name: int8, uint8, int16, int32, int64, float32, bool.
    `rounding` says what becomes of a real value between two integers.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: float = 0.0
    zero_point: int = 0
    rounding: Rounding = "half_away"

    @property
    def elements(self) -> int:
        return int(math.prod(self.shape))

    @property
    def size_bytes(self) -> int:
        return self.elements * np.dtype(self.dtype).itemsize

    @property
    def quantised(self) -> bool:
        return self.scale != 0.0

    def quantise(self, real: NDArray[np.floating]) -> NDArray[np.generic]:
        """Real values of any shape to this tensor's integers, saturating.

        Divides in float32, then rounds as `rounding` says: half_away is TFLite's AffineQuantize
        (tensorflow/lite/kernels/internal/reference/quantize.h), half_up and half_even are
        ESP-DL's dl::quantize on most chips and on the ESP32-P4 (dl/tool/src/dl_tool.cpp), truncate the cast
        in the applications of esp-dl v1's tutorials.
        """
        if not self.quantised:
            return np.asarray(real).astype(self.dtype)
        # The half is added in float64: in float32, 0.49999997 + 0.5 is 1.
        scaled = (np.asarray(real, dtype=np.float32) / np.float32(self.scale)).astype(np.float64)
        if self.rounding == "half_up":
            rounded = np.floor(scaled + 0.5)
        elif self.rounding == "half_even":
            rounded = np.rint(scaled)
        elif self.rounding == "truncate":
            rounded = np.trunc(scaled)
        else:
            rounded = np.trunc(scaled + np.copysign(0.5, scaled))
        limits = np.iinfo(self.dtype)
        saturated = np.clip(rounded + self.zero_point, limits.min, limits.max)
        return np.asarray(saturated.astype(self.dtype))

    def dequantise(self, q: NDArray[np.generic]) -> NDArray[np.float32]:
        """Integers of any shape to float32 real values."""
        if not self.quantised:
            return np.asarray(q).astype(np.float32)
        shifted = np.asarray(q).astype(np.int64) - self.zero_point
        return (shifted.astype(np.float32) * np.float32(self.scale)).astype(np.float32)


@dataclass(frozen=True)
class Layer:
    """One operator as a device runs it; `index` counts from 0 in that order, `macs` are its
    multiply-accumulates.
    """

    index: int
    op: str
    output: TensorInfo
    macs: int
