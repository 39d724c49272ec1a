"""What a device's counter may be called. Firmware for the chip says silicon wherever it runs."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from harness.deployment import LinkedDeployment
from harness.link.messages import Identity


@pytest.mark.parametrize(
    ("board", "counter", "unit"),
    [
        ("silicon", "cycles", "cycles"),
        ("soc", "cycles", None),
        ("soc", "instructions", "instructions (emulated)"),
        ("isa", "instructions", "instructions (emulated)"),
        ("host", "cycles", None),
    ],
)
def test_an_emulators_cycles_are_no_figure(board: str, counter: str, unit: str | None) -> None:
    deployment = object.__new__(LinkedDeployment)
    deployment.identity = Identity({"counter": counter, "fidelity": "silicon"})
    deployment.board = SimpleNamespace(info=SimpleNamespace(fidelity=board))
    assert deployment._count_unit() == unit
