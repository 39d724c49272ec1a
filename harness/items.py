"""What one record is about: a target, a model, a runtime and whose kernels; and the artifact it runs."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness import __version__
from harness.errors import DataError, HarnessError, ModelError, OutputError, UnsupportedError, UsageError
from harness.exclusive import exclusive
from harness.extras import available, install_command
from harness.model.digests import data_digest
from harness.model.keras_onnx import float_onnx
from harness.model.spec import ModelSpec
from harness.progress import Say, silent
from harness.records.schema import item_key
from harness.runtimes import RUNTIMES, get_runtime
from harness.runtimes.base import Artifact, FloatModel, Runtime
from harness.targets import Target


@dataclass(frozen=True)
class Item:
    """target x model x runtime x kernels; `unit` where several boards of a target run the same."""

    target: Target
    model: ModelSpec
    runtime: str
    kernels: str
    unit: str = ""

    @property
    def key(self) -> str:
        """As `records.ItemRecord.key`."""
        return item_key(self.target.id, self.model.name, self.runtime, self.kernels, self.unit)


@dataclass(frozen=True)
class Workshop:
    """Where artifacts are made that a model does not bring, and from which calibration set.

    `calibration` stands in for the model's own. Made once: a file is named by what went into it.
    `say` is told what is being done meanwhile.
    """

    directory: Path
    calibration: Path | None = None
    say: Say = silent


EVERY = "all"
"""As a runtime's name: every one that takes the model; as its scheme: each it can be quantised to."""


def check_names(asked: Sequence[str]) -> None:
    """Raises UsageError for the first of --runtime's names that is none."""
    for name in asked:
        family, _, scheme = name.partition(":")
        if family != EVERY:
            get_runtime(family if scheme == EVERY else name)
        elif scheme not in ("", EVERY):
            raise UsageError(f"--runtime {name}: all takes no scheme but all", "e.g. all:all, or espdl:int16")


def runtimes_for(model: ModelSpec, target: Target, asked: Sequence[str], workshop: Workshop) -> list[str]:
    """What a model runs in on a chip: the runtimes asked for, `all` and `espdl:all` spelt out.

    `all` are those that know the chip and that the model has an artifact for, or that can make one with
    what is installed. Raises ModelError when that is none.
    """
    names = []
    for name in asked:
        family, _, scheme = name.partition(":")
        families = _taking(model, target, workshop) if family == EVERY else [family]
        for one in families:
            schemes = [scheme]
            if scheme == EVERY:
                schemes = list(RUNTIMES[one].schemes) if _makes(model, RUNTIMES[one](), workshop) else [""]
            names += [get_runtime(f"{one}:{each}").name for each in schemes]
    if not names:
        raise ModelError(
            f"{model.name}: no runtime of {target.id} takes {_had(model)}", _remedy(model, workshop)
        )
    return list(dict.fromkeys(names))


def _taking(model: ModelSpec, target: Target, workshop: Workshop) -> list[str]:
    """The runtimes of the chip that the model has an artifact for or that can make one.

    Those that cannot read its float file are left out where another one can.
    """
    names: list[str] = []
    unread: list[str] = []
    for name, kind in RUNTIMES.items():
        runtime = kind()
        try:
            file = brought(model, runtime, runtime.variant(target))
        except UnsupportedError:
            continue
        if file or _makes(model, runtime, workshop):
            (names if file or _reads(model, runtime) else unread).append(name)
    return names or unread


def _reads(model: ModelSpec, runtime: Runtime) -> bool:
    try:
        return runtime.float_file(model) is not None
    except UnsupportedError:
        return False


def _remedy(model: ModelSpec, workshop: Workshop) -> str:
    """What a float model without a runtime lacks: inputs to calibrate with, or an extra."""
    if workshop.calibration or model.calibration:
        makers = [kind() for kind in RUNTIMES.values() if kind().makes_from(model)]
        lacking = dict.fromkeys(each.extra for each in makers if not available(each.extra))
        return f"Install what quantises it: {', or '.join(map(install_command, lacking))}" if lacking else ""
    remedy = "Float models need a calibration set to be quantised: --calibration FILE.npz"
    tflm = RUNTIMES["tflm"]()
    if tflm.makes_from(model):
        file = shown(str(next(iter(model.artifacts.values()))))
        remedy += (
            f"; or make a file first: harness quantise {file} --runtime tflm --data FILE.npz "
            f"--out {model.name}_int8.tflite"
        )
    return remedy


def _makes(model: ModelSpec, runtime: Runtime, workshop: Workshop) -> bool:
    """Whether a runtime can make its artifacts of this model, here."""
    calibrated = workshop.calibration or model.calibration
    return runtime.makes_from(model) and available(runtime.extra) and calibrated is not None


def load_artifact(
    model: ModelSpec, runtime: str, target: Target | None = None, workshop: Workshop | None = None
) -> Artifact:
    """A model's artifact for a runtime on a chip; not every runtime needs to know which.

    Made from the model's float file in `workshop` when the model brings none.

    Raises:
        UsageError: no chip given where the runtime's files differ by chip.
        ModelError: the model has none of the kind this runtime takes, or it does not load.
        UnsupportedError: it holds what the runtime does not support, or the runtime not the chip.
        MissingError: the extra that makes artifacts is not installed.
    """
    owner = get_runtime(runtime)
    if target is None and owner.by_chip:
        raise UsageError(
            f"runtime {runtime} has a file for each kind of chip", "Name one, e.g. --target esp32s3"
        )
    variant = owner.variant(target) if target else ""
    path = brought(model, owner, variant)
    if path is None:
        if workshop is None or not owner.makes_from(model):
            chip = f" for {target.id}" if target and variant else ""
            raise ModelError(
                f"{model.name}: runtime {runtime} takes a .{owner.artifact_kind} file{chip}, "
                f"this model has {_had(model)}",
                owner.conversion_hint,
            )
        path = _make(model, owner, variant, workshop)
    artifact = owner.load(path, variant)
    if owner.scheme not in (artifact.scheme, owner.schemes[0]):
        family = runtime.partition(":")[0]
        right = f"{family}:{artifact.scheme}" if artifact.scheme in owner.schemes[1:] else family
        raise ModelError(
            f"{path} is {artifact.scheme}; runtime {runtime} takes {owner.scheme}",
            f"Run it as --runtime {right}",
        )
    return dataclasses.replace(artifact, name=model.name)


def brought(model: ModelSpec, owner: Runtime, variant: str) -> Path | None:
    """The file that the model has for a runtime and kind of chip."""
    kind = owner.artifact_kind
    # A single file says itself how it is quantised.
    if owner.scheme != owner.schemes[0] and model.directory is not None:
        kind = f"{kind}_{owner.scheme}"
    accepted = (path for path in model.artifacts.values() if owner.accepts(path))
    return model.artifacts.get(f"{kind}_{variant}") or model.artifacts.get(kind) or next(accepted, None)


def _make(model: ModelSpec, owner: Runtime, variant: str, workshop: Workshop) -> Path:
    source = float_model(model, workshop.calibration, workshop.say, owner)
    recipe = hashlib.sha256(f"{__version__} {owner.name} {variant} {source.preprocess}".encode())
    for file in (source.file, source.calibration):
        try:
            recipe.update(bytes.fromhex(data_digest(file)))
        except OSError as error:
            raise DataError(f"cannot read {file}: {error.strerror}", "Check the path") from None
    parts = [model.name, owner.name.replace(":", "-"), variant, recipe.hexdigest()[:12]]
    path = workshop.directory / f"{'-'.join(filter(None, parts))}.{owner.artifact_kind}"
    with exclusive(path):
        if path.is_file():
            return path
        try:
            with tempfile.TemporaryDirectory(dir=workshop.directory, prefix=".making-") as work:
                made = Path(work) / path.name
                owner.quantise(source, variant, made)
                os.replace(made, path)
        except OSError as error:
            raise OutputError(f"{path}: not writable: {error.strerror}") from None
        except HarnessError as error:
            if source.file not in model.artifacts.values():
                # The user knows the file that was given, not the passing one it was converted to.
                given = next(model.artifacts[kind] for kind in owner.float_kinds if kind in model.artifacts)
                error.message = error.message.replace(str(source.file), f"{given} as ONNX")
            raise
    return path


def float_model(
    model: ModelSpec, calibration: Path | None = None, say: Say = silent, owner: Runtime | None = None
) -> FloatModel:
    """What an artifact of `owner`, else one that is made of ONNX, can be made from; `calibration` instead of
    the model's own.

    Raises:
        ModelError: the model has no float file, or no calibration set.
    """
    file = owner.float_file(model) if owner else float_onnx(model)
    if file is None:
        raise ModelError(
            f"{model.name}: expected a float .onnx, .keras, .h5 or .tflite file or a SavedModel, "
            f"this model has {_had(model)}",
            "Export it to ONNX with batch 1",
        )
    chosen = calibration or model.calibration
    if chosen is None:
        raise ModelError(
            f"{model.name} has no calibration set", "Give some 200 typical inputs: --calibration FILE.npz"
        )
    return FloatModel(model.name, file, chosen, model.preprocess, say)


def _had(model: ModelSpec) -> str:
    words = {"savedmodel": "a SavedModel", "tflite_float": "a float .tflite"}
    return ", ".join(words.get(key, f".{key}".replace("_", " for ", 1)) for key in model.artifacts)


def shown(source: str) -> str:
    """A path as a reader in this directory would type it; anything else as it is."""
    return source.removeprefix(f"{Path.cwd()}{os.sep}")
