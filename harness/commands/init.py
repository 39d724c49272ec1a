"""`harness init`: a directory in which `pytest --target CHIP` tests a user's model."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

Parsers = Any  # argparse's own type of `add_subparsers` is private


def add_command(commands: Parsers) -> None:
    """Adds `init` to the command line."""
    init = commands.add_parser(
        "init",
        help="write model.toml, a test and pytest.ini for a model, ready for pytest --target",
        description="Makes DIR with a copy of the model and of its data, a model.toml that declares them, a "
        "test that runs the model on a board or emulator, and a pytest.ini. DIR must be new or empty. "
        "Without --model: a small network of the zoo, to start from.",
        epilog="harness init mine --model my.tflite --data my.npz && cd mine && pytest --target esp32c3",
    )
    init.add_argument("directory", type=Path, metavar="DIR", help="a new or empty directory")
    init.add_argument("--model", metavar="FILE", help="model file, or zoo name (default: mnist_mlp)")
    init.add_argument("--data", type=Path, metavar="FILE", help="data to test with, as for harness run")
    init.add_argument("--calibration", type=Path, metavar="FILE", help="typical inputs, for float models")
    init.add_argument(
        "--preprocess", metavar="HOW", help="what pixels of the data become, as for harness run"
    )
    init.add_argument("--task", metavar="NAME", help="what the model is for, as for harness run")
    init.set_defaults(run=_init)


def _init(parsed: argparse.Namespace) -> int:
    from harness.new_project import write_project

    made = write_project(
        parsed.directory,
        parsed.model or "mnist_mlp",
        data=parsed.data,
        calibration=parsed.calibration,
        preprocess=parsed.preprocess or "",
        task=parsed.task or "",
    )
    print(f"{parsed.directory}: {', '.join(made.files)}")
    print(f"Next: cd {parsed.directory} && pytest --target {made.target}")
    return 0
