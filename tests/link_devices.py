"""For tests of the link: a second implementation of docs/protocol.md in Python, and wires that err.

The device is written from the page and shares no code with harness.link. It runs the network of
tests/firmware/demo_engine.c, so that the same tests can go against the real firmware.
"""

from __future__ import annotations

import random
import struct
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field

from harness.boards.base import Port
from harness.errors import PortError
from tests.firmware_demo import demo_layers
from tests.firmware_wire import cobs_decode, cobs_encode, digest8

ARTIFACT = "00112233445566778899aabbccddeeff" * 2


def demo_inputs(count: int, elements: int = 8, seed: int = 0) -> list[bytes]:
    """Random inputs that the demo network neither refuses nor is spoilt by."""
    rng = random.Random(seed)
    return [bytes([rng.randrange(100)]) + rng.randbytes(elements - 1) for _ in range(count)]


@dataclass
class PythonDevice:
    """A device in this process, and the port to it: it works one frame at a time, when it is read.

    The `on_infer` hook may replace the reply's payload, or raise `Restart`.
    """

    elements: int = 8
    max_payload: int = 4096
    rx_window: int = 4096
    wide_output: bool = False
    version: int = 1
    artifact: str = ARTIFACT
    counter_scale: str = "1/1"
    keeps_result: bool = False
    banner: bytes = b""
    mute: bool = False
    on_infer: Callable[[int, bytes], bytes] = lambda _, payload: payload
    peak_buffered: int = 0
    boots: int = 0
    inferences: int = 0
    bauds: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._wire_in = bytearray()
        self._wire_out = bytearray()
        self._boot(1)

    def read(self, timeout_s: float) -> bytes:
        while not self._wire_out and b"\0" in self._wire_in:
            chunk, _, rest = bytes(self._wire_in).partition(b"\0")
            self._wire_in = bytearray(rest)
            try:
                self._receive(chunk)
            except Restart as restart:
                self._wire_in.clear()
                self._boot(restart.reason)
        if not self._wire_out:
            # Nothing else can make this device speak.
            time.sleep(max(0.0, timeout_s))
        data, self._wire_out = bytes(self._wire_out), bytearray()
        return data

    def write(self, data: bytes) -> None:
        self._wire_in += data
        self.peak_buffered = max(self.peak_buffered, len(self._wire_in))
        del self._wire_in[self.rx_window :]

    def set_baud(self, baud: int) -> None:
        self.bauds.append(baud)

    def say(self, data: bytes) -> None:
        """Log text beside the frames."""
        self._wire_out += data

    def restart(self) -> None:
        """From outside, by the reset line: what was on its way to it is lost."""
        self._wire_in.clear()
        self._boot(6)

    def _boot(self, reason: int) -> None:
        self.boots += 1
        self._reason = reason
        self._frames_seen = self._bad = 0
        self._held = bytearray(self.elements)
        self._held_number: int | None = None
        self._result: tuple[int, bytes] | None = None
        self._kept: tuple[bytes, bytes] | None = None
        self.say(self.banner)
        if not self.mute:
            self._send(0x70, 0, 0, struct.pack("<BBH", 1, reason, self.max_payload))

    def _send(self, kind: int, sequence: int, status: int, payload: bytes) -> None:
        body = struct.pack("<BBHHH", 1, kind, sequence, status, len(payload)) + payload
        self.say(b"\0" + cobs_encode(body + struct.pack("<I", zlib.crc32(body))) + b"\0")

    def _receive(self, chunk: bytes) -> None:
        body = cobs_decode(chunk) or b""
        valid = len(body) >= 12 and zlib.crc32(body[:-4]) == int.from_bytes(body[-4:], "little")
        if self.mute or (not valid and len(chunk) < 12):
            return
        if not valid:
            self._bad += 1
            self._send(0x71, 0, 0, struct.pack("<I", self._bad))
            return
        _, kind, sequence, _, _ = struct.unpack_from("<BBHHH", body)
        self._frames_seen += 1
        handler = {
            1: self._hello,
            2: self._identify,
            3: self._describe,
            4: self._input,
            5: self._infer,
            6: self._read,
            7: lambda _: (0, struct.pack("<8I", 64, 48, 0, 1000, 300, *(3 * [0xFFFFFFFF]))),
            8: lambda _: (0, b""),
            9: lambda payload: (0, b"") if payload != struct.pack("<I", 3) else (3, b"no such rate"),
            10: lambda payload: (0, payload),
        }.get(kind)
        status, payload = handler(body[8:-4]) if handler else (1, b"no such request")
        self._send(kind | 0x80, sequence, status, payload)
        if kind == 8:
            raise Restart(2)

    def _hello(self, payload: bytes) -> tuple[int, bytes]:
        lowest, highest, _, nonce = struct.unpack("<BBHI", payload)
        if not lowest <= self.version <= highest:
            return 7, bytes([self.version, self.version])
        self._held_number = None
        offers = 0x7F | self.keeps_result << 7
        limits = struct.pack("<HIII", self.max_payload, self.rx_window, offers, self._frames_seen)
        return 0, struct.pack("<IBB", nonce, self.version, self._reason) + limits

    def _identify(self, _: bytes) -> tuple[int, bytes]:
        values = {"target": "esp32c3", "platform": "python", "fidelity": "host", "runtime": "demo"}
        values |= {"kernels": "portable", "model": "demo", "artifact": self.artifact, "firmware": "f" * 64}
        values |= {"counter": "instructions", "counter_scale": self.counter_scale}
        return 0, "".join(f"{key}={value}\n" for key, value in values.items()).encode()

    def _describe(self, payload: bytes) -> tuple[int, bytes]:
        kind, _, index = struct.unpack("<BBH", payload)
        count = self.elements
        layers = [("ADD", "added", 1, [1, count], count), ("MUL", "doubled", 3, [1, count], 2 * count)]
        layers.append(("SUM", "out", 4, [1], 4))
        output = layers[1] if self.wide_output else layers[2]
        entries = ([("", "in", 1, [1, count], count)], [("", *output[1:])], layers)[kind]
        if index >= len(entries):
            return 3, b"no such index"
        op, name, dtype, dims, size = entries[index]
        head = struct.pack("<HHBBHIfiQ", len(entries), index, dtype, len(dims), 0, size, 0.5, 3, 7)
        tail = bytes([len(op)]) + op.encode() + name.encode()
        return 0, head + struct.pack(f"<{len(dims)}i", *dims) + tail

    def _input(self, payload: bytes) -> tuple[int, bytes]:
        number, offset = struct.unpack_from("<II", payload)
        data = payload[8:]
        if self._held_number is not None and (number - self._held_number) % 2**32 >= 2**31:
            return 5, b"an older inference"
        if offset + len(data) > self.elements:
            return 3, b"beyond the input"
        if number != self._held_number:
            self._held, self._held_number = bytearray(self.elements), number
        self._held[offset : offset + len(data)] = data
        self._kept = None
        return 0, b""

    def _infer(self, payload: bytes) -> tuple[int, bytes]:
        number, wanted, flags = struct.unpack_from("<IHH", payload)
        if data := payload[16:]:
            self._held, self._held_number = bytearray(data), None
        asked = payload[:6] + payload[8:16]
        if self._kept and self._kept[0] == asked and not data and not flags & 6:
            return 0, self._kept[1]
        held = bytes(self._held)
        if digest8(held) != payload[8:16]:
            return 4, digest8(held)
        self.inferences += 1
        layers = 3 if wanted == 0xFFFF else wanted
        results = demo_layers(held)
        output = results[1] if self.wide_output and wanted == 0xFFFF else results[layers - 1]
        self._result = (number, output)
        reply = struct.pack("<IHH", number, layers, flags) + digest8(held) + digest8(output)
        reply += struct.pack("<QQ", 1000, 10)
        if flags & 2:
            reply += struct.pack(f"<{layers}Q", *(100 * (layer + 1) for layer in range(layers)))
        if flags & 4:
            reply += b"".join(digest8(result) for result in results[:layers])
        if flags & 1:
            sent = output if len(reply) + 4 + len(output) <= self.max_payload else b""
            reply += struct.pack("<I", len(sent)) + sent
        if self.keeps_result:
            # The run has overwritten the input.
            self._kept, self._held = (asked, reply), bytearray(self.elements)
        return 0, self.on_infer(number, reply)

    def _read(self, payload: bytes) -> tuple[int, bytes]:
        number, offset, length = struct.unpack("<III", payload)
        if self._result is None or self._result[0] != number:
            return 5, b"not the last result"
        output = self._result[1]
        return 0, struct.pack("<II", number, len(output)) + output[offset : offset + length]


class Restart(Exception):  # noqa: N818 - what happens, not an error of ours
    """The device restarts at once; `reason` as in HELLO."""

    def __init__(self, reason: int = 4) -> None:
        super().__init__()
        self.reason = reason


class FaultyPort:
    """A wire that flips, drops, doubles and invents bytes: on average one fault in `every` bytes."""

    def __init__(self, port: Port, seed: int, every: int) -> None:
        self.faults = 0
        self.quiet = False
        self._port = port
        self._rng = random.Random(seed)
        self._every = every

    def read(self, timeout_s: float) -> bytes:
        return self._damage(self._port.read(timeout_s))

    def write(self, data: bytes) -> None:
        self._port.write(self._damage(data))

    def set_baud(self, baud: int) -> None:
        self._port.set_baud(baud)

    def _damage(self, data: bytes) -> bytes:
        if self.quiet:
            return data
        damaged, rng = bytearray(data), self._rng
        for position in range(len(data) - 1, -1, -1):
            if rng.randrange(self._every):
                continue
            self.faults += 1
            match rng.randrange(5):
                case 0:
                    damaged[position] ^= 1 << rng.randrange(8)
                case 1:
                    del damaged[position]
                case 2:
                    damaged.insert(position, damaged[position])
                case 3:
                    damaged[position:position] = rng.randbytes(rng.randrange(1, 20))
                case 4:
                    del damaged[position : position + rng.randrange(1, 60)]
        return bytes(damaged)


class GonePort:
    """A port whose other end is closed after `reads` reads."""

    def __init__(self, port: Port, reads: int) -> None:
        self._port, self._reads = port, reads

    def read(self, timeout_s: float) -> bytes:
        self._reads -= 1
        if self._reads < 0:
            raise PortError("the port is gone", "Attach it again")
        return self._port.read(timeout_s)

    def write(self, data: bytes) -> None:
        self._port.write(data)

    def set_baud(self, baud: int) -> None: ...
