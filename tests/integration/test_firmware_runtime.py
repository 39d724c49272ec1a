"""The arithmetic and memory functions we supply where libgcc and libc are missing, against Python."""

from __future__ import annotations

import ctypes
import operator
import random
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.bundled import firmware_dir

RANDOM_PAIRS = 4000
MEMORY = ("memcpy", "memmove", "memset", "memcmp", "strlen", "strcmp")


def compile_library(source: Path, library: Path, *flags: str) -> ctypes.CDLL:
    strict = ("-std=c99", "-O2", "-ffreestanding", "-Wall", "-Wextra", "-Wconversion", "-Werror")
    checks = ("-fsanitize=undefined", "-fno-sanitize-recover=all")
    command = ["gcc", *strict, *checks, *flags, "-shared", "-fPIC", str(source), "-o", str(library)]
    subprocess.run(command, check=True)
    return ctypes.CDLL(str(library))


def quotient(a: int, b: int) -> int:
    """C's division; all ones by zero, as RISC-V."""
    if b == 0:
        return -1
    magnitude = abs(a) // abs(b)
    return magnitude if (a < 0) == (b < 0) else -magnitude


def rest(a: int, b: int) -> int:
    return a - quotient(a, b) * b if b else a


# name: bits, signed, meaning
FUNCTIONS: dict[str, tuple[int, bool, Callable[[int, int], int]]] = {
    "__udivsi3": (32, False, quotient),
    "__umodsi3": (32, False, rest),
    "__divsi3": (32, True, quotient),
    "__modsi3": (32, True, rest),
    "__muldi3": (64, False, operator.mul),
    "__udivdi3": (64, False, quotient),
    "__umoddi3": (64, False, rest),
    "__divdi3": (64, True, quotient),
    "__moddi3": (64, True, rest),
}


def operands(bits: int) -> list[tuple[int, int]]:
    """Every pair of edge values, and random ones of every magnitude; as bit patterns."""
    edges = {0, 1, 2, 3, 7, 10, 0xFFFF, 0x10000, 0xFFFFFFFF, (1 << bits) - 1, (1 << bits) - 2}
    edges |= {value for bit in range(15, bits) for value in (1 << bit, (1 << bit) - 1, (1 << bit) + 1)}
    edges = {value % (1 << bits) for value in edges}
    pairs = [(a, b) for a in edges for b in edges]
    source = random.Random(bits)
    for _ in range(RANDOM_PAIRS):
        a, b = (source.getrandbits(source.randint(1, bits)) for _ in range(2))
        pairs += [(a, b), (-a % (1 << bits), b), (a, -b % (1 << bits))]
    return pairs


@pytest.fixture(scope="module")
def arithmetic(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    return compile_library(
        firmware_dir() / "platforms" / "qemu_xtensa" / "arithmetic.c",
        tmp_path_factory.mktemp("arithmetic") / "arithmetic.so",
        "-DARITHMETIC(name)=tested_##name",
    )


@pytest.mark.parametrize("name", FUNCTIONS)
def test_arithmetic(arithmetic: ctypes.CDLL, name: str) -> None:
    bits, signed, meaning = FUNCTIONS[name]
    function = getattr(arithmetic, f"tested_{name}")
    unsigned = ctypes.c_uint32 if bits == 32 else ctypes.c_uint64
    function.argtypes, function.restype = [unsigned, unsigned], unsigned
    modulus = 1 << bits
    for a, b in operands(bits):
        x, y = ((v - modulus if signed and v >= modulus // 2 else v) for v in (a, b))
        assert function(a, b) == meaning(x, y) % modulus, f"{name}({x}, {y})"


@pytest.fixture(scope="module")
def memory(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    common = firmware_dir() / "platforms" / "qemu_common"
    return compile_library(
        common / "memory.c",
        tmp_path_factory.mktemp("memory") / "memory.so",
        f"-I{common / 'include'}",
        *(f"-D{name}=tested_{name}" for name in MEMORY),
    )


SPANS = [(to, of, size) for to in range(5) for of in range(5) for size in (0, 1, 3, 4, 5, 8, 15, 31)]


def content(offset: int, size: int) -> bytes:
    return bytes(range(1 + offset, 1 + offset + size))


@pytest.mark.parametrize("name", ["memcpy", "memmove"])
def test_copies_at_every_alignment(memory: ctypes.CDLL, name: str) -> None:
    for to, of, size in SPANS:
        buffer = ctypes.create_string_buffer(content(0, 128), 128)
        expected = bytearray(buffer.raw)
        expected[to : to + size] = buffer.raw[64 + of : 64 + of + size]
        base = ctypes.addressof(buffer)
        copy = getattr(memory, f"tested_{name}")
        copy.argtypes, copy.restype = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t], ctypes.c_void_p
        assert copy(base + to, base + 64 + of, size) == base + to
        assert buffer.raw == bytes(expected), (to, of, size)


def test_memmove_where_the_spans_overlap(memory: ctypes.CDLL) -> None:
    memory.tested_memmove.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]
    for to, of, size in SPANS:
        buffer = ctypes.create_string_buffer(content(0, 64), 64)
        expected = bytearray(buffer.raw)
        expected[to : to + size] = buffer.raw[of : of + size]
        base = ctypes.addressof(buffer)
        memory.tested_memmove(base + to, base + of, size)
        assert buffer.raw == bytes(expected), (to, of, size)


def test_memset_at_every_alignment(memory: ctypes.CDLL) -> None:
    memory.tested_memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
    for to, _, size in SPANS:
        buffer = ctypes.create_string_buffer(content(0, 64), 64)
        expected = bytearray(buffer.raw)
        expected[to : to + size] = b"\xa7" * size
        memory.tested_memset(ctypes.addressof(buffer) + to, 0x1A7, size)
        assert buffer.raw == bytes(expected), (to, size)


def test_comparisons(memory: ctypes.CDLL) -> None:
    samples = [b"", b"a", b"ab", b"b", b"\xff", b"\x80", b"same", b"some"]
    for left in samples:
        assert memory.tested_strlen(left) == len(left)
        for right in samples:
            size = min(len(left), len(right))
            difference = memory.tested_memcmp(left, right, size)
            assert _sign(difference) == (left[:size] > right[:size]) - (left[:size] < right[:size])
            assert _sign(memory.tested_strcmp(left, right)) == (left > right) - (left < right)


def _sign(value: int) -> int:
    return (value > 0) - (value < 0)
