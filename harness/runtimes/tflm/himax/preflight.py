"""Will this network run under the Himax SDK, and does it fit? Asked before anything is generated.

Only what was seen to go wrong, or cannot be registered, is refused; the memory is an estimate from
the graph, held against the linker script's regions in targets.toml. Builds nothing.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from importlib.resources import files

from harness.errors import ModelError, UnsupportedError
from harness.portable.graph import Graph, Operator
from harness.portable.memory import Buffer, align, plan_memory
from harness.runtimes.tflm.himax.adapt import WEIGHTED
from harness.runtimes.tflm.reader import FULL_INTEGER
from harness.targets import Target

REGION = "SYSTEM0"
"""The linker script puts rodata, data, bss and the arena there."""

# Bounds on what TFLM of 2021 keeps in the arena beside activations, on a 32-bit machine. The first four
# cover that TFLM built for i386 (docs/himax.md). _MLI stands for the four tensor descriptions and one
# configuration which the ARC kernels add per operator; their headers are not public, so it is assumed.
_FIXED, _PER_TENSOR, _PER_OPERATOR, _PER_CHANNEL = 512, 16, 112, 8
_MLI = 400
_MLI_OPERATORS = (*WEIGHTED, "ADD", "AVERAGE_POOL_2D", "MAX_POOL_2D")
# While it plans, TFLM keeps its lists where activations will lie.
_PLANNING_PER_TENSOR = 96
_ARENA_STEP = 1024


@dataclass(frozen=True)
class Memory:
    """Bytes in `REGION`: the model as a constant, the arena, and the limit for both and all else."""

    model_bytes: int
    activation_bytes: int
    overhead_bytes: int
    limit_bytes: int

    @property
    def arena_bytes(self) -> int:
        """What the firmware reserves: activations and overhead, up to whole KiB."""
        needed = self.activation_bytes + self.overhead_bytes
        return -(-needed // _ARENA_STEP) * _ARENA_STEP

    @property
    def left_bytes(self) -> int:
        return self.limit_bytes - self.model_bytes - self.arena_bytes

    def lines(self) -> list[str]:
        """Each part, as a user reads it."""
        return [
            f"model (rodata)   {self.model_bytes:>9,} bytes",
            f"arena (bss)      {self.arena_bytes:>9,} bytes, estimated: activations "
            f"{self.activation_bytes:,}, TFLM's own {self.overhead_bytes:,}, whole KiB",
            f"{REGION:<17}{self.limit_bytes:>9,} bytes, left for the SDK's own data: {self.left_bytes:,}",
        ]


def resolver_methods() -> dict[str, str]:
    """Name in the TFLite schema to the method of MicroMutableOpResolver that registers it."""
    return tomllib.loads((files(__package__) / "resolver.toml").read_text(encoding="utf-8"))


def check_operators(graph: Graph) -> None:
    """Raises UnsupportedError for the first operator the SDK cannot register, or computes otherwise."""
    methods = resolver_methods()
    for operator in graph.operators:
        if operator.op not in methods:
            raise UnsupportedError(
                f"operator {operator.index} ({operator.op}): the Himax SDK's MicroMutableOpResolver has none",
                f"It has: {', '.join(methods)}",
            )
        if why := _differs(graph, operator):
            raise UnsupportedError(
                f"operator {operator.index} ({operator.op}): {why}", "Change the model; see docs/himax.md"
            )


def check_tensors(graph: Graph) -> None:
    """Raises ModelError or UnsupportedError unless one int8 tensor goes in and one comes out."""
    for what, indices in (("input", graph.inputs), ("output", graph.outputs)):
        if len(indices) != 1:
            raise UnsupportedError(
                f"the firmware takes one input and gives one output, the model has {len(indices)} {what}s"
            )
        info = graph.tensors[indices[0]].info
        if info.dtype != "int8":
            raise ModelError(
                f"{what} '{info.name}' is {info.dtype}; the Himax SDK takes int8 in and out",
                f"{FULL_INTEGER}; converter.inference_{what}_type = tf.int8",
            )


def check_memory(graph: Graph, model_bytes: int, target: Target) -> Memory:
    """The parts in `REGION`. Raises UnsupportedError when they do not fit: by how much, and which."""
    memory = Memory(model_bytes, *_arena(graph), target.regions[REGION])
    if memory.left_bytes < 0:
        larger = "the arena" if memory.arena_bytes > memory.model_bytes else "the model's constants"
        raise UnsupportedError(
            f"{-memory.left_bytes:,} bytes too much for {REGION} of {target.id}, which has "
            f"{memory.limit_bytes:,}: model {memory.model_bytes:,}, arena {memory.arena_bytes:,} "
            f"(activations {memory.activation_bytes:,}), before the SDK's own data",
            f"Make the network smaller, {larger} first",
        )
    return memory


def _differs(graph: Graph, operator: Operator) -> str:
    """How this form of an operator goes wrong in TFLM of 2021; "" where nothing is known of it."""
    tensors = [graph.tensors[index].info for index in (*operator.inputs, *operator.outputs) if index >= 0]
    if any(tensor.dtype == "uint8" for tensor in tensors):
        return "that version has no uint8 kernels"
    if any(tensor.dtype == "int16" for tensor in tensors):
        return "that version's int16 kernels were never compared with today's"
    if operator.op in ("ADD", "SUB", "MUL") and any(len(tensor.shape) > 4 for tensor in tensors):
        return "that version broadcasts over 4 dimensions at most"
    if operator.op == "RESIZE_NEAREST_NEIGHBOR" and operator.options.get("half_pixel_centers"):
        return "that version ignores half_pixel_centers"
    if operator.op == "MEAN":
        axes = graph.tensors[operator.inputs[1]].data
        rank = len(tensors[0].shape)
        if axes is None or rank != 4 or {int(axis) % rank for axis in axes.reshape(-1)} != {1, 2}:
            return "that version is right only over height and width of (N, H, W, C)"
    return ""


def _arena(graph: Graph) -> tuple[int, int]:
    """Activations as TFLM places them, each with a place of its own; and everything else."""
    activations = [tensor for tensor in graph.tensors if tensor.data is None]
    buffers = []
    for tensor in activations:
        uses = [op.index for op in graph.operators if tensor.index in (*op.inputs, *op.outputs)]
        uses += [-1] * (tensor.index in graph.inputs)
        uses += [len(graph.operators)] * (tensor.index in graph.outputs)
        if uses:
            buffers.append(Buffer(tensor.info.size_bytes, min(uses), max(uses)))
    planned = plan_memory(buffers).peak_bytes + _scratch(graph)
    planning = _PLANNING_PER_TENSOR * len(graph.tensors)
    channels = sum(
        len(graph.tensors[operator.inputs[1]].scales)
        for operator in graph.operators
        if operator.op in ("CONV_2D", "DEPTHWISE_CONV_2D")
    )
    mli = sum(operator.op in _MLI_OPERATORS for operator in graph.operators)
    overhead = (
        _FIXED
        + max(0, planning - planned)
        + _PER_TENSOR * len(graph.tensors)
        + _PER_OPERATOR * len(graph.operators)
        + _PER_CHANNEL * channels
        + _MLI * mli
    )
    return planned, overhead


def _scratch(graph: Graph) -> int:
    """The most a kernel asks for beside its tensors: MEAN sums in 32 bits, TRANSPOSE_CONV too."""
    sums = [
        align(4 * graph.tensors[operator.outputs[0]].info.elements)
        for operator in graph.operators
        if operator.op in ("MEAN", "TRANSPOSE_CONV")
    ]
    return max(sums, default=0)
