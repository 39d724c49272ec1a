"""The run behind a pytest session: made of pytest's options once, kept with its configuration, written to.

`harness.plugin` has the hooks and fixtures; what a run does is `harness.bench`'s.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shlex
import tempfile
from pathlib import Path

import pytest

from harness.bench import Bench
from harness.errors import HarnessError, UsageError
from harness.progress import Writer
from harness.resume import load_killed_run
from harness.settings import Option, settings_from
from harness.spread import part_directory

RUN = "harness_run"
"""What pytest-xdist's controller tells its workers: the directory of the run."""
BENCH = pytest.StashKey[Bench]()
REFUSAL = pytest.StashKey[str]()


def bench_of(config: pytest.Config) -> Bench | None:
    """The run, made when the first test asks for it; None without --target or when it is refused.

    Not at start-up: `--target` is pytest-embedded's, and a session of tests that are not ours
    may give it values that mean nothing here.
    """
    target = config.getoption("target", None)
    if target and BENCH not in config.stash and REFUSAL not in config.stash:
        try:
            config.stash[BENCH] = _make_bench(config, target)
        except HarnessError as error:
            config.stash[REFUSAL] = str(error)
    return config.stash.get(BENCH, None)


def _make_bench(config: pytest.Config, target: str) -> Bench:
    if config.pluginmanager.has_plugin("labgrid"):
        raise UsageError(
            "labgrid's pytest plugin is active; it and pytest-embedded both define the fixture `target`, "
            "and every item would be skipped silently",
            "Run pytest with -p no:labgrid",
        )
    # pytest-embedded's own files would all go to /tmp/pytest-embedded, where a second user of the
    # machine may not write.
    own = str(Path(tempfile.gettempdir()) / f"harness-{os.getuid()}")
    for option in ("root_logdir", "cache_dir"):
        if getattr(config.option, option, None) is None:
            setattr(config.option, option, own)
    project = _project_directory(config)
    settings = settings_from(
        lambda option: _option_text(config, option),
        target=target,
        port=config.getoption("port", None),
        baud=config.getoption("baud", None),
        port_mac=config.getoption("port_mac", None),
        port_location=config.getoption("port_location", None),
        root=project,
        skip_autoflash=config.getoption("skip_autoflash", None),
    )
    if run := worker_input(config, RUN):
        part = part_directory(Path(run), worker_input(config, "workerid"))
        settings = dataclasses.replace(settings, report_dir=part)
    command = shlex.join(["pytest", *map(str, config.invocation_params.args)])

    def say(line: str) -> None:
        writer_of(config).line(line)

    reports, which = project / "reports", config.getoption("harness_resume", None)
    resumed = None if which is None else load_killed_run(reports, which, settings.report_dir)
    return Bench(settings, reports_root=reports, command=command, say=say, resumed=resumed)


def worker_input(config: pytest.Config, key: str) -> str:
    """What pytest-xdist's controller told this worker; empty in any other process."""
    return str(getattr(config, "workerinput", {}).get(key, ""))


def _project_directory(config: pytest.Config) -> Path:
    """Where pytest was started, unless an ini file above it says that the project begins there.

    Not `config.rootpath`: before it knows our options pytest takes every existing path on the
    command line for a test path, so `--model /elsewhere/x.tflite` moves the root directory.
    """
    started = config.invocation_params.dir
    if config.inipath is not None and started.is_relative_to(config.inipath.parent):
        return config.inipath.parent
    return started


def unread_ini(config: pytest.Config) -> Path | None:
    """This directory's pytest.ini, when pytest has read another or none."""
    ini = config.invocation_params.dir / "pytest.ini"
    return ini if ini.is_file() and config.inipath != ini else None


def _option_text(config: pytest.Config, option: Option) -> str:
    given = config.getoption(f"harness_{option.field}")
    return str(given if given is not None else config.getini(option.ini))


def writer_of(config: pytest.Config) -> Writer:
    """Where progress is shown; nowhere in a worker of pytest-xdist, which has no terminal."""
    return _ReporterWriter(config) if config.pluginmanager.has_plugin("terminalreporter") else _NoWriter()


class _NoWriter:
    terminal = False

    def rewrite(self, line: str) -> None: ...

    def line(self, line: str) -> None: ...


class _ReporterWriter:
    """Progress through pytest's own reporter, past its capture of everything a test writes."""

    def __init__(self, config: pytest.Config) -> None:
        reporter = config.pluginmanager.get_plugin("terminalreporter")
        assert isinstance(reporter, pytest.TerminalReporter)
        self._reporter = reporter
        self._capture = config.pluginmanager.get_plugin("capturemanager")

    @property
    def terminal(self) -> bool:
        return bool(self._reporter.isatty)

    def rewrite(self, line: str) -> None:
        with self._uncaptured():
            self._reporter.ensure_newline()
            self._reporter.rewrite(line, erase=True)
            self._reporter.flush()

    def line(self, line: str) -> None:
        with self._uncaptured():
            self._reporter.ensure_newline()
            self._reporter.write_line(line)

    def _uncaptured(self) -> contextlib.AbstractContextManager[None]:
        if self._capture is None:
            return contextlib.nullcontext()
        disabled: contextlib.AbstractContextManager[None] = self._capture.global_and_fixture_disabled()
        return disabled
