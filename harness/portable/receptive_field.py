"""Which input elements one output element of a layer is computed from.

For people who look at a wrong element; the kernels do not use it. Exact for windows, rows and
element-wise layers; for the others the whole input, which is never too little.
"""

from __future__ import annotations

from harness.portable.ops.conv import Conv2D, Convolution
from harness.portable.ops.depthwise import DepthwiseConv2D
from harness.portable.ops.elementwise import Binary
from harness.portable.ops.fully_connected import FullyConnected
from harness.portable.ops.lookup import Lookup, QuantiseFloat
from harness.portable.ops.pool import Pool
from harness.portable.ops.power_of_two_elementwise import PRelu
from harness.portable.ops.window import Axis
from harness.portable.step import Region, Step


def receptive_field(step: Step, element: tuple[int, ...]) -> tuple[Region, ...]:
    """For each of `step.reads` the region that output element `element` of `step.writes[0]` depends on."""
    if (own := step.computed_from(element)) is not None:
        return own
    shapes = [tensor.info.shape for tensor in step.reads]
    if isinstance(step, Convolution | Pool):
        batch, y, x, channel = element
        window = (slice(batch, batch + 1), taps(step.height, y), taps(step.width, x))
        return ((*window, _channels(step, channel)),)
    if isinstance(step, Binary | Lookup | QuantiseFloat | PRelu):
        return tuple(broadcast(shape, element) for shape in shapes)
    if isinstance(step, FullyConnected) and shapes[0][:-1] == step.writes[0].info.shape[:-1]:
        return ((*(slice(at, at + 1) for at in element[:-1]), slice(None)),)
    return tuple((slice(None),) * len(shape) for shape in shapes)


def taps(axis: Axis, position: int) -> slice:
    """The taps of output `position` that are inside the image; the others are padding."""
    first = position * axis.stride - axis.pad
    inside = [
        at for at in range(first, first + axis.taps * axis.dilation, axis.dilation) if 0 <= at < axis.size
    ]
    return slice(inside[0], inside[-1] + 1, axis.dilation) if inside else slice(0, 0)


def _channels(step: Convolution | Pool, channel: int) -> slice:
    if isinstance(step, Conv2D):
        width = step.in_channels // step.groups
        first = channel // (step.out_channels // step.groups) * width
        return slice(first, first + width)
    if isinstance(step, DepthwiseConv2D):
        channel //= step.multiplier
    return slice(channel, channel + 1)


def broadcast(shape: tuple[int, ...], element: tuple[int, ...]) -> Region:
    """The same element; along an axis of length 1, its only one. Axes are counted from the last."""
    padded = (0,) * max(0, len(shape) - len(element)) + element
    own = padded[len(padded) - len(shape) :]
    return tuple(slice(0, 1) if size == 1 else slice(at, at + 1) for size, at in zip(shape, own, strict=True))


def region_text(region: Region, shape: tuple[int, ...]) -> str:
    """As numpy would index it: "[0, 3:8, 0:5, :]"."""
    parts = []
    for part, size in zip(region, shape, strict=True):
        start, stop, step = part.indices(size)
        if (start, stop, step) == (0, size, 1):
            parts.append(":" if size > 1 else "0")
        elif stop - start == 1:
            parts.append(str(start))
        else:
            parts.append(f"{start}:{stop}" + (f":{step}" if step > 1 else ""))
    return f"[{', '.join(parts)}]"
