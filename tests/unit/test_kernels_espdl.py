"""The C arithmetic of runtime espdl: shifts against their definition, floats against this machine's."""

from __future__ import annotations

import ctypes
import math
import subprocess
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.portable.ops.float_softmax import exponential_tables

HEADERS = Path(__file__).parents[2] / "firmware" / "runtimes" / "portable"
SOURCE = """
#include "dot16.h"
#include "exponential.h"
#include "power_of_two.h"
#include "quotient.h"
#include "single.h"
#include "single_mean.h"
int32_t t_up(int32_t x, int32_t n) { return shift_half_up(x, n); }
int32_t t_even(int32_t x, int32_t n) { return shift_half_even(x, n); }
int64_t t_up_wide(int64_t x, int32_t n) { return shift_half_up_wide(x, n); }
int64_t t_even_wide(int64_t x, int32_t n) { return shift_half_even_wide(x, n); }
void t_exponentials(const uint64_t *mantissas, const uint8_t *shifts, uint32_t *c) {
    for (uint32_t d = 0; d < 65536; d++) c[d] = single_exponential(d, mantissas, shifts);
}
int32_t t_quotient_up(int32_t n, int32_t d) { return quotient_half_up(n, d); }
int32_t t_quotient_even(int32_t n, int32_t d) { return quotient_half_even(n, d); }
void t_means(const int32_t *sums, int32_t mantissa, int32_t shift, int32_t *up, int32_t *even, int32_t n) {
    for (int32_t i = 0; i < n; i++) {
        up[i] = scaled_half_up(sums[i], mantissa, shift);
        even[i] = scaled_half_even(sums[i], mantissa, shift);
    }
}
void t_sums(const uint32_t *a, const uint32_t *b, uint32_t *c, int32_t n) {
    for (int32_t i = 0; i < n; i++) c[i] = single_sum(a[i], b[i]);
}
void t_quotients(const uint32_t *a, const uint32_t *b, uint32_t *c, int32_t n) {
    for (int32_t i = 0; i < n; i++) c[i] = single_quotient(a[i], b[i]);
}
"""
COUNT = 1_000_000


@pytest.fixture(scope="module")
def c(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    directory = tmp_path_factory.mktemp("espdl")
    (directory / "twin.c").write_text(SOURCE)
    library = directory / "twin.so"
    flags = ["-std=c99", "-O1", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-shared", "-fPIC"]
    flags += ["-fsanitize=undefined", "-fno-sanitize-recover=all"]
    command = ["gcc", *flags, f"-I{HEADERS}", str(directory / "twin.c"), "-o", str(library)]
    subprocess.run(command, check=True)
    loaded = ctypes.CDLL(str(library))
    loaded.t_up_wide.restype = loaded.t_even_wide.restype = ctypes.c_int64
    return loaded


@settings(deadline=None)
@given(st.integers(-(2**30), 2**30), st.integers(0, 30))
def test_shifts(c: ctypes.CDLL, x: int, shift: int) -> None:
    real = Fraction(x, 2**shift)
    assert c.t_up(x, shift) == math.floor(real + Fraction(1, 2))
    assert c.t_even(x, shift) == round(real)


@settings(deadline=None)
@given(st.integers(-(2**61), 2**61), st.integers(0, 62))
def test_wide_shifts(c: ctypes.CDLL, x: int, shift: int) -> None:
    real = Fraction(x, 2**shift)
    assert c.t_up_wide(ctypes.c_int64(x), shift) == math.floor(real + Fraction(1, 2))
    assert c.t_even_wide(ctypes.c_int64(x), shift) == round(real)


@pytest.mark.parametrize("exponent", [-64, *range(-24, 9)])
def test_exponentials_of_every_distance_are_correctly_rounded(c: ctypes.CDLL, exponent: int) -> None:
    """Down to nothing: at exponent -6 the largest distance is 1024."""
    scale = 2.0**exponent
    mantissas, shifts = exponential_tables(scale)
    assert int(mantissas.min()) >= 1 << 63
    result = np.empty(65536, np.uint32)
    c.t_exponentials(*(array.ctypes.data_as(ctypes.c_void_p) for array in (mantissas, shifts, result)))
    expected = np.exp(np.arange(65536) * -scale).astype(np.float32).view(np.uint32)
    np.testing.assert_array_equal(result, expected)


@settings(deadline=None)
@given(st.integers(-(2**28), 2**28), st.integers(1, 2**15))
def test_quotients_of_integers(c: ctypes.CDLL, n: int, d: int) -> None:
    real = Fraction(n, d)
    assert c.t_quotient_up(n, d) == math.floor(real + Fraction(1, 2))
    assert c.t_quotient_even(n, d) == round(real)


@pytest.mark.parametrize("area", [3, 15, 49, 56, 196, 3136, 131071])
@pytest.mark.parametrize("rescale", [-8, -1, 0, 1, 5])
def test_means_are_those_of_this_machines_floats(c: ctypes.CDLL, area: int, rescale: int) -> None:
    """Every sum of a small area, a million of a large one; halves on both sides among them."""
    sums = np.arange(-128 * area, 127 * area + 1, max(1, area // 4000), np.int32)
    scale = np.float32(1) / np.float32(area) * np.float32(2.0**rescale)
    fraction, exponent = math.frexp(float(scale))
    up, even = np.empty_like(sums), np.empty_like(sums)
    pointers = [array.ctypes.data_as(ctypes.c_void_p) for array in (sums, up, even)]
    c.t_means(pointers[0], int(fraction * (1 << 24)), 24 - exponent, *pointers[1:], len(sums))
    real = sums.astype(np.float32) * scale
    np.testing.assert_array_equal(up, np.floor(real + np.float32(0.5)))
    np.testing.assert_array_equal(even, np.rint(real))


def bits(rng: np.random.Generator, lowest: int, highest: int) -> np.ndarray:
    """Patterns with exponents in the given range; one mantissa in four at an end or with few bits set."""
    exponents = rng.integers(lowest, highest + 1, COUNT).astype(np.uint32) << 23
    mantissas = rng.integers(0, 1 << 23, COUNT).astype(np.uint32)
    special = np.array([0, 1, 2, (1 << 23) - 1, (1 << 23) - 2, 1 << 22], np.uint32)
    return exponents | np.where(rng.random(COUNT) < 0.25, rng.choice(special, COUNT), mantissas)


def called(function: ctypes._FuncPointer, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    result = np.empty(COUNT, np.uint32)
    pointers = [array.ctypes.data_as(ctypes.c_void_p) for array in (a, b, result)]
    function(*pointers, ctypes.c_int32(COUNT))
    return result


@pytest.mark.parametrize("spread", [0, 2, 30, 120])
def test_sums_are_this_machines(c: ctypes.CDLL, spread: int) -> None:
    rng = np.random.default_rng(spread)
    a, b = bits(rng, 127 - spread, 127 + spread), bits(rng, 127 - spread, 127 + spread)
    expected = (a.view(np.float32) + b.view(np.float32)).view(np.uint32)
    np.testing.assert_array_equal(called(c.t_sums, a, b), expected)


def test_sums_and_quotients_of_numbers_below_the_normal_ones(c: ctypes.CDLL) -> None:
    """Zero among them; a divisor is normal."""
    rng = np.random.default_rng(5)
    a, b = bits(rng, 0, 3), bits(rng, 0, 40)
    expected = (a.view(np.float32) + b.view(np.float32)).view(np.uint32)
    np.testing.assert_array_equal(called(c.t_sums, a, b), expected)
    divisors = bits(rng, 120, 135)
    expected = (a.view(np.float32) / divisors.view(np.float32)).view(np.uint32)
    np.testing.assert_array_equal(called(c.t_quotients, a, divisors), expected)


@pytest.mark.parametrize("spread", [0, 2, 60, 100])
def test_quotients_are_this_machines_down_to_nothing(c: ctypes.CDLL, spread: int) -> None:
    """Beyond 2^126 apart the quotient is subnormal, beyond 2^150 zero."""
    rng = np.random.default_rng(spread)
    patterns = np.stack([bits(rng, 127 - spread, 127 + spread) for _ in range(2)])
    a, b = patterns.min(axis=0), patterns.max(axis=0)
    expected = (a.view(np.float32) / b.view(np.float32)).view(np.uint32)
    if spread == 100:
        assert ((expected > 0) & (expected < 1 << 23)).sum() > 1000
        assert (expected == 0).sum() > 1000
    np.testing.assert_array_equal(called(c.t_quotients, a, b), expected)
