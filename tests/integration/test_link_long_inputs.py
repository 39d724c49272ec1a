"""28 x 28 inputs through the real firmware: over a wire that spoils nearly every long frame, and at speed."""

from __future__ import annotations

import pytest

from benchmarks.link_efficiency import efficiency
from benchmarks.link_load import Load, load_of
from harness.boards import choose_board
from harness.link.chaos import ChaosPort, parse_chaos
from harness.link.client import Link
from harness.targets import get_target

FAULTS = "drop=1e-3,flip=1e-3,dup=1e-3,garbage=1e-3,delay=1e-3,delay_ms=0.1,burst=1e-4,reset=2e-5,seed=4"


@pytest.fixture(scope="module")
def load(tmp_path_factory: pytest.TempPathFactory) -> Load:
    return load_of("mnist_mlp", "host", 60, tmp_path_factory.mktemp("load"))


def test_every_score_is_the_oracles_over_a_wire_no_long_frame_survives(load: Load) -> None:
    board, _ = choose_board(get_target("esp32c3"), load.image, kind="host")
    with board as port:
        faulty = ChaosPort(port, parse_chaos(FAULTS), board.reset)
        link = Link(faulty, board_state=board.state)
        link.connect()
        assert load.wrong(reply.output for reply in link.infer_stream(load.inputs)) == 0
    assert all(faulty.faults.values()), faulty.faults
    # Whole frames would be sent 25 times on average.
    assert link.statistics.bytes_sent < 4 * sum(map(len, load.inputs))


def test_a_paced_line_carries_inputs_all_the_time(load: Load) -> None:
    part, limit = efficiency(load, 460_800)
    assert limit > 0.955
    # What is wanted is 0.95 of all time, by ./run benchmark link; here other tests run beside it.
    assert part > 0.9
