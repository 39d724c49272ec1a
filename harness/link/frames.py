"""Frames on the byte stream: COBS, CRC-32, header, and a reader that survives anything.

docs/protocol.md §1 is the source. Nothing here waits, retries or knows what a
payload means; that is `pipeline` and `codec`.
"""

from __future__ import annotations

import re
import struct
import zlib
from dataclasses import dataclass

import numpy as np

VERSION = 1
MAX_LENGTH = 0xFFFF
_HEADER = struct.Struct("<BBHHH")
_CRC_BYTES = 4
MIN_BODY_BYTES = _HEADER.size + _CRC_BYTES
# With a short payload: the body's own bytes, one of COBS, two zeros.
FRAME_OVERHEAD_BYTES = MIN_BODY_BYTES + 3
_FULL_BLOCK = 254
# From so many on, numpy finds zeros faster than a loop takes them one by one: most pictures are full of them.
_MANY_ZEROS = 64
_MAX_ENCODED = (MIN_BODY_BYTES + MAX_LENGTH) * 255 // 254 + 1
# What no log text contains; a chunk with such a byte was a frame before the wire hit it.
_NOT_TEXT = re.compile(rb"[\x00-\x06\x0e-\x1a\x1c-\x1f\x7f]")


@dataclass(frozen=True)
class Frame:
    """One valid frame. `kind` is the header's `type`; `sequence` and `status` are 0..65535."""

    kind: int
    sequence: int
    payload: bytes = b""
    status: int = 0
    version: int = VERSION


@dataclass(frozen=True)
class Chunk:
    """Bytes between zeros that are no valid frame: log text, or a frame the wire damaged."""

    data: bytes
    damaged: bool


def cobs_encode(data: bytes) -> bytes:
    """Consistent overhead byte stuffing (Cheshire & Baker 1999); the result holds no zero byte.

    At most one byte longer per begun 254 bytes; b"" becomes b"\\x01".
    """
    if data.count(0) >= _MANY_ZEROS:
        encoded = np.frombuffer(bytearray(b"\0" + data + b"\0"), dtype=np.uint8)
        (zeros,) = (encoded == 0).nonzero()
        distances = zeros[1:] - zeros[:-1]
        if distances.max() <= _FULL_BLOCK:  # no block is full: each zero becomes the way to the next
            encoded[zeros[:-1]] = distances
            return encoded[:-1].tobytes()
    parts: list[bytes] = []
    segments = data.split(b"\0")
    last = len(segments) - 1
    for index, segment in enumerate(segments):
        start = 0
        while len(segment) - start >= _FULL_BLOCK:
            parts += (b"\xff", segment[start : start + _FULL_BLOCK])
            start += _FULL_BLOCK
        # A full block at the very end needs no empty block after it.
        if start < len(segment) or index < last or not segment:
            parts += (bytes((len(segment) - start + 1,)), segment[start:])
    return b"".join(parts)


def cobs_decode(encoded: bytes) -> bytes | None:
    """The inverse of `cobs_encode`; None when `encoded` is not COBS."""
    # In place: a code becomes the zero it stands for; the first, and one behind a full block, stand for none.
    decoded, none = bytearray(encoded), [0]
    position, end = 0, len(encoded)
    while position < end:
        code = encoded[position]
        decoded[position] = 0
        position += code
        if code in (0, 0xFF):
            if not code:
                return None
            none.append(position)
    if position != end or not encoded:
        return None
    for place in reversed(none):
        del decoded[place : place + 1]
    return bytes(decoded)


def encode_frame(frame: Frame) -> bytes:
    """The bytes to send, opening and closing zero included. The payload is at most 65535 bytes."""
    header = _HEADER.pack(frame.version, frame.kind, frame.sequence, frame.status, len(frame.payload))
    body = header + frame.payload
    return b"\0" + cobs_encode(body + struct.pack("<I", zlib.crc32(body))) + b"\0"


def encoded_limit(payload_bytes: int) -> int:
    """The most bytes a frame with a payload of this size can take on the wire, zeros included."""
    body = MIN_BODY_BYTES + payload_bytes
    return body + (body + 253) // 254 + 2


def payload_limit(encoded_bytes: int) -> int:
    """The largest payload whose frame always fits `encoded_bytes`; negative when none does."""
    room = encoded_bytes - 2
    return room - (room + 254) // 255 - MIN_BODY_BYTES


def decode_frame(encoded: bytes) -> Frame | None:
    """What stood between two zeros as a frame; None when it is not a valid one."""
    if len(encoded) <= MIN_BODY_BYTES or len(encoded) > _MAX_ENCODED:
        return None
    body = cobs_decode(encoded)
    if body is None or len(body) < MIN_BODY_BYTES:
        return None
    version, kind, sequence, status, length = _HEADER.unpack_from(body)
    if length != len(body) - MIN_BODY_BYTES:
        return None
    if int.from_bytes(body[-_CRC_BYTES:], "little") != zlib.crc32(body[:-_CRC_BYTES]):
        return None
    return Frame(kind, sequence, body[_HEADER.size : -_CRC_BYTES], status, version)


class FrameReader:
    """Cuts a byte stream into frames and chunks. Linear in the bytes fed; never raises."""

    def __init__(self) -> None:
        self._pending = bytearray()
        self._hopeless = False
        self._damage_reported = False

    @property
    def pending(self) -> bytes:
        """What has arrived of the chunk that is not finished yet: a panic's last words."""
        return bytes(self._pending)

    def feed(self, data: bytes) -> list[Frame | Chunk]:
        """Frames and chunks that `data` completes, in order.

        Text that cannot become a frame any more is given out line by line, without
        waiting for the zero that ends it.
        """
        found: list[Frame | Chunk] = []
        first, *rest = data.split(b"\0")
        self._pending += first
        for piece in rest:
            self._finish(found)
            self._pending += piece
        self._release_text(found)
        return found

    def _finish(self, found: list[Frame | Chunk]) -> None:
        if self._pending:
            chunk = bytes(self._pending)
            frame = None if self._hopeless else decode_frame(chunk)
            found.append(frame if frame is not None else self._chunk(chunk))
            self._pending.clear()
        self._hopeless = self._damage_reported = False

    def _release_text(self, found: list[Frame | Chunk]) -> None:
        pending = self._pending
        # A frame's second byte is its version: COBS leaves a non-zero first body byte as it is.
        if not self._hopeless:
            self._hopeless = (len(pending) >= 2 and pending[1] != VERSION) or len(pending) > _MAX_ENCODED
        if not self._hopeless:
            return
        end = len(pending) if len(pending) > 1024 else pending.rfind(b"\n") + 1
        if end:
            found.append(self._chunk(bytes(pending[:end])))
            del pending[:end]

    def _chunk(self, data: bytes) -> Chunk:
        damaged = not self._damage_reported and _is_damaged(data)
        self._damage_reported |= damaged
        return Chunk(data, damaged)


def _is_damaged(data: bytes) -> bool:
    if _NOT_TEXT.search(data):
        return True
    try:
        data.decode()
    except UnicodeDecodeError:
        return True
    return False
