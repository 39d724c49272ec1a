"""`harness fit`: does a network fit a chip, before anything is flashed."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

from harness.fit.assess import Question, Refused, assess
from harness.fit.latency import Latency
from harness.fit.options import add_room, chip, room_of
from harness.fit.verdict import SDK_APP_BYTES, Fit
from harness.items import EVERY, Workshop, check_names
from harness.model.spec import load_model
from harness.progress import ConsoleWriter, silent
from harness.report.figures import byte_size
from harness.settings import build_root_under, split_list
from harness.targets import TARGETS, Target
from harness.toolchains.esp_idf.engines import PORTABLE

Parsers = Any  # argparse's own type of `add_subparsers` is private


def add_command(commands: Parsers) -> None:
    """Adds `fit` to the command line."""
    fit = commands.add_parser(
        "fit",
        help="does a model fit: flash, RAM by regions, expected time, on every chip and runtime",
        description="Says for each chip and runtime whether a network fits, which resource ends it and what "
        "would mend it. Sizes are read off a build where the compiler is installed, else estimated. Exit "
        "code 1 when a chip has no runtime that fits. How it is counted: docs/fit.md.",
        epilog="harness fit himax_cnn --target esp32,esp32c3; harness fit my.onnx --calibration my.npz "
        "--runtime espdl-v1:int8 --kernels vendor --partition 1536K",
    )
    fit.add_argument("model", help="zoo name, directory with a model.toml, or model file")
    fit.add_argument("--target", default=EVERY, metavar="LIST", help="chips, comma-separated (default: all)")
    fit.add_argument(
        "--runtime",
        default=EVERY,
        metavar="LIST",
        help="as for harness run, e.g. tflm,espdl:int16 (default: all)",
    )
    fit.add_argument(
        "--kernels",
        default=PORTABLE,
        choices=(PORTABLE, "vendor"),
        help="portable: C99 generated here, its arena in static RAM (default); vendor: Espressif's library, "
        "activations on the heap",
    )
    fit.add_argument(
        "--calibration", type=Path, metavar="FILE.npz", help="typical inputs, to quantise a float model"
    )
    add_room(fit)
    fit.add_argument(
        "--estimate", action="store_true", help="build nothing, even where a compiler is installed"
    )
    fit.add_argument("--json", action="store_true", help="the same as JSON, for programs")
    fit.set_defaults(run=_fit)


def _fit(parsed: argparse.Namespace) -> int:
    runtimes = split_list("--runtime", parsed.runtime)
    check_names(runtimes)
    question = Question(
        load_model(parsed.model),
        _targets(parsed.target),
        runtimes,
        parsed.kernels,
        room_of(parsed),
        not parsed.estimate,
    )
    say = silent if parsed.json else ConsoleWriter(sys.stderr).line
    root = build_root_under(Path.cwd())
    workshop = Workshop(root / "artifacts", parsed.calibration, say)
    answers = []
    for answer in assess(question, root, workshop, say):
        answers.append(answer)
        if not parsed.json:
            print("\n".join(_lines(answer, question.model.name)))
    if parsed.json:
        print(json.dumps([_plain(answer, question.model.name) for answer in answers], indent=2))
    fitting = {answer.target for answer in answers if isinstance(answer, Fit) and answer.fits}
    return 0 if all(target.id in fitting for target in question.targets) else 1


def _targets(text: str) -> list[Target]:
    if text == EVERY:
        return [target for target in TARGETS.values() if target.heap_regions]
    return [chip(name) for name in split_list("--target", text)]


def _lines(answer: Fit | Refused, model: str) -> list[str]:
    if isinstance(answer, Refused):
        return [f"CANNOT RUN   {answer.target} {model} {answer.runtime}", f"  {answer.reason}"]
    title = f"{answer.target} {model} {answer.runtime}/{answer.kernels}"
    lines = [f"{'FITS        ' if answer.fits else 'DOES NOT FIT'} {title}"]
    for need in answer.needs:
        there = need.available_bytes
        share = f"{100 * need.needed_bytes / there:.0f} %" if there else "none there"
        mark = "  " if need.fits else "! "
        lines.append(
            f"{mark}{need.resource}: {byte_size(need.needed_bytes)} of {byte_size(need.available_bytes)} "
            f"({share})"
        )
        if not need.fits:
            lines.append(f"    would mend it: {need.mend}")
    lines.append(
        f"  the app: {byte_size(SDK_APP_BYTES)} of ESP-IDF (as published for one), the rest is the network"
    )
    lines.append(f"  {_size_line(answer)}")
    lines.append(f"  {_latency_line(answer.latency, answer)}")
    return lines


def _size_line(answer: Fit) -> str:
    size = answer.size
    how = "built" if size.built else "estimated, not built"
    if size.unknown:
        how += f"; of {len(size.unknown)} layers no build has been measured: {', '.join(size.unknown[:4])}"
    sizes = f"flash {byte_size(size.flash_bytes)}, static RAM {byte_size(size.ram_bytes)}"
    arena = (
        f"arena {byte_size(size.arena_bytes)}, of which {byte_size(answer.arena_least_bytes)} live at once"
    )
    return f"emulated firmware ({how}): {sizes}, {arena}"


def _latency_line(latency: Latency | None, answer: Fit) -> str:
    if latency is None:
        return f"time: unknown, no figure is published for {answer.runtime} on {answer.target}"
    figures = f"{latency.points} published figures"
    if latency.points == 1:
        figures = "one published figure, a factor of 2 assumed"
    spread = f"{100 * (latency.low_us / latency.expected_us - 1):+.0f} … "
    spread += f"{100 * (latency.high_us / latency.expected_us - 1):+.0f} %"
    whose = (
        "" if answer.kernels != PORTABLE else "; of Espressif's kernels: the portable ones were never timed"
    )
    return (
        f"time: {_ms(latency.low_us)} … {_ms(latency.high_us)} ms expected on silicon at "
        f"{latency.clock_mhz} MHz, from {figures} ({spread}){whose}"
    )


def _ms(latency_us: float) -> str:
    """Two digits are more than the error bars bear."""
    return f"{float(f'{latency_us / 1e3:.2g}'):,g}"


def _plain(answer: Fit | Refused, model: str) -> dict[str, Any]:
    plain = {"model": model, **dataclasses.asdict(answer)}
    if isinstance(answer, Fit):
        plain["fits"] = answer.fits
        plain["ends"] = answer.ends.resource if answer.ends else None
        for row, need in zip(plain["needs"], answer.needs, strict=True):
            row["fits"] = need.fits
    else:
        plain["fits"] = False
    return plain
