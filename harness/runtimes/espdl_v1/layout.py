"""The order of filter elements in a coefficient file, by chip and width.

Seen in Espressif's and others' published files: `esp32` int16 and `esp32s3` int16. The other
combinations are inferred from these and from ESP-DL v3; `is_inferred` says which.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from harness.errors import DataError

CHIPS = ("esp32", "esp32s2", "esp32s3", "esp32c3")
BLOCKED = "esp32s3"
"""The chip whose vector unit wants the channels in blocks."""
_SEEN = {("esp32", 16), ("esp32s3", 16)}
_VECTOR_BITS = 128
_ESP32_PADDING = 16


def is_inferred(chip: str, bits: int) -> bool:
    """Whether no published coefficient file shows this layout."""
    return (chip, bits) not in _SEEN


def pack_filter(
    values: NDArray[np.integer], chip: str, bits: int, *, depthwise: bool, dense: bool
) -> NDArray[np.integer]:
    """(kh, kw, in, out) integers to the flat order of the chip; (kh, kw, channels, 1) if depthwise.

    esp32s3: blocks of 8 (int16) or 16 (int8) output channels, each [kh][kw][in][block], then each
    left-over channel as [kh][kw][in]. Others: [out][kh][kw][in]; on esp32, the elements of a
    convolution over one channel end in zeros up to a multiple of 16.
    """
    if depthwise:
        values = values.transpose(0, 1, 3, 2)
    channels = values.shape[3]
    if chip == BLOCKED:
        block = _VECTOR_BITS // bits
        whole = channels - channels % block
        parts = [values[..., start : start + block].reshape(-1) for start in range(0, whole, block)]
        parts += [values[..., channel].reshape(-1) for channel in range(whole, channels)]
        return np.concatenate(parts)
    flat = values.transpose(3, 0, 1, 2).reshape(-1)
    if chip == "esp32" and bits == 16 and values.shape[2] == 1 and not dense and not depthwise:
        flat = np.pad(flat, (0, -len(flat) % _ESP32_PADDING))
    return flat


def unpack_filter(
    flat: NDArray[np.int64], shape: tuple[int, ...], chip: str, bits: int, *, depthwise: bool
) -> NDArray[np.int64]:
    """The inverse of `pack_filter`: `shape` as the file states it.

    Raises:
        DataError: the number of elements does not fit the shape.
    """
    size = math.prod(shape)
    padded = size + -size % _ESP32_PADDING
    if len(flat) != size and (len(flat) != padded or flat[size:].any()):
        raise DataError(f"a filter of shape {shape} needs {size} elements, the array has {len(flat)}")
    # Packing the elements' own positions says where each of them lies.
    positions = pack_filter(np.arange(size).reshape(shape), chip, bits, depthwise=depthwise, dense=True)
    values = np.empty(size, dtype=np.int64)
    values[positions] = flat[:size]
    return values.reshape(shape)
