"""`harness mlperf-tiny` against devices on a pseudo-terminal: one of another make that behaves as the
reference does, with every fault of a serial line, and our own emulated firmware."""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import threading
import tty
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from harness.boards.serial_port import SerialBoard
from harness.cli import main
from harness.errors import LinkError, SilentError
from harness.items import load_artifact
from harness.mlperf_tiny.dataset import Sample
from harness.mlperf_tiny.device import MlperfDevice
from harness.mlperf_tiny.session import run_performance
from harness.model.spec import load_model
from harness.runtimes import get_runtime
from harness.serve import emulated_board
from tests.serial_terminal import terminal_of

Fault = Callable[[bytes], bytes]
INPUT_BYTES = 70
WINDOW_US = 10_000_000


class ForeignDevice:
    """The reference device's manners: a short input keeps the scores of the one before, without an `e-`.

    Its network says which class has the highest byte. `to_host` spoils its answers and `to_device`
    what it hears, each once per byte stream handed over.
    """

    def __init__(self, to_device: Fault = bytes, to_host: Fault = bytes, us_per_run: int = 1000) -> None:
        self._to_device, self._to_host, self._us_per_run = to_device, to_host, us_per_run
        self._buffer, self._size, self._tensor = bytearray(), 0, bytes(INPUT_BYTES)
        self._clock_us = 2**32 - 500_000  # 32 bits that wrap during the first window
        self.windows: list[int] = []

    def answer(self, command: str) -> str:
        word, *arguments = command.split(" ")
        if word == "name":
            return "m-name-dut-[foreign]\r\n"
        if word == "profile":
            return "m-profile-[ULPMark for tinyML Firmware V0.0.1]\r\nm-model-[vww01]\r\n"
        if word == "results":
            return self._results()
        if word == "infer":
            return self._infer(*map(int, [*arguments, "10"][:2]))
        if word != "db":
            return f"e-[Unknown command: {word}]\r\n"
        if arguments[0] == "load":
            self._buffer, self._size = bytearray(), int(arguments[1])
            return f"m-[Expecting {self._size} bytes]\r\n"
        if arguments[0] == "print":
            rows = [self._buffer[i : i + 8] for i in range(0, len(self._buffer), 8)]
            return "".join(f"m-buffer-{row.hex('-')}\r\n" for row in rows) + "\r\n"
        if len(arguments[0]) % 2:
            return "e-[Insufficent number of hex digits]\r\n"
        self._buffer += bytes.fromhex(arguments[0])
        return "m-load-done\r\n" if len(self._buffer) == self._size else ""

    def _infer(self, runs: int, warmups: int) -> str:
        said = ""
        if len(self._buffer) == INPUT_BYTES:
            self._tensor = bytes(self._buffer)
        else:
            said = f"Input db has {len(self._buffer)} elemented, expected {INPUT_BYTES}\r\n"
        begun_us = self._clock_us
        self._clock_us = (begun_us + runs * self._us_per_run) % 2**32
        self.windows.append(runs)
        return (
            f"{said}m-warmup-start-{warmups}\r\nm-warmup-done\r\nm-infer-start-{runs}\r\n"
            f"m-lap-us-{begun_us}\r\nm-lap-us-{self._clock_us}\r\nm-infer-done\r\n{self._results()}"
        )

    def _results(self) -> str:
        high = max(self._tensor[1], self._tensor[0], 1)
        return f"m-results-[{self._tensor[0] / high:.3f},{self._tensor[1] / high:.3f},]\r\n"

    def run(self, descriptor: int, stop: threading.Event) -> None:
        heard = b""
        os.write(descriptor, b"boot\xfe\r\nm-init-done\r\nm-ready\r\n")
        while not stop.is_set():
            if not select.select([descriptor], [], [], 0.01)[0]:
                continue
            heard += self._to_device(os.read(descriptor, 4096))
            while b"%" in heard:
                command, heard = heard.split(b"%", 1)
                said = self.answer(command.decode("latin-1")) + "m-ready\r\n"
                os.write(descriptor, self._to_host(said.encode()))


@contextlib.contextmanager
def on_terminal(device: ForeignDevice) -> Iterator[str]:
    master, slave = os.openpty()
    tty.setraw(slave)
    stop = threading.Event()
    thread = threading.Thread(target=device.run, args=(master, stop))
    thread.start()
    try:
        yield os.ttyname(slave)
    finally:
        stop.set()
        thread.join()
        os.close(master)
        os.close(slave)


@contextlib.contextmanager
def connected(device: ForeignDevice) -> Iterator[MlperfDevice]:
    with on_terminal(device) as path, SerialBoard("unknown", path) as port:
        client = MlperfDevice(port, answer_timeout_s=0.5, infer_timeout_s=0.5)
        client.connect()
        yield client


def once(pattern: bytes, replacement: bytes) -> Fault:
    """A fault that strikes the first time only."""
    left = [1]

    def strike(data: bytes) -> bytes:
        spoilt, hits = re.subn(pattern, replacement, data, count=left[0]) if left[0] else (data, 0)
        left[0] -= hits
        return spoilt

    return strike


def always(pattern: bytes, replacement: bytes) -> Fault:
    return lambda data: re.sub(pattern, replacement, data)


FIRST = bytes([200, 100]) + bytes(range(INPUT_BYTES - 2))
SECOND = bytes([100, 200]) + bytes(INPUT_BYTES - 2)


@pytest.mark.parametrize(
    "fault",
    [
        {"to_device": once(rb"db 64c8", b"db 64")},  # two digits lost: the reference keeps the old tensor
        {"to_device": once(rb"db 64c8", b"db 64c9")},  # a digit changed
        {"to_device": once(rb"db 64c8", b"db 64c")},
        {"to_device": once(rb"00%", b"00")},  # the end of a command lost
        {"to_device": once(rb"infer 1 0", b"infer 10")},
        {"to_device": once(rb"infer 1 0", b"infer 11 0")},
        {"to_host": once(rb"m-load-done\r\n", b"")},
        {"to_host": once(rb"results-\[0.500", b"results-[0.5\xff00")},
        {"to_host": once(rb"results-\[0.500", b"results-[0.700")},
        {"to_host": once(rb"m-ready", b"m-rady")},
        {"to_host": once(rb"m-buffer-64", b"m-buffer-65")},
    ],
    ids=range(11),
)
def test_a_fault_of_the_line_is_mended_and_never_scored(fault: dict[str, Fault]) -> None:
    device = ForeignDevice()
    with connected(device) as client:
        assert client.run_sample(FIRST, 1, 0).scores == (1.0, 0.5)
        device._to_device, device._to_host = fault.get("to_device", bytes), fault.get("to_host", bytes)
        assert client.run_sample(SECOND, 1, 0).scores == (0.5, 1.0)
        assert client.repeats >= 1


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ({"to_device": always(rb"db 64c8", b"db 64")}, "no score in 4 attempts"),
        ({"to_device": always(rb"64c8", b"64c9")}, "read back 70, different from byte 1 on"),
        ({"to_host": always(rb"m-infer-start-1", b"m-infer-start-2")}, "m-infer-start-1"),
    ],
)
def test_a_fault_that_stays_is_an_error(fault: dict[str, Fault], words: str) -> None:
    with connected(ForeignDevice(**fault)) as client, pytest.raises(LinkError, match=words):
        client.run_sample(SECOND, 1, 0)


def test_who_does_not_speak_the_dialect_is_named_silent() -> None:
    device = ForeignDevice(to_host=always(rb"m-name", b"x-name"))
    with pytest.raises(SilentError, match="no answer to name%"), connected(device):
        pass


def samples(directory: Path) -> Path:
    rows = []
    for number, label in enumerate([0, 1, 0, 1, 1]):
        data = (FIRST, SECOND)[label] if number else SECOND  # the first one is wrong
        (directory / f"{number}.bin").write_bytes(data)
        rows.append(f"{number}.bin,2,{label}")
    (directory / "y_labels.csv").write_text("\n".join(rows) + "\n")
    return directory


def run_command(port: str, dataset: Path, mode: str, out: Path) -> int:
    return main(["mlperf-tiny", "--port", port, "--dataset", str(dataset), "--mode", mode, "--out", str(out)])


def test_accuracy_in_the_words_of_the_submission_checker(tmp_path: Path) -> None:
    data = samples(tmp_path)
    with on_terminal(ForeignDevice()) as port:
        assert run_command(port, data, "accuracy", tmp_path / "out") == 0
        assert run_command(port, data, "accuracy", tmp_path / "out") == 2, "nothing is overwritten"
    made = tmp_path / "out" / "accuracy"
    assert {path.name for path in made.iterdir()} == {"log.txt", "results.txt", "results.json"}
    results = (made / "results.txt").read_text()
    # The patterns of tools/submission/submission_checker.py.
    assert re.match(r".* Top[- ]1%?\s?[:=] ([\d\.]+).*", results.splitlines()[0])[1] == "80.0"  # type: ignore[index]
    assert re.match(r".* AUC\s?[:=] ([\d\.]+).*", results.splitlines()[1])[1] == "0.750"  # type: ignore[index]
    records = json.loads((made / "results.json").read_text())
    assert [(r["file"], r["infer"]["results"], r["mode"]) for r in records[:2]] == [
        ("0.bin", [0.5, 1.0], "a"),
        ("1.bin", [0.5, 1.0], "a"),
    ]


def test_performance_is_the_median_of_five_windows_each_long_enough(tmp_path: Path) -> None:
    device = ForeignDevice(us_per_run=1234)
    with on_terminal(device) as port:
        assert run_command(port, samples(tmp_path), "performance", tmp_path / "out") == 0
    assert len(device.windows) >= 5
    assert all(runs * 1234 >= WINDOW_US for runs in device.windows[-5:])
    results = (tmp_path / "out" / "performance" / "results.txt").read_text()
    found = re.search(r".* Median throughput is\s+([\d\.]+) inf\./sec\..*", results)
    assert found
    assert float(found[1]) == pytest.approx(1e6 / 1234, rel=1e-3)
    records = json.loads((tmp_path / "out" / "performance" / "results.json").read_text())
    assert all(record["infer"]["elapsed_time"] >= WINDOW_US for record in records)
    assert len(records) == 5


@pytest.mark.parametrize("target", ["esp32c3", "esp32s3"])
def test_our_emulated_firmware_gives_the_oracles_scores_and_no_throughput(
    tmp_path: Path, target: str
) -> None:
    artifact = load_artifact(load_model("mnist_mlp"), "tflm")
    oracle = get_runtime("tflm").oracle(artifact)
    images = np.random.default_rng(7).integers(0, 256, (2, 784), np.uint8)
    with (
        emulated_board("mnist_mlp", target, "tflm", tmp_path) as board,
        terminal_of(board) as terminal,
        SerialBoard(target, terminal.path) as port,
    ):
        client = MlperfDevice(port)
        client.connect()
        assert (client.name, client.model) == (f"{target}-isa", "mnist_mlp")
        for image in images:
            (output,) = oracle.run([(image.astype(np.int16) - 128).astype(np.int8).reshape(1, 784)])
            real = [(int(q) + 128) / 256 for q in output.reshape(-1)]
            assert client.run_sample(image.tobytes(), 2, 1).scores == tuple(
                float(f"{score:.3f}") for score in real
            )
        sample = Sample("a.bin", 10, 0, (images[0].tobytes(),))
        session = run_performance(client, [sample], lambda *_: None, window_s=0.002)
    assert not session.valid
    assert not [line for line in session.results if "throughput is" in line or "sec." in line]
    assert "is not the chip" in session.results[-1]


def test_serve_refuses_a_target_without_emulator(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "mnist_mlp", "--target", "himax_we1"]) == 2
    assert "no emulator runs an image for himax_we1" in capsys.readouterr().err
