"""The MLPerf Tiny dialect of the firmware: every command, on the host under sanitizers and on both QEMU
machines; and that it and our frames are never taken for each other."""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from harness.boards.base import Port
from harness.toolchains.base import Image
from tests.firmware_demo import TARGETS, build_demo, demo_layers, running
from tests.firmware_wire import BAD_FRAME, DEADLINE_S, ECHO, HELLO, encode

DATA = bytes([1, 2, 3, 250, 5, 0, 120, 8])
OTHER = bytes([9, 8, 7, 6, 5, 4, 3, 2])
LOADED = "m-[Expecting 8 bytes]\r\nm-ready\r\nm-load-done\r\nm-ready\r\n"
READY = "m-ready\r\n"


def score(data: bytes) -> str:
    return f"m-results-[{struct.unpack('<i', demo_layers(data)[-1])[0]}.000]\r\n"


class Text:
    """A device spoken to in text."""

    def __init__(self, port: Port) -> None:
        self.port = port

    def say(self, text: str) -> str:
        """What came back, to the closing of as many answers as there are commands in `text`."""
        self.port.write(text.encode("latin-1"))
        wanted = text.count("%")
        got, end = b"", time.monotonic() + DEADLINE_S
        while got.count(b"m-ready\r\n") < wanted:
            data = self.port.read(end - time.monotonic())
            assert data, f"silent after {text!r}; so far {got!r}"
            got += data
        return got.decode("latin-1")


@contextmanager
def speaking(image: Image) -> Iterator[Text]:
    """Freshly started, and its READY and the first answer gone by."""
    with running(image) as (_, device):
        device.ready()
        text = Text(device.port)
        assert text.say("name%").startswith("\r\nm-name-dut-[")
        yield text


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Image]:
    root = tmp_path_factory.mktemp("build")
    return {platform: build_demo(platform, root) for platform in TARGETS}


@pytest.fixture(scope="module", params=TARGETS)
def started(request: pytest.FixtureRequest, images: dict[str, Image]) -> Iterator[Text]:
    with speaking(images[request.param]) as text:
        yield text


@pytest.fixture
def device(started: Text) -> Text:
    started.say("db load 0%")  # forgets inputs of the test before
    return started


def test_name_profile_time_and_help(device: Text) -> None:
    name = device.say("name%")
    assert name in {
        f"m-name-dut-[{target}-{'host' if platform == 'host' else 'isa'}]\r\n{READY}"
        for platform, target in TARGETS.items()
    }
    assert device.say("profile%") == (
        f"m-profile-[ULPMark for tinyML Firmware V0.0.1]\r\nm-model-[demo]\r\n{READY}"
    )
    first, second = (device.say("timestamp%").splitlines() for _ in range(2))
    assert first[1] == second[1] == "m-ready"
    assert int(first[0].removeprefix("m-lap-us-")) <= int(second[0].removeprefix("m-lap-us-"))
    assert device.say("help%").startswith("ULPMark for tinyML Firmware V0.0.1\r\n\r\nhelp")


def test_a_sample_from_load_to_results(device: Text) -> None:
    assert device.say(f"db load 8%db {DATA.hex()}%") == LOADED
    assert device.say("db print%") == "m-buffer-01-02-03-fa-05-00-78-08\r\n" + READY
    lines = device.say("infer 3 2%").splitlines(keepends=True)
    assert lines[:3] == ["m-warmup-start-2\r\n", "m-warmup-done\r\n", "m-infer-start-3\r\n"]
    begun, ended = (int(line.removeprefix("m-lap-us-")) for line in lines[3:5])
    assert begun <= ended
    assert lines[5:] == ["m-infer-done\r\n", score(DATA), READY]
    assert device.say("results%") == score(DATA) + READY
    assert "m-warmup-start-10\r\n" in device.say("infer%"), "the input survives a run; 10 is the default"
    assert device.say("results%") == score(DATA) + READY


def test_data_in_pieces_of_either_case_and_a_print_of_odd_length(device: Text) -> None:
    assert device.say("db load 9%") == "m-[Expecting 9 bytes]\r\n" + READY
    assert device.say("db aAbB% db 0c%") == READY + READY
    assert device.say("db 0102030405  %db 06%") == READY + "m-load-done\r\n" + READY
    wanted = "m-buffer-aa-bb-0c-01-02-03-04-05\r\nm-buffer-06\r\n\r\n"
    assert device.say("db print%") == wanted + READY
    assert device.say("infer 1 0%") == "e-[Input db has 9 elements, expected 8]\r\n" + READY


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        ("%", "e-[Unknown command: ]"),
        ("   %", "e-[Unknown command: ]"),
        ("NAME%", "e-[Unknown command: NAME]"),
        ("names%", "e-[Unknown command: names]"),
        ("a[b]c%", "e-[Unknown command: a_b_c]"),
        ("x" * 80 + "%", f"e-[Unknown command: {'x' * 80}]"),
        ("x" * 81 + "%", "e-[Command of more than 80 characters]"),
        ("name" + " " * 5000 + "%", "e-[Command of more than 80 characters]"),
        ("na\xffme%", "e-[Command with a byte that is no text]"),
        ("na\x01me%", "e-[Command with a byte that is no text]"),
        ("db%", "e-[Command 'db' requires a subcommand]"),
        ("db load%", "e-[Command 'db load' requires the # of bytes]"),
        ("db load 0%", "e-[Command 'db load' must be >0 bytes]"),
        ("db load -8%", "e-[Command 'db load' must be >0 bytes]"),
        ("db load 4db 01020304%", "e-[Command 'db load' must be >0 bytes]"),
        ("db load 4294967304%", "e-[Command 'db load' must be >0 bytes]"),
        ("db load 4097%", "e-[Supplied buffer size 4097 exceeds maximum of 4096]"),
        ("db 00%", "e-[Command 'db load' must come before data]"),
        ("db print%", ""),
        ("results%", "e-[No results: load an input and infer first]"),
        ("infer 0%", "e-[Inference iterations must be >0]"),
        ("infer x%", "e-[Inference iterations must be >0]"),
        ("infer 1 -1%", "e-[Inference warmup must be >=0]"),
        ("infer 1 0%", "e-[Input db has 0 elements, expected 8]"),
    ],
)
def test_one_command_that_cannot_be_meant(device: Text, command: str, answer: str) -> None:
    assert device.say(command) == (f"{answer}\r\n" if answer else "") + READY


@pytest.mark.parametrize(
    ("lost", "error"),
    [
        ("db 0102030%", "e-[Insufficent number of hex digits]"),
        ("db 010203zz%", "e-[Invalid hex digit 'zz']"),
        ("db 0102 0304%", "e-[More data than announced: start again with 'db load']"),
        ("db 010203040506070809%", "e-[More data than announced: start again with 'db load']"),
        ("db 000000db000000db0000%", "e-[More data than announced: start again with 'db load']"),
        ("d 01%", "e-[Unknown command: d]"),
        ("db 01\xfe2%", "e-[Command with a byte that is no text]"),
    ],
)
def test_what_is_lost_leaves_neither_input_nor_score(device: Text, lost: str, error: str) -> None:
    device.say(f"db load 8%db {OTHER.hex()}%infer 1 0%")
    assert device.say(f"db load 8%{lost}") == f"m-[Expecting 8 bytes]\r\n{READY}{error}\r\n{READY}"
    assert device.say("infer 1 0%") == "e-[Input db has 0 elements, expected 8]\r\n" + READY
    assert device.say("results%").startswith("e-[No results")


def test_data_behind_a_full_input_and_an_input_cut_short(device: Text) -> None:
    device.say(f"db load 8%db {OTHER.hex()}%")
    assert device.say("db 00%").startswith("e-[More data than announced")
    assert device.say("infer%").startswith("e-[Input db has 0 elements")
    device.say("db load 8%db 01020304050607%")
    assert device.say("infer%") == "e-[Input db has 7 elements, expected 8]\r\n" + READY


def test_a_failure_of_the_network_is_an_error_without_score(device: Text) -> None:
    device.say("db load 8%db 7f00000000000000%")
    assert device.say("infer 1 0%").endswith("e-[the demo network refuses 127]\r\nm-ready\r\n")
    assert device.say("results%").startswith("e-[No results")


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n"])
def test_a_terminals_line_end_behind_the_terminator(device: Text, end: str) -> None:
    assert device.say(f"{end}timestamp%{end}").startswith("m-lap-us-")


def test_a_zero_byte_ends_the_conversation_and_its_input(device: Text) -> None:
    device.say(f"db load 8%db {OTHER.hex()}%")
    answer = device.say("na\0infer 1 0%")  # behind the event that reports a damaged frame
    assert answer.endswith("\r\ne-[Input db has 0 elements, expected 8]\r\n" + READY)


@pytest.mark.parametrize("platform", TARGETS)
def test_frames_are_heard_in_either_dialect_and_text_no_more_after_one(
    images: dict[str, Image], platform: str
) -> None:
    hello = struct.pack("<BBHI", 1, 1, 0, 7)
    with running(images[platform]) as (_, device):
        device.ready()
        device.send(f"name%db load 8%db {DATA.hex()}%".encode())
        device.wait_for_text(b"m-load-done\r\nm-ready\r\n")
        device.send(encode(HELLO, hello, 9))
        assert device.frame().type == BAD_FRAME, "the text before it"
        answer = device.frame()
        assert (answer.type, answer.sequence, answer.status) == (HELLO | 0x80, 9, 0)
        assert device.infer(OTHER).output == demo_layers(OTHER)[-1]
        device.text = b""
        device.send(b"name%infer 1 0%\0")
        assert device.frame().type == BAD_FRAME, "no text now, but a damaged frame"
        assert device.ask(ECHO, b"%name%").payload == b"%name%"
        assert b"m-" not in device.text
        assert device.infer(DATA).output == demo_layers(DATA)[-1]


def test_the_text_of_a_first_frame_is_no_command(images: dict[str, Image]) -> None:
    """Even damaged, so that it stays unanswered as a frame."""
    with running(images["host"]) as (_, device):
        device.ready()
        device.send(encode(ECHO, b"%name%profile%", crc_xor=1))
        assert device.frame().type == BAD_FRAME
        assert device.ask(ECHO, b"%help%").payload == b"%help%"
        assert device.text == b""


def test_noise_at_power_up_does_not_deafen(images: dict[str, Image]) -> None:
    with running(images["host"]) as (_, device):
        device.ready()
        device.send(b"\xff\xfe%\x80name%name%")
        device.wait_for_text(b"\r\nm-name-dut-[esp32c3-host]\r\nm-ready\r\n")
