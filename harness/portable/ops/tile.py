"""The loops around tile.h: eight output channels at two output pixels, for int8 weights.

Knows the order in which tile.h reads weights and how its sums are stored; not where a layer's
pixels lie.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from harness.portable.c_text import END, fill, loop
from harness.portable.ops.sums import Sums

CHANNELS, PIXELS = 8, 2  # TILE_CHANNELS and TILE_PIXELS in tile.h


def tile_order(weights: NDArray[np.generic]) -> NDArray[np.generic]:
    """(output channel, input) as tile.h reads it: full eights input by input, the rest one by one."""
    channels, inputs = weights.shape
    full = channels - channels % CHANNELS
    eights = weights[:full].reshape(-1, CHANNELS, inputs).transpose(0, 2, 1)
    return np.concatenate([eights.reshape(-1), weights[full:].reshape(-1)])


def tiles_called(sums: Sums, channels: int, pixels: int, *, by_eights: bool = True) -> frozenset[str]:
    """For rows of `pixels` with `channels` each, or as many in each group, as `tile_loop` goes over them."""
    if not sums.tiled:
        return frozenset()
    eights = channels // CHANNELS if by_eights else 0
    heights = ([CHANNELS] if eights else []) + ([1] if channels > eights * CHANNELS else [])
    widths = ([2] if pixels > 1 else []) + ([1] if pixels % 2 else [])
    return frozenset(f"tile{sums.in_tiles}_{height}x{width}" for height in heights for width in widths)


def window_constant(offsets: Sequence[str], length: str, pixel_stride: str) -> list[str]:
    """The filter_window that `tile_loop` refers to: runs of `length` inputs at `offsets`."""
    shape = f"{len(offsets)}, runs, {length}, {pixel_stride}"
    return [*_runs_constant(offsets), f"static const filter_window window = {{{shape}}};"]


def layer_constant(
    prefix: str, offsets: Sequence[str], length: str, pixel_stride: str, depth: str
) -> list[str]:
    """The table `layer` from which convolve_row() has all of a layer; see `window_constant`."""
    arrays = (f"{prefix}_{name}" for name in ("weights", "bias", "multiplier", "shift"))
    return [
        *_runs_constant(offsets),
        "static const convolution layer = {",
        f"{', '.join(arrays)},",
        f"{{{len(offsets)}, runs, {length}, {pixel_stride}}},",
        f"{depth}, OUT_C, OUTPUT_ZERO_POINT, LOW, HIGH",
        "};",
    ]


def _runs_constant(offsets: Sequence[str]) -> list[str]:
    """The array `runs` of a filter_window."""
    values = fill(offsets)
    if len(values) == 1:
        return [f"static const int32_t runs[] = {{{values[0].strip()}}};"]
    return ["static const int32_t runs[] = {", *values, "};"]


def pixel_loop(sums: Sums, count: str, rows: str, stride: str) -> list[str]:
    """The head of a loop over a row of `count` output pixels, by twos; their inputs begin at `rows`."""
    return [
        f"for (int32_t x = 0, pixels; x < {count}; x += pixels) {{",
        f"const {sums.data_type} *const inputs = {rows} + x * {stride};",
        "",
        f"pixels = x + TILE_PIXELS <= {count} ? TILE_PIXELS : 1;",
    ]


def tile_loop(
    sums: Sums,
    prefix: str,
    *,
    depth: str,
    channels: str,
    inputs: str = "inputs",
    pixels: str = "pixels",
    group: str = "",
    by_eights: bool = True,
) -> list[str]:
    """All channels of `pixels` neighbours whose windows begin at `inputs`, stored from `output` on.

    Args:
        depth: products in a sum.
        channels: output channels of a pixel, or of a group.
        group: the variable that counts the groups, where there are several.
        by_eights: weights are in `tile_order`; else every channel is alone.
    """
    first, end = ("0", channels) if not group else (f"{group} * {channels}", f"({group} + 1) * {channels}")
    left = f"{end} - first" if by_eights else "1"
    several = pixels != "1"
    calls = []
    for part in sums.parts:
        weights = f"{prefix}_weights{part} + first * {depth}, {prefix}_bias{part} + first"
        calls += [
            f"count = sum_tile{sums.in_tiles}(sums{part}, {inputs}, {weights},",
            f"&window, {left}, {pixels});",
        ]
    return [
        f"for (int32_t first = {first}, count; first < {end}; first += count) {{",
        *[f"int32_t sums{part}[TILE_SUMS];" for part in sums.parts],
        "int32_t next = 0;" if sums.halved else "const int32_t *next = sums;",
        "",
        *calls,
        loop("c", "first + count", "first"),
        *([loop("p", pixels)] if several else []),
        *(sums.whole("next") if sums.halved else ["int32_t sum = *next++;", ""]),
        *(["next++;"] if sums.halved else []),
        *sums.store(prefix, "output[p * OUT_C + c]" if several else "output[c]"),
        *([END] if several else []),
        END,
        END,
    ]
