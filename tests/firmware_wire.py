"""The least that speaks docs/protocol.md, for tests of the firmware alone: written from the
document, not from harness.link, so that the two check each other. It retries nothing."""

from __future__ import annotations

import hashlib
import struct
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass

from harness.boards.base import Port

HELLO, IDENTIFY, DESCRIBE, INPUT, INFER, READ, MEMORY, RESET, SET_BAUD, ECHO = range(1, 11)
READY, BAD_FRAME = 0x70, 0x71
OUTPUT, COUNTS, DIGESTS = 1, 2, 4
ALL_LAYERS = 0xFFFF

# Far beyond what any answer takes, on a loaded machine too.
DEADLINE_S = 30.0


def cobs_encode(data: bytes) -> bytes:
    """Consistent overhead byte stuffing of any bytes; the result has no zero."""
    encoded = bytearray()
    parts = data.split(b"\0")
    for number, part in enumerate(parts):
        while len(part) >= 254:
            encoded += b"\xff" + part[:254]
            part = part[254:]
            if not part and number == len(parts) - 1:
                return bytes(encoded)
        encoded += bytes([len(part) + 1]) + part
    return bytes(encoded)


def cobs_decode(data: bytes) -> bytes | None:
    """The inverse; None if a block is cut short."""
    decoded = bytearray()
    at = 0
    while at < len(data):
        code = data[at]
        block = data[at + 1 : at + code]
        if len(block) != code - 1:
            return None
        decoded += block
        at += code
        if code != 0xFF and at < len(data):
            decoded.append(0)
    return bytes(decoded)


def digest8(data: bytes) -> bytes:
    return hashlib.blake2s(data, digest_size=8).digest()


def infer_payload(
    data: bytes, inference: int = 1, layers: int = ALL_LAYERS, flags: int = OUTPUT, *, carry: bool = True
) -> bytes:
    """An INFER request for the input `data`, which goes along unless `carry` is false."""
    return struct.pack("<IHH", inference, layers, flags) + digest8(data) + (data if carry else b"")


@dataclass(frozen=True)
class Frame:
    type: int
    sequence: int
    status: int
    payload: bytes


def encode(
    kind: int,
    payload: bytes = b"",
    sequence: int = 0,
    *,
    version: int = 1,
    length: int | None = None,
    crc_xor: int = 0,
) -> bytes:
    """One frame with its delimiters; the keywords make it a wrong one."""
    header = struct.pack("<BBHHH", version, kind, sequence, 0, len(payload) if length is None else length)
    body = header + payload
    return b"\0" + cobs_encode(body + struct.pack("<I", zlib.crc32(body) ^ crc_xor)) + b"\0"


def decode(chunk: bytes) -> Frame | None:
    body = cobs_decode(chunk)
    if body is None or len(body) < 12:
        return None
    (crc,) = struct.unpack("<I", body[-4:])
    version, kind, sequence, status, length = struct.unpack("<BBHHH", body[:8])
    if crc != zlib.crc32(body[:-4]) or version != 1 or length != len(body) - 12:
        return None
    return Frame(kind, sequence, status, body[8:-4])


class Device:
    """The device at the other end of a port."""

    def __init__(self, port: Port) -> None:
        self.port = port
        self._pending = b""
        self._frames: list[Frame] = []
        self._sequence = 0
        self.text = b""

    def send(self, data: bytes) -> None:
        self.port.write(data)

    def frame(self) -> Frame:
        """The next frame, whatever it is."""
        self._receive_until(lambda: bool(self._frames))
        return self._frames.pop(0)

    def wait_for_text(self, wanted: bytes) -> None:
        self._receive_until(lambda: wanted in self.text + self._pending)

    def _receive_until(self, condition: Callable[[], bool]) -> None:
        end = time.monotonic() + DEADLINE_S
        while not condition():
            got = self.port.read(end - time.monotonic())
            if not got:
                raise TimeoutError(f"device silent; text so far {self.text + self._pending!r}")
            *chunks, self._pending = (self._pending + got).split(b"\0")
            for chunk in chunks:
                frame = decode(chunk)
                if frame is None:
                    self.text += chunk
                else:
                    self._frames.append(frame)

    def ask(self, kind: int, payload: bytes = b"") -> Frame:
        """Sends one request and returns its answer; anything else in between is a failure."""
        self._sequence = (self._sequence + 1) & 0xFFFF
        self.send(encode(kind, payload, self._sequence))
        frame = self.frame()
        assert (frame.type, frame.sequence) == (kind | 0x80, self._sequence), frame
        return frame

    def ready(self) -> int:
        """Waits for READY and returns its boot reason."""
        frame = self.frame()
        assert frame.type == READY, frame
        version, reason, max_payload = struct.unpack("<BBH", frame.payload)
        assert (version, max_payload) == (1, 4096)
        return int(reason)

    def identity(self) -> dict[str, str]:
        answer = self.ask(IDENTIFY)
        assert answer.status == 0
        return dict(line.split("=", 1) for line in answer.payload.decode().splitlines())

    def infer(self, data: bytes, inference: int = 1, layers: int = ALL_LAYERS, flags: int = OUTPUT) -> Result:
        answer = self.ask(INFER, infer_payload(data, inference, layers, flags))
        assert answer.status == 0, answer
        return Result.parse(answer.payload)


@dataclass(frozen=True)
class Result:
    """The reply to INFER; `count` as the device sent it, not scaled."""

    inference: int
    layers: int
    input_digest: bytes
    output_digest: bytes
    count: int
    time_us: int
    layer_counts: tuple[int, ...]
    layer_digests: tuple[bytes, ...]
    output: bytes | None

    @classmethod
    def parse(cls, payload: bytes) -> Result:
        inference, layers, flags, held, result, count, time_us = struct.unpack_from("<IHH8s8sQQ", payload)
        at = 40
        counts: tuple[int, ...] = ()
        digests: tuple[bytes, ...] = ()
        output = None
        if flags & COUNTS:
            counts = struct.unpack_from(f"<{layers}Q", payload, at)
            at += 8 * layers
        if flags & DIGESTS:
            digests = tuple(payload[at + 8 * i : at + 8 * i + 8] for i in range(layers))
            at += 8 * layers
        if flags & OUTPUT:
            (length,) = struct.unpack_from("<I", payload, at)
            output = payload[at + 4 : at + 4 + length]
            at += 4 + length
        assert at == len(payload)
        return cls(inference, layers, held, result, count, time_us, counts, digests, output)
