"""What every runtime gives the bench: load an artifact, its oracle, its firmware project.

A runtime is a module or folder beside this one, registered in `runtimes/__init__.py`.
Nothing in here knows of boards, links or pytest.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.errors import ModelError, UsageError
from harness.model.keras_onnx import float_onnx
from harness.model.preprocess import Preprocess
from harness.model.spec import ModelSpec
from harness.progress import Say, silent
from harness.targets import Target
from harness.tensors import Layer, TensorInfo

Array = NDArray[np.generic]


@dataclass(frozen=True)
class FloatModel:
    """What a runtime can make its artifact from: a float model (as `Runtime.float_file` names it) and typical
    inputs.

    `calibration` is a file as for --data; `preprocess` makes real values of its pixels. `say` hears what is
    being done, a line for each step that takes seconds.
    """

    name: str
    file: Path
    calibration: Path
    preprocess: Preprocess | None = None
    say: Say = field(default=silent, compare=False)


@dataclass(frozen=True)
class Artifact:
    """What a runtime executes: the file's bytes and the facts every consumer needs.

    `digest` is the SHA-256 of `data`, lower-case hex; the firmware carries it and
    the device is asked for it before any inference. `scheme` is how it is quantised: one of the
    runtime's `schemes`, or a word of the runtime's own for a file that is none of them as a whole.
    """

    runtime: str
    name: str
    path: Path
    data: bytes
    digest: str
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    layers: tuple[Layer, ...]
    scheme: str


@dataclass(frozen=True)
class Project:
    """A firmware source tree for one (artifact, kernels): everything the build needs
    beside `firmware/core` and a platform.

    `arena_bytes` is the planned peak of activation memory.
    """

    directory: Path
    sources: tuple[Path, ...]
    include_dirs: tuple[Path, ...]
    arena_bytes: int


class Oracle(ABC):
    """The exact integers a correct device must return."""

    @abstractmethod
    def run(self, inputs: Sequence[Array]) -> list[Array]:
        """Outputs for one inference; dtype and shape as in `Artifact.inputs/outputs`."""

    @abstractmethod
    def run_layers(self, inputs: Sequence[Array]) -> list[Array]:
        """The output of every layer, in the order of `Artifact.layers`."""


class Runtime(ABC):
    """One way to execute a network on a device.

    `artifact_kind` is the file it takes: its suffix, and its key in model.toml's [artifacts], or
    the key's beginning (`espdl_esp32s3`) where files differ by chip (`by_chip`). `conversion_hint` tells the
    user how to make one from another kind.

    `schemes` are the quantisations it runs; one other than the first is asked for as `espdl:int16`, which
    is then the runtime's `name` in records and its key in [artifacts] (`espdl_int16_esp32s3`).

    `model_folder` is where the model's sources lie in a generated tree; `application` says that
    `write_application` makes the tree a project of the vendor's SDK as well.

    `quantises`: `quantise` makes an artifact from a float model, of one of `float_kinds`; `extra` is what
    must be installed for it.
    """

    name: str
    kernels: tuple[str, ...]
    artifact_kind: str
    conversion_hint: str
    by_chip: bool = False
    schemes: tuple[str, ...] = ("int8",)
    quantises: bool = False
    float_kinds: tuple[str, ...] = ("onnx", "keras", "tflite_float", "savedmodel")
    extra: str = ""
    model_folder: str = "model"
    application: bool = False

    def __init__(self, scheme: str = "") -> None:
        self.scheme = scheme or self.schemes[0]
        if self.scheme != self.schemes[0]:
            self.name = f"{self.name}:{self.scheme}"

    def variant(self, target: Target) -> str:  # noqa: ARG002 - most runtimes have one
        """The kind of artifact for a chip; "" where all chips take the same file.

        Chips of one variant share artifacts and expected integers.

        Raises:
            UnsupportedError: the runtime does not run on this chip.
        """
        return ""

    def makes_from(self, model: ModelSpec) -> bool:
        """Whether an artifact can be made of one of the model's float files."""
        return self.quantises and not set(self.float_kinds).isdisjoint(model.artifacts)

    def float_file(self, model: ModelSpec) -> Path | None:
        """The float file that `quantise` takes, converted if need be; None where there is none.

        Raises:
            ModelError, UnsupportedError, MissingError: as `float_onnx`.
        """
        return float_onnx(model)

    def quantise(self, model: FloatModel, variant: str, path: Path) -> None:  # noqa: ARG002
        """Writes the artifact of a float model for the chips of `variant`, quantised as `scheme` says.

        The same model and inputs give the same bytes.

        Raises:
            ModelError, DataError: the float model or its calibration set does not fit.
            UnsupportedError: an operator that this runtime does not have.
            MissingError: `extra` is not installed.
        """
        raise ModelError(f"{model.name}: runtime {self.name} makes no artifacts", self.conversion_hint)

    def check_float(self, file: Path) -> None:
        """Whether `quantise` would take the operators of what `float_file` gives, as far as that can be said
        without `extra` and without a calibration set.

        Raises:
            ModelError, UnsupportedError: it would not; the first operator, by name and index.
        """
        raise ModelError(f"{file}: runtime {self.name} makes no artifacts", self.conversion_hint)

    def accepts(self, path: Path) -> bool:  # noqa: ARG002 - most go by the suffix alone
        """Whether a file is to be taken as this runtime's artifact though its suffix is of another kind."""
        return False

    @abstractmethod
    def load(self, path: Path, variant: str = "") -> Artifact:
        """Reads and verifies an artifact file for the chips of `variant`.

        Raises:
            ModelError: unreadable, truncated, or not quantised as this runtime needs.
            UnsupportedError: an operator or type outside the list, by name and index.
        """

    @abstractmethod
    def oracle(self, artifact: Artifact) -> Oracle:
        """The reference integers for this artifact."""

    @abstractmethod
    def generate(self, artifact: Artifact, kernels: str, directory: Path) -> Project:
        """Writes the firmware project into `directory` (made if absent)."""

    def write_application(self, model: Artifact, inputs: Sequence[Array], target: Target, out: Path) -> None:
        """Adds to `out` a program for the vendor's SDK that runs one sample; for runtimes with `application`.

        Raises:
            UsageError: the runtime has none.
            OutputError: the directory cannot be written.
        """
        del model, inputs, target, out
        raise UsageError(f"runtime {self.name} has no application of its own", "Take runtime tvm")
