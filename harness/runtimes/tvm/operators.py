"""From a QDQ graph's operators to steps: which tensor expression, with which numbers, on which arrays.

A step's C function calls the kernel that TVM makes of its expression (`expressions.py`, in the child
process of `kernels.py`). Nothing here imports TVM.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from harness.portable.fixed_point import INT32_MAX
from harness.portable.graph import Tensor
from harness.portable.node import Node
from harness.portable.ops.shape import alias
from harness.portable.ops.window import Axis
from harness.portable.receptive_field import broadcast, taps
from harness.portable.step import Constant, Region, Step

MAX_SHIFT = 30
SMALLEST_NORMAL = float(np.finfo(np.float32).tiny)

Number = int | Sequence[int]


@dataclass(frozen=True, kw_only=True)
class KernelStep(Step):
    """One kernel. `numbers` are the keyword arguments of the function `expression` of expressions.py.

    `view` is how the kernel sees its activations: whole, as rows along the last axis, or as one line.
    """

    expression: str
    numbers: Mapping[str, Number]
    arrays: tuple[Constant, ...] = field(default=(), compare=False)
    view: str = "whole"
    shared: tuple[str, ...] = ()

    @property
    def kernel(self) -> str:
        """The C name of the function TVM writes."""
        return f"tvm_{self.function}"

    @property
    def function(self) -> str:
        return f"{self.prefix}_{re.sub(r'[^a-z0-9]+', '_', self.op.lower())}"

    @property
    def headers(self) -> tuple[str, ...]:
        return self.shared

    def constants(self) -> list[Constant]:
        return list(self.arrays)

    def seen(self, tensor: Tensor) -> tuple[int, ...]:
        """The shape in which the kernel sees an activation."""
        if self.view == "whole":
            return tensor.info.shape
        last = tensor.info.shape[-1:] if self.view == "rows" else ()
        return (tensor.info.elements // math.prod(last), *last)

    def parameters(self) -> list[tuple[str, Tensor]]:
        """The activations that the kernel reads, by their names in C."""
        return list(zip(self.read_names, self.reads, strict=True))

    def computed_from(self, element: tuple[int, ...]) -> tuple[Region, ...] | None:
        if "kernel" in self.numbers:
            return (self._window(element),)
        if self.expression in ("binary", "table"):
            return tuple(broadcast(tensor.info.shape, element) for tensor in self.reads)
        if self.expression == "product":
            return ((*(slice(at, at + 1) for at in element[:-1]), slice(None)),)
        return None

    def _window(self, element: tuple[int, ...]) -> Region:
        (source,), target = self.reads, self.writes[0].info.shape
        kernel, strides, dilations, pads = map(self._each, ("kernel", "strides", "dilations", "pads"))
        axes = [
            Axis(source.info.shape[2 + i], target[2 + i], kernel[i], strides[i], dilations[i], pads[i])
            for i in range(2)
        ]
        batch, channel, y, x = element
        first, depth = channel, 1
        if self.expression == "convolution":
            (groups,) = self._each("groups")
            depth = source.info.shape[1] // groups
            first = channel // (target[1] // groups) * depth
        return (slice(batch, batch + 1), slice(first, first + depth), taps(axes[0], y), taps(axes[1], x))

    def _each(self, name: str) -> tuple[int, ...]:
        value = self.numbers[name]
        return (value,) if isinstance(value, int) else tuple(value)

    def body(self) -> list[str]:
        arrays = [f"{self.prefix}_{constant.name}" for constant in self.arrays]
        return [f"{self.kernel}({', '.join((*self.read_names, *arrays, *self.write_names))});"]


def _exponent(tensor: Tensor) -> int:
    return math.frexp(tensor.scales[0])[1] - 1


def _reads(node: Node) -> tuple[Tensor, ...]:
    """Activations alone; constants are arrays of the step."""
    tensors = [node.input(position) for position in range(len(node.operator.inputs))]
    return tuple(tensor for tensor in tensors if tensor.data is None)


def _clamp(node: Node) -> dict[str, Number]:
    return {"low": node.integer("low", -128, 127), "high": node.integer("high", -128, 127)}


def _named(node: Node) -> str:
    """The operator with the activation that became its clamp."""
    low, high = node.integer("low", -128, 127), node.integer("high", -128, 127)
    if (low, high) == (-128, 127):
        return node.operator.op
    return f"{node.operator.op}+{'Relu' if (low, high) == (0, 127) else 'Clip'}"


def _check_shift(node: Node, shift: int, bound: int) -> int:
    """`shift` if sums of at most `bound` can be shifted and rounded in 32 bits."""
    node.require(shift <= MAX_SHIFT, f"results scaled down by 2^{shift}")
    largest = (bound << max(0, -shift)) + (1 << max(0, shift - 1))
    node.require(largest <= INT32_MAX, f"its results can reach {largest}, which does not fit 32 bits")
    return shift


def _step(node: Node, expression: str, numbers: Mapping[str, Number], **given: object) -> KernelStep:
    given.setdefault("op", node.operator.op)
    return KernelStep(
        index=node.operator.index,
        reads=_reads(node),
        writes=(node.output(),),
        expression=expression,
        numbers=numbers,
        **given,  # type: ignore[arg-type]
    )


def _sums(node: Node) -> tuple[dict[str, Number], tuple[Constant, ...]]:
    """Weights, biases and shifts of Conv and Gemm: one shift, or an array of one per output."""
    source, weights, bias = node.int8_activation(node.input(0)), node.input(1), node.input(2)
    node.require_dtype(weights, "int8")
    node.require_dtype(bias, "int32")
    values, biases = node.constant(weights).astype(np.int64), node.constant(bias).astype(np.int64)
    rows = values.reshape(len(values), -1)
    if len(biases) != len(rows) or len(weights.scales) not in (1, len(rows)):
        node.malformed(f"{len(biases)} biases and {len(weights.scales)} scales for {len(rows)} outputs")
    target = _exponent(node.int8_activation(node.output()))
    shifts = [target - _exponent(source) - (math.frexp(scale)[1] - 1) for scale in weights.scales]
    bounds = np.abs(biases) + 128 * np.abs(rows).sum(axis=1)
    for shift, bound in np.broadcast(shifts, bounds):
        _check_shift(node, int(shift), int(bound))
    arrays = (
        Constant("weights", values.astype(np.int8)),
        Constant("bias", biases.astype(np.int32)),
    )
    if len(set(shifts)) == 1:
        return {"shift": shifts[0], **_clamp(node)}, arrays
    node.require(min(shifts) >= 1, f"outputs with scales of their own, some shifted by {min(shifts)} bits")
    return {"shift": 0, **_clamp(node)}, (*arrays, Constant("shifts", np.array(shifts, np.int32)))


def _window(node: Node, source: Tensor, target: Tensor) -> dict[str, Number]:
    window: dict[str, Number] = {}
    for name, count in (("kernel", 2), ("strides", 2), ("dilations", 2), ("pads", 4)):
        values = node.integers(name)
        lowest = 0 if name == "pads" else 1
        if len(values) != count or not all(lowest <= value < 1 << 20 for value in values):
            node.malformed(f"{name} is {values}, expected {count} numbers")
        window[name] = values
    if len(source.info.shape) != 4 or len(target.info.shape) != 4:
        node.malformed(f"{source.info.shape} to {target.info.shape}, expected 4 dimensions")
    return window


def plan_conv(node: Node) -> Step:
    source, weights, target = node.input(0), node.input(1), node.output()
    numbers, arrays = _sums(node)
    window = _window(node, source, target)
    groups = node.integer("group", 1, source.info.shape[1])
    channels, filter_channels = weights.info.shape[:2]
    if filter_channels * groups != source.info.shape[1] or channels % groups:
        node.malformed(f"{source.info.shape[1]} channels in {groups} groups, filter {weights.info.shape}")
    macs = target.info.elements * math.prod(weights.info.shape[1:])
    return _step(
        node,
        "convolution",
        {"groups": groups, **window, **numbers},
        op=_named(node),
        arrays=arrays,
        macs=macs,
    )


def plan_gemm(node: Node) -> Step:
    source, weights, target = node.input(0), node.input(1), node.output()
    numbers, arrays = _sums(node)
    outputs, inputs = weights.info.shape
    if source.info.shape[-1] != inputs or target.info.shape[-1] != outputs:
        node.malformed(f"{source.info.shape} times {weights.info.shape} to {target.info.shape}")
    macs = target.info.elements * inputs
    rows = target.info.elements // outputs
    return _step(
        node, "product", {"rows": rows, **numbers}, op=_named(node), arrays=arrays, macs=macs, view="rows"
    )


def plan_max_pool(node: Node) -> Step:
    source, target = node.int8_activation(node.input()), node.int8_activation(node.output())
    node.require(source.data is None, f"its input '{source.info.name}' is a constant")
    shift = _check_shift(node, _exponent(target) - _exponent(source), 128)
    window = _window(node, source, target)
    return _step(node, "max_pool", {"shift": shift, **window, **_clamp(node)}, op=_named(node))


def plan_average_pool(node: Node) -> Step:
    """sum x 2^(in - out) / taps, which is no shift unless the window has 2^n taps."""
    source, target = node.int8_activation(node.input()), node.int8_activation(node.output())
    node.require(source.data is None, f"its input '{source.info.name}' is a constant")
    window = _window(node, source, target)
    finer = _exponent(source) - _exponent(target)
    numerator, denominator = 1 << max(0, finer), math.prod(node.integers("kernel")) << max(0, -finer)
    largest = 128 * math.prod(node.integers("kernel")) * numerator * 4 + denominator * 4
    node.require(largest <= INT32_MAX, f"its sums can reach {largest}, which does not fit 32 bits")
    numbers = {"numerator": numerator, "denominator": denominator, **window, **_clamp(node)}
    return _step(node, "average_pool", numbers, op=_named(node))


def _operand_arrays(node: Node) -> tuple[Constant, ...]:
    """The constants among the operands, named by position."""
    return tuple(
        Constant(f"operand{position}", node.constant(node.input(position)))
        for position in range(len(node.operator.inputs))
        if node.input(position).data is not None
    )


def _constant_positions(node: Node) -> list[int]:
    return [p for p in range(len(node.operator.inputs)) if node.input(p).data is not None]


def plan_binary(node: Node) -> Step:
    """Add and Sub bring both sides to the finer scale first; Mul multiplies as they are."""
    node.check_counts(2)
    target = node.int8_activation(node.output())
    left, right = (_exponent(node.int8_activation(node.input(position))) for position in (0, 1))
    if node.operator.op == "Mul":
        factors, common, bound = [1, 1], left + right, 128 * 128
    else:
        common = min(left, right)
        node.require(max(left, right) - common < 16, f"operands of scales 2^{left} and 2^{right}")
        factors = [1 << (left - common), 1 << (right - common)]
        bound = 128 * sum(factors)
    shift = _check_shift(node, _exponent(target) - common, bound)
    numbers = {
        "operation": node.operator.op,
        "factors": factors,
        "constants": _constant_positions(node),
        "shapes": [node.input(position).info.shape for position in (0, 1)],
        "shift": shift,
        **_clamp(node),
    }
    return _step(node, "binary", numbers, op=_named(node), arrays=_operand_arrays(node))  # type: ignore[arg-type]


def plan_concat(node: Node) -> Step:
    parts = [node.int8_activation(node.input(position)) for position in range(len(node.operator.inputs))]
    target = node.int8_activation(node.output())
    shifts = [_check_shift(node, _exponent(target) - _exponent(part), 128) for part in parts]
    numbers = {
        "axis": node.integer("axis", 0, len(target.info.shape) - 1),
        "constants": _constant_positions(node),
        "shapes": [part.info.shape for part in parts],
        "shifts": shifts,
        **_clamp(node),
    }
    return _step(node, "concatenation", numbers, op=_named(node), arrays=_operand_arrays(node))  # type: ignore[arg-type]


def plan_transpose(node: Node) -> Step:
    source, target = node.int8_activation(node.input()), node.int8_activation(node.output())
    node.require(source.data is None, f"its input '{source.info.name}' is a constant")
    perm = node.integers("perm")
    if sorted(perm) != list(range(len(source.info.shape))):
        node.malformed(f"permutation {perm} of {len(source.info.shape)} dimensions")
    shift = _check_shift(node, _exponent(target) - _exponent(source), 128)
    clamp = _clamp(node)
    moving = [axis for axis in perm if source.info.shape[axis] > 1]
    if moving == sorted(moving) and shift == 0 and _named(node) == node.operator.op:
        return alias(node, target.info.shape)  # only axes of length 1 change places
    return _step(node, "transposition", {"perm": perm, "shift": shift, **clamp}, op=_named(node))


def plan_table(node: Node) -> Step:
    """256 results in the order of the byte's value: those of 0 ... 127, then of -128 ... -1."""
    source, table = node.int8_activation(node.input(0)), node.constant(node.input(1))
    node.require(source.data is None, f"its input '{source.info.name}' is a constant")
    values = np.roll(table, 128)
    if values.dtype == np.float32:
        values = values.view(np.uint32)
    return _step(node, "table", {}, arrays=(Constant("table", values),), view="line")


def plan_softmax(node: Node) -> Step:
    """exp of the difference from the row's largest, from a table; sum and quotient as IEEE 754 has them.

    Entries below the smallest normal number are raised to it, as in the oracle.
    """
    source, target = node.int8_activation(node.input()), node.output()
    node.require(source.data is None, f"its input '{source.info.name}' is a constant")
    shape = source.info.shape
    axis = node.integer("axis", -len(shape), len(shape) - 1)
    node.require(axis % len(shape) == len(shape) - 1, f"along axis {axis} of {len(shape)}, not the last")
    node.require_dtype(target, "float32")
    numbers: dict[str, Number] = {"rows": source.info.elements // shape[-1]}
    exponentials = np.exp(np.arange(-255, 1, dtype=np.float64) * source.scales[0])
    bits = np.maximum(exponentials, SMALLEST_NORMAL).astype(np.float32).view(np.uint32)
    arrays = (Constant("exp", bits),)
    return _step(node, "softmax", numbers, arrays=arrays, view="rows", shared=("single.h",))


def plan_alias(node: Node) -> Step:
    """The reader has made sure that the scale stays and has the output's shape."""
    node.check_counts(1)
    return alias(node, node.output().info.shape)


TVM_OPERATORS: dict[str, Callable[[Node], Step]] = {
    "Add": plan_binary,
    "AveragePool": plan_average_pool,
    "Clip": plan_table,
    "Concat": plan_concat,
    "Conv": plan_conv,
    "Elu": plan_table,
    "Flatten": plan_alias,
    "Gemm": plan_gemm,
    "HardSigmoid": plan_table,
    "HardSwish": plan_table,
    "LeakyRelu": plan_table,
    "MaxPool": plan_max_pool,
    "Mul": plan_binary,
    "Relu": plan_table,
    "Requantise": plan_table,
    "Reshape": plan_alias,
    "Sigmoid": plan_table,
    "Softmax": plan_softmax,
    "Squeeze": plan_alias,
    "Sub": plan_binary,
    "Tanh": plan_table,
    "Transpose": plan_transpose,
    "Unsqueeze": plan_alias,
}
