"""The scores of a foreign firmware against the model it is said to run.

The n-th inference of the log is taken to be the n-th sample of the data: such firmware does not say
which image it had, so only whole inferences of the right number of scores are compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.dialects.records import Inference, ParsedLog
from harness.errors import DataError, UnsupportedError
from harness.expectation import expect, model_task
from harness.measure.gaps import accuracy, distance_lsb, quantisation_gap, runtime_gap
from harness.model.dataset import load_dataset
from harness.model.reference import open_reference
from harness.model.spec import ModelSpec
from harness.model.task import CLASSIFICATION, REGRESSION
from harness.records.schema import Accuracy, QuantisationGap, RuntimeGap
from harness.runtimes.base import Artifact, Oracle
from harness.tensors import TensorInfo


@dataclass(frozen=True)
class Comparison:
    """`runtime_gap` (device against oracle) is there where `as_output` gives the output itself; `whole_gap`,
    the device's real values against the float reference, wherever there is such a reference: runtime and
    quantisation gap in one, for this firmware's oracle may be another."""

    model: str
    data: str
    samples: int
    runtime_gap: RuntimeGap | None
    whole_gap: QuantisationGap | None
    accuracy: Accuracy


def compare(
    parsed: ParsedLog, model: ModelSpec, artifact: Artifact, oracle: Oracle, data: Path | None
) -> Comparison:
    """Compares all inferences of the log; `data` is an .npz, None for the model's own test set.

    Raises:
        DataError: no scores, not all of them whole, more inferences than samples, no data, or
            another number of scores than the model has outputs.
        UnsupportedError: scores that are percents, or integers of another type than the output.
    """
    output = artifact.outputs[0]
    check_inferences(parsed.inferences, model.name, output)
    source = data or model.test
    if source is None:
        raise DataError(f"{model.name}: no test data are known", "Give --data FILE.npz, in the log's order")
    classes = output.elements if output.elements > 1 else None
    labelled = model.task != REGRESSION
    dataset = load_dataset(source, artifact.inputs, model.preprocess, classes=classes, labelled=labelled)
    classifies = model_task(model, artifact, dataset).name == CLASSIFICATION
    count = len(parsed.inferences)
    if count > dataset.samples:
        raise DataError(
            f"the log has {count} inferences, {source} {dataset.samples} samples",
            "Give the data of this log: --data FILE.npz, one sample per inference",
        )
    expected = expect(artifact, oracle, dataset.take(count), open_reference(model)[0], layer_samples=0)
    exact = expected.outputs[0].reshape(count, -1)
    device = as_output(parsed.inferences, exact)
    gap, real = None, np.array([inference.scores for inference in parsed.inferences], dtype=np.float64)
    if device is not None:
        gap = runtime_gap(distance_lsb(device, exact))
        real = output.dequantise(device).astype(np.float64)
    whole = None
    if expected.reference is not None:
        whole = quantisation_gap(real, expected.reference, expected.reference_name, classifies=classifies)
    top1 = accuracy(expected.labels if classifies else None, real, exact, expected.reference)
    return Comparison(model.name, str(source), count, gap, whole, top1)


def as_output(inferences: Sequence[Inference], exact: NDArray[np.generic]) -> NDArray[np.generic] | None:
    """The printed scores as the output tensor, (inferences, elements) like the oracle's `exact`.

    Floats are printed in decimals: where all of those are the oracle's too, its value is taken, as
    nothing speaks against it. None for real values of an integer output: they say no integers.
    """
    scores = np.array([inference.scores for inference in inferences], dtype=np.float64)
    if inferences[0].score_unit != "real":
        return scores.astype(exact.dtype)
    decimals = inferences[0].decimals
    if exact.dtype != np.float32 or decimals is None:
        return None
    # As printf has it: the exact binary value, rounded half to even.
    printed = np.vectorize(lambda value: float(f"{value:.{decimals}f}"), otypes=[np.float64])(exact)
    return np.where(scores == printed, exact, scores.astype(np.float32)).astype(np.float32)


def check_inferences(inferences: Sequence[Inference], name: str, output: TensorInfo) -> None:
    """Raises for what cannot stand against the output tensor of model `name`.

    Raises:
        DataError: there are none, one is not whole, has another number of scores than the output, or
            one outside its type.
        UnsupportedError: scores that are percents, or integers of another type than the output.
    """
    if not inferences:
        raise DataError(f"expected scores to compare with {name}, came none")
    for index, inference in enumerate(inferences):
        where = f"inference {index}, line {inference.line} of the log"
        if not inference.complete:
            raise DataError(f"{where}: lines are missing", "Capture the log again, or cut this inference out")
        if inference.score_unit == "percent":
            raise UnsupportedError(f"{where}: whole percents are too coarse to compare")
        whole = inference.score_unit in ("int8", "integer")
        if whole and output.dtype not in (("int8",) if inference.score_unit == "int8" else ("int8", "int16")):
            raise UnsupportedError(
                f"{where}: {inference.score_unit} scores, the output of {name} is {output.dtype}",
                "Name the runtime of that firmware: --runtime",
            )
        if len(inference.scores) != output.elements:
            raise DataError(f"{where}: {len(inference.scores)} scores, {name} has {output.elements} outputs")
        if whole:
            limits = np.iinfo(output.dtype)
            outside = [s for s in inference.scores if s is None or not limits.min <= s <= limits.max]
            if outside:
                raise DataError(f"{where}: score {outside[0]} is not {output.dtype}: a line is damaged")
        if not all(s is not None and np.isfinite(s) for s in inference.scores):
            raise DataError(f"{where}: a score is not a finite number")
