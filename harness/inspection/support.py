"""Which runtime takes a model, in which quantisation, on which chips; and why not.

Says it of files as they are and of float models by their operators: a file that a quantiser has yet to make
is judged again when it is made.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.errors import HarnessError, UnsupportedError
from harness.extras import available, install_command
from harness.items import brought
from harness.model.spec import ModelSpec
from harness.runtimes import RUNTIMES
from harness.runtimes.base import Artifact, Runtime
from harness.targets import TARGETS, Target

RUNS, QUANTISES, NO = "runs", "quantised", "no"
"""A file is there and every operator has a kernel; one is made of the float model in a run; neither."""


@dataclass(frozen=True)
class Support:
    """One verdict for `schemes` of a runtime. `why` says of RUNS which file, of QUANTISES what is still
    needed, of NO what stands against it. `artifact` is what was read, for RUNS.
    """

    runtime: str
    schemes: tuple[str, ...]
    chips: tuple[str, ...]
    verdict: str
    why: str
    artifact: Artifact | None = None


def chips() -> tuple[str, ...]:
    """The targets that firmware can be built and run for, here."""
    return tuple(name for name, target in TARGETS.items() if target.isa_platform)


def support(model: ModelSpec) -> tuple[Support, ...]:
    """A verdict for every runtime, scheme and chip; those of one verdict together."""
    found: dict[tuple[str, tuple[str, ...], str, str], Support] = {}
    for name, kind in RUNTIMES.items():
        for scheme in kind.schemes:
            for one in _of_runtime(model, name, kind(scheme)):
                key = (name, one.chips, one.verdict, one.why)
                before = found[key].schemes if key in found else ()
                found[key] = dataclasses.replace(one, schemes=(*before, scheme))
    return tuple(found.values())


def _of_runtime(model: ModelSpec, name: str, runtime: Runtime) -> Iterator[Support]:
    """Chips that take the same file get their verdict once."""
    variants: dict[str, list[Target]] = {}
    for chip in chips():
        try:
            variants.setdefault(runtime.variant(TARGETS[chip]), []).append(TARGETS[chip])
        except UnsupportedError:
            continue
    verdicts: dict[tuple[str, str], tuple[list[str], Artifact | None]] = {}
    for variant, targets in variants.items():
        verdict, why, artifact = _verdict(model, runtime, variant)
        verdicts.setdefault((verdict, why), ([], artifact))[0].extend(target.id for target in targets)
    for (verdict, why), (having, artifact) in verdicts.items():
        yield Support(name, (runtime.scheme,), tuple(having), verdict, why, artifact)


def _verdict(model: ModelSpec, runtime: Runtime, variant: str) -> tuple[str, str, Artifact | None]:
    path = brought(model, runtime, variant)
    reason = ""
    if path is not None:
        try:
            artifact = runtime.load(path, variant)
        except HarnessError as error:
            return NO, _without_path(error, path), None
        named = artifact.scheme if artifact.scheme in runtime.schemes else runtime.schemes[0]
        if runtime.scheme == named:
            return RUNS, path.name, artifact
        reason = f"the file is {artifact.scheme}"
    if runtime.makes_from(model):
        return (*_quantisable(model, runtime), None)
    return NO, reason or f"takes a .{runtime.artifact_kind} file. {runtime.conversion_hint}", None


def _quantisable(model: ModelSpec, runtime: Runtime) -> tuple[str, str]:
    file: Path | None = None
    try:
        file = runtime.float_file(model)
        assert file is not None
        runtime.check_float(file)
    except HarnessError as error:
        # `file` may be a passing one that was converted from the model's own.
        return NO, _without_path(error, *model.artifacts.values(), *filter(None, [file]))
    needs = []
    if model.calibration is None:
        needs.append("typical inputs: --calibration FILE")
    if not available(runtime.extra):
        needs.append(install_command(runtime.extra))
    return QUANTISES, "from the float model, in a run" + (f"; needs {' and '.join(needs)}" if needs else "")


def _without_path(error: HarnessError, *paths: Path) -> str:
    text = str(error)
    for path in paths:
        text = text.removeprefix(f"{path}: ")
    return text
