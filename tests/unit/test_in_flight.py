"""What the order of answers proves, on a wire that keeps the order and loses at random; frame sizes."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.link.fault_rate import FaultRate
from harness.link.in_flight import InFlight, Request


def request(sequence: int) -> Request:
    return Request(0x0A, sequence, bytes(10), f"request {sequence}")


@given(fates=st.lists(st.booleans(), min_size=1, max_size=60), seed=st.integers(0, 999))
def test_only_what_was_lost_is_called_lost_and_nothing_is_forgotten(fates: list[bool], seed: int) -> None:
    rng, flight = random.Random(seed), InFlight()
    sent = [request(number) for number in range(rng.randint(1, 12))]
    wire: list[tuple[Request, bool]] = []
    for each in sent:
        flight.add_copy(each)
        wire.append((each, False))
    arrived: set[int] = set()
    for survives in [*fates, *[True] * 200]:
        if not wire:
            break
        current, _ = wire.pop(0)
        if not survives or flight.get(current.sequence) is None:
            continue
        arrived.add(current.sequence)
        for lost in flight.answered(current):
            assert lost.sequence not in arrived
            assert not any(other is lost for other, _ in wire), "a copy was still under way"
            flight.add_copy(lost)
            wire.append((lost, False))
        if rng.random() < 0.2 and (waiting := list(flight)):
            again = rng.choice(waiting)
            flight.add_copy(again)
            wire.append((again, False))
    # Those still waiting were all behind the last answer: a probe would settle them.
    probe = request(1000)
    flight.add_copy(probe)
    lost = flight.answered(probe)
    assert {each.sequence for each in lost} | arrived == {each.sequence for each in sent}
    assert flight.used_bytes == 10 * len(flight)


def test_a_clean_line_takes_frames_of_any_size() -> None:
    rate = FaultRate()
    assert rate.best_bytes(23) == math.inf
    rate.count(100_000, lost=False)
    assert (rate.per_byte, rate.best_bytes(23)) == (0.0, math.inf)


@pytest.mark.parametrize("faults", [4e-3, 1e-3, 1e-4])
def test_frames_adapt_to_the_line_and_back(faults: float) -> None:
    """The size ends near the one that gets most bytes through, though it begins with long frames."""
    rate, rng = FaultRate(), random.Random(1)

    def send(faults: float) -> float:
        size = min(rate.best_bytes(23), 800.0)
        rate.count(int(size) + 23, lost=rng.random() > (1 - faults) ** (size + 23))
        return size

    sizes = [send(faults) for _ in range(1000)]
    settled = sum(sizes[-400:]) / 400

    def goodput(size: float) -> float:
        return size / (size + 23) * (1 - faults) ** (size + 23)

    assert goodput(settled) > 0.9 * max(goodput(size) for size in range(16, 801))
    for _ in range(6000):
        size = send(0.0)
    assert size == 800
