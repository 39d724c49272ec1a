"""The host's end of the wire: ask a device who it is, what it runs, and to run it.

`Link` talks to any `Port`; it neither starts boards nor judges results. Frames, window and
retransmission are below it (`frames`, `pipeline`, `inference`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterable, Iterator

from harness.boards.base import Port
from harness.errors import IdentityError, LinkError, UnsupportedError
from harness.link import codec
from harness.link.codec import SEND_COUNTS, SEND_DIGESTS, SEND_OUTPUT, Capability, Described, Kind, expect_ok
from harness.link.inference import Inferences
from harness.link.loading import Ask
from harness.link.messages import (
    DeviceModel,
    Hello,
    Identity,
    InferenceReply,
    MemoryReport,
    WireStatistics,
)
from harness.link.pipeline import Pipeline
from harness.link.watch import Watch
from harness.link.wirelog import WireLog
from harness.tensors import Layer


class Link:
    """A conversation with one device. Connect first; not to be shared between threads.

    Every method may raise SilentError (nothing valid came in time; the message carries the
    device's last lines), LinkError (it does not speak as docs/protocol.md says), DeviceError (it
    reports a failure, or restarts over and over) and PortError (the port is gone).
    """

    def __init__(
        self,
        port: Port,
        *,
        log: WireLog | None = None,
        timeout_s: float = 10.0,
        baud: int = 0,
        board_state: Callable[[], str] | None = None,
        watch: Watch | None = None,
    ) -> None:
        """
        Args:
            log: where the wire is recorded; by default only the last lines are kept, in memory.
            timeout_s: the longest wait for any one answer; must exceed the slowest inference.
            baud: the rate the port was opened with, for `set_baud` to return to.
            board_state: `Board.state`, shown when the device is silent.
            watch: reads the device's text for crashes; a fault it names is a DeviceError.
        """
        self._pipeline = Pipeline(port, log or WireLog(), timeout_s, baud, board_state, watch)
        self._identity: Identity | None = None
        self._model: DeviceModel | None = None
        self._inferences: Inferences | None = None

    @property
    def hello(self) -> Hello:
        """What the device promised at the last handshake."""
        return self._pipeline.hello

    @property
    def statistics(self) -> WireStatistics:
        return self._pipeline.statistics

    def connect(self, timeout_s: float = 10.0) -> Hello:
        """Finds the device on the port; whatever was in flight before is forgotten."""
        return self._pipeline.connect(timeout_s)

    def close(self) -> None:
        """Writes the device's unfinished text and ends the log; the port is the board's to close."""
        self._pipeline.wire.log.close(self._pipeline.wire.unfinished_text)

    def identify(self) -> Identity:
        """Who the device says it is; asked once."""
        if self._identity is None:
            self._identity = codec.parse_identity(self._pipeline.call(Kind.IDENTIFY, b"", "IDENTIFY"))
        return self._identity

    def expect_identity(
        self,
        *,
        artifact: str,
        firmware: str | None = None,
        target: str | None = None,
        model: str = "",
        remedy: str = "Rebuild the firmware and flash it",
    ) -> Identity:
        """Makes sure the device runs this artifact (and firmware, and target): SHA-256, lower-case hex.

        Args:
            model: the expected model's name, for the message only.
            remedy: what to do about another one on this board.

        Raises:
            IdentityError: it runs something else; names both.
        """
        found = self.identify()
        if found.artifact != artifact:
            raise IdentityError(
                f"expected model {model or '?'} (artifact {artifact[:16]}), "
                f"the device runs {found.model} (artifact {found.artifact[:16]})",
                remedy,
            )
        if firmware is not None and found.firmware != firmware:
            raise IdentityError(
                f"the device runs model {found.model}, but from another firmware build: "
                f"expected {firmware[:16]}, found {found.firmware[:16]}",
                remedy,
            )
        if target is not None and found.target != target:
            raise IdentityError(
                f"expected firmware for {target}, the device's was built for {found.target}", remedy
            )
        return found

    def describe(self) -> DeviceModel:
        """Inputs, outputs and layers as the device has them; asked once."""
        if self._model is None:
            inputs, outputs, layers = (self._describe(kind) for kind in Described)
            self._model = DeviceModel(
                tuple(entry.output for entry in inputs), tuple(entry.output for entry in outputs), layers
            )
        return self._model

    def infer(
        self, data: bytes, *, layer_counts: bool = False, layer_digests: bool = False
    ) -> InferenceReply:
        """One inference. `data`: all inputs' bytes, one after another."""
        (reply,) = self.infer_stream([data], layer_counts=layer_counts, layer_digests=layer_digests)
        return reply

    def infer_stream(
        self, samples: Iterable[bytes], *, layer_counts: bool = False, layer_digests: bool = False
    ) -> Iterator[InferenceReply]:
        """One reply per sample, in order; several are on the wire at a time.

        Samples are taken from the iterable ahead of the replies, as far as the device's window
        allows. A reply is given out only when the device's digest of its input and the digest of
        the output bytes both hold; otherwise it is asked for again, and then a LinkError.

        Raises:
            DataError: a sample has not the size of the model's inputs.
            IdentityError: the device restarted meanwhile and is another one now.
            UnsupportedError: layer counts or digests from a device without them.
        """
        flags = SEND_OUTPUT
        if layer_counts:
            self._require(Capability.LAYER_COUNTS, "counts per layer")
            flags |= SEND_COUNTS
        if layer_digests:
            self._require(Capability.LAYER_DIGESTS, "digests of layers")
            flags |= SEND_DIGESTS
        return self._from_one_device(self._engine().stream(samples, Ask(flags)))

    def read_layer(self, data: bytes, layer: int) -> bytes:
        """The output bytes of layer `layer` (from 0) for this input; runs up to it and no further.

        Raises:
            UnsupportedError: a device without layer taps.
            LinkError: no such layer.
        """
        return self._up_to(data, layer, SEND_OUTPUT).output

    def layer_digest(self, data: bytes, layer: int) -> bytes:
        """The 8-byte digest of what `read_layer` gives: some 50 bytes on the wire. Raises as it does."""
        return self._up_to(data, layer, 0).output_digest

    def room_for_layers(self, *, counts: bool, digests: bool) -> bool:
        """Whether the device gives these of every layer, and one reply has room for them all."""
        wanted = Capability.LAYER_COUNTS * counts | Capability.LAYER_DIGESTS * digests
        flags = SEND_OUTPUT | SEND_COUNTS * counts | SEND_DIGESTS * digests
        needed = codec.infer_reply_bytes(0, len(self.describe().layers), flags)
        return self.hello.capabilities & wanted == wanted and needed <= self.hello.max_payload

    def memory(self) -> MemoryReport:
        """Bytes as the device measures them; stack and heap marks since its boot."""
        self._require(Capability.MEMORY, "memory")
        return codec.parse_memory(self._pipeline.call(Kind.MEMORY, b"", "MEMORY"))

    def echo(self, data: bytes) -> bytes:
        """The same bytes, by way of the device: at most `hello.max_payload` of them."""
        return self._pipeline.call(Kind.ECHO, data, "ECHO")

    def echoes(self, payloads: Iterable[bytes]) -> list[bytes]:
        """As `echo`, for many: as many at a time as the window takes; answers in order."""
        replies = self._pipeline.exchange((Kind.ECHO, data, "ECHO") for data in payloads)
        for reply in replies:
            expect_ok(reply, "ECHO")
        return [reply.payload for reply in replies]

    def reset(self, timeout_s: float = 10.0) -> Hello:
        """Restarts the device through the protocol and finds it again."""
        self._require(Capability.RESET, "restarting on request")
        return self._pipeline.restart(timeout_s)

    def reset_unheard(self, timeout_s: float = 10.0) -> Hello:
        """As `reset`, for a device that answers nothing: sends RESET whether it is heard or not."""
        return self._pipeline.restart_unheard(timeout_s)

    def set_baud(self, baud: int) -> None:
        """Both ends of the line to `baud`.

        Raises:
            LinkError: the device cannot make this rate, or cannot be heard at it; the old rate
                is in force again.
            PortError: the host's port cannot make it; the same.
        """
        self._require(Capability.SET_BAUD, "other baud rates")
        self._pipeline.change_baud(baud, self._pipeline.timeout_s)

    def _from_one_device(self, replies: Generator[InferenceReply, None, None]) -> Iterator[InferenceReply]:
        """A restart can bring up other firmware, as from a second slot; its answers are not given out."""
        seen = self.statistics
        restarts, retries = seen.restarts, seen.retries
        with contextlib.closing(replies):
            for reply in replies:
                if seen.restarts != restarts:
                    self._confirm_identity()
                    restarts = seen.restarts
                yield reply
        # A restart whose READY was lost shows only in what had to be sent again.
        if seen.retries != retries:
            self._confirm_identity()

    def _confirm_identity(self) -> None:
        before = self.identify()
        now = codec.parse_identity(self._pipeline.call(Kind.IDENTIFY, b"", "IDENTIFY"))
        if (now.artifact, now.firmware) != (before.artifact, before.firmware):
            raise IdentityError(
                f"the device restarted as another: model {now.model} (artifact {now.artifact[:16]}, "
                f"firmware {now.firmware[:16]}), before {before.model} ({before.artifact[:16]}, "
                f"{before.firmware[:16]})",
                "Flash it again, and look in its log for why it restarted",
            )

    def _up_to(self, data: bytes, layer: int, flags: int) -> InferenceReply:
        self._require(Capability.LAYER_TAPS, "layer outputs")
        layers = len(self.describe().layers)
        if not 0 <= layer < layers:
            raise LinkError(f"expected a layer from 0 to {layers - 1}, {layer} was asked for")
        (reply,) = self._engine().stream([data], Ask(flags, layer + 1))
        return reply

    def _require(self, capability: Capability, what: str) -> None:
        if not self.hello.capabilities & capability:
            raise UnsupportedError(f"this device's firmware does not offer {what}")

    def _describe(self, kind: Described) -> tuple[Layer, ...]:
        name = f"DESCRIBE {kind.name.lower()}"
        reply = self._pipeline.wait(
            self._pipeline.submit(Kind.DESCRIBE, codec.pack_describe(kind, 0), f"{name} 0")
        )
        if reply.status == codec.Status.RANGE:
            return ()
        expect_ok(reply, name)
        first = codec.parse_describe(reply.payload)
        replies = self._pipeline.exchange(
            (Kind.DESCRIBE, codec.pack_describe(kind, index), f"{name} {index}")
            for index in range(1, first.total)
        )
        entries = [first.info]
        for reply in replies:
            expect_ok(reply, name)
            entries.append(codec.parse_describe(reply.payload).info)
        if [entry.index for entry in entries] != list(range(first.total)):
            raise LinkError(f"the device numbers its {kind.name.lower()} descriptions wrongly")
        return tuple(entries)

    def _engine(self) -> Inferences:
        if self._inferences is None:
            ratio = codec.counter_ratio(self.identify().values["counter_scale"])
            self._inferences = Inferences(self._pipeline, self.describe(), ratio)
        return self._inferences
