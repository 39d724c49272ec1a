"""Each kernel as a TVM tensor expression, in the integers of the QDQ file.

Imported by the child process only.

Every function takes the kernel's buffers, in the order of its C parameters, and its numbers, and
returns the output tensor. Values between stages live in registers: the schedule (`lower.py`) puts
padding and requantisation into the loops of the sum they belong to.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

from tvm import te, tirx

INT8_MIN = -128


def requantise(value: Any, shift: Any, low: int, high: int) -> Any:
    """value / 2^shift, halves to even, clamped to int8; a negative shift multiplies."""
    if isinstance(shift, int) and shift <= 0:
        scaled = value * (1 << -shift) if shift else value
    elif isinstance(shift, int):
        scaled = (value + ((value >> shift) & 1) + ((1 << (shift - 1)) - 1)) >> shift
    else:
        one = tirx.const(1, "int32")
        scaled = (value + ((value >> shift) & 1) + ((one << (shift - 1)) - 1)) >> shift
    return tirx.max(tirx.min(scaled, high), low).astype("int8")


def _moved(value: Any, shift: int, low: int, high: int) -> Any:
    """An int8 value at its new place, requantised where its scale or range changes."""
    if (shift, low, high) == (0, -128, 127):
        return value
    return requantise(value.astype("int32"), shift, low, high)


def convolution(
    buffers: Sequence[Any],
    shape: Sequence[int],
    *,
    groups: int,
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    pads: Sequence[int],
    **scaling: int,
) -> Any:
    image, weights, bias, *shifts = buffers
    padded = _padded(image, pads, 0)
    depth = int(weights.shape[1])
    filters = int(weights.shape[0]) // groups
    c = te.reduce_axis((0, depth), "c")
    taps, place = _windows(kernel, strides, dilations)

    def tap(n: Any, o: Any, y: Any, x: Any) -> Any:
        channel = c if groups == 1 else o // filters * depth + c
        pixel = padded(n, channel, *place(y, x)).astype("int32")
        return te.sum(pixel * weights(o, c, *taps).astype("int32"), axis=[c, *taps])

    sums = te.compute(shape, tap, name="sum")
    return _scaled(shape, sums, bias, shifts, channel_axis=1, **scaling)


def product(buffers: Sequence[Any], shape: Sequence[int], *, rows: int, **scaling: int) -> Any:
    """(rows, inputs) times weights (outputs, inputs); `shape` is (rows, outputs)."""
    source, weights, bias, *shifts = buffers
    k = te.reduce_axis((0, int(weights.shape[1])), "k")
    sums = te.compute(
        (rows, int(weights.shape[0])),
        lambda r, o: te.sum(source[r, k].astype("int32") * weights[o, k].astype("int32"), axis=k),
        name="sum",
    )
    return _scaled(shape, sums, bias, shifts, channel_axis=1, **scaling)


def _scaled(
    shape: Sequence[int],
    sums: Any,
    bias: Any,
    shifts: Sequence[Any],
    channel_axis: int,
    shift: int,
    low: int,
    high: int,
) -> Any:
    biased = te.compute(shape, lambda *at: sums(*at) + bias[at[channel_axis]], name="biased")

    def store(*at: Any) -> Any:
        return requantise(biased(*at), shifts[0][at[channel_axis]] if shifts else shift, low, high)

    return te.compute(shape, store, name="output")


def _padded(image: Any, pads: Sequence[int], value: int) -> Callable[..., Any]:
    """What stands at a place of the padded image (batch, channel, row, column)."""
    top, left, bottom, right = pads
    if not any(pads):
        return image  # type: ignore[no-any-return]
    batch, channels, height, width = (int(size) for size in image.shape)

    def at(n: Any, c: Any, y: Any, x: Any) -> Any:
        inside = tirx.all(y >= top, y < top + height, x >= left, x < left + width)
        return tirx.if_then_else(inside, image[n, c, y - top, x - left], tirx.const(value, "int8"))

    shape = (batch, channels, height + top + bottom, width + left + right)
    return te.compute(shape, at, name="padded")  # type: ignore[no-any-return]


def _windows(
    kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]
) -> tuple[list[Any], Callable[[Any, Any], tuple[Any, Any]]]:
    ky, kx = te.reduce_axis((0, kernel[0]), "ky"), te.reduce_axis((0, kernel[1]), "kx")

    def place(y: Any, x: Any) -> tuple[Any, Any]:
        return y * strides[0] + ky * dilations[0], x * strides[1] + kx * dilations[1]

    return [ky, kx], place


def max_pool(
    buffers: Sequence[Any],
    shape: Sequence[int],
    *,
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    pads: Sequence[int],
    shift: int,
    low: int,
    high: int,
) -> Any:
    axes, place = _windows(kernel, strides, dilations)
    padded = _padded(buffers[0], _reach(buffers[0], shape, kernel, strides, dilations, pads), INT8_MIN)
    largest = te.compute(
        shape, lambda n, c, y, x: te.max(padded(n, c, *place(y, x)), axis=axes), name="largest"
    )
    return te.compute(shape, lambda *at: _moved(largest(*at), shift, low, high), name="output")


def _reach(
    image: Any,
    shape: Sequence[int],
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    pads: Sequence[int],
) -> list[int]:
    """`pads`, widened at the end where ceil_mode lets the last window reach further."""
    wide = list(pads)
    for axis in (0, 1):
        last = (shape[2 + axis] - 1) * strides[axis] + (kernel[axis] - 1) * dilations[axis] + 1
        wide[2 + axis] = max(wide[2 + axis], last - pads[axis] - int(image.shape[2 + axis]))
    return wide


def average_pool(
    buffers: Sequence[Any],
    shape: Sequence[int],
    *,
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    pads: Sequence[int],
    numerator: int,
    denominator: int,
    low: int,
    high: int,
) -> Any:
    axes, place = _windows(kernel, strides, dilations)
    padded = _padded(buffers[0], pads, 0)
    sums = te.compute(
        shape,
        lambda n, c, y, x: te.sum(padded(n, c, *place(y, x)).astype("int32"), axis=axes),
        name="sum",
    )
    # An even number of denominators makes the dividend positive, so that C's division rounds down.
    lift = 2 * ((128 * kernel[0] * kernel[1] * numerator) // (2 * denominator) + 1)

    def store(*at: Any) -> Any:
        raised = sums(*at) * numerator + lift * denominator
        quotient = tirx.truncdiv(raised, denominator)
        twice_rest = (raised - quotient * denominator) * 2
        up = tirx.any(twice_rest > denominator, tirx.all(twice_rest == denominator, (quotient & 1) == 1))
        rounded = quotient - lift + up.astype("int32")
        return tirx.max(tirx.min(rounded, high), low).astype("int8")

    return te.compute(shape, store, name="output")


def binary(
    buffers: Sequence[Any],
    shape: Sequence[int],
    *,
    operation: str,
    factors: Sequence[int],
    constants: Sequence[int],
    shapes: Sequence[Sequence[int]],
    shift: int,
    low: int,
    high: int,
) -> Any:
    operands = _in_order(buffers, constants, len(shapes))

    def value(side: int, at: Sequence[Any]) -> Any:
        operand = operands[side]
        own = at[len(at) - len(operand.shape) :]
        index = [0 if int(size) == 1 else i for size, i in zip(operand.shape, own, strict=True)]
        wide = operand(*index).astype("int32")
        return wide * factors[side] if factors[side] != 1 else wide

    def store(*at: Any) -> Any:
        left, right = value(0, at), value(1, at)
        result = {"Add": left + right, "Sub": left - right, "Mul": left * right}[operation]
        return requantise(result, shift, low, high)

    return te.compute(shape, store, name="output")


def _in_order(buffers: Sequence[Any], constants: Sequence[int], count: int) -> list[Any]:
    """Operands by position: a kernel's parameters are its activations first, then its constants."""
    activations = iter(buffers[: count - len(constants)])
    stored = iter(buffers[count - len(constants) :])
    return [next(stored if position in constants else activations) for position in range(count)]


def concatenation(
    buffers: Sequence[Any],
    shape: Sequence[int],
    *,
    axis: int,
    constants: Sequence[int],
    shapes: Sequence[Sequence[int]],
    shifts: Sequence[int],
    low: int,
    high: int,
) -> Any:
    parts = _in_order(buffers, constants, len(shapes))
    starts = [0, *itertools.accumulate(part[axis] for part in shapes)]

    def store(*at: Any) -> Any:
        values = []
        for part, start, shift in zip(parts, starts[:-1], shifts, strict=True):
            value = part(*at[:axis], at[axis] - start, *at[axis + 1 :])
            values.append(_moved(value, shift, low, high))
        result = values[-1]
        for value, end in reversed(list(zip(values[:-1], starts[1:-1], strict=True))):
            result = tirx.if_then_else(at[axis] < end, value, result)
        return result

    return te.compute(shape, store, name="output")


def transposition(
    buffers: Sequence[Any], shape: Sequence[int], *, perm: Sequence[int], shift: int, low: int, high: int
) -> Any:
    def store(*at: Any) -> Any:
        value = buffers[0](*(at[perm.index(axis)] for axis in range(len(perm))))
        return _moved(value, shift, low, high)

    return te.compute(shape, store, name="output")


def table(buffers: Sequence[Any], shape: Sequence[int]) -> Any:
    source, results = buffers
    return te.compute(shape, lambda *at: results[source(*at).astype("int32") & 255], name="output")


def softmax(buffers: Sequence[Any], shape: Sequence[int], *, rows: int) -> Any:  # noqa: ARG001 - all take it
    """Floats as bit patterns; single_sum and single_quotient are those of single.h."""
    scores, exponentials = buffers
    depth = int(scores.shape[1])
    i, j = te.reduce_axis((0, depth), "i"), te.reduce_axis((0, depth), "j")
    largest = te.compute((rows,), lambda r: te.max(scores[r, i], axis=i), name="largest")
    add = te.comm_reducer(
        lambda a, b: tirx.call_pure_extern("uint32", "single_sum", a, b),
        lambda dtype: tirx.const(0, dtype),
        name="single_sum",
    )

    def term(r: Any, place: Any) -> Any:
        return exponentials[scores[r, place].astype("int32") - largest[r].astype("int32") + 255]

    sums = te.compute((rows,), lambda r: add(term(r, j), axis=j), name="sum")
    return te.compute(
        (rows, depth),
        lambda r, place: tirx.call_pure_extern("uint32", "single_quotient", term(r, place), sums[r]),
        name="output",
    )


EXPRESSIONS: dict[str, Callable[..., Any]] = {
    function.__name__: function
    for function in (
        convolution,
        product,
        max_pool,
        average_pool,
        binary,
        concatenation,
        transposition,
        table,
        softmax,
    )
}
