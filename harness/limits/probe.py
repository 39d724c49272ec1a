"""One network of a search on one chip: what the chip's memory map says of it, and what really came of it.

The map is `harness.fit`'s. Really: firmware whose static data the linker holds to the chip's, or whose heap
is the chip's, region by region, built and run in QEMU, every layer compared. The ESP-IDF application around
a network is not built here; its published size is counted. Judges one network and searches nothing.
"""

from __future__ import annotations

import functools
import hashlib
import json
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from harness.boards.qemu import MACHINES, QemuBoard, qemu_version
from harness.bundled import PACKAGE, firmware_dir
from harness.deployment import HANDSHAKE_S, LinkedDeployment
from harness.errors import BuildError, DeviceError, UnsupportedError
from harness.exclusive import exclusive
from harness.fit.code_size import FirmwareSize, base_bytes, estimate
from harness.fit.verdict import Fit, Need, Room, judge
from harness.items import Item
from harness.limits.families import Sketch
from harness.limits.networks import Maker
from harness.link.client import Link
from harness.model.spec import ModelSpec
from harness.portable.heap_blocks import NO_ROOM, HeapBlocks
from harness.portable.project import write_project
from harness.portable.source import Identity
from harness.records.directory import write_whole
from harness.runtimes import get_runtime
from harness.runtimes.base import Project
from harness.runtimes.planned import PlannedArtifact
from harness.targets import Target
from harness.toolchains import bare_metal
from harness.toolchains.base import Image
from harness.toolchains.esp_idf.engines import PORTABLE
from harness.toolchains.programs import require_program

INPUT_SEED = 2
ANSWER_S = 600.0


@dataclass(frozen=True)
class Outcome:
    """What became of one network. `refusal`: how far it came; what planner, linker or firmware said. `wrong`:
    layers that are not the oracle's. Both empty: it was built and ran, and `layers` layers were 0 LSB.
    """

    flash_bytes: int = 0
    ram_bytes: int = 0
    layers: int = 0
    refusal: str = ""
    wrong: str = ""


@dataclass(frozen=True)
class Verdict:
    """One network: `outcome` is None where nothing was built. `ends` is what there is too little of."""

    size: int
    parameters: int
    input: tuple[int, int, int]
    needs: tuple[Need, ...]
    outcome: Outcome | None = None

    @property
    def ends(self) -> Need | None:
        return next((need for need in self.needs if not need.fits), None)

    @property
    def works(self) -> bool:
        ran = self.outcome is None or not (self.outcome.refusal or self.outcome.wrong)
        return self.ends is None and ran


@dataclass(frozen=True)
class Probe:
    """The chip, the runtime and the board's room that sizes are tried on."""

    target: Target
    maker: Maker
    kernels: str
    room: Room
    build_root: Path

    @property
    def apart(self) -> bool:
        """Whether the vendor's library takes a block for each activation, and has weights in the app."""
        return self.maker.runtime.startswith("espdl-v1")

    def by_map(self, sketch: Sketch, size: int) -> Verdict:
        """Reckoned, nothing built."""
        try:
            artifact = self._artifact(sketch, size)
        except UnsupportedError as error:
            return _not_planned(sketch, size, error)
        return _verdict(sketch, size, self._fit(artifact, estimate(artifact, self.target.isa)))

    def really(self, sketch: Sketch, size: int) -> Verdict:
        """Built and run, or what was found when it was.

        Raises:
            MissingError: the compiler or QEMU is not installed.
            BuildError, PortError, SilentError, LinkError: for another reason than memory.
        """
        try:
            artifact = self._artifact(sketch, size)
        except UnsupportedError as error:
            return _not_planned(sketch, size, error)
        entry = self.build_root / "limits" / f"{self._key(artifact)}.json"
        with exclusive(entry):
            try:
                outcome = Outcome(**json.loads(entry.read_text(encoding="utf-8")))
            except (OSError, ValueError, TypeError):
                outcome = self._try(artifact)
                write_whole(entry, json.dumps(asdict(outcome), indent=2).encode())
        size_bytes = estimate(artifact, self.target.isa)
        if outcome.flash_bytes:  # what does not link has no size of its own
            network_bytes = outcome.flash_bytes - base_bytes(self.target.isa)["flash"]
            size_bytes = replace(
                size_bytes,
                flash_bytes=outcome.flash_bytes,
                ram_bytes=outcome.ram_bytes,
                model_bytes=network_bytes,
                built=True,
            )
        return _verdict(sketch, size, self._fit(artifact, size_bytes), outcome)

    def _fit(self, artifact: PlannedArtifact, size_bytes: FirmwareSize) -> Fit:
        return judge(artifact, self.target, self.kernels, size_bytes, self.room)

    def _artifact(self, sketch: Sketch, size: int) -> PlannedArtifact:
        """The network, read from its file as any other. Raises UnsupportedError where no kernel takes it."""
        runtime = get_runtime(self.maker.runtime)
        with tempfile.TemporaryDirectory(prefix="limits-") as directory:
            path = Path(directory) / f"size_{size}.{self.maker.suffix}"
            path.write_bytes(self.maker.make(sketch))
            try:
                artifact = runtime.load(path, runtime.variant(self.target))
            except UnsupportedError as error:
                raise UnsupportedError(error.message.removeprefix(f"{path}: ")) from None
        assert isinstance(artifact, PlannedArtifact)
        return artifact

    @property
    def _platform(self) -> str:
        return str(self.target.isa_platform)

    @property
    def _regions(self) -> tuple[int, ...]:
        return (*self.target.heap_regions, *([self.room.psram_bytes] if self.room.psram_bytes else []))

    def _key(self, artifact: PlannedArtifact) -> str:
        """Of all that an outcome depends on; the partition is not part of it."""
        qemu = qemu_version(str(require_program(MACHINES[self._platform].program)))
        facts = [_code(), bare_metal.compiler_version(self._platform), qemu, artifact.runtime]
        facts += [artifact.digest, self.target.id, self.kernels, str(self._memory())]
        return hashlib.sha256("\0".join(facts).encode()).hexdigest()[:24]

    def _memory(self) -> tuple[int, ...]:
        return (self.target.static_ram_bytes,) if self.kernels == PORTABLE else self._regions

    def _try(self, artifact: PlannedArtifact) -> Outcome:
        root = self.build_root / "limits"
        with tempfile.TemporaryDirectory(dir=root, prefix=".building-") as directory:
            project = self._project(artifact, Path(directory))
            try:
                image = self._image(project)
            except BuildError as error:
                if "static data will not fit" not in error.message:
                    raise
                return Outcome(
                    refusal="compiled; the linker: static data will not fit into the chip's static RAM"
                )
        return self._run(artifact, image)

    def _project(self, artifact: PlannedArtifact, directory: Path) -> Project:
        if self.kernels == PORTABLE:
            return get_runtime(self.maker.runtime).generate(artifact, PORTABLE, directory)
        identity = Identity(artifact.runtime, artifact.name, artifact.digest)
        heap = HeapBlocks(artifact.plan, self._regions, apart=self.apart)
        return write_project(artifact.plan, identity, directory, placement=heap)

    def _image(self, project: Project) -> Image:
        return bare_metal.build(
            project,
            self.target,
            self._platform,
            build_root=self.build_root / "images",
            static_ram_bytes=self.target.static_ram_bytes if self.kernels == PORTABLE else None,
        )

    def _run(self, artifact: PlannedArtifact, image: Image) -> Outcome:
        runtime = get_runtime(self.maker.runtime)
        item = Item(self.target, ModelSpec(artifact.name, {}), artifact.runtime, PORTABLE)
        board = QemuBoard(self.target.id, self._platform, image.elf)
        built = Outcome(image.flash_bytes, image.ram_bytes)
        with board as port:
            link = Link(port, timeout_s=ANSWER_S, board_state=board.state)
            link.connect(HANDSHAKE_S)
            board.identified(link.identify().values)
            about = (item, artifact, runtime.oracle(artifact), None, board, image, link)
            with LinkedDeployment(*about, layer_samples=1) as deployment:
                deployment.cold = False  # nothing is timed, so nothing need be warm
                try:
                    result = deployment.infer([_samples(artifact)])
                except DeviceError as error:
                    _, refused, why = error.message.partition(NO_ROOM)
                    if not refused:
                        raise
                    return replace(built, refusal=f"built; the firmware: {refused}{why}")
        if result.failures:
            kept = self.build_root / "limits" / artifact.path.name
            write_whole(kept, artifact.data)
            return replace(built, wrong=f"{'; '.join(result.failures)}; the network: {kept}")
        return replace(built, layers=len(result.layers))


def _verdict(sketch: Sketch, size: int, fit: Fit, outcome: Outcome | None = None) -> Verdict:
    return Verdict(size, sketch.parameters, sketch.input, fit.needs, outcome)


def _not_planned(sketch: Sketch, size: int, error: UnsupportedError) -> Verdict:
    """No kernel for it, such as where sums outgrow their type."""
    outcome = Outcome(refusal=f"not generated; the planner: {error.message}")
    return Verdict(size, sketch.parameters, sketch.input, (), outcome)


def _samples(artifact: PlannedArtifact) -> np.ndarray[tuple[int, ...], np.dtype[np.generic]]:
    """One input, its integers over the whole range of their type."""
    info = artifact.inputs[0]
    limits, rng = np.iinfo(info.dtype), np.random.default_rng(INPUT_SEED)
    return rng.integers(limits.min, limits.max + 1, (1, *info.shape)).astype(info.dtype)


@functools.cache
def _code() -> str:
    """SHA-256, hex, over all sources that an outcome depends on, and more."""
    total = hashlib.sha256()
    for root in (PACKAGE, firmware_dir()):
        for file in sorted(root.rglob("*")):
            if file.suffix in (".py", ".toml", ".json", ".c", ".h", ".S", ".ld"):
                total.update(f"{file.relative_to(root)}\0".encode() + file.read_bytes())
    return total.hexdigest()
