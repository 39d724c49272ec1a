"""Operators that move values and change none: TRANSPOSE, STRIDED_SLICE, PAD, CONCATENATION, SPLIT, RESIZE."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.portable.c_text import C_TYPES, END, enum, loop
from harness.portable.graph import Tensor
from harness.portable.node import Node
from harness.portable.ops.strides import Nest, contiguous, merge, product
from harness.portable.step import Constant, Step

MAX_CONCATENATION_INPUTS = 10
RESIZE_LIMIT = 1 << 16


@dataclass(frozen=True, kw_only=True)
class Copy(Step):
    """Walks the output in order (operand 0 of `nest` is the input), or the input if `scatter`.

    `base` is where the strided side begins; `fill` is written everywhere first.
    """

    nest: Nest
    base: int
    scatter: bool = False
    fill: int | None = None

    def constants(self) -> list[Constant]:
        return []

    @property
    def headers(self) -> tuple[str, ...]:
        return ()

    def _filled(self) -> list[str]:
        """The whole output set to `fill`."""
        elements = self.writes[0].info.elements
        if self.writes[0].info.dtype == "int8":
            return [f"memset(output, {self.fill}, {elements});"]
        return [loop("i", elements), f"output[i] = {self.fill};", END]

    def body(self) -> list[str]:
        fill = self._filled() if self.fill is not None else []
        nest = self.nest
        size = element_size(self.writes[0])
        moving, strided = ("input", "output") if self.scatter else ("output", "input")
        if nest.extents and nest.strides[0][-1] == 1:
            run, place = nest.extents[-1], nest.index(0, self.base, -1)
            place = strided if place == "0" else f"{strided} + {place}"
            target, source = (place, moving) if self.scatter else (moving, place)
            step = [f"{moving} += {run};"] if len(nest.extents) > 1 else []
            return [
                *fill,
                *nest.head(0, -1),
                f"memcpy({target}, {source}, {run}{size});",
                *step,
                *nest.tail(0, -1),
            ]
        element = f"{strided}[{nest.index(0, self.base)}]"
        move = f"{element} = *{moving}++;" if self.scatter else f"*{moving}++ = {element};"
        return [*fill, *nest.head(), move, *nest.tail()]


def element_size(tensor: Tensor) -> str:
    """What a number of elements is multiplied by to give bytes, in C; nothing for one byte."""
    return "" if tensor.info.dtype == "int8" else f" * sizeof({C_TYPES[tensor.info.dtype]})"


def _moved(node: Node, source: Tensor, target: Tensor) -> None:
    """The checks every operator here needs: one type of integers, and a computed input."""
    node.activation(source)
    node.activation(target)
    node.require(source.info.dtype == target.info.dtype, "input and output of different types")
    node.require(source.data is None, f"its input '{source.info.name}' is a constant")


def plan_transpose(node: Node) -> Step:
    node.check_counts(2)
    return transpose(node, node.constant_int32(node.input(1)))


def transpose(node: Node, permutation: Sequence[int]) -> Step:
    """Axis i of the output is axis `permutation[i]` of the input."""
    source, target = node.input(0), node.output()
    _moved(node, source, target)
    shape = source.info.shape
    if sorted(permutation) != list(range(len(shape))):
        node.malformed(f"permutation {permutation} of {len(shape)} dimensions")
    node.require(len(shape) <= 5, "more than five dimensions")
    if target.info.shape != tuple(shape[axis] for axis in permutation):
        node.malformed(f"{shape} permuted by {permutation} is not {target.info.shape}")
    strides = contiguous(shape)
    nest = merge(target.info.shape, [strides[axis] for axis in permutation])
    return Copy(
        index=node.operator.index, op=node.operator.op, reads=(source,), writes=(target,), nest=nest, base=0
    )


def plan_strided_slice(node: Node) -> Step:
    node.check_counts(4)
    source, target = node.input(0), node.output()
    _moved(node, source, target)
    shape = source.info.shape
    begins, ends, steps = (node.constant_int32(node.input(i)) for i in range(1, 4))
    if not len(begins) == len(ends) == len(steps) == len(shape):
        node.malformed(f"slice of {len(begins)}, {len(ends)}, {len(steps)} parts for {len(shape)} dimensions")
    node.require(len(shape) <= 4, "more than four dimensions")
    ignored = ("ellipsis_mask", "new_axis_mask", "offset")
    node.require(not any(node.flag(name) for name in ignored), "an ellipsis, a new axis or offsets")
    limit = (1 << 31) - 1
    begin_mask, end_mask, shrink_mask = (
        node.integer(f"{name}_mask", -limit - 1, limit) for name in ("begin", "end", "shrink_axis")
    )
    base, extents, strides, expected = 0, [], [], []
    for axis, (size, stride) in enumerate(zip(shape, contiguous(shape), strict=True)):
        bit = 1 << axis
        if steps[axis] == 0:
            node.malformed("a step of 0")
        # tflite-micro leaves the output unwritten.
        node.require(steps[axis] > 0 or not shrink_mask & bit, "a negative step along an axis it removes")
        start = _clip(begins[axis], size, steps[axis], bool(begin_mask & bit), at_end=False)
        stop = _clip(ends[axis], size, steps[axis], bool(end_mask & bit), at_end=True)
        count = 1 if shrink_mask & bit else max(0, -((start - stop) // steps[axis]))
        if not 0 <= start < size or count < 1:
            node.malformed(f"the slice is empty along axis {axis}")
        base += start * stride
        extents.append(count)
        strides.append(steps[axis] * stride)
        expected += [] if shrink_mask & bit else [count]
    if target.info.shape != tuple(expected):
        node.malformed(f"the slice is {tuple(expected)}, its output {target.info.shape}")
    nest = merge(extents, strides)
    return Copy(
        index=node.operator.index,
        op=node.operator.op,
        reads=(source,),
        writes=(target,),
        nest=nest,
        base=base,
    )


def _clip(index: int, size: int, step: int, masked: bool, *, at_end: bool) -> int:
    """One bound of a slice along an axis (kernels/internal/strided_slice_logic.h)."""
    low, high = (0, size) if step > 0 else (-1, size - 1)
    if masked:
        return (high if step > 0 else low) if at_end else (low if step > 0 else high)
    return min(max(index + size if index < 0 else index, low), high)


def plan_pad(node: Node) -> Step:
    """PAD and PADV2: the whole output is filled, then the input copied into it."""
    node.check_counts(range(2, 4))
    source, target = node.input(0), node.output()
    _moved(node, source, target)
    amounts = node.constant_int32(node.input(1))
    rank = len(source.info.shape)
    if len(amounts) != 2 * rank or len(target.info.shape) != rank or min(amounts, default=0) < 0:
        node.malformed(f"paddings {amounts} for {rank} dimensions")
    node.require(rank <= 5, "more than five dimensions")
    padded = tuple(size + amounts[2 * i] + amounts[2 * i + 1] for i, size in enumerate(source.info.shape))
    if padded != target.info.shape:
        node.malformed(f"{source.info.shape} padded by {amounts} is not {target.info.shape}")
    fill = target.info.zero_point
    if node.has_input(2):
        value = node.activation(node.input(2))
        node.require_same_scale(value, target)
        if value.info.elements != 1:
            node.malformed("its padding value is not one number")
        fill = int(node.constant(value).reshape(-1)[0])
    strides = contiguous(padded)
    return Copy(
        index=node.operator.index,
        op=node.operator.op,
        reads=(source,),
        writes=(target,),
        nest=merge(source.info.shape, strides),
        base=sum(amounts[2 * i] * stride for i, stride in enumerate(strides)),
        scatter=True,
        fill=fill,
    )


@dataclass(frozen=True, kw_only=True)
class Interleave(Step):
    """CONCATENATION and SPLIT: `runs` bytes of each part in turn, `rounds` times.

    `parts` are the tensors on the many side; those with data are constants.
    """

    parts: tuple[Tensor, ...]
    rounds: int
    runs: tuple[int, ...]

    @property
    def headers(self) -> tuple[str, ...]:
        return ()

    @property
    def gathers(self) -> bool:
        return self.op in ("CONCATENATION", "Concat")

    @property
    def _names(self) -> list[str]:
        side = "input" if self.gathers else "output"
        return [f"{side}{i}" for i in range(len(self.parts))]

    @property
    def read_names(self) -> tuple[str, ...]:
        if not self.gathers:
            return ("input",)
        return tuple(name for name, part in zip(self._names, self.parts, strict=True) if part.data is None)

    @property
    def write_names(self) -> tuple[str, ...]:
        return ("output",) if self.gathers else tuple(self._names)

    def constants(self) -> list[Constant]:
        named = zip(self._names, self.parts, strict=True)
        return [Constant(name, part.data.reshape(-1)) for name, part in named if part.data is not None]

    def body(self) -> list[str]:
        lines = [
            f"const {C_TYPES[part.info.dtype]} *{name} = {self.prefix}_{name};"
            for name, part in zip(self._names, self.parts, strict=True)
            if part.data is not None
        ]
        whole, offset = ("output" if self.gathers else "input"), 0
        lines += ["", *([loop("i", self.rounds)] if self.rounds > 1 else [])]
        for name, run in zip(self._names, self.runs, strict=True):
            part = f"{name} + i * {run}" if self.rounds > 1 else name
            place = f"{whole} + {offset}" if offset else whole
            target, source = (place, part) if self.gathers else (part, place)
            lines.append(f"memcpy({target}, {source}, {run}{element_size(self.parts[0])});")
            offset += run
        return lines + ([f"{whole} += {offset};", END] if self.rounds > 1 else [])


def plan_concatenation(node: Node) -> Step:
    node.require(node.integer("fused_activation_function", 0, 127) == 0, "a fused activation")
    return concatenation(node)


def concatenation(node: Node) -> Step:
    """All inputs, of the output's scale, side by side along `axis`."""
    node.check_counts(range(1, MAX_CONCATENATION_INPUTS + 1))
    target = node.activation(node.output())
    parts = tuple(node.activation(node.input(i)) for i in range(len(node.operator.inputs)))
    for part in parts:
        node.require_same_scale(part, target)
        node.require(part.info.dtype == target.info.dtype, "input and output of different types")
    axis = _check_parts(node, parts, target, node.integer("axis", -6, 5))
    return Interleave(
        index=node.operator.index,
        op=node.operator.op,
        reads=tuple(part for part in parts if part.data is None),
        writes=(target,),
        parts=parts,
        rounds=product(target.info.shape[:axis]),
        runs=tuple(product(part.info.shape[axis:]) for part in parts),
    )


def plan_split(node: Node) -> Step:
    node.check_counts(2, outputs=node.integer("num_splits", 1, 1 << 10))
    source = node.input(1)
    parts = tuple(node.output(i) for i in range(len(node.operator.outputs)))
    for part in parts:
        _moved(node, source, part)
    axes = node.constant_int32(node.input(0))
    if len(axes) != 1 or len({part.info.shape for part in parts}) != 1:
        node.malformed("expected one axis and parts of one shape")
    axis = _check_parts(node, parts, source, axes[0])
    return Interleave(
        index=node.operator.index,
        op=node.operator.op,
        reads=(source,),
        writes=parts,
        parts=parts,
        rounds=product(source.info.shape[:axis]),
        runs=tuple(product(part.info.shape[axis:]) for part in parts),
    )


def _check_parts(node: Node, parts: tuple[Tensor, ...], whole: Tensor, axis: int) -> int:
    """The axis counted from the front, once the parts' shapes make up the whole's."""
    rank = len(whole.info.shape)
    axis += rank if axis < 0 else 0
    if not 0 <= axis < rank:
        node.malformed(f"axis {axis} of {rank} dimensions")
    shapes = [list(part.info.shape) for part in parts]
    lengths = [shape[axis] if len(shape) == rank else 0 for shape in shapes]
    for shape, length in zip(shapes, lengths, strict=True):
        if length < 1 or [*shape[:axis], sum(lengths), *shape[axis + 1 :]] != list(whole.info.shape):
            node.malformed(f"parts {shapes} do not make {list(whole.info.shape)} along axis {axis}")
    return axis


@dataclass(frozen=True, kw_only=True)
class ResizeNearest(Step):
    """`rows` and `columns` say which input row and column each output row and column copies."""

    batches: int
    in_height: int
    in_width: int
    channels: int
    rows: tuple[int, ...]
    columns: tuple[int, ...]

    @property
    def headers(self) -> tuple[str, ...]:
        return ()

    def constants(self) -> list[Constant]:
        return [
            Constant("rows", np.array(self.rows, np.uint16)),
            Constant("columns", np.array(self.columns, np.uint16)),
        ]

    def body(self) -> list[str]:
        batch = (
            f"for (int32_t batch = 0; batch < {self.batches}; batch++, input += IN_H * IN_W * CHANNELS) {{"
        )
        return [
            *enum(
                {"IN_H": self.in_height, "IN_W": self.in_width, "CHANNELS": self.channels},
                {"OUT_H": len(self.rows), "OUT_W": len(self.columns)},
            ),
            *([batch] if self.batches > 1 else []),
            loop("y", "OUT_H"),
            f"const {C_TYPES[self.reads[0].info.dtype]} *const row = "
            f"input + {self.prefix}_rows[y] * IN_W * CHANNELS;",
            "",
            loop("x", "OUT_W"),
            f"memcpy(output, row + {self.prefix}_columns[x] * CHANNELS, "
            f"CHANNELS{element_size(self.reads[0])});",
            "output += CHANNELS;",
            END,
            END,
            *([END] if self.batches > 1 else []),
        ]


def plan_resize_nearest(node: Node) -> Step:
    node.check_counts(2)
    source, target = node.input(0), node.output()
    _moved(node, source, target)
    if len(source.info.shape) != 4 or len(target.info.shape) != 4:
        node.malformed("input and output must have four dimensions (NHWC)")
    batches, in_height, in_width, channels = source.info.shape
    size = node.constant_int32(node.input(1))
    if len(size) != 2 or target.info.shape != (batches, *size, channels):
        node.malformed(f"{source.info.shape} resized to {size} is not {target.info.shape}")
    node.require(max(in_height, in_width, *size) < RESIZE_LIMIT, f"a side of {RESIZE_LIMIT} or more")
    corners, centres = node.flag("align_corners"), node.flag("half_pixel_centers")
    return ResizeNearest(
        index=node.operator.index,
        op=node.operator.op,
        reads=(source,),
        writes=(target,),
        batches=batches,
        in_height=in_height,
        in_width=in_width,
        channels=channels,
        rows=_nearest(in_height, size[0], corners, centres),
        columns=_nearest(in_width, size[1], corners, centres),
    )


def _nearest(size: int, out: int, align_corners: bool, half_pixel_centers: bool) -> tuple[int, ...]:
    """GetNearestNeighbor of TFLite's reference kernel, in its float32."""
    if align_corners and out > 1:
        scale = np.float32(size - 1) / np.float32(out - 1)
    else:
        scale = np.float32(size) / np.float32(out)
    positions = (np.arange(out, dtype=np.float32) + np.float32(0.5 if half_pixel_centers else 0)) * scale
    # Half away from zero; float64 so that 0.49999997 + 0.5 stays below 1.
    nearest = np.floor(positions.astype(np.float64) + (0.5 if align_corners else 0.0)).astype(np.int64)
    return tuple(int(value) for value in np.minimum(nearest, size - 1))
