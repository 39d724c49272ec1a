"""MEAN over any axes: an integer sum, scaled once."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from harness.portable.c_text import C_TYPES, END, enum, loop
from harness.portable.fixed_point import INT32_MAX, quantise_multiplier
from harness.portable.node import Node, largest_magnitude
from harness.portable.ops.strides import Nest, contiguous, merge, product
from harness.portable.step import Constant, Step


@dataclass(frozen=True, kw_only=True)
class Mean(Step):
    """`kept` walks the outputs in order, `reduced` what is summed for each; operand 0 is the input.

    The sum begins at `start`, minus the zero point of all elements.
    """

    kept: Nest
    reduced: Nest
    start: int

    @property
    def data_type(self) -> str:
        """The C type of the elements."""
        return C_TYPES[self.writes[0].info.dtype]

    @property
    def limits(self) -> str:
        """The last two arguments of clamp()."""
        stem = self.data_type.removesuffix("_t").upper()
        return f"{stem}_MIN, {stem}_MAX"

    def constants(self) -> list[Constant]:
        return []

    def body(self) -> list[str]:
        inner = [loop(f"r{i}", extent) for i, extent in enumerate(self.reduced.extents)]
        position = self.kept.index(0)
        place = self.reduced.index(0).replace("i", "r")
        return [
            *self.named(),
            *self.kept.head(),
            f"const {self.data_type} *const values = input{'' if position == '0' else ' + ' + position};",
            f"int32_t sum = {self.start};",
            "",
            *inner,
            f"sum += values[{place}];",
            *[END] * len(inner),
            f"*output++ = ({self.data_type}){self.scaled()};",
            *self.kept.tail(),
        ]

    def named(self) -> list[str]:
        """The constants that `scaled` refers to."""
        return []

    @abstractmethod
    def scaled(self) -> str:
        """C expression: the result for `sum`, clamped."""


@dataclass(frozen=True, kw_only=True)
class MultipliedMean(Mean):
    """Scaled by a multiplier with 1/count worked in, as TFLite has it."""

    multiplier: int
    shift: int
    output_zero_point: int

    def named(self) -> list[str]:
        return enum({"OUTPUT_ZERO_POINT": self.output_zero_point})

    def scaled(self) -> str:
        function = "requantise" if self.shift <= 0 else "requantise_any"
        mean = f"{function}(sum, {self.multiplier}, {abs(self.shift)})"
        return f"clamp({mean} + OUTPUT_ZERO_POINT, {self.limits})"


def plan_mean(node: Node) -> Step:
    node.check_counts(2)
    source, target = node.activation(node.input(0)), node.activation(node.output())
    node.require(source.info.dtype == target.info.dtype, "input and output of different types")
    node.require(source.data is None, f"its input '{source.info.name}' is a constant")
    shape = source.info.shape
    given = node.constant_int32(node.input(1))
    axes = mean_axes(node, given)
    if not axes:
        node.malformed("no axes")
    keep = node.flag("keep_dims")
    expected = tuple(
        1 if axis in axes else extent for axis, extent in enumerate(shape) if keep or axis not in axes
    )
    if target.info.shape != expected:
        node.malformed(f"the mean of {shape} over {axes} is {expected}, its output {target.info.shape}")
    kept, reduced = mean_nests(shape, axes)
    count = product(shape[axis] for axis in axes)
    multiplier, shift = _scale(node, source.info.scale / target.info.scale, count)
    if largest_magnitude(source.info.dtype) * count << max(shift, 0) > INT32_MAX - 256:
        node.refuse(f"a sum of {count} values does not fit 32 bits")
    return MultipliedMean(
        index=node.operator.index,
        op=node.operator.op,
        reads=(source,),
        writes=(target,),
        kept=kept,
        reduced=reduced,
        start=-source.info.zero_point * count,
        multiplier=multiplier,
        shift=shift,
        output_zero_point=target.info.zero_point,
    )


def mean_axes(node: Node, given: Iterable[int]) -> list[int]:
    """`given` counted from the front, in order, each once."""
    rank = len(node.input().info.shape)
    axes = sorted({axis + rank if axis < 0 else axis for axis in given})
    if not set(axes) <= set(range(rank)):
        node.malformed(f"axes {axes} of {rank} dimensions")
    return axes


def mean_nests(shape: Sequence[int], axes: Sequence[int]) -> tuple[Nest, Nest]:
    """Loops over the means, and over what each is the mean of."""
    strides = contiguous(shape)
    kept = [axis for axis in range(len(shape)) if axis not in axes]
    outer, inner = (
        merge([shape[axis] for axis in side], [strides[axis] for axis in side]) for side in (kept, axes)
    )
    return outer, inner


def _scale(node: Node, real: float, count: int) -> tuple[int, int]:
    """The multiplier with 1/count worked in (QuantizedMeanOrSum in kernels/internal/reference/reduce.h)."""
    multiplier, shift = quantise_multiplier(real)
    extra = min(count.bit_length() - 1, 32, 31 + shift)
    node.require(extra >= 0, "the scales of its input and output are too far apart")
    return (multiplier << extra) // count, shift - extra
