"""What the link test makes of lines that are clean, that err, and that only carry low rates."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pytest

from harness.boards.base import Port
from harness.errors import LinkError, PortError
from harness.link.chaos import Chaos, ChaosPort
from harness.link.client import Link
from harness.link.qualify import Quality, Rate, highest_clean, measure, sweep
from tests.link_devices import PythonDevice

SECONDS = 0.02


@dataclass
class Cable:
    """Carries every rate up to `limit` and spoils all that is faster."""

    port: Port
    limit: int
    damage: Chaos
    baud: int = 115200
    port_limit: int = 10**7

    def __post_init__(self) -> None:
        self._spoilt = ChaosPort(self.port, self.damage, lambda: None)

    @property
    def _wire(self) -> Port:
        return self.port if self.baud <= self.limit else self._spoilt

    def read(self, timeout_s: float) -> bytes:
        return self._wire.read(timeout_s)

    def write(self, data: bytes) -> None:
        self._wire.write(data)

    def set_baud(self, baud: int) -> None:
        if baud > self.port_limit:
            raise PortError(f"the port cannot do {baud} baud", "Choose another --baud")
        self.baud = baud


def swept(cable: Cable, device: PythonDevice, rates: tuple[int, ...]) -> list[Rate]:
    def connected() -> Link:
        link = Link(cable, baud=115200, timeout_s=0.6)
        link.connect(1.0)
        return link

    def recover() -> Link:
        device.restart()
        cable.set_baud(115200)
        return connected()

    return list(sweep(connected(), 115200, SECONDS, recover, rates))


def test_the_highest_clean_rate_is_found_and_the_first_is_in_force_again() -> None:
    device = PythonDevice()
    cable = Cable(device, 921600, Chaos(flip=3e-3))
    rates = swept(cable, device, (115200, 460800, 921600, 2000000))
    assert [rate.baud for rate in rates] == [115200, 460800, 921600, 2000000]
    assert [rate.quality.clean for rate in rates if rate.quality] == [True, True, True, False]
    assert highest_clean(rates) == 921600
    assert cable.baud == 115200


def test_a_rate_at_which_nothing_is_heard_is_named_and_left() -> None:
    device = PythonDevice()
    cable = Cable(device, 115200, Chaos(flip=0.1, drop=0.1, garbage=0.1))
    (first, second) = swept(cable, device, (2000000,))
    assert first.quality is not None
    assert first.quality.clean
    assert second.quality is None
    assert "2000000 baud" in second.refusal
    assert cable.baud == 115200


def test_a_rate_the_device_cannot_make_is_named() -> None:
    device = PythonDevice()
    rates = swept(Cable(device, 10**7, Chaos()), device, (3, 230400))
    assert "RANGE no such rate" in rates[1].refusal
    assert rates[2].quality is not None


def test_a_rate_the_hosts_port_cannot_make_is_named_and_the_next_is_measured() -> None:
    device = PythonDevice()
    cable = Cable(device, 10**7, Chaos(), port_limit=1_000_000)
    rates = swept(cable, device, (2000000, 921600))
    assert rates[1].refusal == "the port cannot do 2000000 baud"
    assert highest_clean(rates) == 921600
    assert device.boots == 1


def test_the_estimate_is_near_the_rate_of_the_faults_made() -> None:
    device = PythonDevice()
    link = Link(ChaosPort(device, Chaos(flip=5e-4, seed=3), device.restart))
    link.connect()
    for seconds in (0.8, 4, 20):  # a busy machine echoes less in a second
        found = measure(link, seconds)
        if found.lost > 50:
            break
    assert found.lost > 50
    assert 2.5e-4 < found.faults_per_byte < 1e-3
    assert not found.clean


def test_a_clean_line_gives_a_bound_and_a_throughput() -> None:
    quality = Quality(seconds=2.0, echoes=1000, wire_bytes=160_000, lost=0, damaged_here=0, damaged_there=0)
    assert quality.clean
    assert quality.payload_per_s == 32_000
    assert math.isclose(quality.faults_per_byte, 3 / 160_000)


def test_bytes_that_come_back_changed_are_an_error() -> None:
    class Liar(PythonDevice):
        def _send(self, kind: int, sequence: int, status: int, payload: bytes) -> None:
            super()._send(kind, sequence, status, payload[::-1] if kind == 0x8A else payload)

    link = Link(Liar())
    link.connect()
    with pytest.raises(LinkError, match="echoed other bytes"):
        measure(link, SECONDS)
