"""Reading a board that prints, and answering one that asks for its images."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from typing import Any

import pytest

from harness.dialects import get_dialect, parse_log
from harness.dialects.console import Console, Images, image_frame
from harness.errors import DeviceError, IdentityError, LinkError, SilentError
from harness.link.wirelog import WireLog
from tests import printed_logs as printed
from tests.virtual_time import VirtualTime

DIGEST = "ab" * 32
TIME = VirtualTime()
ASKS = f"image:2 bytes, model:{DIGEST}"


@pytest.fixture(autouse=True)
def virtual_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """No machine is too slow to be told what was printed long ago."""
    monkeypatch.setattr("harness.dialects.console.time", TIME)


class Board:
    """Says `boot`, then, to each frame it gets, what `answer` makes of its number and payload."""

    def __init__(self, boot: list[str], answer: Callable[[int, bytes], list[str]] = lambda *_: []) -> None:
        self._out = [printed.captured(boot)]
        self._answer = answer
        self.frames: list[bytes] = []

    def read(self, timeout_s: float) -> bytes:
        if self._out:
            return self._out.pop(0)
        TIME.now_s += timeout_s
        return b""

    def write(self, data: bytes) -> None:
        self.frames.append(data)
        text = printed.captured(self._answer(len(self.frames) - 1, data[8:-4]))
        # In pieces, as a UART has it: a piece may end within a line.
        self._out += [text[start : start + 7] for start in range(0, len(text), 7)]

    def set_baud(self, baud: int) -> None: ...


def scores(payload: bytes) -> list[str]:
    return printed.himax(list(struct.unpack("2b", payload)))


def read(board: Board, samples: int, timeout_s: float = 0.05) -> Console:
    images = Images(lambda sample: bytes([sample, 100 - sample]), samples, DIGEST)
    console = Console(board, get_dialect("himax"), WireLog(), images)
    console.read(samples, timeout_s)
    return console


def found(console: Console) -> list[tuple[Any, ...]]:
    return [inference.scores for inference in parse_log(console.text, "himax").inferences]


def test_each_asking_gets_the_next_image() -> None:
    board = Board([ASKS], lambda _, payload: [*scores(payload), ASKS])
    console = read(board, 3)
    assert found(console) == [(0, 100), (1, 99), (2, 98)]
    assert board.frames == [image_frame(bytes([n, 100 - n])) for n in range(3)]
    assert (console.asked, console.repeats) == (True, 0)


def test_a_frame_has_length_and_crc() -> None:
    assert image_frame(b"xy") == b"IMG:\x02\0\0\0xy" + zlib.crc32(b"xy").to_bytes(4, "little")


def test_what_was_printed_for_somebody_else_does_not_count() -> None:
    board = Board([*printed.himax([1, 2]), ASKS], lambda _, payload: [*scores(payload), ASKS])
    assert found(read(board, 2)) == [(0, 100), (1, 99)]


def test_asking_twice_for_one_image_gets_one() -> None:
    board = Board([ASKS, ASKS], lambda _, payload: [ASKS, *scores(payload), ASKS])
    assert found(read(board, 3)) == [(0, 100), (1, 99), (2, 98)]
    assert len(board.frames) == 3


def test_a_refused_image_is_sent_again() -> None:
    def answer(number: int, payload: bytes) -> list[str]:
        return ["refused:wrong CRC", ASKS] if number in (1, 2) else [*scores(payload), ASKS]

    board = Board([ASKS], answer)
    console = read(board, 2)
    assert found(console) == [(0, 100), (1, 99)]
    assert (console.repeats, len(board.frames)) == (2, 4)


def test_an_image_refused_again_and_again_ends_it() -> None:
    board = Board([ASKS], lambda *_: ["refused:wrong CRC", ASKS])
    with pytest.raises(LinkError, match=r"image 0 did not arrive in 4 attempts \(refused: wrong CRC\)"):
        read(board, 2)
    assert len(board.frames) == 4


def test_firmware_of_another_model_is_named() -> None:
    with pytest.raises(IdentityError, match="expected firmware of model abababababab, the board has cdcd"):
        read(Board([ASKS.replace("ab" * 32, "cd" * 32)]), 1)
    with pytest.raises(IdentityError, match="expected to send 2 bytes, the board asks for 3"):
        read(Board([ASKS.replace("2 bytes", "3 bytes")]), 1)


def test_what_the_board_says_of_its_failure_is_the_error() -> None:
    with pytest.raises(DeviceError, match=r"the board says: AllocateTensors\(\) failed"):
        read(Board(["failure:AllocateTensors() failed"]), 1)


def test_silence_shows_how_far_it_came_and_the_last_lines() -> None:
    board = Board([*printed.himax([1, 2]), "assert failed: x"])
    with pytest.raises(SilentError) as caught:
        read(board, 2)
    assert "1 of 2 inferences came in dialect himax, then none for 0.05 s" in str(caught.value)
    assert "assert failed: x" in str(caught.value)


def test_firmware_that_does_not_ask_is_read_as_it_prints() -> None:
    boot = [f"[{n}]:5," for n in range(1, 3)]  # joined in the midst of an inference
    board = Board([*boot, "result:1", *printed.himax([1, 2]), *printed.himax([3, 4])])
    console = read(board, 2)
    assert (console.asked, board.frames) == (False, [])
    assert found(console)[1:] == [(1, 2), (3, 4)]
