"""All that `harness inspect` says of a model, in one value; and the same as JSON."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness.errors import HarnessError, ModelError
from harness.inspection.float_graph import macs_of_tflite, read_onnx
from harness.inspection.graph import GraphFacts, float_facts, planned_facts
from harness.inspection.support import RUNS, Support, support
from harness.items import brought
from harness.model.dataset import load_dataset
from harness.model.keras_onnx import float_onnx
from harness.model.spec import ModelSpec
from harness.model.task import REGRESSION
from harness.portable.graph import Tensor
from harness.runtimes import RUNTIMES
from harness.runtimes.espdl.variants import VARIANTS
from harness.runtimes.planned import PlannedRuntime
from harness.runtimes.tflm.float_file import float_tflite, read_float, stored_as, stored_weight_bytes
from harness.runtimes.tflm.stored_weights import MEANT
from harness.tensors import TensorInfo

FLOAT_KINDS = ("onnx", "keras", "tflite_float", "savedmodel")


@dataclass(frozen=True)
class DataFacts:
    """What a data file holds for the model's first input. `saturated` is the share of its values that the
    input's integers cannot express; None for a float input.
    """

    source: str
    samples: int
    classes: int | None
    smallest: float
    largest: float
    saturated: float | None


@dataclass(frozen=True)
class Inspection:
    """`file` is the one whose graph is shown, `runtime` whose file it is, "" for the float model;
    `others` are the model's further files.
    """

    name: str
    file: Path
    runtime: str
    facts: GraphFacts
    support: tuple[Support, ...]
    others: tuple[Path, ...]
    data: DataFacts | None


def inspect_model(model: ModelSpec, data: Path | None = None) -> Inspection:
    """Reads a model's files, and the data if given.

    Raises:
        ModelError, UnsupportedError: no graph can be read from any of its files.
        DataError: the data do not fit the model's input.
    """
    file, runtime, facts = _graph(model)
    others = tuple(path for path in dict.fromkeys(model.artifacts.values()) if path != file)
    verdicts = support(model)
    about = None if data is None else _data_facts(model, data, [tensor.info for tensor in facts.inputs])
    return Inspection(model.name, file, runtime, facts, verdicts, others, about)


def _graph(model: ModelSpec) -> tuple[Path, str, GraphFacts]:
    """Of the first file that a runtime can read; else of the float model."""
    first: HarnessError | None = None
    for name, kind in RUNTIMES.items():
        runtime = kind()
        if not isinstance(runtime, PlannedRuntime):
            continue
        for variant in VARIANTS if runtime.by_chip else ("",):
            path = brought(model, runtime, variant)
            if path is None:
                continue
            try:
                return path, name, planned_facts(runtime.graph(path, variant), runtime.operators)
            except HarnessError as error:
                first = first or _about(error, path)
    try:
        shown = next((model.artifacts[kind] for kind in FLOAT_KINDS if kind in model.artifacts), None)
        if shown is not None:
            return shown, "", _float_facts(model)
    except HarnessError as error:
        first = first or error
    raise first or ModelError(f"{model.name}: no file of it can be shown", RUNTIMES["tflm"].conversion_hint)


def _float_facts(model: ModelSpec) -> GraphFacts:
    """A .tflite, or what TensorFlow makes of a SavedModel, is shown with its own operators."""
    if not {"onnx", "keras"}.isdisjoint(model.artifacts):
        onnx = float_onnx(model)
        assert onnx is not None
        return float_facts(read_onnx(onnx))
    tflite = float_tflite(model)
    assert tflite is not None
    facts = float_facts(read_float(tflite), macs_of_tflite)
    return dataclasses.replace(
        facts, quantisation=MEANT[stored_as(tflite)], weight_bytes=stored_weight_bytes(tflite)
    )


def _about(error: HarnessError, path: Path) -> HarnessError:
    """With the file's name, once."""
    if error.message.startswith(str(path)):
        return error
    return type(error)(f"{path}: {error.message}", error.remedy)


def _data_facts(model: ModelSpec, path: Path, tensors: list[TensorInfo]) -> DataFacts:
    dataset = load_dataset(path, tensors, model.preprocess, labelled=model.task != REGRESSION)
    real, tensor = dataset.real()[0], tensors[0]
    saturated = None
    if tensor.quantised:
        limits = np.iinfo(tensor.dtype)
        low, high = ((limit - tensor.zero_point) * tensor.scale for limit in (limits.min, limits.max))
        # Half a step beyond the last integer still rounds to it.
        outside = (real < low - tensor.scale / 2) | (real > high + tensor.scale / 2)
        saturated = float(np.mean(outside))
    return DataFacts(
        source=str(path),
        samples=dataset.samples,
        classes=None if dataset.labels is None else len(np.unique(dataset.labels)),
        smallest=float(real.min()),
        largest=float(real.max()),
        saturated=saturated,
    )


def as_json(found: Inspection) -> dict[str, Any]:
    """Numbers unrounded, names as everywhere in records; what is not known is null."""
    facts = found.facts
    return {
        "model": found.name,
        "file": str(found.file),
        "runtime": found.runtime or None,
        "inputs": [_tensor(tensor) for tensor in facts.inputs],
        "outputs": [_tensor(tensor) for tensor in facts.outputs],
        "operators": [{**dataclasses.asdict(row), "exponent": row.exponent} for row in facts.rows],
        "macs": facts.macs,
        "parameters": facts.parameters,
        "weight_bytes": facts.weight_bytes,
        "constant_bytes": facts.constant_bytes,
        "memory": facts.memory and dataclasses.asdict(facts.memory),
        "quantisation": facts.quantisation,
        "support": [
            {
                "runtime": one.runtime,
                "schemes": list(one.schemes),
                "targets": list(one.chips),
                "verdict": one.verdict,
                "why": one.why,
                "file": str(one.artifact.path) if one.verdict == RUNS and one.artifact else None,
            }
            for one in found.support
        ],
        "data": found.data and dataclasses.asdict(found.data),
    }


def _tensor(tensor: Tensor) -> dict[str, Any]:
    info = tensor.info
    return {
        "name": info.name,
        "shape": list(info.shape),
        "dtype": info.dtype,
        "scale": info.scale,
        "zero_point": info.zero_point,
    }
