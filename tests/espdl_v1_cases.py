"""Random quantised networks of esp-dl v1: every layer, and exponents no calibrator would choose."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from harness.runtimes.espdl_v1.assemble import Stated, assemble
from harness.runtimes.espdl_v1.calibrate import Scheme
from harness.runtimes.espdl_v1.quantise import QuantisedNetwork


def network(rng: np.random.Generator, scheme: Scheme, last: str = "Softmax") -> QuantisedNetwork:
    """Convolutions of odd sizes, a branch that is joined again, pools, a dense layer, `last`."""
    start = int(rng.integers(-scheme.bits, -scheme.bits + 4))
    maker = _Maker(rng, scheme, start)
    layers = [
        maker("a", (3, 2, 3, 9), activation="LeakyReLU", strides=(1, 2)),
        maker("b", (2, 3, 9, 1), op="DepthwiseConv2D", dilations=(2, 1)),
        maker("c", (1, 1, 9, 17), activation="ReLU"),
        Stated("MaxPool2D", "pool", kernel=(3, 2), strides=(2, 1)),
        Stated("Relu", "alone"),
        Stated("Concat", "both", reads=(3, 4)),
        maker("d", (2, 2, 34, 6), padding="same_lower"),
        Stated("GlobalMaxPool2D", "all"),
        Stated("Reshape", "flat", shape=(1, 1, -1)),
        # Softmax is over the channels of each pixel.
        maker("dense", (1, 1, 6, 7), padding=(0, 0, 0, int(last == "Softmax"))),
        Stated(last, "last"),
    ]
    return assemble("x", (9, 10, 3), start, scheme, layers)


class _Maker:
    """Layers with weights of the whole range; `exponent` is that of the tensor reached so far.

    The output's exponent mostly fits the sums; now and then it is so small that they are scaled up.
    """

    def __init__(self, rng: np.random.Generator, scheme: Scheme, exponent: int) -> None:
        self.rng, self.scheme, self.exponent = rng, scheme, exponent

    def __call__(
        self, name: str, shape: tuple[int, int, int, int], op: str = "Conv2D", **fields: Any
    ) -> Stated:
        rng, scheme = self.rng, self.scheme
        outputs = shape[2] if op == "DepthwiseConv2D" else shape[3]
        taps = math.prod(shape) // outputs
        exponents = -scheme.bits - rng.integers(0, 3, outputs if scheme.per_channel else 1)
        fitting = scheme.bits - 1 + round(math.log2(taps) / 2) - 1
        self.exponent += int(exponents.max()) + fitting + int(rng.choice([0, 0, 0, 0, 1, -2, -fitting - 2]))
        weights, biases = np.iinfo(f"int{scheme.bits}"), np.iinfo("int16")
        if not scheme.per_channel:
            biases = weights
        return Stated(
            op,
            name,
            output_exponent=self.exponent,
            filter=rng.integers(weights.min, weights.max + 1, shape),
            filter_exponents=tuple(int(exponent) for exponent in exponents),
            bias=rng.integers(biases.min // 4, biases.max // 4, outputs) if rng.random() < 0.8 else None,
            alpha=int(rng.integers(weights.min, weights.max + 1)),
            alpha_exponent=1 - scheme.bits,
            **{"padding": tuple(int(pad) for pad in rng.integers(0, 2, 4)), **fields},
        )
