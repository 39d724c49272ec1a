"""One layer of a plan: everything resolved, ready to be written as a C function.

Each operator family derives from `Step` (or is an `Alias`, which moves nothing) and
writes its own body. What a step may not do: look at the graph again, or leave
arithmetic on scales and shapes to the device.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.portable.graph import Tensor

Region = tuple[slice, ...]


@dataclass(frozen=True)
class Constant:
    """A const array in model_weights.c; `name` is local to its layer."""

    name: str
    values: NDArray[np.generic]


@dataclass(frozen=True, kw_only=True)
class Step(ABC):
    """`reads` are the activation tensors the function gets pointers to, `writes` its outputs."""

    index: int
    op: str
    reads: tuple[Tensor, ...]
    writes: tuple[Tensor, ...]
    macs: int = 0

    @property
    def prefix(self) -> str:
        """What the names of this layer's arrays begin with."""
        return f"layer_{self.index:02d}"

    @property
    def function(self) -> str:
        return f"{self.prefix}_{self.op.lower()}"

    @property
    def read_names(self) -> tuple[str, ...]:
        """Parameter names in C, one for each of `reads`."""
        return ("input",) if len(self.reads) == 1 else tuple(f"input{i}" for i in range(len(self.reads)))

    @property
    def write_names(self) -> tuple[str, ...]:
        return ("output",) if len(self.writes) == 1 else tuple(f"output{i}" for i in range(len(self.writes)))

    @property
    def headers(self) -> tuple[str, ...]:
        """Headers of firmware/runtimes/portable the body uses."""
        return ("fixed_point.h",)

    @property
    def kernels(self) -> frozenset[str]:
        """Functions of tile.h and convolution.h that the body calls, by their names in C."""
        return frozenset()

    @property
    def is_one_call(self) -> bool:
        """Of a function in convolution.h: the layer needs none of its own where many share that one."""
        return False

    @property
    def attributes(self) -> str:
        """Of the layer's function in C, beside NOINLINE."""
        return ""

    @property
    def scratch_bytes(self) -> int:
        """Room in the arena while the layer runs; the function gets it as `scratch`, of the output's type."""
        return 0

    @property
    def lead_bytes(self) -> int | None:
        """The output may lie over the one input if it begins so many bytes before it; None: it may not."""
        return None

    @abstractmethod
    def constants(self) -> list[Constant]:
        """The arrays this layer needs in read-only memory."""

    def computed_from(self, element: tuple[int, ...]) -> tuple[Region, ...] | None:  # noqa: ARG002
        """Of each of `reads` what output element `element` is computed from, where the step itself knows."""
        return None

    def notes(self) -> list[str]:
        """Lines for the comment above the function: what is not plain from the code."""
        return []

    @abstractmethod
    def body(self) -> list[str]:
        """The lines of the C function's body, not indented."""


@dataclass(frozen=True, kw_only=True)
class Alias(Step):
    """Output and input are the same bytes: the plan gives them one buffer, nothing runs."""

    @property
    def headers(self) -> tuple[str, ...]:
        return ()

    def constants(self) -> list[Constant]:
        return []

    def body(self) -> list[str]:
        return []
