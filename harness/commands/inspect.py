"""`harness inspect`: what a model is made of, what it takes, and which runtimes take it."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import textwrap
from pathlib import Path
from typing import Any

Parsers = Any  # argparse's own type of `add_subparsers` is private

NAME_WIDTH = 36
TEXT_WIDTH = 100


def add_command(commands: Parsers) -> None:
    """Adds `inspect` to the command line."""
    inspect = commands.add_parser(
        "inspect",
        help="a model's operators, MACs, parameters, memory, and which runtimes take it or why not",
        description="Reads a model and says what it is made of: every operator with its output, "
        "multiply-accumulates and parameters, the totals, the arena, how it is quantised; and for each "
        "runtime and quantisation whether it takes the model, on which chips, and if not why. Nothing is "
        "built or run; no board, compiler or extra is needed. Exit code 1 if no runtime takes the model.",
        epilog="harness inspect my.tflite; harness inspect my.onnx --data my.npz; "
        "harness inspect himax_cnn --json | jq .macs",
    )
    inspect.add_argument("model", help="zoo name, directory with a model.toml, or model file")
    inspect.add_argument("--data", type=Path, metavar="FILE", help="data as for harness run: do they fit?")
    inspect.add_argument(
        "--preprocess", metavar="HOW", help="what pixels of --data become, as for harness run"
    )
    inspect.add_argument("--task", metavar="NAME", help="what the model is for, as for harness run")
    inspect.add_argument("--json", action="store_true", help="everything as JSON, for programs")
    inspect.set_defaults(run=_inspect)


def _inspect(parsed: argparse.Namespace) -> int:
    from harness.inspection.model import as_json, inspect_model
    from harness.inspection.support import NO
    from harness.model.preprocess import parse_preprocess
    from harness.model.spec import load_model
    from harness.model.task import parse_task

    model = load_model(parsed.model)
    if parsed.preprocess:
        model = dataclasses.replace(model, preprocess=parse_preprocess(parsed.preprocess))
    if parsed.task:
        model = dataclasses.replace(model, task=parse_task(parsed.task))
    found = inspect_model(model, parsed.data)
    if parsed.json:
        print(json.dumps(as_json(found), indent=2, ensure_ascii=False))
    else:
        _show(found)
    return int(all(one.verdict == NO for one in found.support))


def _show(found: Any) -> None:
    facts = found.facts
    kind = f"runtime {found.runtime}" if found.runtime else "float"
    print(f"{found.name}  {_path(found.file)}  ({kind})")
    for end, tensors in (("input", facts.inputs), ("output", facts.outputs)):
        for tensor in tensors:
            shape = "x".join(map(str, tensor.info.shape)) or "scalar"
            print(
                f"  {end:<7}{tensor.info.name}  {shape}  {tensor.info.dtype}  {_scale(tensor.info)}".rstrip()
            )
    print()
    _operators(facts)
    print()
    _totals(facts)
    if found.data:
        _data(found.data)
    print()
    _support(found.support)
    if not found.runtime and found.file.suffix == ".tflite":
        print(
            f"  a float file; quantise it: harness quantise {_path(found.file)} --runtime tflm "
            f"--data FILE.npz --out {found.name}_int8.tflite"
        )
    if found.others:
        print(f"other files, inspected by name: {', '.join(map(_path, found.others))}")


def _operators(facts: Any) -> None:
    from harness.report.figures import DASH, grouped

    rows = [
        (
            str(row.index),
            row.op,
            _shortened(row.output),
            "x".join(map(str, row.shape)) or "-",
            row.dtype,
            grouped(row.macs) if row.macs != 0 else DASH,
            grouped(row.parameters) if row.parameters else DASH,
            "not supported" if row.refused else _scale(row),
        )
        for row in facts.rows
    ]
    head = ("#", "operator", "output", "shape", "type", "MACs", "parameters", "scale")
    widths = [max(len(line[place]) for line in (head, *rows)) for place in range(len(head))]
    right = {0, 5, 6}
    for line in (head, *rows):
        cells = [
            text.rjust(width) if place in right else text.ljust(width)
            for place, (text, width) in enumerate(zip(line, widths, strict=True))
        ]
        print(f"  {'  '.join(cells)}".rstrip())


def _totals(facts: Any) -> None:
    from harness.report.figures import byte_size, grouped

    held = f"; {byte_size(facts.constant_bytes)} in flash with tables" if facts.constant_bytes else ""
    print(f"  MACs          {grouped(facts.macs)}{' without those not supported' if facts.refusals else ''}")
    print(f"  parameters    {grouped(facts.parameters)}, {byte_size(facts.weight_bytes)} in the file{held}")
    if facts.memory:
        assumed = "" if facts.constant_bytes is not None else ", if quantised to one byte per value"
        print(
            f"  arena         {byte_size(facts.memory.arena_bytes)} planned, "
            f"{byte_size(facts.memory.least_bytes)} alive at once at least{assumed}"
        )
    print(f"  quantisation  {facts.quantisation}")
    for refusal in facts.refusals:
        print(f"  refused       {refusal}")


def _data(data: Any) -> None:
    from harness.report.figures import grouped, percent, small

    labels = "no labels" if data.classes is None else f"labels of {data.classes} classes"
    fit = "" if data.saturated is None else f"; {percent(data.saturated)} beyond the input's range"
    print(
        f"  data          {grouped(data.samples)} samples, {labels}, values {small(data.smallest)} to "
        f"{small(data.largest)}{fit}"
    )


def _support(verdicts: Any) -> None:
    from harness.inspection.support import chips

    width = max(len(one.runtime) for one in verdicts) + 2
    for one in verdicts:
        schemes = ", ".join(one.schemes)
        where = "all chips" if set(one.chips) == set(chips()) else ", ".join(one.chips)
        start = f"  {one.runtime:<{width}}{one.verdict:<11}"
        text = f"{schemes} on {where}: {one.why}"
        lines = textwrap.wrap(text, TEXT_WIDTH - len(start), break_on_hyphens=False)
        print(start + f"\n{' ' * len(start)}".join(lines))


def _path(path: Path) -> str:
    """As a reader in this directory would type it."""
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)


def _scale(of: Any) -> str:
    """Of a row or a tensor: a power of two as such, else scale and zero point."""
    from harness.inspection.graph import exponent_of
    from harness.report.figures import small

    if not of.scale:
        return ""
    exponent = exponent_of(of.scale, of.zero_point)
    return f"2^{exponent}" if exponent is not None else f"{small(of.scale)} zero {of.zero_point}"


def _shortened(name: str) -> str:
    """The end of a long name: converters put the path in front."""
    return name if len(name) <= NAME_WIDTH else f"…{name[1 - NAME_WIDTH :]}"
