"""What faults cost a paced line in time, in virtual time: no machine's load is in these figures."""

from __future__ import annotations

import pytest

from benchmarks import paced_port
from harness.link import chaos, wirelog
from harness.link.chaos import ChaosPort, parse_chaos
from harness.link.client import Link
from tests.firmware_demo import demo_layers
from tests.link_devices import PythonDevice, demo_inputs
from tests.virtual_time import VirtualPort, VirtualTime

FAULTS = "drop=1e-3,flip=1e-3,dup=1e-3,garbage=1e-3,delay=1e-3,reset=2e-6,seed=1"
INPUTS = demo_inputs(40, 784)


def seconds(monkeypatch: pytest.MonkeyPatch, baud: int, faults: str, late_s: float = 0.0) -> float:
    """How long the inferences take; every answer is right."""
    time = VirtualTime()
    for module in (wirelog, chaos, paced_port):
        monkeypatch.setattr(module, "time", time)
    device = PythonDevice(elements=784, rx_window=8192, keeps_result=True)
    port = paced_port.PacedPort(VirtualPort(time, device, late_s), baud)
    link = Link(ChaosPort(port, parse_chaos(faults), device.restart) if faults else port)
    link.connect()
    link.infer(INPUTS[0])
    began_s = time.now_s
    outputs = [reply.output for reply in link.infer_stream(INPUTS)]
    assert outputs == [demo_layers(data)[2] for data in INPUTS]
    return time.now_s - began_s


@pytest.mark.parametrize("baud", [115_200, 460_800, 921_600])
def test_four_faults_in_a_thousand_bytes_cost_a_long_input_less_than_threefold(
    baud: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    clean_s = seconds(monkeypatch, baud, "")
    # 4 % are frames' headers; the last answer and the steps of the line come on top.
    assert clean_s < 1.045 * len(INPUTS) * 784 * 10 / baud + 0.015
    assert seconds(monkeypatch, baud, FAULTS) < 2.6 * clean_s


def test_late_wake_ups_cost_a_fast_line_less_than_their_number(monkeypatch: pytest.MonkeyPatch) -> None:
    clean_s = seconds(monkeypatch, 921_600, "", late_s=0.001)
    assert seconds(monkeypatch, 921_600, FAULTS, late_s=0.001) < 3.3 * clean_s
