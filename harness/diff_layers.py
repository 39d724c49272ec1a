"""`harness diff-layers`: the first layer at which two of device, oracle and float part; or one layer again.

With a model it runs one sample on a board; with a reproducer, just the layer in it.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

from harness.bench import Bench
from harness.deployment import LinkedDeployment
from harness.divergence import locate
from harness.errors import DataError, UnsupportedError, UsageError
from harness.expectation import Expectation
from harness.items import Item
from harness.layers_in_float import float_layers, render
from harness.report.divergence import lines
from harness.report.terminal import plain
from harness.reproducer import load_reproducer, replay
from harness.runtimes import get_runtime
from harness.runtimes.base import Artifact
from harness.settings import Settings, build_root_under, settings_from
from harness.targets import get_target

DEVICE, FLOAT = "device,oracle", "oracle,float"
Parsers = Any  # argparse's own type of `add_subparsers` is private


def add_command(commands: Parsers) -> None:
    """Adds `harness diff-layers` to the command line."""
    parser = commands.add_parser(
        "diff-layers",
        help="the first layer at which device and oracle, or oracle and float, part",
        description="Runs one sample and names the first layer whose integers are not the oracle's, with "
        "what its worst element was computed from; keeps that layer in a file. Given that file, runs just "
        "that layer again, natively and on the target's emulator. Exit code 1: it differs.",
        epilog="harness diff-layers my.tflite --target esp32c3 --data my.npz --sample 7",
    )
    parser.add_argument("model", help="zoo name, directory with a model.toml, model file, or divergence.npz")
    parser.add_argument("--target", metavar="NAME", help="chip; of a divergence.npz the default is its own")
    parser.add_argument("--runtime", default="all", metavar="NAME", help="default: the first that takes it")
    parser.add_argument("--sample", type=int, default=0, metavar="N", help="counted from 0 (default: 0)")
    parser.add_argument(
        "--between",
        default=DEVICE,
        choices=(DEVICE, FLOAT),
        help="oracle,float: what quantisation cost, layer by layer; needs no board",
    )
    parser.add_argument("--data", default="", metavar="FILE", help=".npz with x; default: the model's own")
    parser.add_argument("--calibration", default="", metavar="FILE.npz", help="as for run")
    parser.add_argument("--port", metavar="PORT", help="of an attached board that runs the model's firmware")
    parser.add_argument("--baud", metavar="N", help="baud rate of --port")
    parser.set_defaults(run=_command)


def _command(parsed: argparse.Namespace) -> int:
    if parsed.model.endswith(".npz"):
        return _replay(parsed)
    if parsed.target is None:
        raise UsageError("diff-layers needs the chip", "Add --target NAME, e.g. --target esp32c3")
    if parsed.sample < 0:
        raise UsageError(f"--sample expects a number of at least 0, got '{parsed.sample}'")
    settings = _settings(parsed)
    # The bench wants a place for its logs; there is no report.
    bench = Bench(settings, reports_root=settings.build_root, command="harness diff-layers")
    try:
        item = bench.items()[0]
        artifact = bench.artifact(item)
        expected = bench.expectation(item, artifact)
        if parsed.sample >= expected.samples:
            raise DataError(
                f"--sample {parsed.sample}: the data have {expected.samples} samples, counted from 0"
            )
        print(f"{item.model.name}, runtime {item.runtime}, sample {parsed.sample}")
        if parsed.between == FLOAT:
            return _float(item, artifact, expected, parsed.sample)
        return _device(bench, item, artifact, expected, parsed.sample)
    finally:
        bench.finish()


def _settings(parsed: argparse.Namespace) -> Settings:
    """Those of a run of one item up to the sample asked for; its layers are asked of the oracle later."""
    root = Path.cwd()
    given = {
        "model": parsed.model,
        "runtime": parsed.runtime,
        "data": parsed.data,
        "calibration": parsed.calibration,
        "reference": "none",
        "samples": str(parsed.sample + 1),
        "layer_samples": "0",
        "report_dir": str(build_root_under(root) / "diff-layers"),
    }
    return settings_from(
        lambda option: given.get(option.field, option.default),
        target=parsed.target,
        port=parsed.port,
        baud=parsed.baud,
        root=root,
    )


def _device(bench: Bench, item: Item, artifact: Artifact, expected: Expectation, sample: int) -> int:
    image = bench.image(item, bench.project(item, artifact))
    board = bench.board(item, image)
    with bench.deploy(item, artifact, image, board) as deployment:
        if not isinstance(deployment, LinkedDeployment):
            raise UnsupportedError(f"{board.info.name}: its firmware only prints and gives no layers")
        print(f"device: {board.info.name}, fidelity {deployment.fidelity}")
        found = locate(deployment, expected, sample, bench.directory.path / "items" / item.key)
    if found is None:
        print(f"All {len(artifact.layers)} layers are equal: 0 LSB")
        return 0
    for name, text in lines(found):
        print(f"{name:<18} {plain(text)}")
    return 1


def _float(item: Item, artifact: Artifact, expected: Expectation, sample: int) -> int:
    oracle = get_runtime(item.runtime).oracle(artifact)
    layers = oracle.run_layers([tensor[sample] for tensor in expected.inputs])
    print("\n".join(render(float_layers(item.model, artifact, expected, sample, layers))))
    return 0


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
