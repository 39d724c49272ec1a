"""Boards of a farm that fail: each by its own name and in time, and the item goes on elsewhere.

The boards are native firmware behind pseudo-terminals; farm file, leases and health are as a user has them.
Only the waits are shorter.
"""

from __future__ import annotations

import contextlib
import http.server
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import bench as bench_module
from harness.bench import Bench
from harness.boards.base import Port
from harness.boards.host import HostBoard
from harness.farm import power, recovery
from harness.farm.file import find_farm
from harness.farm.health import load_health
from harness.farm.leases import STATE_VARIABLE, Leases
from harness.items import load_artifact
from harness.model.spec import load_model
from harness.records.schema import ItemRecord
from harness.runtimes import get_runtime
from harness.settings import OPTIONS, settings_from
from harness.targets import get_target
from harness.toolchains.bare_metal import build
from tests.faulty_boards import FAULTS, FailsAtInference, Fault, FaultyBoard, Mute
from tests.link_devices import PythonDevice
from tests.serial_terminal import terminal_of

HANDSHAKE_S = 1.5
RUNG_S = 0.6
# A rung that is to help.
AMPLE_S = 20.0
# A sound board that computes gives no reason to be taken for a silent one, on a loaded machine too.
INFER_S = 2.0


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("farm")
    artifact = load_artifact(load_model("mnist_mlp"), "tflm")
    project = get_runtime("tflm").generate(artifact, "portable", directory / "project")
    return build(project, get_target("esp32c3"), "host", build_root=directory / "images").elf


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(STATE_VARIABLE, str(tmp_path / "state"))
    monkeypatch.setenv("HARNESS_HISTORY_URL", f"sqlite:///{tmp_path}/history.sqlite")
    monkeypatch.setattr(bench_module, "HANDSHAKE_S", HANDSHAKE_S)
    for rung in ("RESYNCHRONISE_S", "COMMAND_S", "LINES_S"):
        monkeypatch.setattr(recovery, rung, RUNG_S)
    monkeypatch.setattr(power, "OFF_S", 0.05)


class Farm:
    """Boards on terminals, and the file that names them."""

    def __init__(self, directory: Path, program: Path, stack: contextlib.ExitStack) -> None:
        self.file = directory / "farm.toml"
        self.file.write_text("")
        self._program, self._stack, self._directory = program, stack, directory

    def add(self, name: str, fault: Fault | None = None, more: str = "") -> None:
        board = self._stack.enter_context(contextlib.closing(HostBoard("esp32c3", self._program)))
        self.add_device(name, FaultyBoard(board, fault) if fault else board.open(), more)

    def add_device(self, name: str, device: Port, more: str = "") -> None:
        terminal = self._stack.enter_context(terminal_of(device))
        with self.file.open("a") as file:
            file.write(f'[[board]]\nname = "{name}"\ntarget = "esp32c3"\nport = "{terminal.path}"\n{more}\n')

    def run(self, board: str = "auto") -> ItemRecord:
        chosen = {
            "model": "mnist_mlp",
            "runtime": "tflm",
            "samples": "20",
            "board": board,
            "reference": "none",
        }
        chosen |= {"farm": str(self.file), "infer-timeout": f"{INFER_S:g}", "wait": "5"}
        chosen |= {"report-dir": str(self._directory / "report")}
        settings = settings_from(
            lambda option: chosen.get(option.name, option.default),
            target="esp32c3", port=None, baud=None, root=self._directory,
        )  # fmt: skip
        assert {option.name for option in OPTIONS} >= set(chosen)
        bench = Bench(settings, reports_root=self._directory, command="test")
        (item,) = bench.items()
        record = bench.run_item(item)
        bench.finish()
        return record


@pytest.fixture
def farm(tmp_path: Path, program: Path) -> Iterator[Farm]:
    with contextlib.ExitStack() as stack:
        yield Farm(tmp_path, program, stack)


NAMES = {
    "never answers": "expected the answer to HELLO, nothing valid came",
    "answers garbage": "damaged frames came: wrong baud rate?",
    "answers an old sequence number": "answers bore the sequence number of no open request",
    "resets for ever": "the board restarts over and over (3 times, cause TG1WDT_SYS_RST)",
    "panics in mid-run": "the firmware crashed on core 0: LoadProhibited",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_has_its_name_in_time_and_the_item_goes_on_elsewhere(fault: str, farm: Farm) -> None:
    farm.add("bad", FAULTS[fault]())
    farm.add("good")
    started_s = time.monotonic()
    record = farm.run()
    took_s = time.monotonic() - started_s
    assert (record.outcome, record.error) == ("passed", None), record
    assert record.board == "good"
    assert record.runtime_gap is not None
    assert record.runtime_gap.max_lsb == 0
    said = "\n".join(record.notes)
    assert f"bad: {NAMES[fault]}" in said or NAMES[fault] in said.partition("; bringing it back")[0]
    assert "bad: resynchronise the link: failed" in said
    assert "bad: reset by DTR and RTS: failed" in said
    assert "bad: in quarantine for 60 min" in said
    # The handshake (or the silence in mid-run), three rungs, and the whole item on the other board.
    assert took_s < HANDSHAKE_S + 3 * (RUNG_S + 0.7) + 30


def test_alone_the_error_stands_and_the_next_run_is_told_why_there_is_no_board(farm: Farm) -> None:
    farm.add("bad", Mute())
    record = farm.run()
    assert record.outcome == "error"
    assert record.error is not None
    assert record.error.startswith("expected the answer to HELLO, nothing valid came for 1.5 s")
    again = farm.run()
    assert again.error is not None
    assert again.error.startswith("every esp32c3 of the farm that would do is in quarantine: bad until ")
    assert "harness boards clear NAME" in again.error
    assert "expected the answer to HELLO" in again.error


def test_another_model_is_tried_elsewhere_and_is_no_illness(farm: Farm) -> None:
    farm.add_device("other", PythonDevice())
    farm.add("right")
    record = farm.run()
    assert (record.outcome, record.board) == ("passed", "right")
    board = find_farm(str(farm.file), Path()).boards[0]
    health = load_health(Leases(), board.key)
    assert not health.quarantined
    assert not health.sick
    alone = farm.run(board="other")
    assert alone.error is not None
    assert "expected model mnist_mlp (artifact " in alone.error


def test_a_board_that_a_command_revives_keeps_its_item(farm: Farm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recovery, "COMMAND_S", AMPLE_S)
    farm.add("shy", FailsAtInference(12, by_command=True))
    record = farm.run()
    assert (record.outcome, record.board) == ("passed", "shy"), record.error
    assert any(note.startswith("shy: reset by command: answers after") for note in record.notes)
    assert record.provenance["board_health"].startswith("0 of the last 1 runs without a fault")


def test_an_http_plug_switches_a_board_that_nothing_else_revives(farm: Farm) -> None:
    fault = FailsAtInference(12)
    asked: list[str] = []

    class Plug(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            if self.path == "/relay/0?turn=on":
                fault.revive()
            self.send_response(200)
            self.end_headers()

        def log_message(self, *arguments: object) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Plug) as server:
        threading.Thread(target=server.serve_forever).start()
        at = f"http://127.0.0.1:{server.server_port}/relay/0?turn="
        farm.add("hung", fault, more=f'power = {{ on = "{at}on", off = "{at}off" }}')
        record = farm.run()
        server.shutdown()
    assert (record.outcome, record.board) == ("passed", "hung"), record.error
    assert asked == ["/relay/0?turn=off", "/relay/0?turn=on"]
    assert any("power cycle (plug at 127.0.0.1): answers" in note for note in record.notes)


def test_what_fails_again_after_recovery_is_not_the_boards_fault(
    farm: Farm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovery, "COMMAND_S", AMPLE_S)
    farm.add("shy", FailsAtInference(12, by_command=True, times=9))
    farm.add("idle")
    record = farm.run()
    assert record.outcome == "error"
    assert record.board == "shy"
    assert record.error is not None
    assert record.error.startswith("expected the answer to INFER")
