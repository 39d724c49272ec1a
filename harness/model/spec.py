"""A model as the bench knows it: `model.toml`, or a single file the user brings.

`model.toml`, every path relative to it:

    name = "mnist_mlp"              letters, digits, _ and -; the name in options and records
    title, description, tutorial    text; `tutorial` says where the network comes from
    classes = ["0", "1"]            optional: what the outputs mean, one per output element
    task = "regression"             optional: classification, regression or reconstruction, see task.py

    [input]
    shape = [1, 784]                of one inference, batch 1 first

    [preprocess]                    optional: how uint8 pixels become real input values
    kind = "affine"                 value = pixel * scale + offset
    scale = 0.00392156862745098
    offset = 0.0
    resize = "bilinear"             optional, for folders of images: scaled to the input's size
    colour = "bgr"                  optional, for folders of images: the order of the channels, else rgb

    [dataset]                       optional; see data_files.py
    test = "../mnist/test.npz"
    calibration = "../mnist/calibration.npz"

    [artifacts]                     at least one
    keras = "model.keras"
    onnx = "model.onnx"
    tflite = "model.tflite"
    tflite_float = "float.tflite"   a float .tflite, also with float16 or dynamic-range weights
    savedmodel = "saved_model"      the directory of a SavedModel
    espdl_c = "model.c.espdl"       esp32, s2, c2, c3, c5, c6; also espdl_esp32s3, espdl_esp32p4, or
                                    espdl for a file whose chips are not said
    espdl_int16_c = "model.int16.c.espdl"    for --runtime espdl:int16; also espdl_w8a16_c, ...

    [bench]                         optional
    samples = 20                    for a heavy network: so many test samples make a run by default

    [expect]                        optional
    reference_top1_min = 0.94       the float model's top-1 on `test`, 0..1

    [measurements.NAME]             optional, any number: gates, see measurements.py

This module reads and checks; it opens no artifact, but a single .tflite file to see whether it is float.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.bundled import zoo_directory
from harness.errors import ModelError, UsageError, did_you_mean
from harness.model import digests
from harness.model.measurements import Scoped, read_measurements
from harness.model.preprocess import COLOURS, KINDS, RESIZES, Preprocess
from harness.model.task import TASKS
from harness.toml_file import Table, load

ESPDL_KINDS = tuple(
    f"espdl{scheme}{chips}"
    for scheme in ("", "_int16", "_w8a16")
    for chips in ("", "_c", "_esp32p4", "_esp32s3")
)
ARTIFACT_KINDS = (
    *ESPDL_KINDS,
    "espdlv1",
    "keras",
    "onnx",
    "savedmodel",
    "tflite",
    "tflite_float",
    "tflite_int16x8",
)
SUFFIXES = {
    ".espdl": "espdl",
    ".espdlv1": "espdlv1",
    ".h5": "keras",
    ".keras": "keras",
    ".onnx": "onnx",
    ".tflite": "tflite",
}


@dataclass(frozen=True)
class ModelSpec:
    """What is declared about a model. A model brought as one file has only `name` and `artifacts`.

    `directory` holds the model.toml; `artifacts` maps the keys of [artifacts] to files. `conversions` is
    where files made of a SavedModel are kept; None: made anew in every process.
    """

    name: str
    artifacts: dict[str, Path]
    title: str = ""
    description: str = ""
    tutorial: str = ""
    classes: tuple[str, ...] = ()
    task: str = ""
    input_shape: tuple[int, ...] | None = None
    preprocess: Preprocess | None = None
    test: Path | None = None
    calibration: Path | None = None
    reference_top1_min: float | None = None
    bench_samples: int | None = None
    measurements: tuple[Scoped, ...] = ()
    directory: Path | None = field(default=None, compare=False)
    conversions: Path | None = field(default=None, compare=False)


def zoo() -> list[str]:
    """The names of the models that come with the bench, sorted."""
    return sorted(path.parent.name for path in zoo_directory().glob("*/model.toml"))


def load_model(name_or_path: str | Path) -> ModelSpec:
    """Finds a model by zoo name, by a directory with model.toml, an ESP-DL v1 project or a
    SavedModel, or by one artifact file.

    Raises:
        UsageError: no such model.
        ModelError: model.toml is wrong, names a missing file, or a file's digest differs.
    """
    name = str(name_or_path)
    if name in zoo():
        return read_spec(zoo_directory() / name)
    path = Path(name_or_path).expanduser()
    if path.name == "model.toml" and path.is_file():
        return read_spec(path.parent)
    if path.is_dir():
        if (path / "saved_model.pb").is_file():
            return ModelSpec(name=path.resolve().name, artifacts={"savedmodel": path.resolve()})
        if not (path / "model.toml").is_file() and any(path.rglob("*_coefficient.cpp")):
            return ModelSpec(name=path.resolve().name, artifacts={"espdlv1": path.resolve()})
        return read_spec(path)
    suffix = path.suffix.lower()
    if path.is_file():
        if suffix not in SUFFIXES:
            raise UsageError(
                f"{path}: expected a model file ({', '.join(SUFFIXES)}) or a directory with model.toml"
            )
        # Many a file is just called model.tflite; its folder says more.
        name = path.resolve().parent.name if path.stem == "model" else path.stem
        return ModelSpec(name=name, artifacts={_kind(path, SUFFIXES[suffix]): path.resolve()})
    what = "no such file" if suffix in SUFFIXES or "/" in name else "no such model"
    raise UsageError(
        f"{name}: {what}",
        f"{did_you_mean(name, zoo())}The zoo has: {', '.join(zoo())}; "
        f"a path to a {', '.join(SUFFIXES)} file works too",
    )


def _kind(path: Path, kind: str) -> str:
    if kind == "tflite":
        from harness.runtimes.tflm.float_file import is_float  # the runtimes know models, not the other way

        return "tflite_float" if is_float(path) else kind
    return kind


def read_spec(directory: Path, check_files: bool = True) -> ModelSpec:
    """Reads and checks `directory`/model.toml; `check_files=False` is for training, which makes them.

    Raises:
        ModelError: one line with the file, its line and the key.
    """
    path = directory / "model.toml"
    if not path.exists():
        raise ModelError(f"{directory}: expected a model.toml in it, found none")
    try:
        table = load(path)
    except UsageError as error:
        raise ModelError(error.message, error.remedy) from None
    reader = _Reader(table)
    spec = reader.spec(table.values)
    if check_files:
        files: list[tuple[str, Path | None]] = [
            (f"artifacts.{kind}", file) for kind, file in spec.artifacts.items()
        ]
        files += [("dataset.test", spec.test), ("dataset.calibration", spec.calibration)]
        for key, file in files:
            if file is None:
                continue
            if file.is_dir() and key.startswith(("dataset.", "artifacts.savedmodel")):
                continue
            if not file.is_file():
                raise ModelError(f"{reader.at(key)}: no such file: {file}")
            digests.verify(file)
    return spec


def write_spec(model: ModelSpec, directory: Path) -> None:
    """Writes `directory`/model.toml; every file of the model is named relative to it."""
    (directory / "model.toml").write_text(spec_text(model, directory), encoding="utf-8")


def spec_text(model: ModelSpec, directory: Path) -> str:
    """What model.toml says of `model` in `directory`."""

    def relative(path: Path) -> str:
        return Path(os.path.relpath(path, directory)).as_posix()

    texts = {"name": model.name, "title": model.title, "description": model.description}
    tables: dict[str, dict[str, object]] = {
        "": {
            **texts,
            "tutorial": model.tutorial,
            "classes": list(model.classes),
            **({"task": model.task} if model.task else {}),
        },
        "input": {"shape": list(model.input_shape or ())},
        "preprocess": {key: value for key, value in vars(model.preprocess).items() if value != ""}
        if model.preprocess
        else {},
        "dataset": {
            key: relative(path)
            for key, path in (("test", model.test), ("calibration", model.calibration))
            if path is not None
        },
        "artifacts": {kind: relative(path) for kind, path in model.artifacts.items()},
        "bench": {"samples": model.bench_samples} if model.bench_samples else {},
        "expect": {"reference_top1_min": model.reference_top1_min} if model.reference_top1_min else {},
        **{f"measurements.{json.dumps(each.declared.name)}": each.table() for each in model.measurements},
    }
    lines = []
    for table, values in tables.items():
        if values:
            # JSON's texts, numbers and lists are TOML's too.
            lines += ["", f"[{table}]"] if table else []
            lines += [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in values.items()]
    return "\n".join(lines) + "\n"


class _Reader:
    """Checks one model.toml; every message starts with the file, its line and the key."""

    def __init__(self, file: Table) -> None:
        self._file = file

    def at(self, key: str) -> str:
        """Where `key`, such as artifacts.tflite, stands."""
        return f"{self._where(key)}: {key}"

    def _where(self, key: str) -> str:
        return f"{self._file.path}:{self._file.line_of(tuple(key.split('.')))}"

    def spec(self, values: dict[str, Any]) -> ModelSpec:
        self._keys("", values, required={"name", "input", "artifacts"}, optional=set(_OPTIONAL_TABLES))
        name = self._text(values, "name")
        if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
            raise self._error("name", "letters, digits, _ and -", name)
        directory = self._file.path.parent.resolve()
        dataset = self._table(values, "dataset", required=set(), optional={"test", "calibration"})
        artifacts = self._table(values, "artifacts", required=set(), optional=set(ARTIFACT_KINDS))
        if not artifacts:
            kinds = ", ".join(sorted(set(SUFFIXES.values())))
            raise self._error("artifacts", f"at least one of {kinds}", "none")
        expect = self._table(values, "expect", required=set(), optional={"reference_top1_min"})
        bench = self._table(values, "bench", required=set(), optional={"samples"})
        return ModelSpec(
            name=name,
            title=self._text(values, "title", ""),
            description=self._text(values, "description", ""),
            tutorial=self._text(values, "tutorial", ""),
            classes=self._classes(values),
            task=self._task(values),
            input_shape=self._shape(values),
            preprocess=self._preprocess(values),
            artifacts={kind: directory / self._text(artifacts, kind, at="artifacts.") for kind in artifacts},
            test=self._path(dataset, "test", directory),
            calibration=self._path(dataset, "calibration", directory),
            reference_top1_min=self._share(expect, "reference_top1_min"),
            bench_samples=self._samples(bench),
            measurements=read_measurements(values.get("measurements", {}), self._error),
            directory=directory,
        )

    def _error(self, key: str, expected: str, came: object) -> ModelError:
        return ModelError(f"{self.at(key)}: expected {expected}, came {came!r}")

    def _keys(self, at: str, values: dict[str, Any], required: set[str], optional: set[str]) -> None:
        known = required | optional
        for key in values:
            if key not in known:
                hint = did_you_mean(key, known).rstrip() or f"Known keys: {', '.join(sorted(known))}"
                raise ModelError(f"{self._where(at + key)}: unknown key {at}{key}", hint)
        for key in sorted(required - set(values)):
            raise ModelError(f"{self._where(at + key)}: key {at}{key} is missing")

    def _table(
        self, values: dict[str, Any], key: str, required: set[str], optional: set[str]
    ) -> dict[str, Any]:
        table = values.get(key, {})
        if not isinstance(table, dict):
            raise self._error(key, "a table", table)
        if key in values:
            self._keys(f"{key}.", table, required, optional)
        return table

    def _text(self, values: dict[str, Any], key: str, default: str | None = None, at: str = "") -> str:
        value = values.get(key, default)
        if not isinstance(value, str):
            raise self._error(at + key, "text", value)
        return value

    def _number(self, values: dict[str, Any], key: str, at: str) -> float:
        value = values[key]
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._error(at + key, "a number", value)
        if not abs(value) < float("inf"):
            raise self._error(at + key, "a finite number", value)
        return float(value)

    def _path(self, dataset: dict[str, Any], key: str, directory: Path) -> Path | None:
        if key not in dataset:
            return None
        return Path(os.path.normpath(directory / self._text(dataset, key, at="dataset.")))

    def _share(self, expect: dict[str, Any], key: str) -> float | None:
        if key not in expect:
            return None
        share = self._number(expect, key, "expect.")
        if not 0 <= share <= 1:
            raise self._error(f"expect.{key}", "0..1", share)
        return share

    def _samples(self, bench: dict[str, Any]) -> int | None:
        samples = bench.get("samples")
        if samples is not None and (type(samples) is not int or samples < 1):
            raise self._error("bench.samples", "a whole number of at least 1", samples)
        return samples

    def _shape(self, values: dict[str, Any]) -> tuple[int, ...]:
        shape = self._table(values, "input", required={"shape"}, optional=set())["shape"]
        whole = isinstance(shape, list) and all(type(size) is int and size > 0 for size in shape)
        if not whole or not shape or shape[0] != 1:
            raise self._error("input.shape", "a list of whole numbers, batch 1 first", shape)
        return tuple(shape)

    def _classes(self, values: dict[str, Any]) -> tuple[str, ...]:
        classes = values.get("classes", [])
        if not isinstance(classes, list) or not all(isinstance(label, str) for label in classes):
            raise self._error("classes", "a list of texts", classes)
        return tuple(classes)

    def _task(self, values: dict[str, Any]) -> str:
        task = self._text(values, "task", "")
        if task and task not in TASKS:
            raise self._error("task", " or ".join(TASKS), task)
        return task

    def _preprocess(self, values: dict[str, Any]) -> Preprocess | None:
        if "preprocess" not in values:
            return None
        words = {"resize": RESIZES, "colour": COLOURS}
        table = self._table(values, "preprocess", required={"kind", "scale", "offset"}, optional=set(words))
        if table["kind"] not in KINDS:
            raise self._error("preprocess.kind", " or ".join(KINDS), table["kind"])
        scale, offset = (self._number(table, key, "preprocess.") for key in ("scale", "offset"))
        for key, known in words.items():
            if key in table and table[key] not in known:
                raise self._error(f"preprocess.{key}", " or ".join(known), table[key])
        return Preprocess(table["kind"], scale, offset, table.get("resize", ""), table.get("colour", ""))


_OPTIONAL_TABLES = (
    "title",
    "description",
    "tutorial",
    "classes",
    "task",
    "preprocess",
    "dataset",
    "bench",
    "expect",
    "measurements",
)
