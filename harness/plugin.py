"""The pytest plugin: options, and one fixture per station of the flow, in order.

`pytest --target esp32s3,esp32c3` turns every test that asks for `model` or `deploy` into one
item per target, model and runtime. The work itself is `harness.bench`'s; nothing is computed here.
pytest-embedded owns `--target`, `--port`, `--baud` and the `target` fixture; they keep their meaning.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Generator, Iterator
from typing import Any

import pytest
from rich.console import Console

from harness.bench import Bench
from harness.boards.base import Board
from harness.deployment import Deployment
from harness.errors import HarnessError
from harness.expectation import Expectation
from harness.items import EVERY, Item
from harness.model.spec import ModelSpec
from harness.progress import ProgressLine
from harness.pytest_session import BENCH, REFUSAL, RUN, bench_of, unread_ini, worker_input, writer_of
from harness.report import render_table
from harness.report.figures import flat_figures
from harness.result import Result
from harness.runtimes.base import Artifact, Project
from harness.settings import OPTIONS
from harness.spread import gather
from harness.targets import get_target
from harness.toolchains.base import Image
from harness.toolchains.esp_idf.project import IdfProject
from harness.worker_end import forks_end_with_us

_ITEMS = pytest.StashKey[list[Item]]()
_PHASES = pytest.StashKey[list[str]]()

Deploy = Callable[..., Deployment]


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("harness", "quantised neural networks on ESP32 boards (needs --target)")
    for option in OPTIONS:
        group.addoption(
            option.flag,
            dest=f"harness_{option.field}",
            metavar=option.metavar,
            choices=option.choices or None,
            help=f"{option.help} (default: {option.default or 'none'}; ini: {option.ini})",
        )
        parser.addini(option.ini, option.help, default=option.default)
    group.addoption(
        "--resume",
        dest="harness_resume",
        nargs="?",
        const="",
        metavar="RUN",
        help="go on with a run that was killed: the same command with --resume, or --resume=DIR; tests that "
        "had ended are shown with their verdict and not run again (default: the latest run, or --report-dir)",
    )


def pytest_configure(config: pytest.Config) -> None:
    # pytest-embedded records its app path with it, on every item.
    config.addinivalue_line("filterwarnings", "ignore:record_xml_attribute is an experimental feature")


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """pytest-xdist is about to start a worker: it runs items of the one run that this process reports."""
    bench = bench_of(node.config)
    if bench is not None:
        node.workerinput[RUN] = str(bench.directory.path.resolve())


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(
    fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
) -> Generator[None, object, object]:
    # pytest-embedded's own, in every session: it forks.
    if fixturedef.argname != "_mp_manager" or not worker_input(request.config, "workerid"):
        return (yield)
    with forks_end_with_us():
        return (yield)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    # Only tests that reach our fixtures: a `model` or `target` of somebody else's is theirs.
    if not {"harness_item", "deploy"} & set(metafunc.fixturenames):
        return
    bench = bench_of(metafunc.config)
    if bench is None:
        return
    marked = {
        name.strip()
        for mark in metafunc.definition.iter_markers("parametrize")
        for name in (mark.args[0].split(",") if isinstance(mark.args[0], str) else mark.args[0])
    }
    open_names = set(metafunc.fixturenames) - marked
    items = [(item.target.id, item.model.name, item.runtime) for item in bench.items()]
    if {"target", "model", "runtime"} <= open_names:
        # Together: not every runtime knows every chip and takes every model.
        metafunc.parametrize(("target", "model", "runtime"), items, indirect=True)
        return
    if "target" in open_names:
        metafunc.parametrize("target", [target.id for target in bench.targets], indirect=True)
    if {"model", "runtime"} <= open_names:
        pairs = list(dict.fromkeys((model, runtime) for _, model, runtime in items))
        metafunc.parametrize(("model", "runtime"), pairs, indirect=True)
    elif "model" in open_names:
        metafunc.parametrize("model", [spec.name for spec in bench.models], indirect=True)
    elif "runtime" in open_names and (
        named := [name for name in bench.settings.runtimes if EVERY not in name]
    ):
        metafunc.parametrize("runtime", named, indirect=True)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config) -> None:
    if refusal := config.stash.get(REFUSAL, None):
        raise pytest.UsageError(refusal)


def pytest_report_collectionfinish(config: pytest.Config) -> list[str]:
    bench = config.stash.get(BENCH, None)
    if bench is None:
        return []
    models = ", ".join(model.name for model in bench.models)
    targets = ", ".join(target.id for target in bench.targets)
    lines = [f"harness: {models} on {targets}; report in {bench.directory.path}"]
    if ended := bench.tests_before:
        number = f"{len(ended)} test{'s' * (len(ended) != 1)}"
        lines.append(f"harness: {number} ended before this run was killed: shown, not run again")
    if unread := unread_ini(config):
        lines.append(f"harness: pytest did not read {unread}; write --model=PATH, not --model PATH")
    return lines


# The flow, station by station. Each fixture can be overridden or parametrised on its own.


@pytest.fixture
def bench(request: pytest.FixtureRequest) -> Bench:
    """The run this session is: settings, caches, records."""
    found = request.config.stash.get(BENCH, None)
    if found is None:
        pytest.skip("needs --target, e.g. pytest --target esp32s3")
    return found


@pytest.fixture
def kernels(request: pytest.FixtureRequest, bench: Bench) -> str:
    """Whose code does the arithmetic; --kernels."""
    return str(getattr(request, "param", bench.settings.kernels))


@pytest.fixture
def model(request: pytest.FixtureRequest, bench: Bench) -> ModelSpec:
    """The model with its data, preprocessing and thresholds; --model."""
    return bench.model(getattr(request, "param", None) or bench.models[0].name)


@pytest.fixture
def runtime(request: pytest.FixtureRequest, bench: Bench, model: ModelSpec, target: str) -> str:
    """What executes the network; --runtime."""
    return str(getattr(request, "param", None) or bench.runtimes(model, get_target(target))[0])


@pytest.fixture
def harness_item(
    request: pytest.FixtureRequest, bench: Bench, target: str, model: ModelSpec, runtime: str, kernels: str
) -> Item:
    """target x model x runtime: what one record is about."""
    item = bench.item(target, model, runtime, kernels)
    request.node.stash.setdefault(_ITEMS, []).append(item)
    return item


@pytest.fixture
def artifact(bench: Bench, harness_item: Item) -> Artifact:
    """What the runtime executes, read and verified."""
    return bench.artifact(harness_item)


@pytest.fixture
def expectation(bench: Bench, harness_item: Item, artifact: Artifact) -> Expectation:
    """The item's data, and what a correct device and the float model answer to them."""
    return bench.expectation(harness_item, artifact)


@pytest.fixture
def project(bench: Bench, harness_item: Item, artifact: Artifact) -> Project | IdfProject:
    """The firmware source tree generated for it."""
    return bench.project(harness_item, artifact)


@pytest.fixture
def image(bench: Bench, harness_item: Item, project: Project | IdfProject) -> Image | None:
    """The built firmware; None when an attached board keeps its own."""
    return bench.image(harness_item, project)


@pytest.fixture
def board(bench: Bench, harness_item: Item, image: Image | None) -> Board:
    """The board it runs on, chosen but not yet started."""
    return bench.board(harness_item, image)


@pytest.fixture
def deployment(
    request: pytest.FixtureRequest,
    bench: Bench,
    harness_item: Item,
    artifact: Artifact,
    image: Image | None,
    board: Board,
) -> Iterator[Deployment]:
    """The model on the board, identity checked, ready for inputs."""
    flashing = ProgressLine(f"{harness_item.key} flashing", writer_of(request.config), "bytes")
    with bench.deploy(harness_item, artifact, image, board, flashing) as deployed:
        yield deployed


@pytest.fixture
def result(
    request: pytest.FixtureRequest, bench: Bench, expectation: Expectation, deployment: Deployment
) -> Result:
    """All samples sent, answers collected and compared with oracle and float reference.

    The data come before the deployment, so that bad ones are refused before anything is built.
    """
    progress = ProgressLine(deployment.item.key, writer_of(request.config))
    return bench.run(deployment, expectation, progress)


@pytest.fixture
def deploy(request: pytest.FixtureRequest, bench: Bench, target: str) -> Iterator[Deploy]:
    """For your own tests: `deploy("my.tflite", runtime="tflm")` gives the model on a board.

    `deploy(...).infer(images)` returns a `Result`: runtime_gap, quantisation_gap, scores, counts.
    """
    with bench.deployments(ProgressLine("flashing", writer_of(request.config), "bytes")) as start:

        def one(model: str, runtime: str | None = None, kernels: str | None = None) -> Deployment:
            spec = bench.model(model)
            item = bench.item(
                target,
                spec,
                runtime or bench.runtimes(spec, get_target(target))[0],
                kernels or bench.settings.kernels,
            )
            request.node.stash.setdefault(_ITEMS, []).append(item)
            return start(item)

        yield one


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> bool | None:
    """Shows a test that had ended when its run was killed; one that had not is run as ever."""
    bench = item.config.stash.get(BENCH, None)
    before = bench.tests_before.get(item.nodeid) if bench is not None else None
    if before is None:
        return None
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    for text in before.reports:
        data = json.loads(text)
        report = item.config.hook.pytest_report_from_serializable(config=item.config, data=data)
        if report.skipped and isinstance(report.longrepr, list):
            report.longrepr = tuple(report.longrepr)  # JSON has no tuples, and pytest insists
        report.ended_before_the_kill = True
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


@pytest.hookimpl(tryfirst=True)
def pytest_report_teststatus(report: pytest.TestReport) -> tuple[str, str, str] | None:
    if getattr(report, "ended_before_the_kill", False) and report.passed and report.when == "call":
        return "passed", ".", "PASSED (before the kill)"
    return None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    bench = item.config.stash.get(BENCH, None)
    if bench is None:
        return report
    error = call.excinfo.value if call.excinfo else None
    if isinstance(error, HarnessError):
        report.longrepr = str(error)
    about_items = item.stash.get(_ITEMS, [])
    for about in about_items:
        if error is not None and not isinstance(error, pytest.skip.Exception):
            bench.failed(about, error)
        if call.when == "teardown":
            figures = flat_figures(bench.close_item(about)).items()
            report.user_properties += [(name, value) for name, value in figures if value is not None]
    data = item.config.hook.pytest_report_to_serializable(config=item.config, report=report)
    phases = item.stash.setdefault(_PHASES, [])
    phases.append(json.dumps(data, default=str))
    if about_items and call.when == "teardown":
        bench.close_test(item.nodeid, about_items, phases)
    return report


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    bench = session.config.stash.get(BENCH, None)
    if bench is None:
        return
    if worker_input(session.config, RUN):
        bench.end()
    else:
        gather(bench)
        bench.finish()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    bench = config.stash.get(BENCH, None)
    if bench is None or not bench.reports:
        return
    terminal = bool(terminalreporter.isatty and terminalreporter.hasmarkup)
    text = io.StringIO()
    console = Console(file=text, force_terminal=terminal, width=terminalreporter._tw.fullwidth)
    render_table(bench.run_record(), console)
    terminalreporter.section("harness")
    terminalreporter.write(text.getvalue())
    terminalreporter.write_line(f"report: {bench.reports['report.html']}")
    for warning in bench.warnings:
        terminalreporter.write_line(f"harness: {warning}", yellow=True)
