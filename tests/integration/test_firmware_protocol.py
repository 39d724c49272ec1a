"""docs/protocol.md against the real core, on the host under sanitizers and on both QEMU machines."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import pytest

from tests.firmware_demo import TARGETS, build_demo, demo_layers, running
from tests.firmware_wire import (
    ALL_LAYERS,
    BAD_FRAME,
    COUNTS,
    DESCRIBE,
    DIGESTS,
    ECHO,
    HELLO,
    INFER,
    INPUT,
    MEMORY,
    OUTPUT,
    READ,
    RESET,
    SET_BAUD,
    Device,
    digest8,
    encode,
    infer_payload,
)

OK, UNKNOWN, MALFORMED, RANGE, INPUT_DIGEST, STALE, ENGINE, VERSION, UNSUPPORTED, TOO_LARGE = range(10)
POWER_ON, RESET_REQUEST, PANIC, PIN = 1, 2, 4, 6

DATA = bytes([1, 2, 3, 250, 5, 0, 120, 8])
OTHER = bytes([9, 8, 7, 6, 5, 4, 3, 2])


@pytest.fixture(scope="module", params=TARGETS)
def started(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Device]:
    """One device for all tests of this module; each test leaves it idle."""
    image = build_demo(request.param, tmp_path_factory.mktemp("build"))
    with running(image) as (_, device):
        assert device.ready() == POWER_ON
        yield device


@pytest.fixture
def device(started: Device) -> Device:
    hello(started)  # forgets inputs of the test before
    return started


def hello(device: Device, nonce: int = 0x12345678) -> tuple[int, ...]:
    answer = device.ask(HELLO, struct.pack("<BBHI", 1, 3, 0, nonce))
    assert answer.status == OK
    return struct.unpack("<IBBHIII", answer.payload)


def test_hello_gives_the_limits_and_counts_frames(device: Device) -> None:
    nonce, version, reason, max_payload, rx_window, capabilities, seen = hello(device, 0xCAFE0001)
    assert (nonce, version, reason, max_payload) == (0xCAFE0001, 1, POWER_ON, 4096)
    assert rx_window >= 2 * (max_payload + 32)
    platform = device.identity()["platform"]
    assert capabilities == (0b10110101 if platform == "host" else 0b11111111)
    assert hello(device)[-1] == seen + 2


def test_hello_without_a_common_version(device: Device) -> None:
    answer = device.ask(HELLO, struct.pack("<BBHI", 2, 9, 0, 0))
    assert (answer.status, answer.payload) == (VERSION, b"\1\1")


def test_hello_is_answered_in_a_later_headers_version_and_nothing_else_is(device: Device) -> None:
    device.send(encode(ECHO, b"dropped", 40, version=2))
    device.send(encode(HELLO, struct.pack("<BBHI", 1, 2, 0, 7), 41, version=2))
    answer = device.frame()
    assert (answer.type, answer.sequence, answer.status) == (HELLO | 0x80, 41, OK)


def test_identity_has_every_required_key(device: Device) -> None:
    identity = device.identity()
    platform = identity["platform"]
    assert identity["target"] == TARGETS[platform]
    assert identity["fidelity"] == ("host" if platform == "host" else "isa")
    assert (identity["runtime"], identity["kernels"], identity["model"]) == ("demo", "portable", "demo")
    assert identity["artifact"] == "00112233445566778899aabbccddeeff" * 2
    assert len(bytes.fromhex(identity["firmware"])) == 32
    assert identity["counter"] == ("none" if platform == "host" else "instructions")
    assert identity["counter_scale"] == ("25/128" if platform == "qemu_xtensa" else "1/1")


def test_describe(device: Device) -> None:
    answer = device.ask(DESCRIBE, struct.pack("<BBH", 2, 0, 1))
    fields = struct.unpack_from("<HHBBHIfiQii", answer.payload)
    assert fields == (3, 1, 3, 2, 0, 16, 0.0, 0, 8, 1, 8)
    assert answer.payload[36:] == b"\x03MULdoubled"
    answer = device.ask(DESCRIBE, struct.pack("<BBH", 0, 0, 0))
    fields = struct.unpack_from("<HHBBHIfiQii", answer.payload)
    assert fields == (1, 0, 1, 2, 0, 8, 0.5, 3, 0, 1, 8)
    assert answer.payload[36:] == b"\x00in"


@pytest.mark.parametrize(("kind", "index"), [(0, 1), (1, 1), (2, 3), (3, 0), (2, 0xFFFF)])
def test_describe_out_of_range(device: Device, kind: int, index: int) -> None:
    assert device.ask(DESCRIBE, struct.pack("<BBH", kind, 0, index)).status == RANGE


def test_infer_returns_output_and_digests(device: Device) -> None:
    result = device.infer(DATA, inference=77)
    output = demo_layers(DATA)[-1]
    assert (result.inference, result.layers, result.output) == (77, 3, output)
    assert (result.input_digest, result.output_digest) == (digest8(DATA), digest8(output))
    assert device.infer(DATA, inference=77).output == output


def test_infer_without_output_bytes_then_read(device: Device) -> None:
    assert device.infer(DATA, inference=5, flags=0).output is None
    output = demo_layers(DATA)[-1]
    answer = device.ask(READ, struct.pack("<III", 5, 1, 3))
    assert answer.payload == struct.pack("<II", 5, 4) + output[1:]


@pytest.mark.parametrize("layers", [1, 2])
def test_stopping_early_gives_the_last_layers_output(device: Device, layers: int) -> None:
    result = device.infer(DATA, layers=layers)
    wanted = demo_layers(DATA)[layers - 1]
    assert (result.layers, result.output, result.output_digest) == (layers, wanted, digest8(wanted))
    answer = device.ask(READ, struct.pack("<III", 1, 0, len(wanted)))
    assert answer.payload == struct.pack("<II", 1, len(wanted)) + wanted


def test_layer_digests(device: Device) -> None:
    result = device.infer(DATA, flags=OUTPUT | DIGESTS)
    assert result.layer_digests == tuple(digest8(layer) for layer in demo_layers(DATA))


def test_input_in_parts(device: Device) -> None:
    for offset in (4, 0):
        part = struct.pack("<II", 9, offset) + OTHER[offset : offset + 4]
        assert device.ask(INPUT, part).status == OK
    answer = device.ask(INFER, infer_payload(OTHER, 9, carry=False))
    assert answer.status == OK
    assert answer.payload.endswith(demo_layers(OTHER)[-1])


def test_an_answer_that_was_lost_is_given_again_though_the_input_is_gone(device: Device) -> None:
    """The demo network overwrites its input; what is not the run before is not answered for it."""
    assert device.ask(INPUT, struct.pack("<II", 9, 0) + OTHER).status == OK
    first = device.ask(INFER, infer_payload(OTHER, 9, carry=False))
    assert device.ask(INFER, infer_payload(OTHER, 9, carry=False)).payload == first.payload
    without_output = device.ask(INFER, infer_payload(OTHER, 9, carry=False, flags=0)).payload
    assert without_output[8:40] == first.payload[8:40]
    spoilt = digest8(b"\x55" * 8)
    for other in (
        infer_payload(OTHER, 10, carry=False),
        infer_payload(DATA, 9, carry=False),
        infer_payload(OTHER, 9, carry=False, layers=2),
        infer_payload(OTHER, 9, carry=False, flags=OUTPUT | DIGESTS),
    ):
        answer = device.ask(INFER, other)
        assert (answer.status, answer.payload) == (INPUT_DIGEST, spoilt)
    # What was refused was not taken for the result's input either: what is held is run, and new.
    left = device.ask(INFER, infer_payload(b"\x55" * 8, 9, carry=False))
    assert left.payload[8:24] == spoilt + digest8(demo_layers(b"\x55" * 8)[-1])
    assert device.ask(INPUT, struct.pack("<II", 10, 0) + DATA[:1]).status == OK
    assert device.ask(INFER, infer_payload(OTHER, 9, carry=False)).status == INPUT_DIGEST


def test_a_lost_part_is_noticed(device: Device) -> None:
    """The bytes of the inference before must not fill the gap, even where they would fit."""
    assert device.ask(INPUT, struct.pack("<II", 1, 0) + OTHER).status == OK
    assert device.ask(INPUT, struct.pack("<II", 2, 0) + OTHER[:4]).status == OK
    answer = device.ask(INFER, infer_payload(OTHER, 2, carry=False))
    assert (answer.status, answer.payload) == (INPUT_DIGEST, digest8(OTHER[:4] + bytes(4)))


def test_a_damaged_input_is_not_run(device: Device) -> None:
    request = infer_payload(DATA)[:-1] + b"\x09"
    answer = device.ask(INFER, request)
    assert (answer.status, answer.payload) == (INPUT_DIGEST, digest8(DATA[:-1] + b"\x09"))


def test_input_of_an_older_inference_changes_nothing(device: Device) -> None:
    newest = 3  # beyond the wrap of the 32-bit number
    assert device.ask(INPUT, struct.pack("<II", newest, 0) + DATA).status == OK
    assert device.ask(INPUT, struct.pack("<II", 2**32 - 1, 0) + OTHER).status == STALE
    assert device.ask(INFER, infer_payload(DATA, newest, carry=False)).status == OK


def test_a_new_host_may_start_at_any_inference_number(device: Device) -> None:
    assert device.ask(INPUT, struct.pack("<II", 1000, 0) + DATA).status == OK
    assert device.ask(INPUT, struct.pack("<II", 1, 0) + DATA).status == STALE
    hello(device)
    assert device.ask(INPUT, struct.pack("<II", 1, 0) + DATA).status == OK


def test_input_spoils_the_result(device: Device) -> None:
    device.infer(DATA, inference=4)
    assert device.ask(READ, struct.pack("<III", 4, 0, 4)).status == OK
    assert device.ask(INPUT, struct.pack("<II", 5, 0) + b"x").status == OK
    assert device.ask(READ, struct.pack("<III", 4, 0, 4)).status == STALE


@pytest.mark.parametrize(
    ("kind", "payload", "status"),
    [
        (0x3F, b"", UNKNOWN),
        (HELLO, b"1234567", MALFORMED),
        (MEMORY, b"x", MALFORMED),
        (DESCRIBE, b"", MALFORMED),
        (INPUT, bytes(7), MALFORMED),
        (INPUT, struct.pack("<II", 0, 8) + b"x", RANGE),
        (INPUT, struct.pack("<II", 0, 0xFFFFFFFF) + b"xy", RANGE),
        (INFER, bytes(15), MALFORMED),
        (INFER, infer_payload(DATA)[:-1], MALFORMED),
        (INFER, infer_payload(DATA, layers=4), RANGE),
        (INFER, infer_payload(DATA, layers=0), RANGE),
        (INFER, infer_payload(DATA, flags=8), RANGE),
        (READ, bytes(11), MALFORMED),
        (READ, struct.pack("<III", 0xABCD, 0, 0), STALE),
        (SET_BAUD, b"", MALFORMED),
    ],
)
def test_wrong_requests(device: Device, kind: int, payload: bytes, status: int) -> None:
    assert device.ask(kind, payload).status == status


@pytest.mark.parametrize(
    ("offset", "length", "status"),
    [(0, 4, OK), (4, 0, OK), (0, 5, RANGE), (5, 0, RANGE), (0xFFFFFFFF, 2, RANGE), (0, 4089, TOO_LARGE)],
)
def test_bounds_of_read(device: Device, offset: int, length: int, status: int) -> None:
    device.infer(DATA, inference=6)
    assert device.ask(READ, struct.pack("<III", 6, offset, length)).status == status


def test_the_engines_own_failure_is_told(device: Device) -> None:
    answer = device.ask(INFER, infer_payload(b"\x7f" + bytes(7)))
    assert (answer.status, answer.payload) == (ENGINE, b"the demo network refuses 127")
    assert device.ask(READ, struct.pack("<III", 1, 0, 4)).status == STALE


@pytest.mark.parametrize("size", [0, 1, *range(245, 260), 4096])
def test_echo_around_the_block_size_of_cobs(device: Device, size: int) -> None:
    """254 bytes without a zero fill a block; a zero in front or behind shifts it."""
    for payload in (b"\xff" * size, b"\0" + b"\1" * (size - 1), b"\1" * (size - 1) + b"\0"):
        assert device.ask(ECHO, payload[:size]).payload == payload[:size]


def test_a_window_of_requests_is_answered_in_order(device: Device) -> None:
    sizes = [0, 4000, 13, 2500, 700]
    device.send(b"".join(encode(ECHO, bytes(size), number) for number, size in enumerate(sizes)))
    answers = [device.frame() for _ in sizes]
    assert [(answer.sequence, len(answer.payload)) for answer in answers] == list(enumerate(sizes))


def test_garbage_costs_only_the_frame_it_hit(device: Device) -> None:
    before = bad_frames(device)
    device.send(b"short\0" + b"noise that is no frame at all" + encode(ECHO, b"a", 1))
    device.send(encode(ECHO, b"hit", 2, crc_xor=1) + encode(ECHO, b"b", 3))
    device.send(encode(ECHO, b"wrong length", 4, length=5) + encode(ECHO, bytes(5000), 5))
    device.send(encode(ECHO, b"cut off in the middle", 6)[:-9] + encode(ECHO, b"d", 7))
    frames = [device.frame() for _ in range(8)]
    events = [struct.unpack("<I", frame.payload)[0] - before for frame in frames if frame.type == BAD_FRAME]
    assert events == [1, 2, 3, 4, 5]
    assert [frame.payload for frame in frames if frame.type != BAD_FRAME] == [b"a", b"b", b"d"]


def bad_frames(device: Device) -> int:
    device.send(encode(ECHO, b"provoke", crc_xor=1))
    frame = device.frame()
    assert (frame.type, frame.sequence, frame.status) == (BAD_FRAME, 0, 0)
    return int(struct.unpack("<I", frame.payload)[0])


def test_replies_and_events_are_never_answered(device: Device) -> None:
    for kind in (0x00, 0x40, 0x70, 0x71, 0x81, 0xFF):
        device.send(encode(kind, b"x", 50))
    assert device.ask(ECHO, b"still here").payload == b"still here"


def test_memory_report(device: Device) -> None:
    device.infer(DATA)
    payload = device.ask(MEMORY).payload
    arena, used, model, stack, stack_used, heap, heap_low, static = struct.unpack("<8I", payload[:32])
    assert (arena, used, model) == (36, 36, 0)
    if device.identity()["platform"] == "host":
        assert {stack, stack_used, heap, heap_low, static} == {0xFFFFFFFF}
        assert len(payload) == 32
    else:
        assert stack == 32768
        assert 300 < stack_used < 2048
        size, low, length = struct.unpack("<IIB", payload[32:41])
        assert (size, length, payload[41:]) == (32768, 4, b"main")
        assert low == 32768 - stack_used
        assert (heap, heap_low) == (0, 0)
        assert 8192 < static < 16384  # the two payload buffers and little else


def test_layer_counts_need_a_counter(device: Device) -> None:
    answer = device.ask(INFER, infer_payload(DATA, flags=COUNTS))
    assert answer.status == (UNSUPPORTED if device.identity()["platform"] == "host" else OK)


@pytest.mark.parametrize("platform", TARGETS)
def test_reset_starts_afresh(platform: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """By request and from outside. Input 126 spoils .data, which only a real restart restores."""
    image = build_demo(platform, tmp_path_factory.getbasetemp() / "reset")
    wanted = demo_layers(DATA)[-1]
    with running(image) as (board, device):
        assert device.ready() == POWER_ON
        for by_request in (True, False, True):
            assert device.infer(DATA, layers=ALL_LAYERS).output == wanted
            device.infer(b"\x7e" + bytes(7))
            assert device.infer(DATA).output != wanted
            if by_request:
                assert device.ask(RESET).status == OK
            else:
                board.reset()
            from_outside = POWER_ON if platform == "host" else PIN
            assert device.ready() == (RESET_REQUEST if by_request else from_outside)
            assert hello(device)[-1] == 1
        assert device.infer(DATA).output == wanted
