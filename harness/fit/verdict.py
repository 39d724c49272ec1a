"""Does a network fit a chip: what it needs of each resource, what there is, what ends and what mends it.

Sizes come from `code_size` or from a build, regions and flash from targets.toml. Writes and starts nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.fit.code_size import FirmwareSize
from harness.fit.latency import Latency, expected
from harness.fit.regions import place
from harness.portable.plan import activation_buffers, bytes_apart
from harness.runtimes.planned import PlannedArtifact
from harness.targets import Target
from harness.toolchains.esp_idf.engines import PORTABLE
from harness.toolchains.esp_idf.partitions import APP_OFFSET, kib

SDK_APP_BYTES = 464_460
"""An ESP-IDF application with ESP-DL v1 but without its network: 0x104000 bytes, as tutorial 0 published them
for the ESP32, less two for each of 300,250 parameters. No build for another chip or runtime is published.
"""
DEFAULT_PARTITION_BYTES = 1 << 20
"""What ESP-IDF's own single_app partition table gives an application."""


@dataclass(frozen=True)
class Room:
    """What the board has beside its chip: app partition, flash and PSRAM in bytes (0: none)."""

    partition_bytes: int = DEFAULT_PARTITION_BYTES
    flash_bytes: int = 4 << 20
    psram_bytes: int = 0


@dataclass(frozen=True)
class Need:
    """One resource; `mend` is what would help where it does not suffice."""

    resource: str
    needed_bytes: int
    available_bytes: int
    mend: str

    @property
    def fits(self) -> bool:
        return self.needed_bytes <= self.available_bytes


@dataclass(frozen=True)
class Fit:
    """The verdict for one network in one runtime on one chip."""

    target: str
    runtime: str
    kernels: str
    size: FirmwareSize
    arena_least_bytes: int
    needs: tuple[Need, ...]
    latency: Latency | None

    @property
    def ends(self) -> Need | None:
        """The first resource that does not suffice."""
        return next((need for need in self.needs if not need.fits), None)

    @property
    def fits(self) -> bool:
        return self.ends is None


def judge(artifact: PlannedArtifact, target: Target, kernels: str, size: FirmwareSize, room: Room) -> Fit:
    """`size` is of the portable firmware on the machine that stands in for `target`."""
    vendor = kernels != PORTABLE
    family = artifact.runtime.partition(":")[0]
    model_bytes = size.model_bytes
    if vendor:
        model_bytes = _coefficient_bytes(artifact) if family == "espdl-v1" else len(artifact.data)
    app_bytes = SDK_APP_BYTES + model_bytes
    flash = Need(
        "app partition",
        app_bytes,
        room.partition_bytes,
        f"a larger app partition: --partition {_size(app_bytes)}",
    )
    chip = Need(
        "flash",
        APP_OFFSET + room.partition_bytes,
        room.flash_bytes,
        "a board with more flash, and --flash-size, or a smaller --partition",
    )
    if not vendor:
        memory = _static(artifact, target, size)
    elif family == "espdl-v1":
        memory = _blocks(artifact, target, room)
    else:
        memory = _one_block(artifact, target, room)
    return Fit(
        target=target.id,
        runtime=artifact.runtime,
        kernels=kernels,
        size=size,
        arena_least_bytes=artifact.plan.memory.lower_bound_bytes,
        needs=(flash, chip, memory),
        latency=expected(artifact.plan, artifact.runtime, target.id),
    )


def _coefficient_bytes(artifact: PlannedArtifact) -> int:
    """Of an espdl-v1 network as its library has it in the app: filters and biases, as wide as activations are
    but for the biases that stand beside a filter for each channel.
    """
    graph = artifact.plan.graph
    width = np.dtype(graph.tensors[graph.inputs[0]].info.dtype).itemsize
    per_channel = "per-channel" in artifact.scheme
    constants = [tensor.data for tensor in graph.tensors if tensor.data is not None]
    return sum(data.size * (data.itemsize if per_channel else width) for data in constants)


def _static(artifact: PlannedArtifact, target: Target, size: FirmwareSize) -> Need:
    other = ""
    if artifact.runtime.startswith("espdl-v1"):
        apart = place(activation_buffers(artifact.plan), target.heap_regions)
        other = "--kernels vendor, whose activations lie apart on the heap; " if apart.lost is None else ""
    return Need(
        "static RAM (arena and firmware in one piece)",
        size.ram_bytes,
        target.static_ram_bytes,
        f"{other}a smaller input or fewer channels in {_busiest(artifact)}{_narrower(artifact)}",
    )


def _one_block(artifact: PlannedArtifact, target: Target, room: Room) -> Need:
    largest = max((*target.heap_regions, room.psram_bytes))
    return Need(
        "largest heap region (arena in one block)",
        bytes_apart(artifact.plan),
        largest,
        f"{_psram(room)}a smaller input{_narrower(artifact)}",
    )


def _blocks(artifact: PlannedArtifact, target: Target, room: Room) -> Need:
    """Each activation a block of its own. One that finds no room is set against the widest gap there was."""
    regions = (*target.heap_regions, *([room.psram_bytes] if room.psram_bytes else []))
    placed = place(activation_buffers(artifact.plan), regions)
    mend = f"{_psram(room)}a smaller input or fewer channels in {_busiest(artifact)}{_narrower(artifact)}"
    if placed.lost is None:
        return Need("heap regions (a block for each activation)", sum(placed.used), sum(regions), mend)
    beside = " and ".join(kib(used) for used in placed.alive if used)
    return Need(
        f"heap regions (the block that layer {placed.lost.first} makes, beside {beside or 'nothing'} in use)",
        placed.lost.size_bytes,
        placed.gap_bytes,
        mend,
    )


def _psram(room: Room) -> str:
    return "" if room.psram_bytes else "a board with PSRAM: --psram 2MB; "


def _narrower(artifact: PlannedArtifact) -> str:
    return "; int8 instead of int16" if artifact.inputs[0].dtype == "int16" else ""


def _busiest(artifact: PlannedArtifact) -> str:
    step = max(
        artifact.plan.steps,
        key=lambda step: sum(tensor.info.size_bytes for tensor in (*step.reads, *step.writes)),
    )
    return f"layer {step.index} ({step.op})"


def _size(needed: int) -> str:
    """The next size in half megabytes, as --partition takes it."""
    halves = -(-needed // (1 << 19))
    return f"{halves // 2}MB" if halves % 2 == 0 else f"{halves << 9}K"
