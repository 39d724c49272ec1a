"""One sample of one model on one board, for the commands that look at layers: `debug` and `diff-layers`.

What they share: their options, a bench that writes no report, and the device. What they read is their own.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness.bench import Bench
from harness.boards.base import Board
from harness.boards.qemu import QemuBoard
from harness.deployment import LinkedDeployment
from harness.errors import DataError, UnsupportedError, UsageError
from harness.expectation import Expectation
from harness.items import Item
from harness.runtimes import get_runtime
from harness.settings import Settings, build_root_under, settings_from
from harness.targets import TARGETS

Parser = Any  # argparse's own type of a sub-parser is private


def add_arguments(parser: Parser) -> None:
    """The options of both commands, beside the model itself."""
    parser.add_argument("--runtime", default="all", metavar="NAME", help="default: the first that takes it")
    parser.add_argument(
        "--target", metavar="NAME", help="without: the same C as a native process on this computer"
    )
    parser.add_argument("--port", metavar="PORT", help="of an attached board that runs the model's firmware")
    parser.add_argument("--baud", metavar="N", help="baud rate of --port")
    parser.add_argument("--elf", type=Path, metavar="FILE", help="an image built by hand, to run in QEMU")
    parser.add_argument("--data", default="", metavar="FILE", help=".npz with x; default: the model's own")
    parser.add_argument("--calibration", default="", metavar="FILE.npz", help="as for run")
    parser.add_argument("--sample", type=int, default=0, metavar="N", help="counted from 0 (default: 0)")


@contextmanager
def bench_of(parsed: argparse.Namespace, command: str) -> Iterator[Bench]:
    """A bench of one item, up to the sample that is asked for; its journal is closed, nothing is reported.

    Raises:
        UsageError: options that do not go together.
    """
    if parsed.target is None and (parsed.port or parsed.elf):
        raise UsageError("--port and --elf need the chip", "Add --target NAME")
    if parsed.sample < 0:
        raise UsageError(f"--sample expects a number of at least 0, got '{parsed.sample}'")
    settings = _settings(parsed, command)
    bench = Bench(settings, reports_root=settings.build_root, command=f"harness {command}")
    try:
        yield bench
    finally:
        bench.finish()


def _settings(parsed: argparse.Namespace, command: str) -> Settings:
    root = Path.cwd()
    given = {
        "model": parsed.model,
        "runtime": parsed.runtime,
        "data": parsed.data,
        "calibration": parsed.calibration,
        "reference": "none",
        "samples": str(parsed.sample + 1),
        "layer_samples": "0",
        "board": "auto" if parsed.target else "host",
        "report_dir": str(build_root_under(root) / command),
    }
    return settings_from(
        lambda option: given.get(option.field, option.default),
        target=parsed.target or next(iter(TARGETS)),
        port=parsed.port,
        baud=parsed.baud,
        root=root,
        skip_autoflash="y",
    )


def expectation(bench: Bench, item: Item, sample: int) -> Expectation:
    """What a correct device answers to the samples up to `sample` (from 0).

    Raises:
        DataError: there is no such sample.
        UsageError: the runtime's files differ by chip, and none is named.
    """
    if bench.settings.board == "host" and get_runtime(item.runtime).by_chip:
        raise UsageError(f"runtime {item.runtime} has a file for each kind of chip", "Add --target NAME")
    expected = bench.expectation(item, bench.artifact(item))
    if sample >= expected.samples:
        raise DataError(f"--sample {sample}: the data have {expected.samples} samples, counted from 0")
    return expected


@contextmanager
def device(bench: Bench, item: Item, elf: Path | None = None) -> Iterator[LinkedDeployment]:
    """The item on its board; `elf`: an image built by hand, in QEMU, not one that is built here.

    Raises:
        UsageError: `elf` is no file, or nothing here runs it.
        UnsupportedError: the device's firmware only prints.
    """
    artifact = bench.artifact(item)
    if elf is not None:
        if not elf.is_file():
            raise UsageError(f"{elf}: no such image", "Build it: make -C DIR of harness generate")
        if item.target.isa_platform is None:
            raise UsageError(f"no emulator runs an image for {item.target.id}")
        image = None
        board: Board = QemuBoard(item.target.id, item.target.isa_platform, elf)
    else:
        image = bench.image(item, bench.project(item, artifact))
        board = bench.board(item, image)
    with bench.deploy(item, artifact, image, board) as deployment:
        if not isinstance(deployment, LinkedDeployment):
            raise UnsupportedError(f"{board.info.name}: its firmware only prints and gives no layers")
        yield deployment
