"""`harness diff-layers`: the first layer at which two of device, oracle and float part; or one layer again.

With a model it runs one sample on a board; with a reproducer, just the layer in it.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.debug import layer_pairs
from harness.divergence import locate
from harness.errors import UsageError
from harness.expectation import Expectation
from harness.items import Item
from harness.layers_in_float import float_layers, render
from harness.one_sample import add_arguments, bench_of, device, expectation
from harness.report.divergence import lines
from harness.report.terminal import plain
from harness.reproducer import load_reproducer, replay
from harness.runtimes import get_runtime
from harness.runtimes.base import Array, Artifact
from harness.settings import build_root_under
from harness.targets import get_target

DEVICE, ORACLE, FLOAT = "device", "oracle", "float"
Parsers = Any  # argparse's own type of `add_subparsers` is private


def add_command(commands: Parsers) -> None:
    """Adds `harness diff-layers` to the command line."""
    parser = commands.add_parser(
        "diff-layers",
        help="the first layer at which two of device, oracle and float part",
        description="Runs one sample and names the first layer whose integers are not the oracle's, with "
        "what its worst element was computed from; keeps that layer in a file. Given that file, runs just "
        "that layer again, natively and on the target's emulator. Exit code 1: it differs. With float as "
        "one of two, says what every layer lost to quantisation; no exit code comes of that.",
        epilog="harness diff-layers my.tflite --target esp32c3 --data my.npz --sample 7",
    )
    parser.add_argument("model", help="zoo name, directory with a model.toml, model file, or divergence.npz")
    add_arguments(parser)
    parser.add_argument(
        "--between",
        default="device,oracle",
        metavar="A,B",
        help="two of device, oracle, float (default: device,oracle); oracle,float needs no board",
    )
    parser.set_defaults(run=_command)


def _command(parsed: argparse.Namespace) -> int:
    if parsed.model.endswith(".npz"):
        return _replay(parsed)
    between = _pair(parsed.between)
    with bench_of(parsed, "diff-layers") as bench:
        item = bench.items()[0]
        expected = expectation(bench, item, parsed.sample)
        print(f"{item.model.name}, runtime {item.runtime}, sample {parsed.sample}")
        if DEVICE not in between:
            artifact = bench.artifact(item)
            layers = get_runtime(item.runtime).oracle(artifact).run_layers(_inputs(expected, parsed.sample))
            return _float(item, artifact, expected, parsed.sample, layers)
        with device(bench, item, parsed.elf) as deployment:
            print(f"device: {deployment.board.info.name}, fidelity {deployment.fidelity}")
            if FLOAT in between:
                pairs = layer_pairs(deployment, expected, parsed.sample)
                layers = [pair.device for pair in pairs]
                return _float(item, deployment.artifact, expected, parsed.sample, layers)
            found = locate(deployment, expected, parsed.sample, bench.directory.path / "items" / item.key)
            count = len(deployment.artifact.layers)
    if found is None:
        print(f"All {count} layers are equal: 0 LSB")
        return 0
    for name, text in lines(found):
        print(f"{name:<18} {plain(text)}")
    return 1


def _pair(text: str) -> frozenset[str]:
    names = [name.strip() for name in text.split(",")]
    if len(names) != 2 or len({DEVICE, ORACLE, FLOAT}.intersection(names)) != 2:
        raise UsageError(
            f"--between expects two of device, oracle, float, got '{text}'", "e.g. --between oracle,float"
        )
    return frozenset(names)


def _float(
    item: Item, artifact: Artifact, expected: Expectation, sample: int, layers: Sequence[Array]
) -> int:
    print("\n".join(render(float_layers(item.model, artifact, expected, sample, layers))))
    return 0


def _inputs(expected: Expectation, sample: int) -> list[Array]:
    return [tensor[sample] for tensor in expected.inputs]


def _replay(parsed: argparse.Namespace) -> int:
    case = load_reproducer(Path(parsed.model))
    if parsed.target:
        case = dataclasses.replace(case, target=get_target(parsed.target).id)
    print(f"{plain(case.name)}, runtime {case.runtime}, sample {case.sample}: layer {case.layer} alone")
    wrong = False
    for done in replay(case, build_root_under(Path.cwd())):
        wrong = wrong or done.gap.mismatching_elements > 0
        verdict = (
            f"{done.gap.mismatching_elements} of {case.oracle.size} elements differ from the oracle, "
            f"by up to {done.gap.max_lsb} LSB"
            if done.gap.mismatching_elements
            else "equal to the oracle: 0 LSB"
        )
        same = "; the same integers as the device gave" if done.as_device else ""
        print(f"{done.board}, fidelity {done.fidelity}: {verdict}{same}")
    if not wrong:
        print("Alone the layer is right: look at what surrounds it - buffers, stack, the build, the board")
    return int(wrong)
