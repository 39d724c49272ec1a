"""The faulty wire: what it does to bytes, that a seed repeats it, and what an option text may say."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import PortError, UsageError
from harness.link.chaos import FAULTS, Chaos, ChaosPort, parse_chaos
from harness.link.client import Link
from tests.firmware_demo import demo_layers
from tests.link_devices import PythonDevice, demo_inputs
from tests.virtual_time import VirtualPort, VirtualTime

EVERY_KIND = Chaos(
    drop=1e-3, flip=1e-3, dup=1e-3, garbage=1e-3, delay=1e-3, reset=2e-5, burst=1e-4, delay_ms=1
)
SENT = bytes(range(256)) * 40


class Tape:
    """A port that keeps what is written and gives out what it holds."""

    def __init__(self, held: Sequence[bytes] = ()) -> None:
        self.held, self.written, self.restarts = list(held), b"", 0

    def read(self, timeout_s: float) -> bytes:
        if self.held:
            return self.held.pop(0)
        time.sleep(timeout_s)
        return b""

    def write(self, data: bytes) -> None:
        self.written += data

    def set_baud(self, baud: int) -> None: ...

    def reset(self) -> None:
        self.restarts += 1


def written(chaos: Chaos, pieces: Sequence[bytes]) -> tuple[Tape, dict[str, int]]:
    tape = Tape()
    port = ChaosPort(tape, chaos, tape.reset)
    for piece in pieces:
        port.write(piece)
    return tape, port.faults


def test_each_fault_does_what_it_says_at_its_rate() -> None:
    for name in FAULTS:
        tape, faults = written(parse_chaos(f"{name}=0.01,delay_ms=0"), [SENT])
        count = faults[f"chaos_{name}"]
        # A burst leaves less room for the next.
        assert (40 if name == "burst" else 60) < count < 150, name
        length = {"drop": -count, "dup": count, "reset": -count}.get(name, 0)
        if name == "garbage":
            assert len(SENT) + count <= len(tape.written) <= len(SENT) + 16 * count
        else:
            assert len(tape.written) == len(SENT) + length, name
        if name == "flip":
            changed = [a ^ b for a, b in zip(SENT, tape.written, strict=True) if a != b]
            assert len(changed) == count
            assert all(bits.bit_count() == 1 for bits in changed)
        if name == "burst":
            changed_bytes = sum(a != b for a, b in zip(SENT, tape.written, strict=True))
            assert 10 * count < changed_bytes < 25 * count
        assert (tape.written == SENT) == (name == "delay")
        assert tape.restarts == (count if name == "reset" else 0)


@given(cuts=st.lists(st.integers(1, 700), max_size=20), seed=st.integers(0, 9))
def test_a_seed_means_the_same_faults_however_the_bytes_are_cut(cuts: list[int], seed: int) -> None:
    chaos = Chaos(drop=0.01, flip=0.01, dup=0.01, garbage=0.01, reset=0.01, burst=0.01, seed=seed)
    edges = [0, *(min(sum(cuts[:n]), len(SENT)) for n in range(1, len(cuts) + 1)), len(SENT)]
    pieces = [SENT[start:end] for start, end in pairwise(edges)]
    whole, faults = written(chaos, [SENT])
    parts, counts = written(chaos, pieces)
    assert (parts.written, parts.restarts, counts) == (whole.written, whole.restarts, faults)
    assert written(Chaos(drop=0.01, seed=seed + 1), [SENT])[0].written != whole.written


@pytest.mark.parametrize("rate", [0.0, 5e-324])
def test_a_wire_without_faults_changes_nothing(rate: float) -> None:
    tape, faults = written(Chaos(drop=rate), [SENT])
    assert tape.written == SENT
    assert not any(faults.values())


def test_what_is_read_is_spoilt_too_and_a_late_byte_keeps_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = VirtualTime()
    monkeypatch.setattr("harness.link.chaos.time", clock)
    sent = SENT[:1024]
    tape = Tape([sent])
    port = ChaosPort(VirtualPort(clock, tape), Chaos(delay=0.02, delay_ms=20), tape.reset)
    got, waits = b"", 0
    while len(got) < len(sent):
        before_s = clock.now_s
        got += port.read(0.005)
        assert clock.now_s - before_s < 0.0051
        waits += 1
    assert got == sent
    assert clock.now_s > 0.02
    # A stall may outlast a read; that one then comes back empty, in time.
    assert waits > port.faults["chaos_delay"]


def test_a_board_that_cannot_be_restarted_is_named() -> None:
    def reset() -> None:
        raise PortError("/dev/ttyX has no reset line", "Press the board's reset button")

    with pytest.raises(PortError, match=r"--chaos reset could not restart.*no reset line.*Leave reset= out"):
        ChaosPort(Tape(), Chaos(reset=0.1), reset).write(SENT)


@pytest.mark.parametrize("seed", range(2))
def test_all_kinds_at_once_cost_no_inference_and_no_score(seed: int) -> None:
    device = PythonDevice(rx_window=2048)
    chaos = Chaos(**{**vars(EVERY_KIND), "seed": seed})
    port = ChaosPort(device, chaos, device.restart)
    link = Link(port)
    link.connect(5.0)
    inputs = demo_inputs(1500, seed=seed)
    assert [reply.output for reply in link.infer_stream(inputs)] == [demo_layers(data)[2] for data in inputs]
    assert all(port.faults.values())
    assert device.boots == 1 + port.faults["chaos_reset"]


def test_an_option_text_and_back() -> None:
    chaos = parse_chaos(" drop=1e-3, delay=0.002,delay_ms=16 ,seed=7")
    assert chaos == Chaos(drop=1e-3, delay=2e-3, delay_ms=16, seed=7)
    assert parse_chaos(str(chaos)) == chaos
    assert str(chaos) == "drop=0.001,delay=0.002,delay_ms=16,seed=7"
    bursts = parse_chaos("burst=1e-4,burst_bytes=100")
    assert parse_chaos(str(bursts)) == bursts == Chaos(burst=1e-4, burst_bytes=100)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("drip=1e-3", "--chaos takes drop=, flip=, .* not 'drip=1e-3'"),
        ("drop", "not 'drop'"),
        ("drop=1e-3,", "not ''"),
        ("drop=often", "drop= faults per byte from 0 to 0.1, got 'often'"),
        ("flip=0.5", "flip= faults per byte from 0 to 0.1, got '0.5'"),
        ("dup=-1", "got '-1'"),
        ("reset=nan", "got 'nan'"),
        ("drop=0.1,seed=-1", "seed= a whole number of at least 0, got '-1'"),
        ("delay=0.1,delay_ms=1e9", "delay_ms= milliseconds from 0 to 10000, got '1e9'"),
        ("burst=1e-4,burst_bytes=1", "burst_bytes= a whole number from 2 to 65536, got '1'"),
        ("drop=1e-3,drop=1e-4", "has drop= twice"),
        ("seed=3", "names no fault"),
        ("drop=0", "names no fault"),
    ],
)
def test_other_texts_are_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_chaos(text)
