"""Stock esptool as a child process: asks a chip who it is, writes its flash, restarts it.

A process and not esptool's Python API: one that hangs can be ended, its port and global logger
are its own, its whole output is kept, the line that ran can be pasted into a shell, and its licence
(GPL) stays on its side. What is written, esptool verifies by MD5 over the flash.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from harness.boards.port_faults import why_not_opened
from harness.boards.process import die_with_parent
from harness.errors import BuildError, FlashError, HarnessError, IdentityError, PortError, UsageError
from harness.progress import Progress
from harness.toolchains.flash_image import FlashImage, FlashPart, flash_size_bytes

FLASH_BAUD = 460800
_ATTEMPTS = 4
# Without the bytes to write. RFC 2217 negotiates anew at each of esptool's commands (150 ms): half a
# minute has been seen for what a local port does in one second.
_RUN_TIMEOUT_S = 30.0
_REMOTE_RUN_TIMEOUT_S = 180.0
_MERGE_TIMEOUT_S = 60.0
# Erasing, and a slow line: far below what 115200 baud carries.
_SLOWEST_BYTES_PER_S = 4000
# A chip with native USB is gone for a moment while it restarts, and esptool waits for it.
_REAPPEAR_S = 3.0
_POLL_S = 0.05
_PERCENT = re.compile(r"Writing at 0x[0-9a-f]+ .*?([\d.]+)%")
_PART_DONE = re.compile(r"Hash of data verified|already in flash, skipping write")


@dataclass(frozen=True)
class Reset:
    """How a chip gets into its ROM loader and out again: esptool's `--before` and `--after`."""

    before: str
    after: str


RESETS = {
    # esptool takes the USB-Serial-JTAG sequence by itself where the port's USB ids say so.
    "dtr-rts": Reset("default-reset", "hard-reset"),
    "usb-jtag": Reset("usb-reset", "hard-reset"),
    # For chips whose straps a pulse on EN does not read again, and ports without RTS.
    "watchdog": Reset("default-reset", "watchdog-reset"),
    # Buttons: the user holds BOOT for the loader and presses RESET afterwards.
    "none": Reset("no-reset", "no-reset"),
}


@dataclass(frozen=True)
class Chip:
    """What a chip's ROM loader tells. `flash_bytes` is None when the flash chip is not recognised,
    `psram_bytes` when there is none in the chip's own package: one beside it cannot be seen.
    """

    target: str
    description: str
    mac: str
    features: str
    flash_bytes: int | None

    @property
    def psram_bytes(self) -> int | None:
        size = re.search(r"Embedded PSRAM (\d+)MB", self.features)
        return int(size[1]) << 20 if size else None


class Esptool:
    """esptool for one port. Each method is one run of it, and restarts the chip."""

    def __init__(self, port: str, *, reset: str = "dtr-rts", log: Path | None = None) -> None:
        """
        Args:
            reset: a key of `RESETS`.
            log: file that esptool's output is appended to.

        Raises:
            UsageError: unknown reset strategy.
        """
        if reset not in RESETS:
            raise UsageError(f"expected --reset to be one of {', '.join(RESETS)}, got {reset!r}")
        self._port = port
        # A TCP socket has no reset lines.
        self._reset = RESETS["none" if urlsplit(port).scheme == "socket" else reset]
        self._log = log

    def identify(self, target: str = "auto") -> Chip:
        """Asks the ROM loader. Raises as `write`, IdentityError if it is not `target`."""
        said = self._run(target, ["flash-id"])
        family = _found(r"Connected to (\S+) on", said)
        flash_size = _found(r"Detected flash size: (\d+[KM]B)", said)
        return Chip(
            target=family.lower().replace("-", ""),
            description=_found(r"Chip type: +(.+)", said),
            mac=_found(r"MAC: +(\S+)", said).lower(),
            features=_found(r"Features: +(.+)", said),
            flash_bytes=flash_size_bytes(flash_size) if flash_size else None,
        )

    def write(self, image: FlashImage, parts: Sequence[FlashPart], progress: Progress | None = None) -> Chip:
        """Writes `parts` of `image`, leaving out what is in flash already, verifies, restarts.

        Raises, before anything is written:
            IdentityError: another chip than the image's.
            FlashError: flash or PSRAM is smaller than the image needs, the chip is of a revision it is not
                for; no ROM loader answers.
            PortError: the port is absent, busy or not permitted.
            BuildError: the image's parts overlap.

        Raises, when something may have been written:
            FlashError: the connection broke, the flash does not hold what was written, esptool hangs.
        """
        image.check_layout()
        chip = self.identify(image.target)
        if chip.flash_bytes is not None and chip.flash_bytes < image.flash_bytes:
            raise FlashError(
                f"the image needs {image.flash_bytes >> 20} MB of flash, the {chip.description} on "
                f"{self._port} has {chip.flash_bytes / (1 << 20):g} MB; nothing was written",
                f"Build for it: --flash-size {chip.flash_bytes >> 20}MB, or use another board",
            )
        if chip.psram_bytes is not None and chip.psram_bytes < image.psram_bytes:
            raise FlashError(
                f"the model needs {image.psram_bytes / (1 << 20):.1f} MB of PSRAM for activations, the "
                f"{chip.description} on {self._port} has {chip.psram_bytes >> 20} MB; nothing was written",
                "Use a board with more PSRAM or a smaller model",
            )
        total = sum(part.size_bytes for part in parts)
        self._run(
            image.target,
            [
                *("write-flash", "--skip-flashed"),
                *("--flash-mode", image.flash_mode, "--flash-freq", image.flash_freq, "--flash-size", "keep"),
                *_where(parts),
            ],
            total,
            _follow(parts, progress) if progress else None,
        )
        if progress is not None:
            progress(total, total)
        return chip

    def _run(
        self,
        target: str,
        command: list[str],
        write_bytes: int = 0,
        follow: Callable[[str], None] | None = None,
    ) -> str:
        timeout_s = _REMOTE_RUN_TIMEOUT_S if urlsplit(self._port).scheme else _RUN_TIMEOUT_S
        timeout_s += write_bytes / _SLOWEST_BYTES_PER_S
        arguments = [
            *(sys.executable, "-m", "esptool", "--chip", target, "--port", self._port),
            *("--baud", str(FLASH_BAUD), "--before", self._reset.before, "--after", self._reset.after),
            *("--connect-attempts", str(_ATTEMPTS), *command),
        ]
        # Its output goes to a file: no pipe can fill up, and what came before an abrupt end is kept.
        with tempfile.TemporaryFile() if self._log is None else self._log.open("a+b") as output:
            start = output.seek(0, os.SEEK_END)
            output.write(f"$ {' '.join(arguments)}\n".encode())
            output.flush()
            process = subprocess.Popen(
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=_environment(),
                preexec_fn=die_with_parent(),
            )

            def said() -> str:
                return os.pread(output.fileno(), 1 << 20, start).decode("utf-8", "replace")

            try:
                ended = self._wait(process, timeout_s, said, follow)
            finally:
                if process.poll() is None:
                    process.kill()
                process.wait()
            if process.returncode == 0:
                return said()
            raise self._fault(said(), ended)

    def _wait(
        self,
        process: subprocess.Popen[bytes],
        timeout_s: float,
        said: Callable[[], str],
        follow: Callable[[str], None] | None,
    ) -> str:
        """Until esptool ends; or why it should not be waited for any longer."""
        give_up_s = time.monotonic() + timeout_s
        gone_s: float | None = None
        # Of a port that was not there at all, esptool says so itself, however long its start takes.
        seen = False
        while process.poll() is None:
            now_s = time.monotonic()
            if now_s > give_up_s:
                return f"esptool did not end within {timeout_s:.0f} s"
            if self._port_exists():
                seen, gone_s = True, None
            elif seen:
                gone_s = gone_s or now_s
                if now_s - gone_s > _REAPPEAR_S:
                    return "the port is gone"
            if follow is not None:
                follow(said())
            try:
                process.wait(_POLL_S)
            except subprocess.TimeoutExpired:
                continue
        return ""

    def _port_exists(self) -> bool:
        return bool(urlsplit(self._port).scheme) or os.path.exists(self._port)

    def _fault(self, said: str, ended: str) -> HarnessError:
        return self._refusal(said) or self._breakage(said, ended)

    def _refusal(self, said: str) -> HarnessError | None:
        """What kept esptool from beginning."""
        if wrong := re.search(r"This chip is (\S+), not (\S+)\. ", said):
            return IdentityError(
                f"expected {wrong[2]} on {self._port}, the chip there is {wrong[1]}; nothing was written",
                "Choose another --port or --target",
            )
        if unopened := re.search(r"Could not open \S+,[^(]*\((.*)\)", said):
            if urlsplit(self._port).scheme:
                return PortError(f"cannot reach {self._port}: {unopened[1]}", "Check host, port and server")
            return why_not_opened(self._port, unopened[1])
        if older := re.search(
            r"requires chip revision (.+) \(this chip is revision (\S+)\)\. Use --force", said
        ):
            return FlashError(
                f"the firmware is for chip revision {older[1]}, the chip on {self._port} is {older[2]}; "
                "nothing was written",
                "Build for it with --sdkconfig FILE: CONFIG_ESP32P4_SELECTS_REV_LESS_V3=y is for an ESP32-P4 "
                "below v3.0",
            )
        boot = "Hold BOOT, press RESET, let go, and run again with --reset none"
        if "Wrong boot mode detected" in said:
            return FlashError(f"the chip on {self._port} ran its firmware, not the ROM loader", boot)
        if "Failed to connect" in said and not _has_begun(said):
            return FlashError(f"no ROM loader answers on {self._port}; nothing was written", boot)
        return None

    def _breakage(self, said: str, ended: str) -> FlashError:
        """What ended its work."""
        log = f" (esptool's output: {self._log})" if self._log else ""
        state = "its flash is incomplete" if _has_begun(said) else "nothing was written"
        if re.search(r"MD5 of file does not match|written flash region is empty", said):
            return FlashError(
                f"verify mismatch: the flash on {self._port} does not hold what was written{log}",
                "Run again; if it stays, the flash is worn out or its mode or supply is wrong",
            )
        if ended == "the port is gone" or re.search(r"Lost connection|serial exception|Input/output", said):
            return FlashError(
                f"{self._port} went away in the middle of the work; {state}{log}",
                "Attach the board again and run again",
            )
        if re.search(r"No more data to read|Invalid head of packet|No serial data|Guru Meditation", said):
            return FlashError(
                f"the chip on {self._port} stopped answering in the middle of the work; {state}{log}",
                "It may have restarted by a brown-out: use a shorter cable or another supply, and run again",
            )
        reason = re.search(r"A fatal error occurred: (.*)", said)
        words = ended or (reason[1] if reason else _last_words(said))
        return FlashError(f"esptool failed on {self._port}: {words}; {state}{log}", "Check cable and supply")


def _has_begun(said: str) -> bool:
    """Whether a sector may have been erased."""
    return "Flash will be erased from" in said


def merge_parts(image: FlashImage, out: Path, pad_to: str | None = None) -> None:
    """All parts of `image` in one file for an emulator, filled up to `pad_to` (`4MB`).

    Raises BuildError when parts overlap, do not fit, or esptool does not take them.
    """
    image.check_layout()
    command = [sys.executable, "-m", "esptool", "--chip", image.target, "merge-bin", "-o", str(out)]
    command += ["--flash-mode", image.flash_mode, "--flash-freq", image.flash_freq]
    command += ["--pad-to-size", pad_to] if pad_to else []
    done = subprocess.run(
        [*command, *_where(image.all_parts)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=_environment(),
        timeout=_MERGE_TIMEOUT_S,
        check=False,
    )
    if done.returncode != 0 or not out.is_file():
        said = _last_words(done.stdout.decode("utf-8", "replace"))
        raise BuildError(f"esptool cannot merge the parts of the image: {said}", "Check its chip and offsets")


def _where(parts: Sequence[FlashPart]) -> list[str]:
    return [word for part in parts for word in (hex(part.offset), str(part.file))]


def _environment() -> dict[str, str]:
    # Wide, so that no line is broken; uncoloured, and written as it comes, so that it can be followed.
    return {**os.environ, "PYTHONUNBUFFERED": "1", "NO_COLOR": "1", "COLUMNS": "400"}


def _last_words(said: str) -> str:
    """The last line esptool printed, without the frame it draws around errors of usage."""
    lines = [line.strip("│ \t") for line in said.splitlines() if re.search(r"\w", line)]
    return lines[-1].rstrip(".") if lines else "it said nothing"


def _follow(parts: Sequence[FlashPart], progress: Progress) -> Callable[[str], None]:
    """Reads bytes done out of what esptool printed so far."""
    sizes = [part.size_bytes for part in parts]
    total = sum(sizes)

    def follow(said: str) -> None:
        finished = len(_PART_DONE.findall(said))
        done = float(sum(sizes[:finished]))
        tail = said[max((found.end() for found in _PART_DONE.finditer(said)), default=0) :]
        if finished < len(sizes) and (shares := _PERCENT.findall(tail)):
            done += sizes[finished] * float(shares[-1]) / 100
        progress(min(int(done), total - 1), total)

    return follow


def _found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    return match[1].strip() if match else ""
