"""The C of the tiled kernels, as compiled for either kind of core, against their definitions."""

from __future__ import annotations

import ctypes
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from harness.portable import fixed_point
from harness.portable.ops.sums import halves
from harness.portable.ops.tile import tile_order

HEADERS = Path(__file__).parents[2] / "firmware" / "runtimes" / "portable"
SOURCE = """
#include "fixed_point.h"
#include "reduced.h"
#include "tile.h"
#include "window.h"
int32_t t_requantise_sum(int32_t x, int32_t m, int32_t s, int32_t z) { return requantise_sum(x, m, s, z); }
void t_margins(void *to, const void *from, const margin_rows *shape, int32_t top) {
    copy_with_margins(to, from, shape, top);
}
/* output[channel][pixel] */
#define SUMS(name, sum, data) \\
    void name(int32_t *output, const data *input, const int8_t *weights, const int32_t *bias, \\
              const filter_window *window, int32_t channels, int32_t pixels) { \\
        for (int32_t first = 0, count; first < channels; first += count) { \\
            int32_t sums[TILE_SUMS]; \\
            count = sum(sums, input, weights + first * window->runs * window->length, bias + first, window, \\
                        channels - first, pixels); \\
            memcpy(output + first * pixels, sums, sizeof *sums * (size_t)(count * pixels)); \\
        } \\
    }
SUMS(t_sums, sum_tile, int8_t)
SUMS(t_sums16, sum_tile16, int16_t)
int32_t t_reduced(int32_t x, int32_t m, int32_t s) { return scale_reduced(x, m, s); }
int32_t t_reduced_wide(int64_t x, int32_t m, int32_t s) { return scale_reduced_wide(x, m, s); }
"""
FLAGS = ("-std=c99", "-O1", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-shared", "-fPIC")
unhurried = settings(deadline=None)


class Window(ctypes.Structure):
    _fields_ = (
        ("runs", ctypes.c_int32),
        ("offsets", ctypes.c_void_p),
        ("length", ctypes.c_int32),
        ("pixel_stride", ctypes.c_int32),
    )


@pytest.fixture(scope="module", params=["risc-v", "xtensa"])
def c(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """This machine's compiler, told that it compiles for one or the other."""
    directory = tmp_path_factory.mktemp("tiles")
    (directory / "twin.c").write_text(SOURCE)
    core = ["-D__XTENSA__"] if request.param == "xtensa" else []
    command = [
        "gcc",
        *FLAGS,
        *core,
        f"-I{HEADERS}",
        str(directory / "twin.c"),
        "-o",
        str(directory / "twin.so"),
    ]
    subprocess.run(command, check=True)
    return ctypes.CDLL(str(directory / "twin.so"))


@unhurried
@given(
    x=st.integers(-(2**29), 2**29),
    multiplier=st.integers(2**30, 2**31 - 1),
    shift=st.integers(1, 23),
    zero_point=st.integers(-128, 127),
)
@example(x=2**29, multiplier=2**31 - 1, shift=23, zero_point=127)
@example(x=-(2**29), multiplier=2**31 - 1, shift=23, zero_point=-128)
@example(x=-3, multiplier=2**30, shift=1, zero_point=0)
def test_requantise_sum(c: ctypes.CDLL, x: int, multiplier: int, shift: int, zero_point: int) -> None:
    expected = fixed_point.requantise(x, multiplier, -shift) + zero_point
    assert c.t_requantise_sum(x, multiplier, shift, zero_point) == expected


@pytest.mark.parametrize("halves", [-5, -1, 1, 3])
@pytest.mark.parametrize("shift", [1, 7, 23])
def test_requantise_sum_rounds_halves_away_from_zero(c: ctypes.CDLL, halves: int, shift: int) -> None:
    """x * 2^30 / 2^31 / 2^shift with x = halves * 2^shift."""
    expected = (abs(halves) + 1) // 2 * (1 if halves > 0 else -1)
    assert c.t_requantise_sum(halves << shift, 2**30, shift, 0) == expected


@unhurried
@given(x=st.integers(-(2**31), 2**31 - 1), multiplier=st.integers(0, 2**15 - 1), shift=st.integers(17, 46))
@example(x=-(2**31), multiplier=2**15 - 1, shift=17)
@example(x=2**31 - 1, multiplier=2**15 - 1, shift=46)
@example(x=-3, multiplier=2**14, shift=17)
def test_scale_reduced(c: ctypes.CDLL, x: int, multiplier: int, shift: int) -> None:
    expected = (x * multiplier + (1 << (shift - 1))) >> shift
    assert c.t_reduced(x, multiplier, shift) == expected
    assert c.t_reduced_wide(ctypes.c_int64(x), multiplier, shift) == expected


@unhurried
@given(
    x=st.integers(-(2**47) + 1, 2**47 - 1),
    multiplier=st.integers(2**14, 2**15 - 1),
    shift=st.integers(31, 46),
)
def test_scale_reduced_wide(c: ctypes.CDLL, x: int, multiplier: int, shift: int) -> None:
    expected = (x * multiplier + (1 << (shift - 1))) >> shift
    assert c.t_reduced_wide(ctypes.c_int64(x), multiplier, shift) == expected


def test_halves_of_every_int16() -> None:
    values = np.arange(-(2**15), 2**15, dtype=np.int64)
    low, high = halves(values)
    assert (low + 256 * high == values).all()
    assert (low.min(), low.max()) == (-128, 127)
    # From 32640 on the upper half does not fit int8, which `Sums.halved` looks at.
    assert (high[values < 32640].min(), high[values < 32640].max()) == (-128, 127)


@pytest.mark.parametrize("dtype", [np.int8, np.int16])
@unhurried
@given(data=st.data())
def test_sums_of_tiles(c: ctypes.CDLL, dtype: type[np.int8 | np.int16], data: st.DataObject) -> None:
    channels, pixels = data.draw(st.integers(1, 20)), data.draw(st.integers(1, 2))
    runs, length = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 13))
    distance, stride = length + data.draw(st.integers(0, 5)), data.draw(st.integers(0, 9))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    offsets = (np.arange(runs) * distance).astype(np.int32)
    limits = np.iinfo(dtype)
    inputs = rng.integers(limits.min, limits.max, runs * distance + stride + 1, dtype, endpoint=True)
    weights = rng.integers(-128, 128, (channels, runs * length), np.int8)
    bias = rng.integers(-(2**30), 2**30, channels, np.int32)
    places = [offset + i for offset in offsets for i in range(length)]
    windows = np.stack([inputs[np.array(places) + p * stride] for p in range(pixels)]).astype(np.int64)
    ordered, result = tile_order(weights).copy(), np.zeros((channels, pixels), np.int32)
    window = Window(runs, offsets.ctypes.data, length, stride)
    pointers = [ctypes.c_void_p(array.ctypes.data) for array in (result, inputs, ordered, bias)]
    (c.t_sums if dtype is np.int8 else c.t_sums16)(*pointers, ctypes.byref(window), channels, pixels)
    assert (result == bias[:, np.newaxis] + weights.astype(np.int64) @ windows.T).all()


@given(
    top=st.integers(-4, 6), rows=st.integers(1, 4), dilation=st.integers(1, 3), left=st.integers(0, 3),
    inside=st.integers(1, 5), right=st.integers(0, 3),
)  # fmt: skip
@unhurried
def test_copy_with_margins(
    c: ctypes.CDLL, top: int, rows: int, dilation: int, left: int, inside: int, right: int
) -> None:
    image = np.arange(5 * 5, dtype=np.int8).reshape(5, 5)
    padded = np.full((30, left + 5 + right), -7, np.int8)
    padded[10:15, left : left + 5] = image
    expected = padded[10 + top : 10 + top + rows * dilation : dilation, : left + inside].copy()
    expected = np.concatenate([expected, np.full((len(expected), right), -7, np.int8)], axis=1)
    shape = (ctypes.c_int32 * 8)(rows, dilation, 5, 5, left, inside, right, -7)
    copy = np.zeros_like(expected)
    c.t_margins(ctypes.c_void_p(copy.ctypes.data), ctypes.c_void_p(image.ctypes.data), shape, top)
    assert (copy == expected).all()
