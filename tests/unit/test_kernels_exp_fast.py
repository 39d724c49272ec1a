"""The C floats of espdl-v1 against this machine's: every kind of number, and exp_fast over its range."""

from __future__ import annotations

import ctypes
import subprocess
from pathlib import Path

import numpy as np
import pytest

from harness.runtimes.espdl_v1 import oracle

HEADERS = Path(__file__).parents[2] / "firmware" / "runtimes" / "portable"
SOURCE = """
#include "exp_fast.h"
void t_sum(const uint32_t *a, const uint32_t *b, uint32_t *c, int32_t n) {
    for (int32_t i = 0; i < n; i++) c[i] = single_sum(a[i], b[i]);
}
void t_product(const uint32_t *a, const uint32_t *b, uint32_t *c, int32_t n) {
    for (int32_t i = 0; i < n; i++) c[i] = single_product(a[i], b[i]);
}
void t_quotient(const uint32_t *a, const uint32_t *b, uint32_t *c, int32_t n) {
    for (int32_t i = 0; i < n; i++)
        c[i] = a[i] < b[i] ? single_quotient(a[i], b[i]) : single_quotient(b[i], a[i]);
}
void t_exp(const int32_t *q, int32_t exponent, uint32_t *c, int32_t n) {
    for (int32_t i = 0; i < n; i++) c[i] = exp_fast(q[i], exponent);
}
"""


@pytest.fixture(scope="module")
def c(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    directory = tmp_path_factory.mktemp("exp_fast")
    (directory / "twin.c").write_text(SOURCE)
    library = directory / "twin.so"
    flags = ["-std=c99", "-O1", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-shared", "-fPIC"]
    flags += ["-fsanitize=undefined", "-fno-sanitize-recover=all"]
    command = ["gcc", *flags, f"-I{HEADERS}", str(directory / "twin.c"), "-o", str(library)]
    subprocess.run(command, check=True)
    return ctypes.CDLL(str(library))


def every_kind() -> tuple[np.ndarray, np.ndarray]:
    """Pairs: all exponents alike, zero, subnormal, the largest, infinity; mantissas with ends and halves."""
    rng = np.random.default_rng(1)
    special = np.array([0, 1, 2, 0x400000, 0x7FFFFF, 0x7FFFFE], np.uint32)
    count = 300_000
    pairs = []
    for _ in range(2):
        mantissas = np.where(
            rng.random(count) < 0.3, rng.choice(special, count), rng.integers(0, 1 << 23, count)
        ).astype(np.uint32)
        exponents = rng.choice([*range(255), *[0] * 40, *range(120, 135)], count).astype(np.uint32)
        bits = exponents << 23 | mantissas
        bits[rng.random(count) < 0.02] = 0x7F800000
        pairs.append(bits)
    return pairs[0], pairs[1]


def pointer(array: np.ndarray) -> ctypes.c_void_p:
    return array.ctypes.data_as(ctypes.c_void_p)


@pytest.mark.parametrize("name", ["sum", "product", "quotient"])
def test_each_operation_is_this_machines(c: ctypes.CDLL, name: str) -> None:
    a, b = every_kind()
    x, y = a.view(np.float32), b.view(np.float32)
    with np.errstate(all="ignore"):
        if name == "quotient":
            kept = np.maximum(a, b) > 0
            a, b, x, y = a[kept], b[kept], x[kept], y[kept]
            wanted = np.minimum(x, y) / np.maximum(x, y)
        else:
            wanted = x + y if name == "sum" else x * y
    expected = np.where(np.isnan(wanted), np.float32(np.nan), wanted).view(np.uint32)
    found = np.empty_like(a)
    getattr(c, f"t_{name}")(pointer(a), pointer(b), pointer(found), ctypes.c_int32(len(a)))
    np.testing.assert_array_equal(found, expected)
    subnormal = (expected > 0) & (expected < 1 << 23)
    assert min(subnormal.sum(), (expected == (0 if name == "quotient" else 0x7F800000)).sum()) > 100


@pytest.mark.parametrize("exponent", [-50, -44, -30, -24, -16, -15, -9, -8, -7, 0, 8, 9, 30])
def test_exp_fast_is_the_oracles(c: ctypes.CDLL, exponent: int) -> None:
    q = np.concatenate([np.arange(-70_000, 70_000, 7), np.arange(-300, 300)]).astype(np.int32)
    with np.errstate(over="ignore"):
        expected = oracle.exp_fast(q.astype(np.float32) * np.float32(2.0**exponent)).view(np.uint32)
    found = np.empty(len(q), np.uint32)
    c.t_exp(pointer(q), ctypes.c_int32(exponent), pointer(found), ctypes.c_int32(len(q)))
    np.testing.assert_array_equal(found, expected)
