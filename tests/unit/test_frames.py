"""Frames survive any payload and any wire: properties, and vectors worked out by hand."""

from __future__ import annotations

import random
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.link.frames import (
    Chunk,
    Frame,
    FrameReader,
    cobs_decode,
    cobs_encode,
    decode_frame,
    encode_frame,
    encoded_limit,
    payload_limit,
)

# A loaded machine is no failure.
unhurried = settings(deadline=None)

# Half the bytes zero or one, and runs around the 254-byte block, are where COBS goes wrong.
payloads = st.one_of(
    st.binary(max_size=1100),
    st.lists(
        st.sampled_from([b"\0", b"\0" * 70, b"\1", b"\xff", b"x" * 253, b"x" * 254, b"x" * 255]), max_size=8
    ).map(b"".join),
)
frames = st.builds(
    Frame,
    kind=st.integers(0, 255),
    sequence=st.integers(0, 65535),
    payload=payloads,
    status=st.integers(0, 65535),
)


@pytest.mark.parametrize(
    ("plain", "encoded"),
    [
        ("", "01"),
        ("00", "0101"),
        ("0000", "010101"),
        ("11220033", "0311220233"),
        ("11000000", "0211010101"),
        ("01" * 254, "ff" + "01" * 254),
        ("01" * 254 + "00", "ff" + "01" * 254 + "0101"),
        ("01" * 255, "ff" + "01" * 254 + "0201"),
    ],
)
def test_cobs_vectors(plain: str, encoded: str) -> None:
    assert cobs_encode(bytes.fromhex(plain)).hex() == encoded
    assert cobs_decode(bytes.fromhex(encoded)) == bytes.fromhex(plain)


@unhurried
@given(payloads)
def test_cobs_round_trip(data: bytes) -> None:
    encoded = cobs_encode(data)
    assert b"\0" not in encoded
    assert len(encoded) <= len(data) + max(1, (len(data) + 253) // 254)
    assert cobs_decode(encoded) == data


@pytest.mark.parametrize("run", [1, 252, 253, 254, 255, 508])
def test_cobs_of_many_zeros_is_that_of_few(run: int) -> None:
    """From 64 zeros on they are found another way."""
    few, zeros = b"x" * run, b"\0" * 100
    blocks = cobs_encode(few + b"\0")[:-1]  # the last block is what follows
    assert cobs_encode(few + zeros + few) == blocks + b"\1" * 99 + cobs_encode(few)


@unhurried
@given(st.binary(max_size=600))
def test_cobs_decode_never_raises(data: bytes) -> None:
    cobs_decode(data)


def test_frame_on_the_wire_is_what_the_page_says() -> None:
    wire = encode_frame(Frame(kind=0x0A, sequence=0x1234, payload=b"hi", status=0))
    body = bytes.fromhex("010a341200000200") + b"hi"
    assert wire == b"\0" + cobs_encode(body + zlib.crc32(body).to_bytes(4, "little")) + b"\0"


@unhurried
@given(st.integers(0, 65535))
def test_limits_agree(payload_bytes: int) -> None:
    assert payload_limit(encoded_limit(payload_bytes)) >= payload_bytes
    assert encoded_limit(payload_limit(payload_bytes + 20)) <= payload_bytes + 20


@unhurried
@given(payloads)
def test_encoded_limit_holds(payload: bytes) -> None:
    assert len(encode_frame(Frame(1, 1, payload))) <= encoded_limit(len(payload))


@unhurried
@given(st.lists(frames, max_size=5), st.randoms(use_true_random=False))
def test_any_split_gives_the_same_frames(sent: list[Frame], rng: random.Random) -> None:
    wire = b"".join(encode_frame(frame) for frame in sent)
    reader, got, position = FrameReader(), [], 0
    while position < len(wire):
        step = rng.randint(1, 40)
        got += reader.feed(wire[position : position + step])
        position += step
    assert got == sent


@unhurried
@given(st.lists(st.tuples(frames, st.binary(max_size=60)), max_size=6))
def test_garbage_between_frames_costs_no_frame(parts: list[tuple[Frame, bytes]]) -> None:
    reader = FrameReader()
    got = reader.feed(b"".join(garbage + encode_frame(frame) for frame, garbage in parts))
    assert [item for item in got if isinstance(item, Frame)] == [frame for frame, _ in parts]


@unhurried
@given(st.lists(frames, min_size=3, max_size=3), st.data())
def test_damage_costs_only_the_frame_it_hit(sent: list[Frame], data: st.DataObject) -> None:
    wires = [bytearray(encode_frame(frame)) for frame in sent]
    position = data.draw(st.integers(0, len(wires[1]) - 1))
    kind = data.draw(st.sampled_from(["flip", "drop", "insert"]))
    if kind == "flip":
        wires[1][position] ^= data.draw(st.integers(1, 255))
    elif kind == "drop":
        del wires[1][position]
    else:
        wires[1][position:position] = data.draw(st.binary(min_size=1, max_size=5))
    got = [item for item in FrameReader().feed(b"".join(wires)) if isinstance(item, Frame)]
    assert got[0] == sent[0]
    assert got[-1] == sent[2]
    # A hit delimiter may leave the frame whole; nothing may ever be made up.
    assert got[1:-1] in ([], [sent[1]])


@unhurried
@given(st.lists(st.binary(max_size=80), max_size=20))
def test_reader_loses_no_byte_of_text(pieces: list[bytes]) -> None:
    reader, got = FrameReader(), []
    for piece in pieces:
        got += reader.feed(piece)
    chunks = b"".join(item.data for item in got if isinstance(item, Chunk)) + reader.pending
    assert chunks == b"".join(pieces).replace(b"\0", b"")


def test_text_is_given_out_line_by_line_before_any_zero() -> None:
    reader = FrameReader()
    assert reader.feed(b"ESP-ROM:esp32c3\r\nGuru Med") == [Chunk(b"ESP-ROM:esp32c3\r\n", damaged=False)]
    assert reader.pending == b"Guru Med"
    assert reader.feed(b"itation\0") == [Chunk(b"Guru Meditation", damaged=False)]


def test_utf8_text_is_text_and_a_torn_frame_is_damage() -> None:
    wire = encode_frame(Frame(0x85, 7, bytes(range(64))))
    (text,) = FrameReader().feed("Größe 3 µs\x1b[0m".encode() + b"\0")
    (torn,) = FrameReader().feed(wire[:40] + b"\0")
    assert text == Chunk("Größe 3 µs\x1b[0m".encode(), damaged=False)
    assert isinstance(torn, Chunk)
    assert torn.damaged


def test_endless_garbage_without_a_zero_is_not_hoarded() -> None:
    reader = FrameReader()
    for _ in range(3000):
        reader.feed(b"\x02\x01" + b"\xfe" * 98)
    assert len(reader.pending) <= 70_000
    frame = Frame(0x8A, 1, b"still here")
    assert reader.feed(encode_frame(frame))[-1] == frame


def test_work_is_linear_in_the_bytes_fed() -> None:
    """Byte-by-byte feeding of one long chunk touches each byte a bounded number of times."""

    class Counting(bytearray):
        scanned = 0

        def rfind(self, *arguments: object) -> int:
            Counting.scanned += len(self)
            return super().rfind(*arguments)  # type: ignore[arg-type]

    reader = FrameReader()
    reader._pending = Counting()
    for _ in range(20_000):
        reader.feed(b"a")
    assert Counting.scanned <= 20_000 * 1024


@unhurried
@given(frames)
def test_another_length_than_decoded_is_refused(frame: Frame) -> None:
    body = cobs_decode(encode_frame(frame)[1:-1])
    assert body is not None
    longer = body[:-4] + b"!"
    assert decode_frame(cobs_encode(longer + zlib.crc32(longer).to_bytes(4, "little"))) is None
