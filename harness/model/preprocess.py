"""From stored pixels to the model's real input values, as `model.toml` or --preprocess declares it.

The same function serves training, calibration, the float reference and the device, so they
cannot drift apart. Quantising is not done here: that belongs to the artifact's input tensor.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.errors import UsageError

KINDS = ("affine",)
RESIZES = ("bilinear",)
COLOURS = ("rgb", "bgr")
EXAMPLE = "e.g. scale=0.00392157,offset=0,resize=bilinear"


@dataclass(frozen=True)
class Preprocess:
    """`kind` affine: value = pixel * scale + offset, in float32.

    For images read from files: `resize` is how they are scaled to the model's input, "" where they must
    have its size; `colour` is the order of their channels, "" as "rgb".
    """

    kind: str
    scale: float
    offset: float
    resize: str = ""
    colour: str = ""

    def apply(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """uint8 pixels 0..255 of any shape to real values of the same shape."""
        values = pixels.astype(np.float32) * np.float32(self.scale) + np.float32(self.offset)
        return values.astype(np.float32)


def parse_preprocess(text: str) -> Preprocess:
    """`scale=S,offset=O,resize=bilinear,colour=bgr`, each optional, as --preprocess takes it.

    Raises:
        UsageError: an unknown word or value.
    """
    numbers, words = {"scale": 1.0, "offset": 0.0}, {"resize": "", "colour": ""}
    known = {"resize": RESIZES, "colour": COLOURS}
    for part in text.split(","):
        name, _, value = (piece.strip() for piece in part.partition("="))
        if name in numbers:
            numbers[name] = _number(name, value)
        elif name in known and value in known[name]:
            words[name] = value
        else:
            expected = "scale, offset, resize or colour"
            if name in known:
                expected = f"{' or '.join(known[name])} for {name}"
            raise UsageError(f"--preprocess expects {expected}, got '{part.strip()}'", EXAMPLE)
    return Preprocess(KINDS[0], numbers["scale"], numbers["offset"], words["resize"], words["colour"])


def _number(name: str, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if name == "scale" and number == 0:
        raise UsageError("--preprocess scale=0 makes every pixel the same", EXAMPLE)
    if not math.isfinite(number):
        raise UsageError(f"--preprocess expects a number for {name}, got '{text}'", EXAMPLE)
    return number
