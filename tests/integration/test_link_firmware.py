"""The client against the real firmware: native under sanitizers, and in QEMU on both instruction sets."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from harness.boards import choose_board
from harness.boards.base import Board
from harness.errors import DeviceError, IdentityError
from harness.link.client import Link
from harness.targets import get_target
from harness.toolchains.base import Image
from tests.firmware_demo import build_demo, demo_layers
from tests.firmware_wire import digest8
from tests.link_devices import ARTIFACT, FaultyPort, demo_inputs


@pytest.fixture(scope="module", params=["host", "qemu_riscv32", "qemu_xtensa"])
def image(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Image:
    return build_demo(request.param, tmp_path_factory.mktemp("images"))


@pytest.fixture
def board(image: Image) -> Iterator[Board]:
    kind = "host" if image.platform == "host" else "auto"
    board, _ = choose_board(get_target(image.target), image, kind=kind)
    yield board
    board.close()


@pytest.fixture
def link(board: Board) -> Link:
    link = Link(board.open(), board_state=board.state)
    link.connect()
    return link


def test_the_image_on_the_board_is_the_one_that_was_built(link: Link, board: Board, image: Image) -> None:
    identity = link.expect_identity(artifact=ARTIFACT, firmware=image.digest, target=image.target)
    assert identity.values["platform"] == image.platform
    board.identified(identity.values)
    with pytest.raises(IdentityError, match="its firmware says silicon"):
        board.identified({"fidelity": "silicon"})


def test_every_output_and_layer_is_right(link: Link) -> None:
    inputs = demo_inputs(200)
    replies = list(link.infer_stream(inputs, layer_digests=True))
    assert [reply.output for reply in replies] == [demo_layers(data)[2] for data in inputs]
    for data, reply in zip(inputs, replies, strict=True):
        assert reply.layer_digests == tuple(digest8(layer) for layer in demo_layers(data))
    assert [link.read_layer(inputs[0], layer) for layer in range(3)] == demo_layers(inputs[0])
    assert (link.statistics.retries, link.statistics.restarts, link.statistics.crc_errors) == (0, 0, 0)


def test_counts_are_the_same_in_every_run(link: Link, board: Board) -> None:
    if link.identify().counter == "none":
        assert {reply.count for reply in link.infer_stream(demo_inputs(5))} == {0}
        return
    (data,) = demo_inputs(1)
    first = [reply.count for reply in link.infer_stream([data] * 5)]
    board.reset()
    link.connect()
    assert [reply.count for reply in link.infer_stream([data] * 5)] == first
    # Xtensa's counter resolves 5.12 instructions; after scaling that is one more or less.
    assert max(first) - min(first) <= (6 if link.identify().values["platform"] == "qemu_xtensa" else 0)


def test_an_engine_failure_is_the_devices_word(link: Link) -> None:
    with pytest.raises(DeviceError, match="INFER 1: the demo network refuses 127"):
        link.infer(b"\x7f" + bytes(7))
    (data,) = demo_inputs(1)
    assert link.infer(data).output == demo_layers(data)[2]


def test_a_reset_from_outside_in_mid_run_is_survived(link: Link, board: Board) -> None:
    inputs = demo_inputs(300)
    stream = link.infer_stream(inputs)
    got = [next(stream).output for _ in range(20)]
    board.reset()
    got += [reply.output for reply in stream]
    assert got == [demo_layers(data)[2] for data in inputs]
    assert link.statistics.restarts == 1


def test_reset_by_protocol(link: Link) -> None:
    link.echo(b"one more frame")
    assert link.reset().frames_seen <= 2
    assert link.statistics.restarts == 0


def test_a_noisy_wire_costs_nothing_but_retries(board: Board) -> None:
    wire = FaultyPort(board.open(), seed=7, every=900)
    link = Link(wire, board_state=board.state)
    link.connect()
    inputs = demo_inputs(1000)
    replies = list(link.infer_stream(inputs))
    assert [reply.output for reply in replies] == [demo_layers(data)[2] for data in inputs]
    assert wire.faults > 50
    assert link.statistics.retries > 10
    assert link.statistics.restarts == 0
