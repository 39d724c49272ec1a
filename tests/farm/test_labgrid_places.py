"""Boards in places of labgrid: the whole way of an item with a real coordinator, exporter and client.

The client is the one $HARNESS_LABGRID_CLIENT or PATH names, of an environment of its own (`tox -e farm`).
"""

from __future__ import annotations

import contextlib
import http.server
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import bench as bench_module
from harness.boards.host import HostBoard
from harness.boards.qemu import QemuBoard
from harness.cli import main
from harness.errors import PortError
from harness.farm import places, recovery
from harness.farm.file import read_farm
from harness.farm.labgrid import Place, our_name
from harness.farm.leases import STATE_VARIABLE, Leases
from harness.items import load_artifact
from harness.model.spec import load_model
from harness.runtimes import get_runtime
from harness.targets import get_target
from harness.toolchains.bare_metal import build
from tests.bench_runs import CHECKOUT, Run
from tests.faulty_boards import FailsAtInference, FaultyBoard
from tests.labgrid_lab import Lab, TcpBoard, answers, as_user, free_port, wait_until
from tests.stand_in.attached_board import AttachedBoard

RUNG_S = 0.6
AMPLE_S = 20.0


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    directory = tmp_path_factory.mktemp("firmware")
    artifact = load_artifact(load_model("mnist_mlp"), "tflm")
    project = get_runtime("tflm").generate(artifact, "portable", directory / "project")
    target = get_target("esp32c3")
    return {
        platform: build(project, target, platform, build_root=directory / "images").elf
        for platform in ("host", "qemu_riscv32")
    }


class Wire:
    """Nothing on the way, or the fault that a test puts there."""

    def __init__(self) -> None:
        self.fault: FailsAtInference | None = None

    def to_host(self, data: bytes) -> bytes:
        return self.fault.to_host(data) if self.fault else data

    def to_device(self, data: bytes) -> bytes:
        return self.fault.to_device(data) if self.fault else data


class Shelf:
    """Two boards behind TCP ports, one of them with a plug; and the places and the exporter for them."""

    def __init__(self, lab: Lab, built: dict[str, Path], stack: contextlib.ExitStack) -> None:
        self.lab, self.wire, self.asked = lab, Wire(), list[str]()
        qemu = QemuBoard("esp32c3", "qemu_riscv32", built["qemu_riscv32"])
        host = HostBoard("esp32c3", built["host"])
        self.emulated = stack.enter_context(contextlib.closing(TcpBoard(stack.enter_context(qemu))))
        stack.callback(host.close)
        self.near = stack.enter_context(contextlib.closing(TcpBoard(FaultyBoard(host, self.wire))))
        plug = http.server.HTTPServer(("127.0.0.1", 0), self._plug())
        stack.callback(plug.server_close)
        threading.Thread(target=plug.serve_forever, daemon=True).start()
        stack.callback(plug.shutdown)
        serial = "  NetworkSerialPort: {host: 127.0.0.1, port: %d, protocol: raw}\n"
        switch = f"'http://127.0.0.1:{plug.server_address[1]}/{{index}}/{{value}}'"
        self._offer = (
            f"c3-emulated:\n{serial % self.emulated.port}c3-near:\n{serial % self.near.port}"
            f"  NetworkPowerPort: {{model: simplerest, host: {switch}, index: 3}}\n"
        )
        lab.export(self._offer)
        lab.place("c3-near", "target=esp32c3", "shelf=right")
        lab.place("c3-emulated", "target=esp32c3", "psram=yes", "shelf=left")
        lab.place("imx8", "target=imx8")

    def _plug(self) -> type[http.server.BaseHTTPRequestHandler]:
        shelf = self

        class Plug(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                shelf.asked.append(self.path)
                if self.path.endswith("/1") and shelf.wire.fault:
                    shelf.wire.fault.revive()
                self.send_response(200)
                self.end_headers()

            def log_message(self, *words: object) -> None: ...

        return Plug


@pytest.fixture(scope="module")
def shelf(built: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shelf]:
    with contextlib.ExitStack() as stack:
        yield Shelf(Lab(tmp_path_factory.mktemp("labgrid"), stack), built, stack)


@pytest.fixture(autouse=True)
def own_state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(STATE_VARIABLE, str(tmp_path / "state"))
    monkeypatch.setenv("HARNESS_HISTORY_URL", f"sqlite:///{tmp_path}/history.sqlite")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_module, "HANDSHAKE_S", 1.5)
    for rung in ("RESYNCHRONISE_S", "COMMAND_S", "LINES_S", "POWER_S"):
        monkeypatch.setattr(recovery, rung, RUNG_S)


@pytest.fixture
def fault(shelf: Shelf) -> Iterator[FailsAtInference]:
    """The near board falls silent in mid-run."""
    shelf.wire.fault = FailsAtInference(8)
    yield shelf.wire.fault
    shelf.wire.fault = None


@pytest.fixture
def near(shelf: Shelf) -> Place:
    return Place(shelf.lab.coordinator, "c3-near")


@pytest.fixture
def tagged(shelf: Shelf, tmp_path: Path) -> Path:
    """A farm file that leaves it to the tags of the coordinator's places."""
    path = tmp_path / "farm.toml"
    path.write_text(f'[labgrid]\ncoordinator = "{shelf.lab.coordinator.address}"\ntags = ["shelf=left"]\n')
    return path


@pytest.fixture
def named(shelf: Shelf, tmp_path: Path) -> Path:
    path = tmp_path / "named.toml"
    board = '[[board]]\nname = "c3"\ntarget = "esp32c3"\nlabgrid = "c3-near"\n'
    path.write_text(f'[labgrid]\ncoordinator = "{shelf.lab.coordinator.address}"\n{board}')
    return path


SERVED = '[[board]]\nname = "served"\ntarget = "esp32c3"\nlabgrid = "served"\n'
WORDS = ("mnist_mlp", "--target", "esp32c3", "--runtime", "tflm", "--samples", "20", "--reference", "none")


def run(capsys: pytest.CaptureFixture[str], farm: Path, *more: str) -> tuple[int, str]:
    """`harness run` in this process: its exit code, and all it printed."""
    code = main(["run", *WORDS, "--report-dir", "r", "--farm", str(farm), *more])
    printed = capsys.readouterr()
    return code, printed.out + printed.err


def start(farm: Path, reports: Path, *more: str) -> subprocess.Popen[str]:
    """The same in a process of its own, not waited for."""
    return subprocess.Popen(
        [sys.executable, "-m", "harness.cli", "run", *WORDS, "--report-dir", str(reports),
         "--farm", str(farm), *more],
        cwd=CHECKOUT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def test_an_item_on_a_tagged_place_after_its_turn(shelf: Shelf, tagged: Path, tmp_path: Path) -> None:
    place = Place(shelf.lab.coordinator, "c3-emulated")
    (board,) = read_farm(tagged).boards
    assert (board.name, board.target) == ("c3-emulated", "esp32c3")
    assert board.tags == {"target=esp32c3", "psram=yes", "psram", "shelf=left"}
    with as_user("bob"):
        place.coordinator.run("acquire", place=place.name)
        bob = our_name()
    reports = tmp_path / "reports"
    waiting = start(tagged, reports, "--wait", "120", "--tag", "psram=yes")
    with waiting:
        wait_until(lambda: "psram=yes" in place.coordinator.run("reservations"), "the reservation")
        place.release(bob)
        with as_user("carol"), pytest.raises(PortError, match=r"was not reserved for|acquired by"):
            place.coordinator.run("acquire", place=place.name)
        output, _ = waiting.communicate(timeout=120)
    assert waiting.returncode == 0, output
    assert "waiting up to 120 s for a free esp32c3: c3-emulated is held by bob on " in output
    (item,) = Run(0, output, reports).items().values()
    assert item["runtime_gap"]["max_lsb"] == 0
    assert item["runtime_gap"]["elements"] == 200
    assert (item["fidelity"], item["board"]) == ("isa", "c3-emulated")
    assert item["provenance"]["board_place"] == f"labgrid place c3-emulated at {place.coordinator.address}"
    assert place.state().acquired == ""
    assert place.coordinator.run("reservations") == "", "the turn is given back too"


def test_a_place_of_somebody_else_is_refused_by_name(
    near: Place, named: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with as_user("bob"):
        near.coordinator.run("acquire", place=near.name)
        bob = our_name()
    try:
        code, output = run(capsys, named, "--wait", "0")
        assert code == 3
        host, user = bob.split("/")
        assert f"c3 is held by {user} on {host}, since " in output
        assert main(["boards", "--farm", str(named)]) == 0
        assert f"held by {user} on {host}, since " in capsys.readouterr().out
        assert main(["boards", "release", "c3", "--farm", str(named)]) == 2
        refused = capsys.readouterr().err
        assert f"c3 is held by {user} on {host}" in refused
        assert "-p c3-near release --kick" in refused
        assert near.state().acquired == bob, "not taken from him"
    finally:
        near.release(bob)


def test_a_place_we_hold_by_hand_is_freed_by_name(
    near: Place, named: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    near.coordinator.run("acquire", place=near.name)
    code, output = run(capsys, named, "--wait", "0")
    assert code == 3, "what was acquired by hand is no bench's"
    assert "c3 is held by " in output
    assert main(["boards", "release", "c3", "--farm", str(named)]) == 0
    assert "c3 is free; it was held by " in capsys.readouterr().out
    assert near.state().acquired == ""


def test_a_killed_holder_loses_the_place(
    fault: FailsAtInference, near: Place, named: Path, tmp_path: Path
) -> None:
    key = read_farm(named).boards[0].key
    with start(named, tmp_path / "reports", "--infer-timeout", "300") as holder:
        wait_until(lambda: fault.down, "the eighth inference")
        assert near.state().acquired == our_name()
        holder.kill()
    wait_until(lambda: Leases().holder(key) is None, "the end of the lease")
    assert near.state().acquired == "", "free everywhere when it is free here"


@pytest.mark.usefixtures("short_waits")
def test_power_of_the_place_brings_a_board_back(
    shelf: Shelf,
    fault: FailsAtInference,
    near: Place,
    named: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(recovery, "POWER_S", AMPLE_S)
    monkeypatch.setattr(places, "OFF_S", 0.05)
    code, output = run(capsys, named, "--infer-timeout", "2")
    assert code == 0, output
    assert fault.down is False
    assert "power cycle (labgrid-client power): answers" in output
    assert shelf.asked == ["/3/0", "/3/1"]
    assert near.state().acquired == ""


@pytest.mark.usefixtures("short_waits")
def test_a_dead_host_is_an_error_of_the_infrastructure(
    shelf: Shelf, fault: FailsAtInference, near: Place, named: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def host_goes_down() -> None:
        wait_until(lambda: fault.down, "the eighth inference")
        shelf.lab.end_exporter()
        shelf.near.close()

    down = threading.Thread(target=host_goes_down)
    down.start()
    code, output = run(capsys, named)
    down.join()
    assert code == 3, output
    assert f"socket://127.0.0.1:{shelf.near.port} is gone" in output
    assert "c3: its exporter shelf is not connected to labgrid any more" in output
    assert "c3: in quarantine for 60 min" in output
    assert near.state().acquired == ""


def test_a_place_behind_esptools_server(
    shelf: Shelf, built: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, out = tmp_path / "farm.toml", tmp_path / "exporter.yaml"
    with AttachedBoard("esp32c3", lambda _: built["qemu_riscv32"]) as board:
        file.write_text(f'[[board]]\nname = "served"\ntarget = "esp32c3"\nport = "{board.path}"\n')
        assert main(["farm", "export", "--server", "esptool", "--out", str(out)]) == 0
        text = out.read_text()
        assert f"## esp_rfc2217_server -p 4000 {board.path}\n" in text
        port = free_port()
        server = Path(sys.executable).with_name("esp_rfc2217_server")
        with subprocess.Popen(
            [server, "-p", str(port), board.path],
            env={**os.environ, **board.environment},
            stdout=subprocess.DEVNULL,
        ) as process:
            try:
                shelf.lab.export(text.replace("4000", str(port)))
                shelf.lab.place("served")
                wait_until(lambda: answers(port), "esp_rfc2217_server")
                address = shelf.lab.coordinator.address
                file.write_text(f'[labgrid]\ncoordinator = "{address}"\n' + SERVED)
                code, output = run(capsys, file, "--samples", "3")
                assert code == 0, output
                assert "0 LSB, 0 of 30 differ" in output
                assert f"the board on rfc2217://127.0.0.1:{port}?ign_set_control" in output
            finally:
                process.kill()


def test_the_exported_shelf_is_what_an_exporter_takes(
    shelf: Shelf, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "farm.toml"
    file.write_text(
        '[[board]]\nname = "s3"\ntarget = "esp32s3"\nlocation = "1-2.3"\ntags = ["psram"]\n'
        'power = { hub = "1-2", port = 3 }\n'
        '[[board]]\nname = "c3"\ntarget = "esp32c3"\nport = "socket://127.0.0.1:4321"\n'
        'power = { on = "http://127.0.0.1/relay/0?turn=on", off = "http://127.0.0.1/relay/0?turn=off" }\n'
        '[[board]]\nname = "c6"\ntarget = "esp32c6"\nport = "rfc2217://127.0.0.1:4322"\nbaud = 921600\n'
    )
    out = tmp_path / "exporter.yaml"
    assert main(["farm", "export", "--out", str(out)]) == 0
    assert "exporter.yaml is written" in capsys.readouterr().out
    shelf.lab.export(out.read_text())
    offered = shelf.lab.coordinator.run("-v", "resources")
    assert "c3/NetworkSerialPort" in offered
    assert "s3/" not in offered, "not attached"
    taken = shelf.lab.log("labgrid-exporter")
    assert "add resource s3/USBSerialPort: USBSerialPort/" in taken
    assert "add resource s3/USBPowerPort: USBPowerPort/" in taken
    assert "'model': 'shelly_gen1'" in offered
    assert "'speed': 921600" in offered
