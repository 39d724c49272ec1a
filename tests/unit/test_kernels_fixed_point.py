"""The C arithmetic of the generated code against its Python twin, and both against definitions."""

from __future__ import annotations

import ctypes
import math
import subprocess
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from harness.portable import fixed_point
from harness.portable.graph import Tensor
from harness.portable.ops.lookup import float_thresholds
from harness.tensors import TensorInfo

HEADERS = Path(__file__).parents[2] / "firmware" / "runtimes" / "portable"
SOURCE = """
#include "average.h"
#include "fixed_point.h"
#include "quantise_float.h"
#include "softmax.h"
#include "window.h"
int32_t t_multiply(int32_t a, int32_t b) { return multiply_q31(a, b); }
int32_t t_divide(int32_t x, int32_t n) { return divide_by_power_of_two(x, n); }
int32_t t_requantise(int32_t x, int32_t m, int32_t s) { return requantise_any(x, m, s); }
int32_t t_quotient(int32_t s, int32_t n, int32_t r, int32_t b) { return rounded_quotient(s, n, r, b); }
int32_t t_quantise(uint32_t bits, const int32_t *t) { return quantise_float(bits, t); }
int32_t t_probability(int32_t e, int32_t sum) { return softmax_probability(e, softmax_reciprocal(sum)); }
int32_t t_first(int32_t o, int32_t t, int32_t d, int32_t s) { return taps_inside(o, t, d, s).first; }
int32_t t_end(int32_t o, int32_t t, int32_t d, int32_t s) { return taps_inside(o, t, d, s).end; }
"""
unhurried = settings(deadline=None)
int32 = st.integers(-(2**31) + 1, 2**31 - 1)


@pytest.fixture(scope="module", params=["risc-v", "xtensa"])
def c(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """This machine's compiler, told that it compiles for one or the other."""
    directory = tmp_path_factory.mktemp("fixed_point")
    (directory / "twin.c").write_text(SOURCE)
    library = directory / "twin.so"
    flags = [
        "-std=c99",
        "-O1",
        "-Wall",
        "-Wextra",
        "-Wconversion",
        "-Werror",
        "-shared",
        "-fPIC",
        f"-I{HEADERS}",
        *(["-D__XTENSA__"] if request.param == "xtensa" else []),
    ]
    subprocess.run(["gcc", *flags, str(directory / "twin.c"), "-o", str(library)], check=True)
    return ctypes.CDLL(str(library))


def nearest(value: Fraction) -> int:
    """Halves away from zero."""
    return int(math.copysign(math.floor(abs(value) + Fraction(1, 2)), value))


@unhurried
@given(a=int32, b=int32)
@example(a=-(2**31) + 1, b=2**31 - 1)
@example(a=-0x8000, b=0xFFFF)
def test_multiply_q31(c: ctypes.CDLL, a: int, b: int) -> None:
    product = c.t_multiply(a, b)
    assert product == fixed_point.multiply_q31(a, b)
    assert abs(Fraction(a * b, 2**31) - product) <= Fraction(1, 2)


@unhurried
@given(x=int32, shift=st.integers(0, 31))
def test_divide_by_power_of_two(c: ctypes.CDLL, x: int, shift: int) -> None:
    assert (
        c.t_divide(x, shift) == fixed_point.divide_by_power_of_two(x, shift) == nearest(Fraction(x, 2**shift))
    )


@unhurried
@given(x=st.integers(-(2**20), 2**20), multiplier=st.integers(2**30, 2**31 - 1), shift=st.integers(-31, 10))
def test_requantise(c: ctypes.CDLL, x: int, multiplier: int, shift: int) -> None:
    assert c.t_requantise(x, multiplier, shift) == fixed_point.requantise(x, multiplier, shift)


@unhurried
@given(st.floats(1e-9, 1e6))
def test_quantise_multiplier_is_within_half_a_unit(real: float) -> None:
    multiplier, shift = fixed_point.quantise_multiplier(real)
    assert 2**30 <= multiplier < 2**31
    assert abs(Fraction(multiplier) * Fraction(2) ** (shift - 31) - Fraction(real)) <= Fraction(2) ** (
        shift - 32
    )


@pytest.mark.parametrize(
    ("real", "expected"), [(0.0, (0, 0)), (1e-12, (0, 0)), (0.5, (2**30, 0)), (1.0, (2**30, 1))]
)
def test_quantise_multiplier_at_its_ends(real: float, expected: tuple[int, int]) -> None:
    assert fixed_point.quantise_multiplier(real) == expected


@unhurried
@given(count=st.integers(1, 2000), data=st.data())
def test_rounded_quotient(c: ctypes.CDLL, count: int, data: st.DataObject) -> None:
    bits, largest = data.draw(st.sampled_from([(30, 128), (30 + count.bit_length() - 1, 1 << 15)]))
    total = data.draw(st.integers(-largest * count, (largest - 1) * count))
    reciprocal = -(-(2**bits) // count)
    sign = 1 if total > 0 else -1
    assert c.t_quotient(total, count, reciprocal, bits) == sign * ((abs(total) + count // 2) // count)


@pytest.mark.parametrize("x", [-14.0, -5.0, -1.0, -0.25, -0.001])
def test_exp_logistic_and_tanh_are_what_they_claim(x: float) -> None:
    raw = round(x * 2**27)
    assert fixed_point.exp_of_negative(raw, 4) / 2**31 == pytest.approx(math.exp(x), abs=1e-6)
    assert fixed_point.logistic(raw, 4) / 2**31 == pytest.approx(1 / (1 + math.exp(-x)), abs=1e-6)
    assert fixed_point.tanh(raw, 4) / 2**31 == pytest.approx(math.tanh(x), abs=2e-6)
    assert fixed_point.tanh(-raw, 4) == -fixed_point.tanh(raw, 4)


@unhurried
@given(total=st.integers(2**19, 2**28 - 1), share=st.floats(0, 1))
def test_softmax_probability(c: ctypes.CDLL, total: int, share: float) -> None:
    """`total` is in Q12.19, below 512; the exponential, Q0.31, is at most 1 and at most the total."""
    exponential = int(share * min(total << 12, 2**31 - 1))
    expected = exponential / 2**31 / (total / 2**19) * 256 - 128
    assert abs(c.t_probability(exponential, total) - min(expected, 127)) <= 0.51


@unhurried
@given(
    origin=st.integers(-20, 20), taps=st.integers(1, 8), dilation=st.integers(1, 5), size=st.integers(1, 20)
)
def test_taps_inside(c: ctypes.CDLL, origin: int, taps: int, dilation: int, size: int) -> None:
    inside = [t for t in range(taps) if 0 <= origin + t * dilation < size]
    found = range(c.t_first(origin, taps, dilation, size), c.t_end(origin, taps, dilation, size))
    assert list(found) == inside


@unhurried
@given(
    value=st.floats(width=32, allow_nan=False),
    scale=st.floats(2**-10, 2**10, width=32),
    zero=st.integers(-128, 127),
)
def test_quantise_float_equals_the_definition(c: ctypes.CDLL, value: float, scale: float, zero: int) -> None:
    tensor = Tensor(0, TensorInfo("t", (1,), "int8", scale, zero), (scale,), (zero,))
    thresholds = float_thresholds(tensor)
    array = np.array([value], np.float32)
    with np.errstate(over="ignore"):
        expected = int(tensor.info.quantise(array)[0])
    pointer = thresholds.ctypes.data_as(ctypes.POINTER(ctypes.c_int32))
    assert c.t_quantise(ctypes.c_uint32(int(array.view(np.uint32)[0])), pointer) == expected


def test_quantise_float_decides_nan_by_its_sign(c: ctypes.CDLL) -> None:
    tensor = Tensor(0, TensorInfo("t", (1,), "int8", 0.5, 3), (0.5,), (3,))
    pointer = float_thresholds(tensor).ctypes.data_as(ctypes.POINTER(ctypes.c_int32))
    assert c.t_quantise(ctypes.c_uint32(0x7FC00000), pointer) == 127
    assert c.t_quantise(ctypes.c_uint32(0xFFC00000), pointer) == -128
