"""Builds a generated project with idf.py and keeps what a board needs, cached by content.

The cache is named by the project's sources, ESP-IDF's version and a library's checkout. A model in its own
partition is no part of that: one build serves every model of a runtime. Writes to no board.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from harness.errors import BuildError, MissingError
from harness.exclusive import exclusive
from harness.progress import Say, silent
from harness.runtimes.base import Artifact
from harness.toolchains import cache
from harness.toolchains.bare_metal import section_sizes
from harness.toolchains.base import Image
from harness.toolchains.esp_idf.failures import explain
from harness.toolchains.esp_idf.installation import Installation, find_installation
from harness.toolchains.esp_idf.partitions import MODEL_PARTITION
from harness.toolchains.esp_idf.project import IdfProject
from harness.toolchains.esp_idf.sdkconfig import not_taken
from harness.toolchains.flash_image import FlashPart, read_idf_build

PLATFORM = "esp_idf"
FLASH = "flash"
LOCK = "dependencies.lock"
SDKCONFIG = "sdkconfig"
_ARGUMENTS = "flasher_args.json"
_SDKCONFIG_JSON = "config/sdkconfig.json"
_CHATTER = ("Executing action", "Running ", "[", "ninja:")


def build(project: IdfProject, artifact: Artifact, *, build_root: Path, say: Say = silent) -> Image:
    """The firmware of `project`, built or found; its `flash` carries the model of `artifact`.

    The image lies in `<build_root>/<target>-esp_idf-<12 digits of its digest>/`, the log beside it.

    Raises:
        MissingError: no ESP-IDF, or one of another version.
        BuildError: idf.py failed; carries what it said.
        OutputError: `build_root` cannot be written.
    """
    idf = find_installation(project.idf)
    digest = _digest(project, idf, _checkout(project))
    directory = build_root.resolve() / f"{project.target}-{PLATFORM}-{digest[:12]}"
    with exclusive(directory):
        image = cache.load_image(directory)
        if image is None:
            say(f"building for {project.target} with ESP-IDF {idf.version}, which takes minutes")
            with cache.building(directory) as scratch:
                image = _run(project, idf, digest, scratch, directory)
            image = replace(
                image,
                elf=directory / cache.ELF,
                map_file=directory / cache.MAP,
                build_log=directory / cache.LOG,
            )
    return _with_flash(image, project, artifact, directory / FLASH)


def _checkout(project: IdfProject) -> tuple[Path, ...]:
    """The headers and archives, for the chip, of a library that no registry has; raises where it is not."""
    if project.checkout is None:
        return ()
    variable, component = project.checkout
    place = os.environ.get(variable, "")
    if Path(place).name != component or not (Path(place) / "CMakeLists.txt").is_file():
        raise MissingError(
            f"expected {variable} to name a checkout of {component}, in a folder of that name, got '{place}'",
            f"git clone -b idfv4.4 https://github.com/espressif/esp-dl && export {variable}=$PWD/esp-dl",
        )
    files = [*Path(place).glob("include/**/*.hpp"), *Path(place).glob(f"lib/{project.target}/*.a")]
    return tuple(sorted(files))


def _digest(project: IdfProject, idf: Installation, library: Sequence[Path]) -> str:
    total = hashlib.sha256(f"{project.target}\0ESP-IDF {idf.version}".encode())
    for name in project.tree:
        content = hashlib.sha256((project.directory / name).read_bytes()).hexdigest()
        total.update(f"\0{name}\0{content}".encode())
    for file in library:
        total.update(f"\0{file.name}\0{hashlib.sha256(file.read_bytes()).hexdigest()}".encode())
    return total.hexdigest()


def _run(project: IdfProject, idf: Installation, digest: str, scratch: Path, directory: Path) -> Image:
    """Builds a copy of the tree in `scratch`, where only what is kept stays."""
    tree, made = scratch / "project", scratch / "build"
    for name in project.tree:
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(project.directory / name, tree / name)
    options = [f"-DIDF_TARGET={project.target}", f"-DFIRMWARE_DIGEST={digest}"]
    base = [*idf.command, "-C", str(tree), "-B", str(made), *options]
    title = f"{project.target}/{PLATFORM}"
    log = said = ""
    for action in ("build", "size"):
        done = subprocess.run(
            [*base, action],
            env={**os.environ, "LC_ALL": "C"},
            text=True,
            errors="replace",
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        said = done.stdout
        log += f"$ {' '.join([*base, action])}\n{said}"
        if done.returncode != 0:
            log_file = directory.with_name(directory.name + ".failed.log")
            log_file.write_text(log, encoding="utf-8")
            raise explain(log, log_file, title)
    (scratch / cache.LOG).write_text(log, encoding="utf-8")
    try:
        _check_settings(project, tree, f"ESP-IDF {idf.version}")
        _keep(made, tree, scratch)
        sizes = section_sizes(scratch / cache.ELF)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BuildError(
            f"{title}: idf.py ended well, but its build cannot be used: {error!r}", "Build again"
        ) from error
    shutil.rmtree(tree)
    shutil.rmtree(made)
    image = Image(
        elf=scratch / cache.ELF,
        map_file=scratch / cache.MAP,
        build_log=scratch / cache.LOG,
        target=project.target,
        platform=PLATFORM,
        digest=digest,
        compiler=f"ESP-IDF {idf.version}",
        flags=(),
        cached=False,
        flash=None,
        size_table=_table(said),
        **sizes,
    )
    cache.save_image(image, scratch)
    return image


def _check_settings(project: IdfProject, tree: Path, idf: str) -> None:
    """A default that ESP-IDF passes over changes what a latency means: 160 MHz for 240, no PSRAM."""
    settled = (tree / SDKCONFIG).read_text(encoding="utf-8")
    if ignored := not_taken(project.settings, settled):
        raise BuildError(
            f"{project.target}/{PLATFORM}: {idf} did not take {', '.join(ignored)}: "
            "it does not know the name, or another setting rules it out",
            f"See it in idf.py -C {project.directory} menuconfig; lines of your own: --sdkconfig FILE",
        )


def _table(said: str) -> str:
    """esp-idf-size's table without what idf.py and ninja say of themselves."""
    lines = [line.rstrip() for line in said.splitlines()]
    return "\n".join(line for line in lines if line and not line.startswith(_CHATTER))


def _keep(made: Path, tree: Path, scratch: Path) -> None:
    """ELF, map, settings, the components' versions, and what flasher_args.json lists.

    The folder of the latter is one that pytest-embedded's `idf` service reads as a build.
    """
    shutil.copy(made / "firmware.elf", scratch / cache.ELF)
    shutil.copy(made / "firmware.map", scratch / cache.MAP)
    shutil.copy(tree / SDKCONFIG, scratch / SDKCONFIG)
    if (tree / LOCK).is_file():
        shutil.copy(tree / LOCK, scratch / LOCK)
    flash = scratch / FLASH
    files = json.loads((made / _ARGUMENTS).read_text(encoding="utf-8"))["flash_files"]
    for file in (_ARGUMENTS, _SDKCONFIG_JSON, *files.values()):
        (flash / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(made / file, flash / file)
    (flash / cache.ELF).symlink_to(Path("..") / cache.ELF)


def _with_flash(image: Image, project: IdfProject, artifact: Artifact, files: Path) -> Image:
    flash = read_idf_build(files, image.elf, firmware=image.digest, artifact=artifact.digest)
    if project.model_image is not None:
        (place,) = (row for row in project.partitions if row.name == MODEL_PARTITION)
        flash = replace(flash, model=FlashPart(MODEL_PARTITION, place.offset, project.model_image))
    flash = replace(flash, psram_bytes=project.psram_bytes)
    return replace(image, flash=flash)
