"""Every layer of one inference, oracle and device side by side, and the first that differs.

The bench compares layers by digest and reads only those that differ; this reads them all, for people
who look for a fault in a kernel, a compiler or a chip.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness.bench import Bench
from harness.boards.base import Board
from harness.boards.qemu import QemuBoard
from harness.deployment import LinkedDeployment
from harness.errors import DataError, UnsupportedError, UsageError
from harness.expectation import Expectation
from harness.items import Item
from harness.measure.gaps import Difference, difference, distance_lsb
from harness.runtimes import get_runtime
from harness.runtimes.base import Array
from harness.settings import Settings, build_root_under, settings_from
from harness.targets import TARGETS
from harness.tensors import Layer

SHOWN_VALUES = 8
Parsers = Any  # argparse's own type of `add_subparsers` is private


@dataclass(frozen=True)
class LayerPair:
    """One layer's output twice; both arrays have the layer's shape and dtype."""

    layer: Layer
    oracle: Array
    device: Array

    @property
    def difference(self) -> Difference:
        return difference(self.device, self.oracle)


def add_command(commands: Parsers) -> None:
    """Adds `harness debug` to the command line."""
    parser = commands.add_parser(
        "debug",
        help="every layer of one inference, oracle and device side by side",
        description="Runs one sample and reads every layer back. Exit code 1: a layer differs; the first "
        "one is named.",
        epilog="harness debug my.onnx --runtime tvm --target esp32c3 --data my.npz --sample 7",
    )
    parser.add_argument("model", help="zoo name, directory with a model.toml, or model file")
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
    parser.set_defaults(run=_command)


def _command(parsed: argparse.Namespace) -> int:
    if parsed.target is None and (parsed.port or parsed.elf):
        raise UsageError("--port and --elf need the chip", "Add --target NAME")
    settings = _settings(parsed)
    # The bench wants a place for its logs; there is no report.
    bench = Bench(settings, reports_root=settings.build_root, command="harness debug")
    try:
        item = bench.items()[0]
        device, pairs = debug(bench, item, parsed.sample, parsed.elf)
    finally:
        bench.finish()
    print(f"{item.model.name}, runtime {item.runtime}, sample {parsed.sample}; device: {device}")
    print(render(pairs))
    return int(first_difference(pairs) is not None)


def _settings(parsed: argparse.Namespace) -> Settings:
    """Those of a run of one item that expects every layer of the samples up to the one asked for."""
    root = Path.cwd()
    samples = str(max(parsed.sample, 0) + 1)
    given = {
        "model": parsed.model,
        "runtime": parsed.runtime,
        "data": parsed.data,
        "calibration": parsed.calibration,
        "reference": "none",
        "samples": samples,
        "layer_samples": samples,
        "board": "auto" if parsed.target else "host",
        "report_dir": str(build_root_under(root) / "debug"),
    }
    return settings_from(
        lambda option: given.get(option.field, option.default),
        target=parsed.target or next(iter(TARGETS)),
        port=parsed.port,
        baud=parsed.baud,
        root=root,
    )


def debug(bench: Bench, item: Item, sample: int, elf: Path | None = None) -> tuple[str, list[LayerPair]]:
    """Runs sample `sample` (from 0) up to each layer in turn; the board's name and the layers in order.

    Args:
        bench: its settings must let at least `sample` + 1 samples and their layers be expected.
        elf: run this image, built by hand, in QEMU; None builds one, or asks the attached board.

    Raises:
        DataError: there is no such sample.
        UsageError: `elf` is no file.
        UnsupportedError: the device gives no layers.
    """
    if bench.settings.board == "host" and get_runtime(item.runtime).by_chip:
        raise UsageError(f"runtime {item.runtime} has a file for each kind of chip", "Add --target NAME")
    artifact = bench.artifact(item)
    expected = bench.expectation(item, artifact)
    if not 0 <= sample < len(expected.layers):
        raise DataError(f"--sample {sample}: the data have {expected.samples} samples, counted from 0")
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
        return f"{board.info.name}, fidelity {deployment.fidelity}", _pairs(deployment, expected, sample)


def _pairs(deployment: LinkedDeployment, expected: Expectation, sample: int) -> list[LayerPair]:
    payload = expected.payload(sample)
    pairs = []
    for layer, oracle in zip(deployment.artifact.layers, expected.layers[sample], strict=True):
        raw = np.frombuffer(deployment.link.read_layer(payload, layer.index), oracle.dtype)
        pairs.append(LayerPair(layer, oracle, raw.reshape(oracle.shape)))
    return pairs


def first_difference(pairs: Sequence[LayerPair]) -> LayerPair | None:
    """The first layer whose outputs are not equal."""
    return next((pair for pair in pairs if pair.difference.mismatching_elements), None)


def render(pairs: Sequence[LayerPair]) -> str:
    """Three lines for each layer, then the verdict."""
    lines = [line for pair in pairs for line in _layer(pair)]
    wrong = first_difference(pairs)
    if wrong is None:
        return "\n".join([*lines, f"All {len(pairs)} layers are equal: 0 LSB"])
    later = sum(pair.difference.mismatching_elements > 0 for pair in pairs) - 1
    after = f"; {later} later ones differ too" if later else ""
    return "\n".join([*lines, f"First layer that differs: {_title(wrong.layer)}{after}"])


def _title(layer: Layer) -> str:
    return f"{layer.index} {layer.op} ({layer.output.name})"


def _layer(pair: LayerPair) -> list[str]:
    info, found = pair.layer.output, pair.difference
    shape = "x".join(map(str, info.shape)) or "scalar"
    scale = f", scale {info.scale:.9g}, zero point {info.zero_point}" if info.quantised else ""
    verdict = "equal"
    if found.mismatching_elements:
        place = int(np.flatnonzero(distance_lsb(pair.device, pair.oracle))[0])
        at = ", ".join(map(str, np.unravel_index(place, pair.oracle.shape)))
        values = (_text(array.reshape(-1)[place]) for array in (pair.oracle, pair.device))
        verdict = (
            f"max |Δ| {found.max_lsb} LSB, {found.mismatching_elements} of {info.elements} differ, "
            f"the first at [{at}]: {' is '.join(values)}"
        )
    return [
        f"{_title(pair.layer)}: {shape} {info.dtype}{scale}",
        f"    oracle  {_values(pair.oracle)}",
        f"    device  {_values(pair.device)}  {verdict}",
    ]


def _values(array: Array) -> str:
    flat = array.reshape(-1)
    first = " ".join(_text(value) for value in flat[:SHOWN_VALUES])
    more = " ..." if flat.size > SHOWN_VALUES else ""
    return f"[{first}{more}]  min {_text(flat.min())}, max {_text(flat.max())}"


def _text(value: np.generic) -> str:
    return f"{value:.7g}" if isinstance(value, np.floating) else str(value)
