"""`harness generate` and `harness build`: firmware to read and to build by hand, and with ESP-IDF."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from harness.errors import UsageError
from harness.items import Workshop, load_artifact
from harness.model.dataset import first_sample
from harness.model.spec import load_model
from harness.progress import ConsoleWriter
from harness.runtimes import RUNTIMES, get_runtime
from harness.runtimes.tflm import himax
from harness.settings import build_root_under
from harness.targets import TARGETS, Target, get_target
from harness.toolchains.by_hand import write_tree
from harness.toolchains.esp_idf import commands as idf
from harness.toolchains.esp_idf.engines import KERNELS

Parsers = Any  # argparse's own type of `add_subparsers` is private


def add_command(commands: Parsers) -> None:
    """Adds `generate` and `build` to the command line."""
    generate = commands.add_parser(
        "generate",
        help="write the firmware sources of a model, to read and build by hand",
        description="Writes the generated C99 of a model into a directory. With --target also the "
        "firmware around it and a Makefile; with --platform esp_idf an ESP-IDF project.",
        epilog="harness generate my.tflite --target esp32c3 --out DIR && make -C DIR",
    )
    generate.add_argument("model", help="zoo name, directory with a model.toml, or model file")
    generate.add_argument(
        "--target", metavar="NAME", help=f"of {', '.join(TARGETS)}; without: the model alone"
    )
    generate.add_argument(
        "--runtime", default="tflm", metavar="NAME", help=f"of {', '.join(RUNTIMES)} (default: tflm)"
    )
    generate.add_argument(
        "--calibration", type=Path, metavar="FILE.npz", help="typical inputs, to quantise a float model"
    )
    generate.add_argument(
        "--data",
        type=Path,
        metavar="FILE.npz",
        help="runtime tvm: its first sample goes into the application",
    )
    generate.add_argument(
        "--kernels", default="portable", choices=KERNELS, help="other than portable: of esp_idf only"
    )
    generate.add_argument(
        "--platform",
        choices=("esp_idf",),
        help="esp_idf: a project for the chip itself, to build with ESP-IDF; default: the machine that "
        "stands in for it",
    )
    idf.add_layout(generate)
    generate.add_argument("--out", required=True, type=Path, metavar="DIR")
    generate.set_defaults(run=_generate)

    idf.add_build(
        commands.add_parser(
            "build",
            help="build firmware for the chip with ESP-IDF (which must be active)",
            description="Generates the ESP-IDF project of a model and builds it, or finds it built before.",
            epilog="harness build my.tflite --target esp32s3 --runtime tflm",
        )
    )


def _generate(parsed: argparse.Namespace) -> int:
    if parsed.platform or parsed.kernels != "portable":
        return idf.run_generate(parsed)
    target = get_target(parsed.target) if parsed.target else None
    if target and target.isa_platform is None:
        return _generate_himax(parsed, target)
    say = ConsoleWriter(sys.stderr).line
    workshop = Workshop(build_root_under(Path.cwd()) / "artifacts", parsed.calibration, say)
    model, runtime = load_model(parsed.model), get_runtime(parsed.runtime)
    if parsed.data and not (target and runtime.application):
        raise UsageError("--data: only the application of runtime tvm stores a sample", "Leave it out")
    artifact = load_artifact(model, parsed.runtime, target, workshop)
    sample = first_sample(model, artifact.inputs, parsed.data) if runtime.application else []
    directory = parsed.out / runtime.model_folder if target else parsed.out
    project = runtime.generate(artifact, parsed.kernels, directory)
    print(f"{directory}: {len(artifact.layers)} layers, arena {project.arena_bytes} bytes")
    for source in project.sources:
        print(f"  {os.path.relpath(source, directory)}")
    if target and target.isa_platform:
        write_tree(project, target, target.isa_platform, parsed.out)
        print(f"Build it with: make -C {parsed.out}")
    if target and runtime.application:
        runtime.write_application(artifact, sample, target, parsed.out)
        print(f"Or for the chip, with ESP-IDF (not tried here): see {parsed.out / 'README.md'}")
    return 0


def _generate_himax(parsed: argparse.Namespace, target: Target) -> int:
    if parsed.runtime != "tflm":
        raise UsageError(f"{target.id} takes runtime tflm, not {parsed.runtime}", "Use --runtime tflm")
    done = himax.generate(load_model(parsed.model), target, parsed.out)
    print(f"{done.directory}: operators {', '.join(done.operators)}")
    print("\n".join([f"  {name}" for name in done.files] + list(done.changes) + done.memory.lines()))
    print(f"Generated, not built: the SDK cannot be had here. How to go on: {done.directory / 'README.md'}")
    return 0
