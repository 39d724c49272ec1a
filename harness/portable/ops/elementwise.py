"""ADD, SUB, MUL of two int8 or two int16 tensors, either of which may broadcast or be a constant."""

from __future__ import annotations

from dataclasses import dataclass

from harness.portable.c_text import C_TYPES, enum
from harness.portable.fixed_point import INT32_MAX, quantise_multiplier
from harness.portable.graph import Tensor
from harness.portable.node import MAX_RANK, Node, largest_magnitude
from harness.portable.ops.strides import Nest, contiguous, merge
from harness.portable.step import Constant, Step

# Both inputs of ADD and SUB are brought to one scale with this many fractional bits.
LEFT_SHIFT = {"int8": 20, "int16": 15}


@dataclass(frozen=True, kw_only=True)
class Binary(Step):
    """`nest` walks the output; its operands are the two inputs, with stride 0 where they repeat."""

    operands: tuple[Tensor, Tensor]
    nest: Nest
    output_zero_point: int
    low: int
    high: int

    @property
    def read_names(self) -> tuple[str, ...]:
        return tuple(f"input{i + 1}" for i, operand in enumerate(self.operands) if operand.data is None)

    @property
    def data(self) -> str:
        """The type of inputs and output."""
        return self.writes[0].info.dtype

    def clamped(self, value: str) -> str:
        """C statement: the next output."""
        return f"*output++ = ({C_TYPES[self.data]})clamp({value} + OUTPUT_ZERO_POINT, LOW, HIGH);"

    def constants(self) -> list[Constant]:
        return [
            Constant(f"input{i + 1}", operand.data.reshape(-1))
            for i, operand in enumerate(self.operands)
            if operand.data is not None
        ]

    def element(self, position: int) -> str:
        """C expression: one operand's value less its zero point."""
        name = f"input{position + 1}"
        if self.operands[position].data is not None:
            name = f"{self.prefix}_{name}"
        zero = self.operands[position].info.zero_point
        offset = f" {'-' if zero > 0 else '+'} {abs(zero)}" if zero else ""
        return f"{name}[{self.nest.index(position)}]{offset}"


@dataclass(frozen=True, kw_only=True)
class AddSub(Binary):
    """Multipliers and right shifts of the first input, the second and the result."""

    multipliers: tuple[int, int, int]
    right_shifts: tuple[int, int, int]

    def body(self) -> list[str]:
        sign = "+" if self.op == "ADD" else "-"
        terms = [
            f"const int32_t {name} = requantise(({self.element(i)}) * (1 << {LEFT_SHIFT[self.data]}), "
            f"{self.multipliers[i]}, {self.right_shifts[i]});"
            for i, name in enumerate("ab")
        ]
        return [
            *enum({"OUTPUT_ZERO_POINT": self.output_zero_point, "LOW": self.low, "HIGH": self.high}),
            *self.nest.head(),
            *terms,
            f"const int32_t sum = requantise(a {sign} b, {self.multipliers[2]}, {self.right_shifts[2]});",
            "",
            self.clamped("sum"),
            *self.nest.tail(),
        ]


@dataclass(frozen=True, kw_only=True)
class Mul(Binary):
    multiplier: int
    shift: int

    def body(self) -> list[str]:
        function = "requantise" if self.shift <= 0 else "requantise_any"
        return [
            *enum({"OUTPUT_ZERO_POINT": self.output_zero_point, "LOW": self.low, "HIGH": self.high}),
            *self.nest.head(),
            f"const int32_t product = ({self.element(0)}) * ({self.element(1)});",
            f"const int32_t scaled = {function}(product, {self.multiplier}, {abs(self.shift)});",
            "",
            self.clamped("scaled"),
            *self.nest.tail(),
        ]


def plan_add_sub(node: Node) -> Step:
    operands, target, nest = plan_operands(node)
    first, second, result = (tensor.info.scale for tensor in (*operands, target))
    twice = 2 * max(first, second)
    reals = (first / twice, second / twice, twice / ((1 << LEFT_SHIFT[target.info.dtype]) * result))
    pairs = [quantise_multiplier(real) for real in reals]
    # The kernel aborts on a factor that is not between 0 and 1.
    if not all(0.0 < real < 1.0 for real in reals) or any(shift > 0 for _, shift in pairs):
        node.refuse("the scales of its inputs and output are too far apart")
    low, high = node.activation_range(target)
    return AddSub(
        index=node.operator.index,
        op=node.operator.op,
        reads=tuple(operand for operand in operands if operand.data is None),
        writes=(target,),
        operands=operands,
        nest=nest,
        output_zero_point=target.info.zero_point,
        low=low,
        high=high,
        multipliers=(pairs[0][0], pairs[1][0], pairs[2][0]),
        right_shifts=(-pairs[0][1], -pairs[1][1], -pairs[2][1]),
    )


def plan_mul(node: Node) -> Step:
    operands, target, nest = plan_operands(node)
    real = operands[0].info.scale * operands[1].info.scale / target.info.scale
    multiplier, shift = quantise_multiplier(real)
    largest = largest_magnitude(target.info.dtype)
    if largest * largest << max(shift, 0) > INT32_MAX - 256:
        node.refuse("the scales of its inputs and output are too far apart")
    low, high = node.activation_range(target)
    return Mul(
        index=node.operator.index,
        op=node.operator.op,
        reads=tuple(operand for operand in operands if operand.data is None),
        writes=(target,),
        operands=operands,
        nest=nest,
        output_zero_point=target.info.zero_point,
        low=low,
        high=high,
        multiplier=multiplier,
        shift=shift,
    )


def plan_operands(node: Node) -> tuple[tuple[Tensor, Tensor], Tensor, Nest]:
    """Both inputs, the output, and the loops over the output with both inputs' strides."""
    node.check_counts(2)
    operands = (node.activation(node.input(0)), node.activation(node.input(1)))
    target = node.activation(node.output())
    for operand in operands:
        node.require(operand.info.dtype == target.info.dtype, "inputs and output of different types")
    rank = max(len(operand.info.shape) for operand in operands)
    node.require(rank <= MAX_RANK, f"more than {MAX_RANK} dimensions")
    shapes = [(1,) * (rank - len(operand.info.shape)) + operand.info.shape for operand in operands]
    broadcast = tuple(max(pair) for pair in zip(*shapes, strict=True))
    if any(
        extent not in (1, full) for shape in shapes for extent, full in zip(shape, broadcast, strict=True)
    ):
        node.malformed(f"{operands[0].info.shape} and {operands[1].info.shape} do not broadcast")
    if target.info.shape != broadcast:
        node.malformed(f"its output is {target.info.shape}, but its inputs give {broadcast}")
    strides = [
        [stride if extent > 1 else 0 for extent, stride in zip(shape, contiguous(shape), strict=True)]
        for shape in shapes
    ]
    return operands, target, merge(broadcast, *strides)
