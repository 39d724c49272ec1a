"""The `harness` command: which subcommands there are, and what an error becomes.

Exit codes: 0 all passed; 1 a measurement is out of its range; 2 wrong usage, or a file or program
is missing or unfit; 3 an item broke (build, board or link). `nightly` has some of its own.

A subcommand's module is imported only when it is the one asked for: `harness --help` has no need of
the libraries that runs need.
"""

from __future__ import annotations

import argparse
import importlib
import io
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from harness import __version__
from harness.errors import DISK_FULL, HarnessError

USAGE_ERROR = 2


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, where argparse would put the whole usage before it."""

    def error(self, message: str) -> NoReturn:
        self.exit(USAGE_ERROR, f"{self.prog}: {message}. See: {self.prog} --help\n")


COMMANDS = {
    "run": ("harness.commands.run", "run models on boards and write a report"),
    "init": (
        "harness.commands.init",
        "write model.toml, a test and pytest.ini for a model, ready for pytest --target",
    ),
    "nightly": ("harness.commands.nightly", "run a matrix of items unattended and say what changed"),
    "generate": (
        "harness.commands.generate",
        "write the firmware sources of a model, to read and build by hand",
    ),
    "build": (
        "harness.commands.generate",
        "build firmware for the chip with ESP-IDF (which must be active)",
    ),
    "inspect": (
        "harness.commands.inspect",
        "a model's operators, MACs, parameters, memory, and which runtimes take it or why not",
    ),
    "fit": (
        "harness.commands.fit",
        "does a model fit: flash, RAM by regions, expected time, on every chip and runtime",
    ),
    "limits": (
        "harness.commands.limits",
        "the largest parameter count, input and channel count that a chip takes, and what ends it",
    ),
    "debug": ("harness.debug", "every layer of one inference, oracle and device side by side"),
    "diff-layers": (
        "harness.diff_layers",
        "the first layer at which two of device, oracle and float part",
    ),
    "quantise": (
        "harness.commands.quantise",
        "make an .espdl, QDQ .onnx or .tflite file of a float model (extras [espdl], [keras])",
    ),
    "export-v1": (
        "harness.commands.espdl_v1",
        "write an ESP-DL v1 project: coefficients, model_define.hpp, app_main.cpp",
    ),
    "lint-v1": (
        "harness.commands.espdl_v1",
        "check an ESP-DL v1 project: exponents, shapes, missing layers",
    ),
    "serve": ("harness.serve", "a model on its emulated board, as a serial device for any other program"),
    "mlperf-tiny": (
        "harness.mlperf_tiny.commands",
        "an MLPerf Tiny run on any device that speaks its serial dialect",
    ),
    "parse": ("harness.commands.parse", "read what other firmware prints: scores, latencies, profiles"),
    "boards": (
        "harness.commands.boards",
        "the boards of the farm: who holds which since when, health, quarantine",
    ),
    "farm": ("harness.commands.farm", "write a labgrid exporter's configuration for the boards of farm.toml"),
    "link-test": (
        "harness.commands.link_test",
        "throughput, error rate and highest clean baud of each board's line",
    ),
    "import-folder": (
        "harness.commands.folders",
        "make --data and --calibration files of a folder of images",
    ),
    "train": ("harness.commands.folders", "make a zoo model's artifacts again (extra [keras])"),
    "history": ("harness.history.commands", "a model's earlier runs; without a model: the runs"),
    "compare": ("harness.history.commands", "what changed between two runs, and since what"),
    "baseline": ("harness.history.commands", "what later runs are measured against"),
    "export": ("harness.history.commands", "the history's items as CSV or Parquet"),
    "report": (
        "harness.commands.report",
        "make a run's report again from its journal; --open shows it in a browser",
    ),
    "replay": (
        "harness.commands.replay",
        "a run's report again from its wire logs, offline, compared byte for byte",
    ),
    "list": ("harness.commands.about", "the zoo, the targets and the runtimes"),
    "doctor": ("harness.commands.about", "what is installed, what is missing and how to get it"),
}
"""Name -> the module whose `add_command` adds it, and its line in `harness --help`."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of the console script; returns the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    for stream in (sys.stdout, sys.stderr):
        # Where the terminal's encoding lacks a sign (Δ, …): a question mark.
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="replace")
    try:
        parsed = _parser(next((word for word in given if not word.startswith("-")), "")).parse_args(given)
        return int(parsed.run(parsed))
    except HarnessError as error:
        print(f"harness: {error}", file=sys.stderr)
        return USAGE_ERROR
    except KeyboardInterrupt:
        print("harness: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # Whoever read the output, such as `head`, has seen enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise
        where = f" {error.filename}" if error.filename else ""
        print(f"harness: cannot write{where}: {error.strerror}. Free some space", file=sys.stderr)
        return USAGE_ERROR


def _parser(asked: str) -> argparse.ArgumentParser:
    """All commands by name, the one asked for with its options."""
    parser = Parser(
        prog="harness",
        description="Is my quantised network right, and how fast, on the ESP32? Runs it on a board or, "
        "where none is attached, on an emulator of the same instruction set, and compares every integer.",
        epilog="Start with: harness run mnist_mlp --target esp32c3",
    )
    parser.add_argument("--version", action="version", version=f"harness {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    needed = COMMANDS[asked][0] if asked in COMMANDS else ""
    added = set()
    for name, (module, summary) in COMMANDS.items():
        if module != needed:
            commands.add_parser(name, help=summary)
        elif module not in added:
            importlib.import_module(module).add_command(commands)
            added.add(module)
    return parser


if __name__ == "__main__":
    sys.exit(main())
