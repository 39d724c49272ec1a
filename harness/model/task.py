"""What a network is for, which decides how its output is compared: an arg max means nothing but for classes.

Declared as `task` in model.toml or by --task; otherwise inferred, and said so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.errors import UsageError
from harness.tensors import TensorInfo

CLASSIFICATION, REGRESSION, RECONSTRUCTION = "classification", "regression", "reconstruction"
TASKS = {
    CLASSIFICATION: "one score per class: the arg max counts",
    REGRESSION: "values, also per pixel: how far off they are counts",
    RECONSTRUCTION: "the input again, as an autoencoder gives it: its error counts, and what it tells apart",
}
"""Each with what is meant by it."""


@dataclass(frozen=True)
class Task:
    """`name` is one of `TASKS`; `note` says why where nobody declared it and nothing in the data does."""

    name: str
    note: str = ""


def parse_task(text: str) -> str:
    """A task's name as an option gives it. Raises UsageError for one that is none."""
    if text not in TASKS:
        raise UsageError(f"--task takes {', '.join(TASKS)}, not '{text}'", f"e.g. --task {REGRESSION}")
    return text


def task_of(
    declared: str,
    classes: Sequence[str],
    labels: NDArray[np.int64] | None,
    tensor: TensorInfo,
    output: TensorInfo,
) -> Task:
    """A model's task: as `declared`, else from its classes' names, the labels, and the shapes of its first
    input and output.
    """
    if declared:
        return Task(declared)
    if output.elements == 1:
        return Task(REGRESSION)
    if classes:
        return Task(CLASSIFICATION)
    two = labels is None or bool(np.all(labels <= 1))
    if _sizes(output) == _sizes(tensor) and two and output.elements > 2:
        return _inferred(RECONSTRUCTION, "the output has the input's shape")
    if labels is not None:
        return Task(CLASSIFICATION)
    if len(_sizes(output)) > 1:
        return _inferred(REGRESSION, f"the output is no vector but {' x '.join(map(str, _sizes(output)))}")
    return _inferred(CLASSIFICATION, f"the output is a vector of {output.elements}")


def _sizes(tensor: TensorInfo) -> list[int]:
    return [size for size in tensor.shape if size != 1]


def _inferred(name: str, why: str) -> Task:
    others = " or ".join(other for other in TASKS if other != name)
    return Task(name, f"taken for {name}: {why}; if it is {others}, say so: --task, or task in model.toml")
