"""The networks whose limits are searched: the tutorial's own, each with one size that grows.

Shapes alone: what becomes of them in a runtime is `networks`'.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

PIXELS = 60
MNIST_PIXELS = 28
CLASSES = 10
MIDDLE_LAYERS = 8


@dataclass(frozen=True)
class Conv:
    """3x3, stride 1, no padding, ReLU."""

    filters: int


@dataclass(frozen=True)
class Pool:
    """The maximum of 2x2, stride 2."""


@dataclass(frozen=True)
class Dense:
    outputs: int


Layer = Conv | Pool | Dense
Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Sketch:
    """A network by its layers; a softmax follows the last, a dense one. `input`: height, width, channels."""

    input: Shape
    layers: tuple[Layer, ...]

    def shapes(self) -> list[Shape]:
        """What each layer reads: (height, width, channels)."""
        read, shape = [], self.input
        for layer in self.layers:
            read.append(shape)
            height, width, channels = shape
            if isinstance(layer, Conv):
                shape = (height - 2, width - 2, layer.filters)
            elif isinstance(layer, Pool):
                shape = (height // 2, width // 2, channels)
            else:
                shape = (1, 1, layer.outputs)
        return read

    @property
    def parameters(self) -> int:
        """Weights and biases."""
        total = 0
        for layer, (height, width, channels) in zip(self.layers, self.shapes(), strict=True):
            if isinstance(layer, Conv):
                total += (9 * channels + 1) * layer.filters
            elif isinstance(layer, Dense):
                total += (height * width * channels + 1) * layer.outputs
        return total


@dataclass(frozen=True)
class Family:
    """Networks of one shape. `sketch` makes the one of a size, between `smallest` and `largest`; `what` is
    searched, `unit` is what a size counts, `told` describes the networks.
    """

    name: str
    what: str
    unit: str
    told: str
    smallest: int
    largest: int
    sketch: Callable[[int], Sketch]


def _test21(filters: int) -> Sketch:
    """`filters` shared out evenly over the middle layers: 512 is test21_mnist_300k itself."""
    middle = [Conv((filters + layer) // MIDDLE_LAYERS) for layer in range(MIDDLE_LAYERS)]
    layers: tuple[Layer, ...] = (Conv(16), Conv(16), *middle, Conv(32), Dense(CLASSES))
    return Sketch((MNIST_PIXELS, MNIST_PIXELS, 1), layers)


def _test23(pixels: int, channels: int, filters: int) -> Sketch:
    """test23_gender_1pool: 60 pixels, 3 channels, 16 filters."""
    return Sketch((pixels, pixels, channels), (*[Conv(filters)] * 4, Pool(), Dense(2)))


def families(input_channels: int = 3) -> tuple[Family, ...]:
    """The searches, in the order in which they are made; images have so many channels."""
    return (
        Family(
            name="parameters",
            what="parameters",
            unit="filters in the middle layers",
            told="tutorial test21: 28x28x1, eleven 3x3 convolutions without a pool, a dense layer; its eight "
            "middle layers grow",
            smallest=MIDDLE_LAYERS,
            largest=4096,
            sketch=_test21,
        ),
        Family(
            name="input",
            what="input size",
            unit="pixels a side",
            told=f"tutorial test23: an image of {input_channels} channels, four 3x3 convolutions of 16 "
            "filters, a pool, a dense layer",
            smallest=10,
            largest=512,
            sketch=lambda pixels: _test23(pixels, input_channels, 16),
        ),
        Family(
            name="channels",
            what="channels",
            unit="filters in each convolution",
            told=f"the same at {PIXELS}x{PIXELS}x{input_channels}; its four convolutions grow",
            smallest=1,
            largest=1024,
            sketch=lambda filters: _test23(PIXELS, input_channels, filters),
        ),
    )
