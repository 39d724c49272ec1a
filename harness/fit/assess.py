"""One network, many chips: sizes for each target and runtime, built where a compiler is, and the verdict."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import HarnessError, MissingError
from harness.fit.code_size import FirmwareSize, base_bytes, estimate
from harness.fit.verdict import Fit, Room, judge
from harness.items import Workshop, load_artifact, runtimes_for
from harness.model.spec import ModelSpec
from harness.progress import Say
from harness.runtimes import get_runtime
from harness.runtimes.planned import PlannedArtifact
from harness.targets import Target
from harness.toolchains import bare_metal
from harness.toolchains.programs import require_program


@dataclass(frozen=True)
class Refused:
    """A runtime that does not take the network on a chip, and why."""

    target: str
    runtime: str
    reason: str


@dataclass(frozen=True)
class Question:
    """What is asked: `kernels` as in other commands; `build` false: estimate even where a compiler is."""

    model: ModelSpec
    targets: Sequence[Target]
    runtimes: Sequence[str]
    kernels: str
    room: Room
    build: bool


def assess(question: Question, build_root: Path, workshop: Workshop, say: Say) -> Iterator[Fit | Refused]:
    """An answer for each target and runtime, in the order asked.

    One build serves all chips of an instruction set that take the same file.
    """
    sizes: dict[tuple[str, str, str], FirmwareSize] = {}
    for target in question.targets:
        try:
            names = runtimes_for(question.model, target, question.runtimes, workshop)
        except HarnessError as error:
            yield Refused(target.id, ",".join(question.runtimes), str(error))
            continue
        for name in names:
            try:
                artifact = load_artifact(question.model, name, target, workshop)
                assert isinstance(artifact, PlannedArtifact)
                key = (target.isa, name, artifact.digest)
                if key not in sizes:
                    sizes[key] = _size(artifact, name, target, build_root, say if question.build else None)
                yield judge(artifact, target, question.kernels, sizes[key], question.room)
            except HarnessError as error:
                yield Refused(target.id, name, str(error))


def _size(
    artifact: PlannedArtifact, runtime: str, target: Target, root: Path, say: Say | None
) -> FirmwareSize:
    """Off a build, where a compiler is and `say` is given; else estimated."""
    platform = str(target.isa_platform)
    try:
        for program in bare_metal.required_programs(platform) if say else ():
            require_program(program)
    except MissingError:
        say = None
    if say is None:
        return estimate(artifact, target.isa)
    say(f"building {artifact.name} in {runtime} for {target.id}")
    name = f"{artifact.name}-{runtime}-{target.isa}-{artifact.digest[:8]}".replace(":", "-")
    project = get_runtime(runtime).generate(artifact, "portable", root / "projects" / "fit" / name)
    image = bare_metal.build(project, target, platform, build_root=root / "images")
    return FirmwareSize(
        flash_bytes=image.flash_bytes,
        ram_bytes=image.ram_bytes,
        arena_bytes=project.arena_bytes,
        model_bytes=image.flash_bytes - base_bytes(target.isa)["flash"],
        built=True,
    )
