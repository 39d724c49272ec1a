"""The commands that make firmware for the chips themselves: `harness build`, and `harness generate`
with --platform esp_idf. They parse options and print; the modules beside this one do the work.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from harness.errors import UsageError
from harness.items import Workshop, load_artifact
from harness.model.spec import load_model
from harness.runtimes import RUNTIMES
from harness.runtimes.base import Artifact
from harness.settings import build_root_under
from harness.targets import TARGETS, get_target
from harness.toolchains.esp_idf.build import PLATFORM, build
from harness.toolchains.esp_idf.engines import KERNELS
from harness.toolchains.esp_idf.partitions import Partition, kib, layout_from
from harness.toolchains.esp_idf.project import IdfProject, write_project
from harness.toolchains.esp_idf.sdkconfig import read_own


def add_layout(parser: argparse.ArgumentParser) -> None:
    """The options about flash, of `generate` and `build`."""
    parser.add_argument(
        "--flash-size", default="4MB", metavar="SIZE", help="flash of the board (default: 4MB); esp_idf only"
    )
    parser.add_argument(
        "--app-size", metavar="SIZE", help="size of the app's partition; default: 1536K and what it must hold"
    )
    parser.add_argument(
        "--model-in",
        default="partition",
        choices=("partition", "app"),
        help="where a vendor engine finds its model: in a flash partition of its own, so that one firmware "
        "runs every model (default), or linked into the app, with only the operators it needs",
    )
    parser.add_argument(
        "--sdkconfig",
        metavar="FILE",
        help="settings of your own, which overrule the generated ones: CONFIG_SPIRAM_MODE_QUAD=y for a "
        "module with quad PSRAM, CONFIG_ESP32P4_SELECTS_REV_LESS_V3=y for an ESP32-P4 below v3.0",
    )


def add_build(parser: argparse.ArgumentParser) -> None:
    """The options of `harness build`."""
    parser.add_argument("model", help="zoo name, directory with a model.toml, or model file")
    parser.add_argument("--target", required=True, metavar="NAME", help=f"of {', '.join(TARGETS)}")
    parser.add_argument(
        "--runtime", default="tflm", metavar="NAME", help=f"of {', '.join(RUNTIMES)} (default: tflm)"
    )
    parser.add_argument(
        "--calibration", type=Path, metavar="FILE.npz", help="typical inputs, to quantise a float model"
    )
    parser.add_argument(
        "--kernels",
        default="vendor",
        choices=KERNELS,
        help="whose code does the arithmetic (default: vendor)",
    )
    add_layout(parser)
    parser.set_defaults(run=run_build)


def run_generate(parsed: argparse.Namespace) -> int:
    """Writes the project and says how to go on."""
    if parsed.target is None:
        raise UsageError("an ESP-IDF project is for one chip", "Name it, e.g. --target esp32s3")
    artifact, project = _project(parsed, parsed.out)
    print(
        f"{parsed.out}: ESP-IDF project for {project.target}, runtime {artifact.runtime}, "
        f"kernels {parsed.kernels}"
    )
    _print_flash(project)
    print(f"Build it with: idf.py -C {parsed.out} set-target {project.target} build")
    return 0


def run_build(parsed: argparse.Namespace) -> int:
    """Builds with the ESP-IDF that is active."""
    root = build_root_under(Path.cwd())
    model = load_model(parsed.model)
    parts = (model.name, parsed.runtime.replace(":", "-"), parsed.kernels, parsed.target, PLATFORM)
    artifact, project = _project(parsed, root / "projects" / "-".join(parts))
    image = build(project, artifact, build_root=root / "images")
    how = "found, built before" if image.cached else f"built with {image.compiler}"
    print(f"{image.elf}: {how}")
    print(
        f"  flash {kib(image.flash_bytes)}, static RAM {kib(image.ram_bytes)}; "
        f"the log, with esp-idf-size's table: {image.build_log}"
    )
    _print_flash(project)
    return 0


def _project(parsed: argparse.Namespace, directory: Path) -> tuple[Artifact, IdfProject]:
    target = get_target(parsed.target)
    own = read_own(parsed.sdkconfig or "")
    layout = layout_from(parsed.flash_size, parsed.app_size or "", parsed.model_in, own)
    workshop = Workshop(build_root_under(Path.cwd()) / "artifacts", parsed.calibration)
    artifact = load_artifact(load_model(parsed.model), parsed.runtime, target, workshop)
    return artifact, write_project(artifact, target, parsed.kernels, directory, layout)


def _print_flash(project: IdfProject) -> None:
    for row in project.partitions:
        print(f"  {row.offset:#9x}  {row.name:<8} {kib(row.size):>9}{_content(project, row)}")


def _content(project: IdfProject, row: Partition) -> str:
    image = project.model_image
    if image is None or row.kind != "data":
        return ""
    return f"  {image.name}, {kib(image.stat().st_size)}"
