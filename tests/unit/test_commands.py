"""The command line as a whole: what `harness --help` says is true, and it costs no library."""

import argparse
import errno
import importlib
import os
import subprocess
import sys

import pytest

from harness.cli import COMMANDS, main


@pytest.mark.parametrize("module", sorted({module for module, _ in COMMANDS.values()}))
def test_each_module_adds_the_commands_the_table_says(module: str) -> None:
    commands = argparse.ArgumentParser().add_subparsers()
    importlib.import_module(module).add_command(commands)
    summaries = {action.dest: action.help for action in commands._choices_actions}
    assert summaries == {name: text for name, (home, text) in COMMANDS.items() if home == module}


def test_help_imports_no_library() -> None:
    script = """
import sys
from harness.cli import main
try:
    main(["--help"])
except SystemExit:
    print(*sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "numpy" not in done.stdout.split()
    assert "\n    run " in done.stdout


def test_an_unknown_command_names_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["rum"])
    error = capsys.readouterr().err
    assert "invalid choice: 'rum'" in error
    assert "'lint-v1'" in error


def test_what_argparse_refuses_is_one_line_too(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["run", "mnist_mlp", "--kernels", "vendr"])
    assert left.value.code == 2
    assert capsys.readouterr().err == (
        "harness run: argument --kernels: invalid choice: 'vendr' "
        "(choose from 'portable', 'vendor', 'vendor-ansi'). See: harness run --help\n"
    )


@pytest.mark.parametrize("fault", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_one_line(
    fault: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(_: argparse.Namespace) -> int:
        raise OSError(fault, os.strerror(fault), "build/x")

    monkeypatch.setattr("harness.commands.about._list", full)
    assert main(["list"]) == 2
    said = capsys.readouterr().err
    assert said == f"harness: cannot write build/x: {os.strerror(fault)}. Free some space\n"


def test_a_terminal_without_our_signs_ends_no_command() -> None:
    script = """
from harness import cli
from harness.commands import about
about._list = lambda _: print("max |\\u0394|") or 0
raise SystemExit(cli.main(["list"]))
"""
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"max |?|\n", b"")


def test_a_reader_that_stops_reading_is_no_error() -> None:
    done = subprocess.run(
        f"{sys.executable} -m harness.cli list | head -1",
        shell=True,
        capture_output=True,
        text=True,
        check=True,
    )
    assert (done.stdout, done.stderr) == ("models\n", "")
