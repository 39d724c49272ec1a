"""What only the emulated machines have: exact counters, baud rates, traps."""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path

import pytest

from tests.firmware_demo import build_demo, demo_layers, running
from tests.firmware_wire import COUNTS, DIGESTS, INFER, OUTPUT, SET_BAUD, Device, encode, infer_payload

PLATFORMS = ["qemu_riscv32", "qemu_xtensa"]
DATA = bytes(range(8))
PANIC = 4

# Passes of a loop of two instructions; the difference of two builds is exact.
SHORT_LOOP, LONG_LOOP = 100_001, 1_100_001
# 860 million instructions are more than 2^32 ticks of the Xtensa's CCOUNT.
WRAPPING_LOOP = 430_000_001


@pytest.fixture(params=PLATFORMS)
def platform(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def build_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("build")


def instructions(device: Device, count: int) -> int:
    return round(count * Fraction(device.identity()["counter_scale"]))


def run_once(platform: str, build_root: Path, loop: int) -> int:
    image = build_demo(platform, build_root, {"DEMO_LOOP": str(loop)})
    with running(image) as (_, device):
        device.ready()
        return instructions(device, device.infer(DATA).count)


def test_counts_are_the_same_in_every_run(platform: str, build_root: Path) -> None:
    image = build_demo(platform, build_root)
    counts = set()
    for _ in range(3):
        with running(image) as (_, device):
            device.ready()
            for inference in range(3):
                counts.add(instructions(device, device.infer(DATA, inference).count))
    assert len(counts) == 1
    assert 100 < counts.pop() < 2000


def test_a_loop_of_known_length_is_counted_exactly(platform: str, build_root: Path) -> None:
    short = run_once(platform, build_root, SHORT_LOOP)
    long = run_once(platform, build_root, LONG_LOOP)
    assert long - short == 2 * (LONG_LOOP - SHORT_LOOP)


def test_counts_go_beyond_32_bits_of_ccount(build_root: Path) -> None:
    short = run_once("qemu_xtensa", build_root, SHORT_LOOP)
    long = run_once("qemu_xtensa", build_root, WRAPPING_LOOP)
    # The interrupt that carries the counter over runs twice, and is counted with it.
    assert 0 < long - short - 2 * (WRAPPING_LOOP - SHORT_LOOP) < 400


def test_layer_counts_leave_bookkeeping_out(platform: str, build_root: Path) -> None:
    with running(build_demo(platform, build_root, {"DEMO_LOOP": str(SHORT_LOOP)})) as (_, device):
        device.ready()
        plain = instructions(device, device.infer(DATA).count)
        counted = device.infer(DATA, flags=OUTPUT | COUNTS)
        digested = device.infer(DATA, flags=COUNTS | DIGESTS)
        layers = [instructions(device, count) for count in counted.layer_counts]
        digested_layers = [instructions(device, count) for count in digested.layer_counts]
        totals = [instructions(device, result.count) for result in (counted, digested)]
    # On Xtensa each is rounded by itself. Reading the counter costs a few dozen instructions.
    assert all(abs(a - b) <= 1 for a, b in zip(layers, digested_layers, strict=True))
    assert abs(sum(layers) - plain) < 300
    assert layers[0] > 2 * SHORT_LOOP > 100 * max(layers[1:])
    assert plain < totals[0] < totals[1]


def test_a_new_baud_rate_must_be_confirmed(platform: str, build_root: Path) -> None:
    with running(build_demo(platform, build_root)) as (_, device):
        device.ready()
        assert device.identity()["baud"] == "115200"
        assert device.ask(SET_BAUD, struct.pack("<I", 921600)).status == 0
        assert device.identity()["baud"] == "921600"
        assert device.ask(SET_BAUD, struct.pack("<I", 460800)).status == 0
        device.send(encode(INFER, crc_xor=1))  # garbage at the new rate confirms nothing
        device.wait_for_text(b"not confirmed")
        assert device.frame().type == 0x71
        assert device.identity()["baud"] == "921600"
        assert device.ask(SET_BAUD, struct.pack("<I", 7)).status == 3
        assert device.identity()["baud"] == "921600"


def test_a_trap_leaves_a_line_and_the_next_boot_knows(platform: str, build_root: Path) -> None:
    with running(build_demo(platform, build_root)) as (board, device):
        device.ready()
        device.send(encode(INFER, infer_payload(b"\x7d" + bytes(7))))
        device.wait_for_text(b"PANIC")
        device.wait_for_text(b"=0xf0000000\n")  # the address that was read
        board.reset()
        assert device.ready() == PANIC
        assert device.infer(DATA).output == demo_layers(DATA)[-1]


def test_a_stack_overflow_is_noticed(platform: str, build_root: Path) -> None:
    with running(build_demo(platform, build_root)) as (board, device):
        device.ready()
        device.send(encode(INFER, infer_payload(b"\x7c" + bytes(7))))
        device.wait_for_text(b"PANIC stack_overflow_below=0x")
        board.reset()
        assert device.ready() == PANIC
