"""From stored pixels to the model's real input values, as `model.toml` declares it.

The same function serves training, calibration, the float reference and the device, so they
cannot drift apart. Quantising is not done here: that belongs to the artifact's input tensor.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

KINDS = ("affine",)


@dataclass(frozen=True)
class Preprocess:
    """`kind` affine: value = pixel * scale + offset, in float32."""

    kind: str
    scale: float
    offset: float

    def apply(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """uint8 pixels 0..255 of any shape to real values of the same shape."""
        values = pixels.astype(np.float32) * np.float32(self.scale) + np.float32(self.offset)
        return values.astype(np.float32)
