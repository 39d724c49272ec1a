"""Scores as text, made of integers on the device, against printf's own."""

from __future__ import annotations

import ctypes
import math
import struct
import subprocess
from collections.abc import Callable
from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from harness.bundled import firmware_dir

Print = Callable[[int, int], str]


@pytest.fixture(scope="module")
def thousandths(tmp_path_factory: pytest.TempPathFactory) -> Print:
    library = tmp_path_factory.mktemp("decimal") / "decimal.so"
    source = firmware_dir() / "core" / "decimal.c"
    flags = ("-std=c99", "-O1", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-shared", "-fPIC")
    subprocess.run(["gcc", *flags, str(source), "-o", str(library)], check=True)
    function = ctypes.CDLL(str(library)).decimal_thousandths
    function.argtypes = (ctypes.c_char_p, ctypes.c_int32, ctypes.c_uint32)
    function.restype = None

    def print_it(steps: int, scale_bits: int) -> str:
        text = ctypes.create_string_buffer(24)
        function(text, steps, scale_bits)
        return text.value.decode("ascii")

    return print_it


def bits_of(scale: float) -> int:
    return int(struct.unpack("<I", struct.pack("<f", scale))[0])


@given(
    steps=st.integers(-(2**17), 2**17),
    scale=st.floats(min_value=0, exclude_min=True, max_value=1e8, width=32),
)
@example(steps=1, scale=1 / 2048)  # 0.00048828125: not a tie
@example(steps=1, scale=1 / 16)  # 0.0625: a tie, to even
@example(steps=3, scale=1 / 16)
@example(steps=-1, scale=1e-30)
@example(steps=255, scale=1 / 256)
def test_a_score_is_what_printf_makes_of_the_exact_product(
    thousandths: Print, steps: int, scale: float
) -> None:
    exact = Fraction(scale) * steps
    whole = round(abs(exact) * 1000)
    assert (
        thousandths(steps, bits_of(scale)) == f"{'-' if steps < 0 else ''}{whole // 1000}.{whole % 1000:03}"
    )
    assert float(exact) != exact or thousandths(steps, bits_of(scale)) == f"{float(exact):.3f}"


@given(bits=st.integers(0, 2**32 - 1))
@example(bits=bits_of(9.2e15))
def test_any_float_is_printed_as_printf_does(thousandths: Print, bits: int) -> None:
    (value,) = struct.unpack("<f", struct.pack("<I", bits))
    shown = thousandths(1, bits)
    if abs(value) * 1000 < 2**63:
        assert shown == f"{value:.3f}"
    else:
        assert shown.removeprefix("-") == ("nan" if math.isnan(value) else "inf")
