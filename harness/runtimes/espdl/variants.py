"""What ESP-DL v3 makes of each chip: which of three kinds of file it takes, and how it rounds.

Sources: espressif/esp-dl v3.3.9 (dl/dl_define_private.hpp, dl/tool/src/dl_tool.cpp) and esp-ppq 1.3.12
(parser/espdl/export_patterns.py, its filter layouts).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.errors import ModelError, UnsupportedError
from harness.runtimes.espdl.tables import damaged

PLAIN_LAYOUTS = ("NHWC", "HWCN")


@dataclass(frozen=True)
class Variant:
    """`blocked`: filters are laid out for a vector unit; `half_even`: how halves are rounded;
    `per_channel`: a filter may have an exponent for each output channel.
    """

    name: str
    blocked: bool
    half_even: bool
    per_channel: bool

    def layouts(self, lanes: int) -> tuple[str, ...]:
        """The filters' layouts. The vector unit takes `lanes` output channels at a time, 16 of int8 data and
        8 of int16. The last two are older names of the first two; the bytes are the same.
        """
        if not self.blocked:
            return PLAIN_LAYOUTS
        names = (f"(N/{lanes})HWC{lanes}", f"N{lanes}HWC{lanes}")
        return tuple(f"{name}{rest}" for name in names for rest in ("", "_UNALIGNED"))


VARIANTS = {
    variant.name: variant
    for variant in (
        Variant("c", blocked=False, half_even=False, per_channel=False),
        Variant("esp32s3", blocked=True, half_even=False, per_channel=False),
        Variant("esp32p4", blocked=True, half_even=True, per_channel=True),
    )
}
"""`c` is esp-ppq's name for the chips without vector instructions."""

CHIPS = {
    **dict.fromkeys(("esp32", "esp32s2", "esp32c2", "esp32c3", "esp32c5", "esp32c6"), "c"),
    "esp32s3": "esp32s3",
    "esp32p4": "esp32p4",
}


def variant_of(chip: str) -> str:
    """The variant's name for a target. Raises UnsupportedError for a chip ESP-DL does not run on."""
    if chip not in CHIPS:
        raise UnsupportedError(
            f"ESP-DL does not support {chip}", f"Targets of runtime espdl: {', '.join(CHIPS)}"
        )
    return CHIPS[chip]


def filter_layout(doc_string: str) -> str:
    """The layout's name as a tensor's doc_string states it."""
    return doc_string.removeprefix("layout ==> ")


def check_filter(name: str, layout: str, exponents: int, variant: Variant, lanes: int) -> None:
    """Raises ModelError when a filter is laid out for other chips or for data of another width, or has as
    many exponents as these chips do not take.
    """
    remedy = f"Export the model for this chip (esp-ppq target {variant.name})"
    if layout in variant.layouts(lanes):
        if exponents > 1 and not variant.per_channel:
            raise ModelError(
                f"filter '{name}' has an exponent for each channel, which the ESP32-P4 alone takes", remedy
            )
        return
    made_for = [v.name for v in VARIANTS.values() if layout in v.layouts(lanes)] or ["no chip of this list"]
    chips = ", ".join(chip for chip, of in CHIPS.items() if of == variant.name)
    raise ModelError(
        f"filter '{name}' has layout {layout}, that of {' and '.join(made_for)}; "
        f"{chips} expect {' or '.join(variant.layouts(lanes)[:2])}",
        remedy,
    )


def unpack_filter(
    values: NDArray[np.generic], dims: tuple[int, ...], layout: str, lanes: int, grouped: bool
) -> NDArray[np.generic]:
    """A stored filter as [out channel][row][column][filter channel].

    Args:
        values: flat, padding removed.
        dims: as stored: [h, w, c, n], or [h, w, n, c] when `grouped`.
        lanes: of a blocked layout: how many output channels lie side by side.
    """
    if len(dims) != 4:
        raise damaged(f"a filter with {len(dims)} dimensions, expected 4")
    h, w, c, n = (*dims[:2], dims[3], dims[2]) if grouped else dims
    if layout == "NHWC":
        return values.reshape(n, h, w, c)
    if layout == "HWCN":
        return np.ascontiguousarray(values.reshape(h, w, c, n).transpose(3, 0, 1, 2))
    whole = n // lanes * lanes
    blocks = values[: whole * h * w * c].reshape(n // lanes, h, w, c, lanes).transpose(0, 4, 1, 2, 3)
    rest = values[whole * h * w * c :]
    if grouped:
        rest = rest.reshape(c, h, w, n - whole).transpose(3, 1, 2, 0)
    return np.concatenate([blocks.reshape(whole, h, w, c), rest.reshape(n - whole, h, w, c)])


def unpack_matrices(
    values: NDArray[np.generic], dims: tuple[int, ...], layout: str, lanes: int
) -> NDArray[np.generic]:
    """The constant side of a MatMul, each matrix stored as a 1 x 1 filter is, as [..., row, column]."""
    if len(dims) < 2:
        raise damaged(f"a matrix with {len(dims)} dimensions")
    rows, columns = dims[-2:]
    matrices = [
        unpack_filter(matrix, (1, 1, rows, columns), layout, lanes, grouped=False).reshape(columns, rows).T
        for matrix in values.reshape(-1, rows * columns)
    ]
    return np.stack(matrices).reshape(dims)
