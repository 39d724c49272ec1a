"""The user's choices: one table of options, shared by the pytest plugin and the `harness` command.

Each is a flag, an ini setting (`harness_samples = 100`) and, through `Settings`, plain data for
everything below. `--target`, `--port`, `--port-mac`, `--port-location`,
`--baud` and `--skip-autoflash` are pytest-embedded's own and only read here.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from harness.boards import Attachment
from harness.errors import UsageError
from harness.farm.file import Farm, find_farm
from harness.farm.shelf import Wish
from harness.link.chaos import FAULTS, Chaos, parse_chaos
from harness.model.preprocess import Preprocess, parse_preprocess
from harness.model.task import TASKS
from harness.toolchains.esp_idf.partitions import Layout, layout_from, parse_size
from harness.toolchains.esp_idf.sdkconfig import read_own


@dataclass(frozen=True)
class Option:
    """One option; `name` is the flag without dashes and, with underscores, the `Settings` field."""

    name: str
    default: str
    metavar: str
    help: str
    choices: tuple[str, ...] = ()

    @property
    def flag(self) -> str:
        return f"--{self.name}"

    @property
    def field(self) -> str:
        return self.name.replace("-", "_")

    @property
    def ini(self) -> str:
        return f"harness_{self.field}"


OPTIONS = (
    Option(
        "model",
        "zoo",
        "LIST",
        "models, comma-separated: names from the zoo, directories with a model.toml, or model files",
    ),
    Option(
        "data",
        "",
        "FILE",
        "instead of each model's own test set: .npz with x (and y, the labels), .npy, .csv, raw .bin, or a "
        "folder of images",
    ),
    Option(
        "calibration",
        "",
        "FILE",
        "as --data: typical inputs, from which a float model is quantised; default: the model's own, "
        "else --data",
    ),
    Option(
        "preprocess",
        "",
        "HOW",
        "what pixels 0..255 of --data become, for models that do not declare it: scale=S,offset=O gives "
        "pixel x S + O; resize=bilinear scales images to the input's size, colour=bgr turns their channels",
    ),
    Option(
        "task",
        "auto",
        "NAME",
        "what the models are for, which decides what is compared: classification, regression (values, also "
        "per pixel) or reconstruction (autoencoders); auto: as declared, else by labels and shapes",
        choices=("auto", *TASKS),
    ),
    Option(
        "runtime",
        "all",
        "LIST",
        "runtimes, comma-separated, e.g. tflm,espdl:int16; all: every one that takes the model, the first of "
        "them where a board keeps its firmware; all:all: those in each quantisation, compared",
    ),
    Option(
        "kernels",
        "portable",
        "NAME",
        "whose code does the arithmetic: portable (C99 generated here); with ESP-IDF, on a board or "
        "Espressif's emulator: vendor (TFLM with ESP-NN, ESP-DL), vendor-ansi (ESP-NN in plain C)",
        choices=("portable", "vendor", "vendor-ansi"),
    ),
    Option(
        "reference",
        "onnx",
        "NAME",
        "the float model to compare with: onnx (onnxruntime), keras (extra [keras]) or none",
        choices=("onnx", "keras", "none"),
    ),
    Option(
        "samples",
        "auto",
        "N",
        "how many samples of the data to run; all; or auto: what model.toml's [bench] says, else all. "
        "Of random data, 100 without a number",
    ),
    Option("layer-samples", "10", "N", "compare every layer, not only the outputs, on the first N samples"),
    Option("warmup", "3", "N", "inferences after the first and before those measured; recorded apart"),
    Option(
        "board",
        "auto",
        "KIND",
        "auto (an attached board, else an emulator), serial (attached), silicon (attached, and no "
        "emulator behind the port), qemu, esp_qemu and espemu (Espressif's emulators), host (native "
        "process); or the name of a board of the farm",
    ),
    Option("flash-size", "4MB", "SIZE", "flash of an attached board, for firmware built with ESP-IDF"),
    Option("app-size", "", "SIZE", "partition of the app there; default: 1536K and what it must hold"),
    Option(
        "model-in",
        "partition",
        "NAME",
        "where a vendor's engine finds its model: in a flash partition of its own, so that one firmware "
        "runs every model, or linked into the app",
        choices=("partition", "app"),
    ),
    Option(
        "sdkconfig",
        "",
        "FILE",
        "settings of your own for firmware built with ESP-IDF, which overrule ours, e.g. "
        "CONFIG_SPIRAM_MODE_QUAD=y for a module with quad PSRAM (docs/vendor_engines.md)",
    ),
    Option(
        "farm",
        "",
        "FILE",
        "the boards there are (docs/farm.md); without it $HARNESS_FARM, farm.toml where you are, or whatever "
        "is attached",
    ),
    Option("tag", "", "LIST", "only boards of the farm with all these tags, e.g. psram,rev0.2"),
    Option("wait", "600", "SECONDS", "how long to wait for a board that others hold; 0: not at all"),
    Option("lease", "3600", "SECONDS", "how long one item may hold a board"),
    Option(
        "reset",
        "dtr-rts",
        "NAME",
        "how an attached board is restarted: dtr-rts, usb-jtag, watchdog, none (by its buttons)",
        choices=("dtr-rts", "usb-jtag", "watchdog", "none"),
    ),
    Option(
        "dialect",
        "",
        "NAME",
        "what the foreign firmware on --port speaks: mlperf, the MLPerf Tiny commands; or one that only "
        "prints its scores (harness parse --help)",
    ),
    Option("infer-timeout", "60", "SECONDS", "give a device up when it says nothing for so long in a run"),
    Option(
        "chaos",
        "",
        "FAULTS",
        f"a faulty wire between bench and board: faults per byte of {', '.join(FAULTS)}, and seed, "
        "e.g. drop=1e-3,reset=1e-6,seed=1",
    ),
    Option(
        "build-limit",
        "2048MB",
        "SIZE",
        "how large build/ may grow: at the end of a run what was used least recently goes, but nothing of "
        "the last day",
    ),
    Option("seed", "0", "N", "seed of the random inputs used where there are no data"),
    Option(
        "report-dir", "", "DIR", "where the report goes; default reports/<time>, linked as reports/latest"
    ),
)

RANDOM_SAMPLES = 100
ALL_SAMPLES = sys.maxsize


@dataclass(frozen=True)
class Heavy:
    """Models of more than `macs` multiply-accumulates run at most `samples` samples."""

    macs: int
    samples: int


@dataclass(frozen=True)
class Settings:
    """The choices of one run, parsed and range-checked; names are resolved later, by their owners.

    `samples` None leaves it to each model; ALL_SAMPLES is more than any data have. `given` are all choices
    as text, by name: what a run that was killed is resumed with.
    """

    targets: tuple[str, ...]
    models: tuple[str, ...]
    runtimes: tuple[str, ...]
    kernels: str
    data: Path | None
    calibration: Path | None
    reference: str
    samples: int | None
    layer_samples: int
    warmup: int
    board: str
    attachment: Attachment
    keep_firmware: bool
    layout: Layout
    farm: Farm
    tags: frozenset[str]
    wait_s: float
    lease_s: float
    dialect: str | None
    infer_timeout_s: float
    chaos: Chaos | None
    seed: int
    report_dir: Path | None
    build_root: Path
    build_limit_bytes: int
    heavy: Heavy | None = None
    preprocess: Preprocess | None = None
    task: str = ""
    given: Mapping[str, str] = field(default_factory=dict)

    @property
    def wish(self) -> Wish:
        """What boards are asked for."""
        return Wish(self.board, self.attachment, self.dialect, self.tags, self.wait_s, self.lease_s)


def settings_from(
    value: Callable[[Option], str],
    *,
    target: str,
    port: str | None,
    baud: str | None,
    root: Path,
    port_mac: str | None = None,
    port_location: str | None = None,
    skip_autoflash: str | None = None,
) -> Settings:
    """Parses option texts.

    Args:
        value: gives each option's text (flag, else ini, else default).
        target: comma-separated target names.
        root: directory under which `build/` and `reports/` lie.

    Raises:
        UsageError: a value that cannot be parsed or is out of range.
    """
    texts = {option.field: value(option).strip() for option in OPTIONS}
    boards = {
        "target": target,
        "port": port,
        "baud": baud,
        "port_mac": port_mac,
        "port_location": port_location,
        "skip_autoflash": skip_autoflash,
    }
    if port is not None and not port.strip():
        # `--port "$PORT"` of a variable that is not set must not become a run in the emulator.
        raise UsageError("--port is empty", "Name a port, or leave --port out for an emulator")
    for option in OPTIONS:
        if option.choices and texts[option.field] not in option.choices:
            raise UsageError(
                f"{option.flag} takes {', '.join(option.choices)}, not '{texts[option.field]}'",
                f"e.g. {option.flag} {option.default}",
            )
    return Settings(
        targets=split_list("--target", target),
        models=split_list("--model", texts["model"]),
        runtimes=split_list("--runtime", texts["runtime"]),
        kernels=texts["kernels"],
        data=Path(texts["data"]) if texts["data"] else None,
        calibration=Path(texts["calibration"]) if texts["calibration"] else None,
        reference=texts["reference"],
        samples=_samples(texts["samples"]),
        layer_samples=_integer("--layer-samples", texts["layer_samples"], 0),
        warmup=_integer("--warmup", texts["warmup"], 0),
        board=texts["board"],
        attachment=Attachment(
            port=port,
            mac=port_mac,
            location=port_location,
            baud=_integer("--baud", baud, 1) if baud else None,
            reset=texts["reset"],
        ),
        keep_firmware=_yes("--skip-autoflash", skip_autoflash),
        layout=layout_from(
            texts["flash_size"], texts["app_size"], texts["model_in"], read_own(texts["sdkconfig"])
        ),
        farm=find_farm(texts["farm"], root),
        tags=frozenset(split_list("--tag", texts["tag"]) if texts["tag"] else ()),
        wait_s=_seconds("--wait", texts["wait"], zero=True),
        lease_s=_seconds("--lease", texts["lease"]),
        dialect=texts["dialect"] or None,
        infer_timeout_s=_seconds("--infer-timeout", texts["infer_timeout"]),
        chaos=parse_chaos(texts["chaos"]) if texts["chaos"] else None,
        seed=_integer("--seed", texts["seed"], 0),
        report_dir=Path(texts["report_dir"]) if texts["report_dir"] else None,
        build_root=build_root_under(root),
        build_limit_bytes=parse_size("--build-limit", texts["build_limit"]),
        preprocess=parse_preprocess(texts["preprocess"]) if texts["preprocess"] else None,
        task="" if texts["task"] == "auto" else texts["task"],
        given={**texts, **{name: text for name, text in boards.items() if text}},
    )


def build_root_under(root: Path) -> Path:
    """Where what can be made again goes: `root`/build, or $HARNESS_BUILD_ROOT."""
    return Path(os.environ.get("HARNESS_BUILD_ROOT") or root / "build")


def split_list(flag: str, text: str) -> tuple[str, ...]:
    """`a,b` to ("a", "b"), doubles dropped; UsageError when nothing is left."""
    names = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    if not names:
        raise UsageError(f"{flag} expects a comma-separated list, got '{text}'")
    return names


def _samples(text: str) -> int | None:
    if text in ("auto", "all"):
        return ALL_SAMPLES if text == "all" else None
    return _integer("--samples", text, 1)


def _yes(flag: str, text: str | None) -> bool:
    answer = (text or "n").strip().lower()
    if answer not in ("y", "yes", "true", "n", "no", "false"):
        raise UsageError(f"{flag} expects y or n, got '{text}'")
    return answer in ("y", "yes", "true")


def _integer(flag: str, text: str, minimum: int) -> int:
    try:
        number = int(text)
    except ValueError:
        number = minimum - 1
    if number < minimum:
        raise UsageError(f"{flag} expects a whole number of at least {minimum}, got '{text}'")
    return number


def _seconds(flag: str, text: str, *, zero: bool = False) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < 1e6 or (not seconds and not zero):
        raise UsageError(f"{flag} expects seconds {'of at least' if zero else 'above'} 0, got '{text}'")
    return seconds
