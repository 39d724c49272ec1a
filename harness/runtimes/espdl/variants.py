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

BLOCK = 16
PLAIN_LAYOUTS = ("NHWC", "HWCN")
BLOCKED_LAYOUTS = ("(N/16)HWC16", "(N/16)HWC16_UNALIGNED", "N16HWC16", "N16HWC16_UNALIGNED")
"""The last two are what esp-ppq called the first two before; the bytes are the same."""


@dataclass(frozen=True)
class Variant:
    """`layouts`: those of the filters in a file for these chips; `half_even`: how halves are rounded."""

    name: str
    layouts: tuple[str, ...]
    half_even: bool


VARIANTS = {
    variant.name: variant
    for variant in (
        Variant("c", PLAIN_LAYOUTS, half_even=False),
        Variant("esp32s3", BLOCKED_LAYOUTS, half_even=False),
        Variant("esp32p4", BLOCKED_LAYOUTS, half_even=True),
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


def check_layout(name: str, layout: str, variant: Variant) -> None:
    """Raises ModelError when a filter is laid out for other chips."""
    if layout in variant.layouts:
        return
    made_for = [v.name for v in VARIANTS.values() if layout in v.layouts] or ["no chip of this list"]
    chips = ", ".join(chip for chip, of in CHIPS.items() if of == variant.name)
    raise ModelError(
        f"filter '{name}' has layout {layout}, that of {' and '.join(made_for)}; "
        f"{chips} expect {' or '.join(variant.layouts[:2])}",
        f"Export the model for this chip (esp-ppq target {variant.name})",
    )


def unpack_filter(
    values: NDArray[np.generic], dims: tuple[int, ...], layout: str, grouped: bool
) -> NDArray[np.generic]:
    """A stored filter as [out channel][row][column][filter channel].

    Args:
        values: flat, padding removed.
        dims: as stored: [h, w, c, n], or [h, w, n, c] when `grouped`.
    """
    if len(dims) != 4:
        raise damaged(f"a filter with {len(dims)} dimensions, expected 4")
    h, w, c, n = (*dims[:2], dims[3], dims[2]) if grouped else dims
    if layout == "NHWC":
        return values.reshape(n, h, w, c)
    if layout == "HWCN":
        return np.ascontiguousarray(values.reshape(h, w, c, n).transpose(3, 0, 1, 2))
    whole = n // BLOCK * BLOCK
    blocks = values[: whole * h * w * c].reshape(n // BLOCK, h, w, c, BLOCK).transpose(0, 4, 1, 2, 3)
    rest = values[whole * h * w * c :]
    if grouped:
        rest = rest.reshape(c, h, w, n - whole).transpose(3, 1, 2, 0)
    return np.concatenate([blocks.reshape(whole, h, w, c), rest.reshape(n - whole, h, w, c)])


def unpack_matrices(values: NDArray[np.generic], dims: tuple[int, ...], layout: str) -> NDArray[np.generic]:
    """The constant side of a MatMul, each matrix stored as a 1 x 1 filter is, as [..., row, column]."""
    if len(dims) < 2:
        raise damaged(f"a matrix with {len(dims)} dimensions")
    rows, columns = dims[-2:]
    matrices = [
        unpack_filter(matrix, (1, 1, rows, columns), layout, grouped=False).reshape(columns, rows).T
        for matrix in values.reshape(-1, rows * columns)
    ]
    return np.stack(matrices).reshape(dims)
