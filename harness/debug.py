"""Every layer of one inference, oracle and device side by side, and the first that differs.

`harness diff-layers` finds the first wrong layer by digests, describes and keeps it; this reads all of
them and shows their values, for people who look for a fault in a kernel, a compiler or a chip.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.deployment import LinkedDeployment
from harness.expectation import Expectation
from harness.measure.gaps import Difference, difference, distance_lsb
from harness.one_sample import add_arguments, bench_of, device, expectation
from harness.runtimes.base import Array
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
    add_arguments(parser)
    parser.set_defaults(run=_command)


def _command(parsed: argparse.Namespace) -> int:
    with bench_of(parsed, "debug") as bench:
        item = bench.items()[0]
        expected = expectation(bench, item, parsed.sample)
        with device(bench, item, parsed.elf) as deployment:
            board = f"{deployment.board.info.name}, fidelity {deployment.fidelity}"
            pairs = layer_pairs(deployment, expected, parsed.sample)
    print(f"{item.model.name}, runtime {item.runtime}, sample {parsed.sample}; device: {board}")
    print(render(pairs))
    return int(first_difference(pairs) is not None)


def layer_pairs(deployment: LinkedDeployment, expected: Expectation, sample: int) -> list[LayerPair]:
    """Runs sample `sample` up to each layer in turn; the layers in order.

    Raises:
        UnsupportedError: the device gives no layers.
    """
    payload = expected.payload(sample)
    oracles = deployment.oracle_layers([tensor[sample] for tensor in expected.inputs])
    pairs = []
    for layer, oracle in zip(deployment.artifact.layers, oracles, strict=True):
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
