"""The values that travel over the wire, as Python sees them. docs/protocol.md is the source."""

from __future__ import annotations

from dataclasses import dataclass, field

from harness.tensors import Layer, TensorInfo


@dataclass(frozen=True)
class Hello:
    version: int
    boot_reason: int
    max_payload: int
    rx_window: int
    capabilities: int
    frames_seen: int


@dataclass(frozen=True)
class Identity:
    """The device's `key=value` lines; the ones a device must give have a property."""

    values: dict[str, str]

    @property
    def target(self) -> str:
        return self.values["target"]

    @property
    def fidelity(self) -> str:
        return self.values["fidelity"]

    @property
    def model(self) -> str:
        return self.values["model"]

    @property
    def artifact(self) -> str:
        return self.values["artifact"]

    @property
    def firmware(self) -> str:
        return self.values["firmware"]

    @property
    def kernels(self) -> str:
        return self.values["kernels"]

    @property
    def counter(self) -> str:
        """What a scaled count is: instructions, cycles or none."""
        return self.values["counter"]


@dataclass(frozen=True)
class DeviceModel:
    """What the device says it runs. All inputs count as one byte string, so do all outputs."""

    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    layers: tuple[Layer, ...]

    @property
    def input_bytes(self) -> int:
        return sum(tensor.size_bytes for tensor in self.inputs)

    @property
    def output_bytes(self) -> int:
        return sum(tensor.size_bytes for tensor in self.outputs)


@dataclass(frozen=True)
class InferenceReply:
    """One inference as the device reports it.

    `count` is already scaled to the unit `Identity.counter` names; `output` is empty
    when it was not asked for. `input_digest`/`output_digest` are 8 bytes of BLAKE2s,
    checked by the client against what was sent and received.
    """

    inference: int
    layers: int
    input_digest: bytes
    output_digest: bytes
    count: int
    time_us: int
    output: bytes
    layer_counts: tuple[int, ...] = ()
    layer_digests: tuple[bytes, ...] = ()
    retries: int = 0


@dataclass(frozen=True)
class TaskStack:
    """`low_bytes` is the least that was ever free."""

    name: str
    stack_bytes: int | None
    low_bytes: int | None


@dataclass(frozen=True)
class MemoryReport:
    """Bytes as the device measures them; None where it cannot know. The first of `tasks` runs the network."""

    arena_bytes: int | None
    arena_used_bytes: int | None
    model_bytes: int | None
    stack_bytes: int | None
    stack_used_bytes: int | None
    heap_bytes: int | None
    heap_low_bytes: int | None
    static_ram_bytes: int | None
    tasks: tuple[TaskStack, ...] = ()


@dataclass
class WireStatistics:
    """Counters of one link since it was opened."""

    frames_sent: int = 0
    frames_received: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0
    text_bytes: int = 0
    crc_errors: int = 0
    retries: int = 0
    duplicates: int = 0
    device_bad_frames: int = 0
    restarts: int = 0
    baud: int = 0
    extra: dict[str, int] = field(default_factory=dict)
