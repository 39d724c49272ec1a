"""An artifact as a vendor engine takes it: the file behind a header that describes it.

The layout stands in firmware/runtimes/vendor/model_image.h, which reads it on the chip.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable

from harness.link.codec import DTYPES
from harness.runtimes.base import Artifact
from harness.tensors import Layer, TensorInfo

MAGIC = b"NNMODEL1"
ALIGNMENT = 64
MAX_RANK = 6
_HEADER = struct.Struct("<8sIIIIIIIHHHH")
_TENSOR = struct.Struct("<BBHIIi6iI")
_LAYER = struct.Struct("<QI")
_CHECKED_FROM = 16
_CODES = {name: code for code, name in DTYPES.items()}


def encode(artifact: Artifact, *, described_only: bool = False) -> bytes:
    """The model image; the same artifact gives the same bytes. At most 6 dimensions per tensor.

    `described_only`: without the file, for an engine whose model is code.
    """
    data = b"" if described_only else artifact.data
    tensors = (*artifact.inputs, *artifact.outputs)
    tables = _HEADER.size + len(tensors) * _TENSOR.size
    tables += len(artifact.layers) * (_LAYER.size + _TENSOR.size)
    strings = _Strings(tables)
    runtime, _, _ = artifact.runtime.partition(":")
    names = [strings.add(text) for text in (runtime, artifact.name, artifact.digest)]
    body = b"".join(_tensor(tensor, strings) for tensor in tensors)
    body += b"".join(_layer(layer, strings) for layer in artifact.layers)
    start = -(-strings.end // ALIGNMENT) * ALIGNMENT
    size = start + len(data)
    counts = len(artifact.inputs), len(artifact.outputs), len(artifact.layers)
    header = _HEADER.pack(MAGIC, size, 0, start, len(data), *names, *counts, 0)
    image = bytearray(b"".join([header, body, strings.data]).ljust(start, b"\0") + data)
    struct.pack_into("<I", image, 12, zlib.crc32(image[_CHECKED_FROM:]))
    return bytes(image)


class _Strings:
    """Zero-ended strings from `start` on, each stored once."""

    def __init__(self, start: int) -> None:
        self.end = start
        self._offsets: dict[str, int] = {}

    @property
    def data(self) -> bytes:
        return b"".join(text.encode() + b"\0" for text in self._offsets)

    def add(self, text: str) -> int:
        if text not in self._offsets:
            self._offsets[text] = self.end
            self.end += len(text.encode()) + 1
        return self._offsets[text]


def _tensor(info: TensorInfo, strings: _Strings) -> bytes:
    (scale_bits,) = struct.unpack("<I", struct.pack("<f", info.scale))
    dims = _padded(info.shape)
    code = _CODES[info.dtype]
    return _TENSOR.pack(
        code, len(info.shape), 0, info.size_bytes, scale_bits, info.zero_point, *dims, strings.add(info.name)
    )


def _padded(shape: Iterable[int]) -> list[int]:
    dims = list(shape)
    return dims + [0] * (MAX_RANK - len(dims))


def _layer(layer: Layer, strings: _Strings) -> bytes:
    return _LAYER.pack(layer.macs, strings.add(layer.op)) + _tensor(layer.output, strings)
