"""Payloads as bytes and back: one function per message of docs/protocol.md §3.

Every `parse_` raises LinkError on a reply that is not as the page says. Nothing
here sends or waits.
"""

from __future__ import annotations

import hashlib
import math
import struct
from dataclasses import dataclass
from enum import IntEnum

from harness.errors import DeviceError, LinkError
from harness.link.frames import VERSION, Frame
from harness.link.messages import Hello, Identity, MemoryReport, TaskStack
from harness.tensors import Layer, TensorInfo


class Kind(IntEnum):
    HELLO = 0x01
    IDENTIFY = 0x02
    DESCRIBE = 0x03
    INPUT = 0x04
    INFER = 0x05
    READ = 0x06
    MEMORY = 0x07
    RESET = 0x08
    SET_BAUD = 0x09
    ECHO = 0x0A
    READY = 0x70
    BAD_FRAME = 0x71


REPLY = 0x80


class Status(IntEnum):
    OK = 0
    UNKNOWN = 1
    MALFORMED = 2
    RANGE = 3
    INPUT_DIGEST = 4
    STALE = 5
    ENGINE = 6
    VERSION = 7
    UNSUPPORTED = 8
    TOO_LARGE = 9


class Capability(IntEnum):
    """Bits of `Hello.capabilities`."""

    LAYER_TAPS = 1 << 0
    LAYER_COUNTS = 1 << 1
    LAYER_DIGESTS = 1 << 2
    SET_BAUD = 1 << 3
    RESET = 1 << 4
    MEMORY = 1 << 5
    EXACT_COUNTS = 1 << 6
    KEEPS_RESULT = 1 << 7


class Described(IntEnum):
    INPUT = 0
    OUTPUT = 1
    LAYER = 2


SEND_OUTPUT, SEND_COUNTS, SEND_DIGESTS = 1, 2, 4
ALL_LAYERS = 0xFFFF
DIGEST_BYTES = 8
INFER_HEADER_BYTES = 16
INPUT_HEADER_BYTES = 8
READ_HEADER_BYTES = 8
BOOT_REASONS = ("unknown", "power-on", "reset request", "watchdog", "panic", "brown-out", "external pin")
REQUIRED_IDENTITY = (
    *("target", "platform", "fidelity", "runtime", "kernels"),
    *("model", "artifact", "firmware", "counter", "counter_scale"),
)
DTYPES = {1: "int8", 2: "uint8", 3: "int16", 4: "int32", 5: "float32", 6: "bool", 7: "int64"}
# Why a request was refused, where the device sends no text: this project's firmware has none, for its flash.
_REFUSED: dict[int, str] = {
    Status.UNKNOWN: "it knows no such request",
    Status.MALFORMED: "too few bytes, or too many",
    Status.TOO_LARGE: "the answer does not fit max_payload",
}
_REFUSED_FOR: dict[tuple[int, int], str] = {
    (Kind.DESCRIBE, Status.RANGE): "no tensor or layer of this kind and index",
    (Kind.INPUT, Status.STALE): "the input of an older inference",
    (Kind.INPUT, Status.RANGE): "beyond the end of the input",
    (Kind.INFER, Status.MALFORMED): "it carries neither the whole input nor none of it",
    (Kind.INFER, Status.RANGE): "more layers than the network has, none, or unknown flags",
    (Kind.INFER, Status.UNSUPPORTED): "its platform counts nothing",
    (Kind.READ, Status.STALE): "the result of that inference is not held",
    (Kind.READ, Status.RANGE): "beyond the end of the result",
    (Kind.READ, Status.TOO_LARGE): "more bytes than max_payload - 8",
    (Kind.SET_BAUD, Status.RANGE): "not a rate this link can make",
    (Kind.SET_BAUD, Status.UNSUPPORTED): "this link has no baud rate",
}
_HELLO = struct.Struct("<IBBHIII")
_DESCRIBE = struct.Struct("<HHBBHIfiQ")
_INFER = struct.Struct("<IHH8s8sQQ")
_MEMORY = struct.Struct("<8I")
_TASK = struct.Struct("<IIB")
_UNKNOWN_BYTES = 0xFFFFFFFF


def digest8(data: bytes) -> bytes:
    """BLAKE2s (RFC 7693), unkeyed, 8 bytes."""
    return hashlib.blake2s(data, digest_size=DIGEST_BYTES).digest()


def status_name(status: int) -> str:
    return Status(status).name if status in set(Status) else f"status {status}"


def expect_ok(frame: Frame, what: str) -> None:
    """Raises DeviceError for a failed engine, LinkError for any other status but OK."""
    if frame.status == Status.OK:
        return
    if frame.status == Status.ENGINE:
        raise DeviceError(f"the device's engine failed at {what}: {_text(frame)}")
    raise LinkError(f"the device refused {what}: {status_name(frame.status)} {refusal(frame)}".rstrip())


def refusal(frame: Frame) -> str:
    """Why, for a status other than OK; empty where neither the device nor this page knows."""
    if frame.status == Status.INPUT_DIGEST:
        return f"it holds an input with digest {frame.payload.hex()}"
    if frame.status == Status.VERSION:
        return f"it speaks versions {' to '.join(map(str, frame.payload))}"
    known = _REFUSED_FOR.get((frame.kind & ~REPLY, frame.status), _REFUSED.get(frame.status, ""))
    return _text(frame) or known


def _text(frame: Frame) -> str:
    return frame.payload.decode("utf-8", "replace")


def boot_reason_name(reason: int) -> str:
    return BOOT_REASONS[reason] if reason < len(BOOT_REASONS) else f"reason {reason}"


def pack_hello(nonce: int) -> bytes:
    return struct.pack("<BBHI", VERSION, VERSION, 0, nonce)


def parse_hello(payload: bytes) -> tuple[int, Hello]:
    """The nonce and the device's parameters."""
    nonce, *values = _unpack(_HELLO, payload, "HELLO")
    return nonce, Hello(*values)


def parse_identity(payload: bytes) -> Identity:
    """Keys a device must give are checked here, so that properties cannot fail later."""
    lines = payload.decode("utf-8", "replace").splitlines()
    values = dict(line.split("=", 1) for line in lines if "=" in line)
    if missing := [key for key in REQUIRED_IDENTITY if key not in values]:
        raise LinkError(f"the device's IDENTIFY lacks {', '.join(missing)}", "Rebuild and flash its firmware")
    counter_ratio(values["counter_scale"])
    return Identity(values)


def counter_ratio(scale: str) -> tuple[int, int]:
    """`N/D` as two positive integers."""
    numerator, _, denominator = scale.partition("/")
    if numerator.isdecimal() and denominator.isdecimal() and int(numerator) and int(denominator):
        return int(numerator), int(denominator)
    raise LinkError(f"expected counter_scale=N/D of positive integers, the device says {scale!r}")


@dataclass(frozen=True)
class Description:
    """One DESCRIBE reply: how many there are of its kind, and this one."""

    total: int
    info: Layer


def pack_describe(kind: Described, index: int) -> bytes:
    return struct.pack("<BBH", kind, 0, index)


def parse_describe(payload: bytes) -> Description:
    """Inputs and outputs come as a Layer without operator."""
    fixed = _unpack(_DESCRIBE, payload[: _DESCRIBE.size], "DESCRIBE")
    total, index, dtype, rank, _, size_bytes, scale, zero_point, macs = fixed
    rest = payload[_DESCRIBE.size + 4 * rank :]
    if dtype not in DTYPES or len(payload) < _DESCRIBE.size + 4 * rank + 1 or len(rest) <= rest[0]:
        raise LinkError(f"malformed DESCRIBE reply: {payload.hex()}")
    shape = struct.unpack_from(f"<{rank}i", payload, _DESCRIBE.size)
    op, name = rest[1 : 1 + rest[0]], rest[1 + rest[0] :]
    tensor = TensorInfo(name.decode("utf-8", "replace"), shape, DTYPES[dtype], scale, zero_point)
    if tensor.size_bytes != size_bytes or not math.isfinite(scale):
        raise LinkError(f"tensor {tensor.name!r} {shape} {tensor.dtype} is described with {size_bytes} bytes")
    return Description(total, Layer(index, op.decode("utf-8", "replace"), tensor, macs))


def pack_input(inference: int, offset: int, data: bytes) -> bytes:
    return struct.pack("<II", inference, offset) + data


def pack_infer(inference: int, layers: int, flags: int, digest: bytes, data: bytes) -> bytes:
    return struct.pack("<IHH8s", inference, layers, flags, digest) + data


@dataclass(frozen=True)
class InferResult:
    """An INFER reply as it came: `count` is not scaled, nothing is checked against what was sent.

    `output` is None when it was not sent: not asked for, or too large for the frame.
    """

    inference: int
    layers: int
    input_digest: bytes
    output_digest: bytes
    count: int
    time_us: int
    layer_counts: tuple[int, ...]
    layer_digests: tuple[bytes, ...]
    output: bytes | None


def infer_reply_bytes(output_bytes: int, layers: int, flags: int) -> int:
    """Size of an INFER reply's payload with these parts."""
    per_layer = 8 * bool(flags & SEND_COUNTS) + 8 * bool(flags & SEND_DIGESTS)
    return _INFER.size + layers * per_layer + (4 + output_bytes if flags & SEND_OUTPUT else 0)


def parse_infer(payload: bytes) -> InferResult:
    if len(payload) < _INFER.size:
        raise LinkError(f"expected at least {_INFER.size} bytes in the INFER reply, {len(payload)} came")
    inference, layers, flags, input_digest, output_digest, count, time_us = _INFER.unpack_from(payload)
    at = _INFER.size
    counts: tuple[int, ...] = ()
    digests: tuple[bytes, ...] = ()
    output: bytes | None = None
    if len(payload) < infer_reply_bytes(0, layers, flags):
        raise LinkError(f"the INFER reply has {len(payload)} bytes, too few for flags {flags:#x}")
    if flags & SEND_COUNTS:
        counts = struct.unpack_from(f"<{layers}Q", payload, at)
        at += 8 * layers
    if flags & SEND_DIGESTS:
        digests = tuple(payload[at + 8 * i : at + 8 * i + 8] for i in range(layers))
        at += 8 * layers
    if flags & SEND_OUTPUT:
        (length,) = struct.unpack_from("<I", payload, at)
        at += 4
        output = payload[at : at + length] or None
        at += length
    if at != len(payload):
        raise LinkError(f"the INFER reply has {len(payload)} bytes where its fields make {at}")
    return InferResult(
        inference, layers, input_digest, output_digest, count, time_us, counts, digests, output
    )


def pack_read(inference: int, offset: int, length: int) -> bytes:
    return struct.pack("<III", inference, offset, length)


def parse_read(payload: bytes) -> tuple[int, int, bytes]:
    """Inference number, total bytes of the tensor, the bytes asked for."""
    inference, total = _unpack(struct.Struct("<II"), payload[:8], "READ")
    return inference, total, payload[8:]


def pack_baud(baud: int) -> bytes:
    return struct.pack("<I", baud)


def parse_memory(payload: bytes) -> MemoryReport:
    values = _unpack(_MEMORY, payload[: _MEMORY.size], "MEMORY")
    tasks, rest = [], payload[_MEMORY.size :]
    while rest:
        size, least, length = _unpack(_TASK, rest[: _TASK.size], "MEMORY")
        name, rest = rest[_TASK.size :][:length], rest[_TASK.size + length :]
        if len(name) != length:
            raise LinkError(f"malformed MEMORY reply: {payload.hex()}")
        tasks.append(TaskStack(name.decode("utf-8", "replace"), _known(size), _known(least)))
    arena, used, model, stack, stack_used, heap, heap_low, static = map(_known, values)
    return MemoryReport(arena, used, model, stack, stack_used, heap, heap_low, static, tuple(tasks))


def _known(size: int) -> int | None:
    return None if size == _UNKNOWN_BYTES else size


def _unpack(layout: struct.Struct, payload: bytes, what: str) -> tuple[int, ...]:
    if len(payload) != layout.size:
        raise LinkError(f"expected {layout.size} bytes in the {what} reply, {len(payload)} came")
    return layout.unpack(payload)
