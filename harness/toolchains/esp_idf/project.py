"""Writes an ESP-IDF project: platform esp_idf, and around it either a vendor's engine with the model's
image or the portable kernels of the model.

Opened and built by hand (`idf.py build`) or by `build`; it is the same tree. It runs nothing.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.bundled import firmware_dir
from harness.errors import OutputError, UnsupportedError
from harness.portable.plan import bytes_apart
from harness.runtimes import get_runtime
from harness.runtimes.base import Artifact
from harness.runtimes.planned import PlannedArtifact
from harness.targets import Target
from harness.toolchains.by_hand import NO_DIGEST
from harness.toolchains.esp_idf import cmake, partitions, sdkconfig
from harness.toolchains.esp_idf.engines import (
    IDF_VERSIONS,
    OLDER_IDF,
    PORTABLE,
    Engine,
    IdfVersions,
    get_engine,
)
from harness.toolchains.esp_idf.model_image import encode
from harness.toolchains.esp_idf.partitions import Layout, Partition, kib

MODEL_IMAGE = "model.bin"
MODEL_STORE = ("firmware/platforms/esp_idf/model_store.c", cmake.MODEL_IN_APP)


@dataclass(frozen=True)
class IdfProject:
    """A project for one (artifact, target, kernels). `model_image` is the file for the model's
    partition; None when the model is in the app. `tree` are the files, as names below `directory`,
    that the firmware is built of: the model's image is none of them unless it is linked in.
    `psram_bytes` is what its activations need of PSRAM; `settings` are the sdkconfig lines that ESP-IDF must
    have taken; `idf` and `checkout` as in `Engine`.
    """

    directory: Path
    target: str
    partitions: tuple[Partition, ...]
    model_image: Path | None
    tree: tuple[str, ...]
    psram_bytes: int
    settings: tuple[str, ...]
    idf: IdfVersions = IDF_VERSIONS
    checkout: tuple[str, str] | None = None


def write_project(
    artifact: Artifact, target: Target, kernels: str, directory: Path, layout: Layout
) -> IdfProject:
    """Writes the project whole or not at all; the same arguments give the same bytes.

    Other files in `directory` (a build, an edited sdkconfig) are left alone.

    Raises:
        UsageError: kernels the runtime has not, or a flash the model does not fit.
        UnsupportedError: ESP-IDF does not know the target, the vendor's library not the model, or the chip
            has too little RAM.
        OutputError: the directory cannot be written.
    """
    engine = None if kernels == PORTABLE else get_engine(artifact.runtime, kernels)
    if engine:
        engine.check(artifact)
    psram_bytes = _psram(artifact, target, kernels)
    older, checkout = bool(engine and engine.idf == OLDER_IDF), engine.checkout if engine else None
    if older and layout.usb_serial:
        raise UnsupportedError(
            "firmware for ESP-IDF 4.4 and 5.0 speaks over the UART, this port is the chip's own USB",
            "Connect the board's UART bridge and give its port",
        )
    layout = dataclasses.replace(layout, model_in_app=True) if engine and engine.code_is_model else layout
    image = encode(artifact, described_only=engine.code_is_model) if engine else b""
    whole = len(image) + (len(artifact.data) if engine and engine.code_is_model else 0)
    table = partitions.plan(layout, whole, artifact.name)
    texts = {
        "CMakeLists.txt": cmake.project_lists(checkout),
        "partitions.csv": partitions.to_csv(table),
        "sdkconfig.defaults": sdkconfig.defaults(target, layout, engine.kernels[kernels] if engine else ()),
        f"sdkconfig.defaults.{target.id}": sdkconfig.chip_defaults(target, layout.sdkconfig, older=older),
        "main/idf_component.yml": cmake.component_manifest(
            {"idf": str(engine.idf if engine else IDF_VERSIONS), **(engine.components if engine else {})}
        ),
    }
    if engine:
        linked_in = artifact if layout.model_in_app else None
        texts |= {f"main/{name}": text for name, text in engine.generated(linked_in, target).items()}
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".writing-", dir=directory) as name:
            staging = Path(name)
            main = _write_sources(staging, artifact, kernels, engine)
            own = tuple(file for file in texts if file.endswith(".cpp"))
            main = dataclasses.replace(main, sources=(*main.sources, *own), checkout=checkout)
            for file, text in {**texts, "main/CMakeLists.txt": cmake.main_lists(main)}.items():
                (staging / file).write_text(text, encoding="utf-8", newline="\n")
            if engine:
                (staging / MODEL_IMAGE).write_bytes(image)
            tree = _files(staging)
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
        psram_bytes=psram_bytes,
        settings=layout.sdkconfig or _settings(texts, older),
        idf=engine.idf if engine else IDF_VERSIONS,
        checkout=checkout,
    )


def _settings(texts: Mapping[str, str], older: bool) -> tuple[str, ...]:
    """What must be taken of ours. For the older ESP-IDF names stand in two forms: each knows one of them."""
    if older:
        return ()
    named = (text for file, text in texts.items() if file.startswith("sdkconfig.defaults"))
    return tuple(line for text in named for line in text.splitlines())


def _psram(artifact: Artifact, target: Target, kernels: str) -> int:
    """Bytes of activations, where the chip's own RAM cannot hold them; raises where nothing can."""
    activations = 0
    if isinstance(artifact, PlannedArtifact):
        plan = artifact.plan
        activations = plan.memory.peak_bytes if kernels == PORTABLE else bytes_apart(plan)
    if activations <= target.sram_bytes:
        return 0
    if kernels == PORTABLE or not sdkconfig.has_psram(target):
        whose = "the portable kernels use" if kernels == PORTABLE else f"firmware for {target.id} uses"
        raise UnsupportedError(
            f"{artifact.name} needs {kib(activations)} of RAM for activations, {whose} the chip's own "
            f"{kib(target.sram_bytes)} and no PSRAM",
            "Use --kernels vendor on an esp32s3 or esp32p4, or a smaller model",
        )
    return activations


def _write_sources(root: Path, artifact: Artifact, kernels: str, engine: Engine | None) -> cmake.Main:
    """Firmware and engine, or the model's own C, below `root`; makes root/main."""
    folders = ["core", "platforms/esp_idf"]
    folders += ["runtimes/vendor", f"runtimes/{engine.folder}"] if engine else []
    firmware = root / "firmware"
    for folder in folders:
        # What a runtime has below its own folder is for this computer, or another platform.
        shutil.copytree(firmware_dir() / folder, firmware / folder, ignore=_folders)
    for header in ("engine.h", "platform.h"):
        shutil.copy(firmware_dir() / header, firmware)
    (root / "main").mkdir()
    shutil.move(firmware / "platforms/esp_idf/Kconfig.projbuild", root / "main")
    includes = ["firmware", *(f"firmware/{folder}" for folder in folders)]
    if engine is None:
        get_runtime(artifact.runtime).generate(artifact, kernels, root / "model")
        includes.append("model")
        # Only vendors' engines ask for a model and for RAM.
        for file in MODEL_STORE:
            (root / file).unlink()
    return cmake.Main(
        sources=tuple(file for file in _files(root) if file.endswith((".c", ".cc", ".cpp"))),
        include_dirs=tuple(includes),
        kernels=kernels,
        definitions=engine.definitions if engine else (),
        model_image=MODEL_IMAGE if engine else None,
        digest=NO_DIGEST,
    )


def _folders(directory: str, names: list[str]) -> set[str]:
    return {name for name in names if (Path(directory) / name).is_dir()}


def _files(root: Path) -> tuple[str, ...]:
    """Every file below `root`, by its name from there."""
    return tuple(sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()))
