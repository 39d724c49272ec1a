"""The host's side of the MLPerf Tiny dialect: commands to a device, checked answers back.

The dialect has no checksum, and a reference device scores the sample before when a byte of this one is
lost. So nothing is trusted that was not read twice: the input is read back before it is used, counts in
the answer must be those asked for, and scores are asked for again. docs/mlperf_tiny.md has the
commands.
"""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from harness.boards.base import Port
from harness.errors import DeviceError, LinkError, SilentError

# A command holds 80 characters; the open runner sends as many bytes in one.
BYTES_PER_COMMAND = 31
ANSWER_TIMEOUT_S = 5.0
INFER_TIMEOUT_S = 120.0
_GREETING_TIMEOUT_S = 1.0
_GREETINGS = 8
_QUIET_S = 0.2
_ATTEMPTS = 4
_MAX_LINES = 20_000
_MAX_GREETING_LINES = 200
_TAIL_LINES = 6
_END = "m-ready"
_WRAP_US = 2**32

_NUMBER = r"-?\d+(?:\.\d+)?"
_RESULTS = re.compile(rf"m-results-\[({_NUMBER}(?:,{_NUMBER})*),?\]")
_BUFFER_LINE = re.compile(r"m-buffer-([0-9a-fA-F]{2}(?:-[0-9a-fA-F]{2})*)")
# What the reference device says without the prefix of an error.
_COMPLAINTS = ("e-[", "Supplied buffer size", "Input db has")


@dataclass(frozen=True)
class Inference:
    """The answer to one `infer`: times by the device's clock; scores are real values, of the last run."""

    iterations: int
    warmups: int
    begun_us: int
    ended_us: int
    scores: tuple[float, ...]

    @property
    def elapsed_us(self) -> int:
        return self.ended_us - self.begun_us


class MlperfDevice:
    """A device that speaks the dialect, behind a port. `connect` comes first."""

    def __init__(
        self,
        port: Port,
        *,
        answer_timeout_s: float = ANSWER_TIMEOUT_S,
        infer_timeout_s: float = INFER_TIMEOUT_S,
    ) -> None:
        self._port = port
        self._answer_timeout_s = answer_timeout_s
        self._infer_timeout_s = infer_timeout_s
        self._unread = b""
        self._tail: deque[str] = deque(maxlen=_TAIL_LINES)
        self.name = ""
        self.model = ""
        self.profile = ""
        self.repeats = 0

    def connect(self) -> None:
        """Finds the device, however far its boot is, and asks who it is.

        Raises:
            SilentError: nothing that speaks the dialect is there.
        """
        for _ in range(_GREETINGS):
            try:
                # Never a bare "%", to end what noise began: it crashes the reference device.
                lines = self._exchange("name", _GREETING_TIMEOUT_S)
            except SilentError:
                continue
            if found := re.search(r"m-name-dut-\[([^\]]+)\]", "\n".join(lines)):
                self.name = found[1]
                break
        else:
            raise SilentError(
                f"expected a device that speaks the MLPerf Tiny dialect, no answer to name%; {self._heard()}",
                "Check --port and --baud; firmware of this bench hears the dialect only until its first "
                "frame: reset the board",
            )
        self._drain()  # answers to greetings that were slow
        said = "\n".join(self.ask("profile"))
        self.profile = _field(r"m-profile-\[([^\]]+)\]", said, "m-profile-[...]")
        self.model = _field(r"m-model-\[([^\]]+)\]", said, "m-model-[...]")

    def ask(self, command: str, timeout_s: float | None = None) -> list[str]:
        """The lines of the answer, without the closing one.

        Raises:
            DeviceError: the device reports an error.
            LinkError: the answer has bytes that are no text.
            SilentError: no byte for so long, default `answer_timeout_s`.
        """
        lines = self._exchange(command, timeout_s or self._answer_timeout_s)
        for line in lines:
            if line.startswith(_COMPLAINTS):
                raise DeviceError(f"the device answers {command[:40]}% with {line.strip()}")
            if not line.isascii():
                raise LinkError(f"the answer to {command[:40]}% is damaged: {line!r}", "Check the cable")
        return lines

    def run_sample(self, data: bytes, iterations: int, warmups: int) -> Inference:
        """Loads `data`, infers, and begins again if anything on the way went wrong.

        Raises:
            LinkError: it did not work in four attempts.
        """
        for attempt in range(_ATTEMPTS):
            try:
                self.load(data)
                return self.infer(iterations, warmups)
            except (DeviceError, LinkError, SilentError) as error:
                failure = error
                self.repeats += 1
                if attempt < _ATTEMPTS - 1:
                    self._drain()
        raise LinkError(
            f"{len(data)} bytes of input gave no score in {_ATTEMPTS} attempts; last: {failure.message}",
            failure.remedy or "Check that the data fit the model, the cable, and --baud",
        )

    def load(self, data: bytes) -> None:
        """Puts `data` into the device's buffer, and reads it back.

        Raises:
            LinkError: the device holds something else.
        """
        if (answer := self.ask(f"db load {len(data)}")) != [f"m-[Expecting {len(data)} bytes]"]:
            raise LinkError(f"expected m-[Expecting {len(data)} bytes], got {answer}")
        for start in range(0, len(data), BYTES_PER_COMMAND):
            answer = self.ask(f"db {data[start : start + BYTES_PER_COMMAND].hex()}")
            last = start + BYTES_PER_COMMAND >= len(data)
            if answer != (["m-load-done"] if last else []):
                wanted = "m-load-done" if last else "nothing"
                raise LinkError(f"expected {wanted} after byte {start + BYTES_PER_COMMAND}, got {answer}")
        held = parse_buffer(self.ask("db print"))
        if held != data:
            at = next((i for i, (a, b) in enumerate(zip(held, data, strict=False)) if a != b), len(held))
            raise LinkError(f"sent {len(data)} bytes, read back {len(held)}, different from byte {at} on")

    def infer(self, iterations: int, warmups: int) -> Inference:
        """Runs the network on what is loaded.

        Raises:
            LinkError: the answer is not that of such a run, or its scores come out differently when
                asked for again.
        """
        command = f"infer {iterations} {warmups}"
        lines = [line for line in self.ask(command, self._infer_timeout_s) if line.startswith("m-")]
        forms = (
            *(f"m-warmup-start-{warmups}", "m-warmup-done", f"m-infer-start-{iterations}"),
            *(r"m-lap-us-(\d+)", r"m-lap-us-(\d+)", "m-infer-done", _RESULTS.pattern),
        )
        found = [re.fullmatch(form, line) for form, line in zip(forms, lines, strict=False)]
        if len(lines) != len(forms) or not all(found):
            raise LinkError(f"expected {', '.join(forms[:3])} ... in answer to {command}%, got {lines}")
        begun_us, ended_us = int(lines[3][9:]), int(lines[4][9:])
        if ended_us < begun_us < _WRAP_US:
            ended_us += _WRAP_US  # a clock of 32 bits
        if ended_us < begun_us:
            raise LinkError(f"the device's clock went back from {begun_us} to {ended_us} us")
        again = self.ask("results")
        if again != [lines[-1]]:
            raise LinkError(
                f"the device's scores are {lines[-1]}, when asked again {again}", "Check the cable"
            )
        return Inference(iterations, warmups, begun_us, ended_us, parse_scores(lines[-1]))

    def _exchange(self, command: str, timeout_s: float) -> list[str]:
        """Empty lines are left out: devices differ in them. Bytes that are no text become U+FFFD."""
        self._tail.append(f"> {command[:60]}%")
        self._port.write(f"{command}%".encode("ascii"))
        lines: list[str] = []
        while len(lines) < (_MAX_LINES if self.name else _MAX_GREETING_LINES):
            line = self._read_line(timeout_s, command)
            self._tail.append(f"< {line[:80]}")
            # A line may begin with what the device wrote before it was spoken to.
            if line == _END:
                return lines
            if line:
                lines.append(line)
        raise SilentError(f"{len(lines)} lines and no {_END} in answer to {command[:40]}%; {self._heard()}")

    def _read_line(self, timeout_s: float, command: str) -> str:
        until_s = time.monotonic() + timeout_s
        while b"\n" not in self._unread:
            got = self._port.read(max(0.0, until_s - time.monotonic()))
            if not got:
                raise SilentError(f"no answer to {command[:40]}% in {timeout_s:g} s; {self._heard()}")
            self._unread += got
        line, self._unread = self._unread.split(b"\n", 1)
        return line.rstrip(b"\r").decode("ascii", "replace")

    def _drain(self) -> None:
        for _ in range(_MAX_LINES):
            if not self._port.read(_QUIET_S):
                break
        self._unread = b""

    def _heard(self) -> str:
        unread = repr(self._unread[-40:]) if self._unread else "nothing after"
        return f"the last lines: {' | '.join(self._tail) or 'none'}, {unread}"


def parse_scores(line: str) -> tuple[float, ...]:
    """The numbers of one m-results line; a comma behind the last one is the reference's own.

    Raises:
        LinkError: it is no such line, or a number is none.
    """
    found = _RESULTS.fullmatch(line)
    if found is None:
        raise LinkError(f"expected m-results-[numbers], got {line}")
    return tuple(float(number) for number in found[1].split(","))


def parse_buffer(lines: Sequence[str]) -> bytes:
    """The bytes that `db print` printed. Raises LinkError for any other line."""
    held = b""
    for line in lines:
        found = _BUFFER_LINE.fullmatch(line)
        if found is None:
            raise LinkError(f"expected m-buffer-xx-..., got {line}", "The device must answer db print")
        held += bytes.fromhex(found[1].replace("-", ""))
    return held


def _field(pattern: str, text: str, wanted: str) -> str:
    found = re.search(pattern, text)
    if found is None:
        raise LinkError(f"expected {wanted} in answer to profile%, got {text!r}")
    return found[1]
