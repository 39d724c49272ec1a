"""A quantised network as the planner takes it: tensors, operators, constants.

A reader (`runtimes/tflm/reader.py`) makes it from a file it has verified; every
index in it is in range and every constant has as many elements as its shape says.
Nothing here knows of file formats or of C.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from harness.tensors import TensorInfo

Option = int | float | bool | str | tuple[int, ...]


@dataclass(frozen=True)
class Tensor:
    """`info` carries the first scale and zero point; `scales` and `zero_points` all of them.

    More than one scale means one per slice along `axis`. `data` is None for activations.
    """

    index: int
    info: TensorInfo
    scales: tuple[float, ...] = ()
    zero_points: tuple[int, ...] = ()
    axis: int = 0
    data: NDArray[np.generic] | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Operator:
    """`inputs` and `outputs` are tensor indices; -1 stands for an optional input left out."""

    index: int
    op: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Mapping[str, Option] = field(default_factory=dict)


@dataclass(frozen=True)
class Graph:
    """Operators stand in the order in which they run."""

    tensors: tuple[Tensor, ...]
    operators: tuple[Operator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
