"""Writes an ESP-IDF project: platform esp_idf, and around it either a vendor's engine with the model's
image or the portable kernels of the model.

Opened and built by hand (`idf.py build`) or by `build`; it is the same tree. It runs nothing.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from harness.bundled import firmware_dir
from harness.errors import OutputError
from harness.runtimes import get_runtime
from harness.runtimes.base import Artifact
from harness.targets import Target
from harness.toolchains.by_hand import NO_DIGEST
from harness.toolchains.esp_idf import cmake, partitions, sdkconfig
from harness.toolchains.esp_idf.engines import IDF_VERSIONS, Engine, get_engine
from harness.toolchains.esp_idf.model_image import encode
from harness.toolchains.esp_idf.partitions import Layout, Partition

MODEL_IMAGE = "model.bin"
PORTABLE = "portable"
MODEL_STORE = ("firmware/platforms/esp_idf/model_store.c", cmake.MODEL_IN_APP)


@dataclass(frozen=True)
class IdfProject:
    """A project for one (artifact, target, kernels). `model_image` is the file for the model's
    partition; None when the model is in the app. `tree` are the files, as names below `directory`,
    that the firmware is built of: the model's image is none of them unless it is linked in.
    """

    directory: Path
    target: str
    partitions: tuple[Partition, ...]
    model_image: Path | None
    tree: tuple[str, ...]


def write_project(
    artifact: Artifact, target: Target, kernels: str, directory: Path, layout: Layout
) -> IdfProject:
    """Writes the project whole or not at all; the same arguments give the same bytes.

    Other files in `directory` (a build, an edited sdkconfig) are left alone.

    Raises:
        UsageError: kernels the runtime has not, or a flash the model does not fit.
        OutputError: the directory cannot be written.
    """
    engine = None if kernels == PORTABLE else get_engine(artifact.runtime, kernels)
    image = encode(artifact) if engine else b""
    table = partitions.plan(layout, len(image), artifact.name)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".writing-", dir=directory) as name:
            staging = Path(name)
            writer = _Writer(staging, artifact, target, kernels, layout)
            writer.write(engine, table)
            if engine:
                (staging / MODEL_IMAGE).write_bytes(image)
            tree = tuple(sorted(str(p.relative_to(staging)) for p in staging.rglob("*") if p.is_file()))
            for file in tree:
                (directory / file).parent.mkdir(parents=True, exist_ok=True)
                os.replace(staging / file, directory / file)
    except OSError as error:
        raise OutputError(
            f"cannot write the project into {directory}: {error.strerror}", "Choose another directory"
        ) from error
    apart = engine is not None and not layout.model_in_app
    return IdfProject(
        directory=directory,
        target=target.id,
        partitions=table,
        model_image=directory / MODEL_IMAGE if apart else None,
        tree=tuple(file for file in tree if not (apart and file == MODEL_IMAGE)),
    )


class _Writer:
    """Writes the files of one project into `root`."""

    def __init__(self, root: Path, artifact: Artifact, target: Target, kernels: str, layout: Layout) -> None:
        self.root = root
        self.artifact = artifact
        self.target = target
        self.kernels = kernels
        self.layout = layout

    def write(self, engine: Engine | None, table: tuple[Partition, ...]) -> None:
        folders = ["core", "platforms/esp_idf"]
        folders += ["runtimes/vendor", f"runtimes/{engine.folder}"] if engine else []
        sources = self._copy_firmware(folders)
        includes = ["firmware", *(f"firmware/{folder}" for folder in folders)]
        if engine is None:
            project = get_runtime(self.artifact.runtime).generate(
                self.artifact, self.kernels, self.root / "model"
            )
            sources += [f"model/{path.name}" for path in project.sources]
            includes.append("model")
            # Only vendors' engines ask for a model and for RAM.
            for file in MODEL_STORE:
                (self.root / file).unlink()
            sources.remove(MODEL_STORE[0])
        main = cmake.Main(
            sources=tuple(sorted(sources)),
            include_dirs=tuple(includes),
            kernels=self.kernels,
            definitions=engine.definitions if engine else (),
            model_image=MODEL_IMAGE if engine else None,
            digest=NO_DIGEST,
        )
        components = {"idf": IDF_VERSIONS, **(engine.components if engine else {})}
        files = {
            "CMakeLists.txt": cmake.project_lists(),
            "partitions.csv": partitions.to_csv(table),
            "sdkconfig.defaults": sdkconfig.defaults(
                self.layout, engine.kernels[self.kernels] if engine else ()
            ),
            f"sdkconfig.defaults.{self.target.id}": sdkconfig.chip_defaults(self.target),
            "main/CMakeLists.txt": cmake.main_lists(main),
            "main/idf_component.yml": cmake.component_manifest(components),
        }
        if engine:
            linked_in = self.artifact if self.layout.model_in_app else None
            files |= {f"main/{name}": text for name, text in engine.generated(linked_in).items()}
        for name, text in files.items():
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8", newline="\n")
        shutil.move(self.root / "firmware/platforms/esp_idf/Kconfig.projbuild", self.root / "main")

    def _copy_firmware(self, folders: list[str]) -> list[str]:
        """Returns the sources among what was copied, by their names below the root."""
        firmware = firmware_dir()
        for folder in folders:
            shutil.copytree(firmware / folder, self.root / "firmware" / folder)
        for header in ("engine.h", "platform.h"):
            shutil.copy(firmware / header, self.root / "firmware" / header)
        found = (path for folder in folders for path in (self.root / "firmware" / folder).iterdir())
        return [str(path.relative_to(self.root)) for path in found if path.suffix in (".c", ".cc", ".cpp")]
