"""Small images as PNG data URIs, with the standard library alone. Nothing but encoding."""

from __future__ import annotations

import base64
import struct
import zlib

import numpy as np
from numpy.typing import NDArray

from harness.errors import DataError


def png(image: NDArray[np.uint8]) -> bytes:
    """A PNG of a uint8 image (H, W), (H, W, 1) or (H, W, 3), values 0..255.

    Format: W3C Portable Network Graphics, colour types 0 and 2, filter 0 in every row.

    Raises:
        DataError: another type or shape.
    """
    if image.ndim == 3 and image.shape[2] == 1:
        image = image[:, :, 0]
    colour = image.ndim == 3 and image.shape[2] == 3
    if image.dtype != np.uint8 or not (image.ndim == 2 or colour) or 0 in image.shape:
        raise DataError(
            f"expected an image uint8 (H, W) or (H, W, 3); this one is {image.dtype} {image.shape}"
        )
    height, width = image.shape[:2]
    rows = np.zeros((height, 1 + image[0].size), np.uint8)
    rows[:, 1:] = image.reshape(height, -1)
    header = struct.pack(">IIBBBBB", width, height, 8, 2 if colour else 0, 0, 0, 0)
    chunks = (
        _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(rows.tobytes(), 9)) + _chunk(b"IEND", b"")
    )
    return b"\x89PNG\r\n\x1a\n" + chunks


def data_uri(image: NDArray[np.uint8]) -> str:
    """`png` as a data: URI. Raises DataError as `png` does."""
    return "data:image/png;base64," + base64.b64encode(png(image)).decode()


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
