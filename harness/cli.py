"""The `harness` command: the same bench as the pytest plugin, without pytest.

Exit codes: 0 all passed; 1 a measurement is out of its range; 2 wrong usage, or a file or program
is missing or unfit; 3 an item broke (build, board or link).
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from harness import __version__
from harness.bench import Bench
from harness.boards.serial_port import SerialBoard
from harness.debug import add_command as add_debug_command
from harness.dialects import DIALECTS, get_dialect, parse_log, whole_inferences
from harness.dialects.compare import compare
from harness.dialects.console import capture
from harness.dialects.output import parsed_csv, parsed_json, render
from harness.doctor import diagnose
from harness.errors import DataError, HarnessError, UsageError
from harness.history.commands import add_commands as add_history_commands
from harness.items import Workshop, float_model, load_artifact
from harness.model.dataset import first_sample
from harness.model.image_folder import Form
from harness.model.import_folder import CALIBRATION_IMAGES, import_folder, parse_size
from harness.model.preprocess import Preprocess
from harness.model.spec import load_model, zoo
from harness.model.train import train
from harness.progress import ConsoleWriter, ProgressLine
from harness.report import render_table
from harness.runtimes import RUNTIMES, get_runtime
from harness.runtimes.espdl import Espdl
from harness.runtimes.espdl import quantise as espdl_quantise
from harness.runtimes.espdl.variants import CHIPS as ESPDL_CHIPS
from harness.runtimes.espdl_v1 import calibrate as v1_calibrate
from harness.runtimes.espdl_v1.export import export_v1
from harness.runtimes.espdl_v1.layout import CHIPS as V1_CHIPS
from harness.runtimes.espdl_v1.lint import lint_v1
from harness.runtimes.tflm import himax
from harness.runtimes.tvm import Tvm
from harness.runtimes.tvm import quantise as tvm_quantise
from harness.runtimes.tvm.calibrate import METHODS as TVM_METHODS
from harness.settings import OPTIONS, Option, build_root_under, settings_from
from harness.targets import TARGETS, Target, get_target
from harness.toolchains.by_hand import write_tree

USAGE_ERROR = 2
ITEM_BROKE = 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of the console script; returns the exit code."""
    parsed = _parser().parse_args(arguments)
    try:
        return int(parsed.run(parsed))
    except HarnessError as error:
        print(f"harness: {error}", file=sys.stderr)
        return USAGE_ERROR
    except KeyboardInterrupt:
        print("harness: interrupted", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="harness",
        description="Is my quantised network right, and how fast, on the ESP32? Runs it on a board or, "
        "where none is attached, on an emulator of the same instruction set, and compares every integer.",
        epilog="Start with: harness run mnist_mlp --target esp32c3",
    )
    parser.add_argument("--version", action="version", version=f"harness {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    run = commands.add_parser(
        "run",
        help="run models on boards and write a report",
        description="Quantised model -> firmware -> board -> compared results -> report.",
        epilog="harness run my.tflite --target esp32s3,esp32c3 --data my.npz",
    )
    run.add_argument("models", nargs="?", help="as --model; default: the whole zoo")
    run.add_argument("--target", required=True, metavar="LIST", help=f"of {', '.join(TARGETS)}")
    run.add_argument(
        "--port", metavar="PORT", help="serial device, rfc2217:// or socket:// of an attached board"
    )
    run.add_argument("--port-mac", metavar="MAC", help="the attached board whose chip has this address")
    run.add_argument(
        "--port-location", metavar="USB", help="the attached board at this USB place, such as 1-2.3"
    )
    run.add_argument("--baud", metavar="N", help="baud rate of --port")
    for option in OPTIONS:
        run.add_argument(
            option.flag,
            dest=option.field,
            metavar=option.metavar,
            choices=option.choices or None,
            default=option.default,
            help=f"{option.help} (default: {option.default or 'none'})",
        )
    run.set_defaults(run=_run)

    generate = commands.add_parser(
        "generate",
        help="write the firmware sources of a model, to read and build by hand",
        description="Writes the generated C99 of a model into a directory. With --target also the "
        "firmware around it and a Makefile.",
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
        "--calibration", type=Path, metavar="FILE.npz", help="typical inputs, to quantise a float .onnx model"
    )
    generate.add_argument(
        "--data",
        type=Path,
        metavar="FILE.npz",
        help="runtime tvm: its first sample goes into the application",
    )
    generate.add_argument("--kernels", default="portable", choices=("portable",))
    generate.add_argument("--out", required=True, type=Path, metavar="DIR")
    generate.set_defaults(run=_generate)

    add_debug_command(commands)

    export = commands.add_parser(
        "export-v1",
        help="write an ESP-DL v1 project: coefficients, model_define.hpp, app_main.cpp",
        description="Float ONNX or Keras file -> exponents and integers of esp-dl v1 -> the C++ project "
        "of that time.",
        epilog="harness export-v1 my.onnx --target esp32s3 --bits 16 --calibration my.npz --out DIR",
    )
    export.add_argument("model", help="zoo name, directory with a model.toml, or .onnx, .keras or .h5 file")
    export.add_argument("--target", required=True, choices=V1_CHIPS)
    export.add_argument("--bits", required=True, type=int, choices=v1_calibrate.BITS)
    export.add_argument(
        "--granularity", default=v1_calibrate.GRANULARITIES[0], choices=v1_calibrate.GRANULARITIES
    )
    export.add_argument("--method", default=v1_calibrate.METHODS[0], choices=v1_calibrate.METHODS)
    export.add_argument("--calibration", type=Path, metavar="FILE.npz", help="default: the zoo model's own")
    export.add_argument("--table", type=Path, metavar="FILE.json", help="scales to use, not calibrated again")
    export.add_argument("--out", required=True, type=Path, metavar="DIR")
    export.set_defaults(run=_export_v1)

    lint = commands.add_parser(
        "lint-v1",
        help="check an ESP-DL v1 project: exponents, shapes, missing layers",
        description="Compares model_define.hpp with the coefficient files. Exit code 1: they disagree.",
    )
    lint.add_argument("directory", type=Path, metavar="DIR")
    lint.set_defaults(run=_lint_v1)

    quantised = commands.add_parser(
        "quantise",
        help="make an .espdl file (extra [espdl]) or a QDQ .onnx file of a float model",
        description="Quantises, for espdl with esp-ppq, and reads the result back with our own oracle.",
    )
    quantised.add_argument(
        "model", help="zoo name, directory with a model.toml, or .onnx, .keras or .h5 file"
    )
    quantised.add_argument("--runtime", default="espdl", choices=("espdl", "tvm"))
    quantised.add_argument("--target", metavar="CHIP", help=f"for espdl, of {', '.join(ESPDL_CHIPS)}")
    quantised.add_argument(
        "--scheme",
        default=Espdl.schemes[0],
        choices=Espdl.schemes,
        help="bits of weights and data: int8, int16, or w8a16, which has int8 weights and int16 data",
    )
    quantised.add_argument(
        "--calibration",
        default=espdl_quantise.BEST,
        metavar="METHOD",
        help=f"how activation ranges are found: {', '.join(espdl_quantise.METHODS)}, for tvm "
        f"{', '.join(TVM_METHODS)}; best (the default): the one that loses least on the "
        "calibration set",
    )
    quantised.add_argument("--data", type=Path, metavar="FILE", help=".npz with x; default: the model's own")
    quantised.add_argument("--out", required=True, type=Path, metavar="FILE", help="FILE.espdl or FILE.onnx")
    quantised.set_defaults(run=_quantise)

    imported = commands.add_parser(
        "import-folder",
        help="make --data and --calibration files of a folder of images",
        description="Reads DIR/<class>/*.png, DIR/training/<class>/* beside DIR/validation/<class>/*, or "
        "Kaggle's MNIST tables (train.csv). Held-out images go to FILE.npz, some training images to "
        "FILE.calibration.npz.",
        epilog="harness import-folder archive --size 60x60 --out gender.npz",
    )
    imported.add_argument("directory", type=Path, metavar="DIR", help="the folder, or one .csv file")
    imported.add_argument("--out", required=True, type=Path, metavar="FILE", help="FILE.npz")
    imported.add_argument("--size", metavar="HxW", help="scale every image (default: as they are)")
    imported.add_argument("--gray", action="store_true", help="drop the colours (default: as they are)")
    imported.add_argument(
        "--split",
        type=float,
        default=0.8,
        metavar="SHARE",
        help="so much of each class is for training, where the folder does not say itself (default: 0.8)",
    )
    imported.add_argument(
        "--calibration",
        type=int,
        default=CALIBRATION_IMAGES,
        metavar="N",
        help=f"training images to calibrate with (default: {CALIBRATION_IMAGES})",
    )
    imported.add_argument(
        "--scale",
        type=float,
        help="store real values, pixel x SCALE + OFFSET, for a model file without a model.toml: 0.00392157 "
        "is / 255 (default: pixels)",
    )
    imported.add_argument("--offset", type=float, help="see --scale (default: 0)")
    imported.set_defaults(run=_import_folder)

    parse = commands.add_parser(
        "parse",
        help="read what other firmware prints: scores, latencies, profiles",
        description="Reads the console log of firmware that was not made here. Dialects: "
        + "; ".join(f"{dialect.name} ({dialect.summary})" for dialect in DIALECTS.values()),
        epilog="harness parse monitor.log --format csv; harness parse --port /dev/ttyUSB0 --seconds 20",
    )
    parse.add_argument("log", nargs="?", metavar="LOG", help="captured console output; - for standard input")
    parse.add_argument("--port", metavar="PORT", help="read an attached board instead of a LOG")
    parse.add_argument("--baud", type=int, metavar="N", help="of --port (default: 115200)")
    parse.add_argument("--seconds", type=float, default=10.0, metavar="N", help="how long (default: 10)")
    parse.add_argument("--dialect", metavar="NAME", help="default: the one that fits")
    parse.add_argument("--model", metavar="MODEL", help="compare the scores with this int8 model (tflm)")
    parse.add_argument(
        "--data", type=Path, metavar="FILE", help="its inputs, one per inference, in the log's order"
    )
    parse.add_argument("--inferences", type=int, metavar="N", help="only the first N whole ones")
    parse.add_argument("--format", default="table", choices=("table", "json", "csv"))
    parse.set_defaults(run=_parse)

    again = commands.add_parser(
        "train",
        help="make a zoo model's artifacts again (extra [keras])",
        description="Trains and converts a zoo model with its recipe.py.",
    )
    again.add_argument("name", help=f"of {', '.join(zoo())}")
    again.add_argument("--full", action="store_true", help="the whole of MNIST, downloaded, not 4000 digits")
    again.add_argument(
        "--folder",
        type=Path,
        metavar="DIR",
        help="train on these images (see import-folder); needs --out",
    )
    again.add_argument("--out", type=Path, metavar="DIR", help="leave the zoo as it is, write here")
    again.set_defaults(run=_train)

    listing = commands.add_parser("list", help="the zoo, the targets and the runtimes")
    listing.set_defaults(run=_list)

    add_history_commands(commands)

    doctor = commands.add_parser("doctor", help="what is installed, what is missing and how to get it")
    doctor.set_defaults(run=_doctor)
    return parser


def _run(parsed: argparse.Namespace) -> int:
    def value(option: Option) -> str:
        if option.field == "model" and parsed.models:
            return str(parsed.models)
        return str(getattr(parsed, option.field))

    settings = settings_from(
        value,
        target=parsed.target,
        port=parsed.port,
        baud=parsed.baud,
        root=Path.cwd(),
        port_mac=parsed.port_mac,
        port_location=parsed.port_location,
    )
    console = Console()
    writer = ConsoleWriter(sys.stderr)
    command = shlex.join(["harness", *sys.argv[1:]])
    bench = Bench(settings, reports_root=Path("reports"), command=command, say=writer.line)
    for item in bench.items():
        record = bench.run_item(
            item,
            ProgressLine(item.key, writer),
            ProgressLine(f"{item.key} flashing", writer, "bytes"),
        )
        writer.line(f"{item.key}: {record.outcome}")
    run = bench.finish()
    render_table(run, console)
    print(f"Report: {os.path.relpath(bench.reports['report.html'])}")
    for warning in bench.warnings:
        print(f"harness: {warning}", file=sys.stderr)
    outcomes = {record.outcome for record in run.items}
    return ITEM_BROKE if "error" in outcomes else int("failed" in outcomes)


def _generate(parsed: argparse.Namespace) -> int:
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


def _export_v1(parsed: argparse.Namespace) -> int:
    source = float_model(load_model(parsed.model), parsed.calibration)
    done = export_v1(
        source.onnx,
        source.calibration,
        parsed.out,
        chip=parsed.target,
        scheme=v1_calibrate.Scheme(parsed.bits, parsed.granularity, parsed.method),
        name=source.name,
        preprocess=source.preprocess,
        table=parsed.table,
    )
    print("\n".join(done.log))
    return 0


def _lint_v1(parsed: argparse.Namespace) -> int:
    findings = lint_v1(parsed.directory)
    print("\n".join(findings) if findings else f"{parsed.directory}: nothing found")
    return int(bool(findings))


def _import_folder(parsed: argparse.Namespace) -> int:
    form = Form(parse_size(parsed.size) if parsed.size else None, gray=parsed.gray or None)
    real = None
    if parsed.scale is not None or parsed.offset is not None:
        real = Preprocess("affine", 1.0 if parsed.scale is None else parsed.scale, parsed.offset or 0.0)
    progress = ProgressLine(str(parsed.directory), ConsoleWriter(sys.stderr), "images")
    done = import_folder(parsed.directory, parsed.out, form, parsed.split, parsed.calibration, real, progress)
    print(f"{len(done.classes)} classes: {', '.join(done.classes)}")
    for path, images in done.files.items():
        print(f"{path}: {images} images {'x'.join(map(str, done.shape))}")
    return 0


def _parse(parsed: argparse.Namespace) -> int:
    if parsed.data and not parsed.model:
        raise UsageError("--data without --model: there is nothing to compare with", "Add --model")
    if (parsed.log is None) == (parsed.port is None):
        raise UsageError("expected a LOG or --port, one of the two", "e.g. harness parse --port /dev/ttyUSB0")
    if parsed.dialect:
        get_dialect(parsed.dialect)
    found = parse_log(_read_console(parsed) if parsed.port else _read_log(parsed.log), parsed.dialect)
    if parsed.port or parsed.inferences:
        found = whole_inferences(found, parsed.inferences)
    comparison = None
    if parsed.model:
        model = load_model(parsed.model)
        artifact = load_artifact(model, "tflm")
        comparison = compare(found, model, artifact, get_runtime("tflm").oracle(artifact), parsed.data)
    if parsed.format == "json":
        print(parsed_json(found, comparison))
    elif parsed.format == "csv":
        print(parsed_csv(found, comparison), end="")
    else:
        render(found, comparison, Console())
    gap = comparison.runtime_gap if comparison else None
    wrong = gap is not None and not gap.exact
    return int(wrong or any(verdict.passed is not True for verdict in found.verdicts))


def _read_console(parsed: argparse.Namespace) -> bytes:
    if not 0 < parsed.seconds < 1e6:
        raise UsageError(f"--seconds expects a number above 0, got {parsed.seconds:g}")
    with SerialBoard("unknown", parsed.port, parsed.baud) as port:
        return capture(port, parsed.seconds)


def _read_log(name: str) -> bytes:
    try:
        return sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    except OSError as error:
        raise DataError(f"{name}: expected a readable log, came {error.strerror}") from None


def _quantise(parsed: argparse.Namespace) -> int:
    source = float_model(load_model(parsed.model), parsed.data, ConsoleWriter(sys.stderr).line)
    result: espdl_quantise.Quantised | tvm_quantise.Quantised
    if parsed.runtime == "tvm":
        if parsed.scheme not in Tvm.schemes:
            raise UsageError(
                f"runtime tvm has no scheme '{parsed.scheme}'", f"Known: {', '.join(Tvm.schemes)}"
            )
        result = tvm_quantise.quantise(Tvm(), source, parsed.out, parsed.calibration)
    elif parsed.target is None:
        raise UsageError("runtime espdl has a file for each kind of chip", "Name one, e.g. --target esp32s3")
    else:
        runtime = Espdl(parsed.scheme)
        variant = runtime.variant(get_target(parsed.target))
        result = espdl_quantise.quantise(runtime, source, variant, parsed.out, parsed.calibration)
    for method, loss in result.losses.items():
        agreement = "" if loss.agreement is None else f"agreement {loss.agreement:.2%}, "
        print(f"{method:<11}{agreement}mean |difference| {loss.mean_abs:.4g}, max {loss.max_abs:.4g}")
    print(f"{result.path}: {parsed.scheme}, {result.method}, on the calibration set against the float model")
    return 0


def _train(parsed: argparse.Namespace) -> int:
    made = train(parsed.name, full=parsed.full, folder=parsed.folder, out=parsed.out)
    print(f"Artifacts in {made}")
    return 0


def _list(parsed: argparse.Namespace) -> int:  # noqa: ARG001 - every command takes the parsed arguments
    print("models")
    for name in zoo():
        print(f"  {name:<22}{load_model(name).description}")
    print("targets")
    for target in TARGETS.values():
        emulated = f"without a board: {target.isa_platform}, fidelity isa"
        print(f"  {target.id:<14}{target.core}; {emulated if target.isa_platform else 'generate only'}")
    print("runtimes")
    for runtime in RUNTIMES.values():
        others = [f"{runtime.name}:{scheme}" for scheme in runtime.schemes[1:]]
        also = f"; also {', '.join(others)}" if others else ""
        print(
            f"  {runtime.name:<14}takes .{runtime.artifact_kind}; kernels {', '.join(runtime.kernels)}{also}"
        )
    return 0


def _doctor(parsed: argparse.Namespace) -> int:  # noqa: ARG001
    complete = True
    for check in diagnose():
        mark = "ok     " if check.found else "missing" if check.required else "absent "
        print(f"{mark}  {check.name:<26}{check.found or check.remedy}")
        complete = complete and (check.found is not None or not check.required)
    return 0 if complete else 1


if __name__ == "__main__":
    sys.exit(main())
