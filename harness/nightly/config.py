"""nightly.toml, read and checked whole before anything runs; docs/nightly.md explains every key.

Spells the matrix out into jobs. It opens no artifact and starts nothing.
"""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from harness.boards import check_choice, check_targets, is_attached
from harness.errors import ModelError, UsageError
from harness.items import EVERY, Workshop, check_names, runtimes_for
from harness.model.spec import ModelSpec, load_model, zoo
from harness.records.schema import item_key
from harness.runtimes import get_runtime
from harness.settings import OPTIONS, Heavy, Settings, settings_from
from harness.targets import get_target
from harness.toml_file import Table, load

HEAVY_MACS = 10_000_000
AGAINST = ("last", "baseline")
_TOP = ("budget_minutes", "item_minutes", "retries", "against", "matrix", "known_failure")
_AXES = ("targets", "boards", "models", "runtimes", "schemes")
_HEAVY = ("heavy_samples", "heavy_macs")
_ATTACHED = ("port", "port_mac", "port_location", "baud")
_OPTIONS = tuple(
    option.field
    for option in OPTIONS
    if option.field not in ("model", "runtime", "board", "dialect", "report_dir")
)


@dataclass(frozen=True)
class Job:
    """One item to run. `block` is the index of its settings, `line` is where its [[matrix]] stands.

    `given` is what the bench knows its model by.

    Jobs of the same `port` cannot run at once; "" is an emulator, of which there are enough.
    """

    block: int
    key: str
    target: str
    model: str
    given: str
    runtime: str
    kernels: str
    unit: str
    port: str
    line: int


@dataclass(frozen=True)
class KnownFailure:
    """Items whose key fits the pattern `items` are expected to go wrong up to and on the day `until`."""

    items: str
    owner: str
    reason: str
    until: datetime.date
    line: int

    def covers(self, key: str) -> bool:
        return fnmatchcase(key, self.items)


@dataclass(frozen=True)
class Night:
    """A nightly.toml. `settings` by block; `item_s` is how long one item may take; `against` is what the
    figures are compared with.
    """

    path: Path
    settings: tuple[Settings, ...]
    jobs: tuple[Job, ...]
    known: tuple[KnownFailure, ...]
    budget_s: float | None
    item_s: float
    retries: int
    against: str


def read_night(path: Path, root: Path) -> Night:
    """Reads and checks everything; `root` is where `build/` lies.

    Raises:
        UsageError: one line with the file and the line that is wrong.
    """
    table = load(path)
    table.known(_TOP)
    blocks = table.tables("matrix")
    if not blocks:
        raise table.error("matrix", "at least one [[matrix]]")
    settings: list[Settings] = []
    jobs: dict[str, Job] = {}
    for number, block in enumerate(blocks):
        block.known((*_AXES, *_HEAVY, *_ATTACHED, *_OPTIONS))
        for board in block.texts("boards", ("auto",)):
            settings.append(_settings(block, board, root))
            for job in _jobs(block, len(settings) - 1, settings[-1]):
                if job.key in jobs:
                    raise UsageError(
                        f"{path}:{block.line()}: item {job.key} stands in the matrix of line "
                        f"{jobs[job.key].line} already",
                        "Name different boards, or drop one",
                    )
                jobs[job.key] = job
        if not any(job.line == block.line() for job in jobs.values()):
            raise UsageError(f"{path}:{block.line()}: matrix {number + 1} has no item", "Widen its schemes")
    return Night(
        path=path,
        settings=tuple(settings),
        jobs=tuple(jobs.values()),
        known=tuple(_known(table, jobs)),
        budget_s=60 * table.number("budget_minutes", minimum=0.01) if "budget_minutes" in table else None,
        item_s=60 * table.number("item_minutes", 30, minimum=0.01),
        retries=table.whole("retries", 1),
        against=table.choice("against", AGAINST, "last"),
    )


def _settings(block: Table, board: str, root: Path) -> Settings:
    """A block's options, parsed as those of the command line."""
    targets, models = block.texts("targets"), block.texts("models", ("zoo",))
    runtimes = block.texts("runtimes", (EVERY,))
    texts = {key: _text(block, key) for key in (*_OPTIONS, *_ATTACHED) if key in block}

    for index, target in enumerate(targets):
        with block.blamed("targets", index):
            check_targets((get_target(target),), None)
    for index, runtime in enumerate(runtimes):
        with block.blamed("runtimes", index):
            check_names((runtime,))

    def parsed(texts: Mapping[str, str]) -> Settings:
        return settings_from(
            lambda option: texts.get(option.field, option.default),
            target=",".join(targets),
            port=texts.get("port"),
            baud=texts.get("baud"),
            root=root,
            port_mac=texts.get("port_mac"),
            port_location=texts.get("port_location"),
        )

    # One option at a time first, so that a complaint can name its line.
    for key, text in texts.items():
        with block.blamed(key):
            parsed({key: text})
        if key in ("data", "calibration") and not Path(text).is_file():
            raise block.error(key, "an .npz file that is there")
    with block.blamed("boards"):
        settings = parsed({**texts, "model": ",".join(models), "runtime": ",".join(runtimes), "board": board})
        check_choice(board, settings.attachment)
    heavy = None
    if "heavy_samples" in block:
        macs = block.whole("heavy_macs", HEAVY_MACS, minimum=1)
        heavy = Heavy(macs, block.whole("heavy_samples", minimum=1))
    elif "heavy_macs" in block:
        raise block.error("heavy_samples", "a number of samples, as heavy_macs is given")
    return dataclasses.replace(settings, heavy=heavy)


def _text(block: Table, key: str) -> str:
    value = block.values[key]
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise block.error(key, "text or a number")
    return str(value)


def _jobs(block: Table, index: int, settings: Settings) -> Iterator[Job]:
    schemes = block.texts("schemes", ())
    asked = tuple(f"{name}:{EVERY}" if schemes and ":" not in name else name for name in settings.runtimes)
    attachment = settings.attachment
    port = attachment.port or attachment.mac or attachment.location or ""
    one_firmware = is_attached(settings.board, attachment) and settings.runtimes == (EVERY,)
    for model, given, position in _models(block):
        own = None if model.calibration else settings.data
        workshop = Workshop(settings.build_root / "artifacts", settings.calibration or own)
        for target in settings.targets:
            try:
                names = runtimes_for(model, get_target(target), asked, workshop)
            except ModelError as error:
                if block.texts("models", ("zoo",))[position] == "zoo":
                    continue  # not every model of the zoo has a runtime on every chip
                raise block.blame(error, "models", position) from None
            names = names[:1] if one_firmware else names
            for runtime in names:
                if schemes and get_runtime(runtime).scheme not in schemes:
                    continue
                unit = "" if settings.board == "auto" else settings.board
                key = item_key(target, model.name, runtime, settings.kernels, unit)
                yield Job(
                    index, key, target, model.name, given, runtime, settings.kernels, unit, port, block.line()
                )


def _models(block: Table) -> Iterator[tuple[ModelSpec, str, int]]:
    """(model, what the bench is to call it, where in the list it was asked for)."""
    for position, given in enumerate(block.texts("models", ("zoo",))):
        with block.blamed("models", position):
            found = [(load_model(name), name) for name in (zoo() if given == "zoo" else [given])]
        yield from ((model, name, position) for model, name in found)


def _known(table: Table, jobs: dict[str, Job]) -> Iterator[KnownFailure]:
    for entry in table.tables("known_failure"):
        entry.known(("items", "owner", "reason", "until"))
        known = KnownFailure(
            entry.text("items"), entry.text("owner"), entry.text("reason"), entry.date("until"), entry.line()
        )
        if not any(known.covers(key) for key in jobs):
            raise entry.error("items", f"a pattern of item keys, such as {next(iter(jobs))}")
        yield known
