"""Builds a firmware project without an SDK: for QEMU's bare machines and for this host.

One table says which compiler, flags and sources a platform takes. It neither knows what a
project computes nor runs anything it built.
"""

from __future__ import annotations

import functools
import hashlib
import os
import subprocess
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from elftools.elf.elffile import ELFFile

from harness.bundled import firmware_dir
from harness.errors import BuildError, UsageError
from harness.exclusive import exclusive
from harness.runtimes.base import Project
from harness.targets import Target
from harness.toolchains import cache
from harness.toolchains.base import Image
from harness.toolchains.programs import require_program

_WARNINGS = ("-Wall", "-Wextra", "-Wconversion", "-Werror")
LANGUAGE_FLAGS = ("-std=c99", "-g", "-ffunction-sections", "-fdata-sections", *_WARNINGS)
_FREESTANDING = ("-O2", "-ffreestanding", "-fno-builtin")
_BARE_LINK = ("-nostdlib", "-nostartfiles", "-Wl,--gc-sections", "-Wl,--no-warn-rwx-segments")
_SANITIZE = ("-O1", "-fno-omit-frame-pointer", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")


@dataclass(frozen=True)
class Recipe:
    """How one platform is built. `folders` lie below firmware/platforms; the last one holds link.ld."""

    compiler: str
    flags: tuple[str, ...]
    link_flags: tuple[str, ...]
    libraries: tuple[str, ...]
    folders: tuple[str, ...]
    linker_script: bool


_RECIPES = {
    "host": Recipe(
        compiler="gcc",
        flags=("-O2", "-D_POSIX_C_SOURCE=200809L"),
        link_flags=("-Wl,--gc-sections",),
        libraries=(),
        folders=("host",),
        linker_script=False,
    ),
    "qemu_riscv32": Recipe(
        compiler="riscv64-unknown-elf-gcc",
        # The older ISA specification has the CSR instructions in rv32i: naming zicsr
        # instead makes Debian's multilib table pick the 64-bit libgcc.
        flags=(
            *("-march=rv32imc", "-mabi=ilp32", "-misa-spec=2.2", *_FREESTANDING),
            *("-DUART_BASE=0x10000000u", "-DUART_STRIDE_BYTES=1u"),
        ),
        link_flags=_BARE_LINK,
        libraries=("-lgcc",),
        folders=("qemu_common", "qemu_riscv32"),
        linker_script=True,
    ),
    "qemu_xtensa": Recipe(
        compiler="xtensa-lx106-elf-gcc",
        flags=("-mlongcalls", *_FREESTANDING, "-DUART_BASE=0x9D050020u", "-DUART_STRIDE_BYTES=4u"),
        link_flags=_BARE_LINK,
        libraries=("-lgcc",),
        folders=("qemu_common", "qemu_xtensa"),
        linker_script=True,
    ),
}

PLATFORMS = tuple(_RECIPES)


def required_programs(platform: str) -> tuple[str, ...]:
    """The compiler that `platform` needs on PATH."""
    return (get_recipe(platform).compiler,)


def build(
    project: Project,
    target: Target,
    platform: str,
    *,
    build_root: Path,
    sanitize: bool = False,
    defines: Mapping[str, str] | None = None,
) -> Image:
    """Compiles and links `project` with the core and `platform`, or finds the same build done before.

    The image lies in `<build_root>/<target>-<platform>-<12 digits of its digest>/`. `sanitize`
    (host only) adds address and undefined-behaviour sanitizers. `defines` are preprocessor
    definitions, name to value.

    Raises:
        UsageError: unknown platform, or sanitizers asked for where there are none.
        MissingError: the compiler is not installed.
        BuildError: a source does not compile or the image does not link.
        OutputError: `build_root` cannot be written.
    """
    recipe = get_recipe(platform)
    if sanitize and platform != "host":
        raise UsageError(f"platform {platform} has no sanitizers", "Only host has")
    compiler = require_program(recipe.compiler)
    flags = (*LANGUAGE_FLAGS, *recipe.flags, *(_SANITIZE if sanitize else ()))
    flags += tuple(f"-D{name}={value}" for name, value in sorted((defines or {}).items()))
    tree = _Tree(project, recipe)
    version = _version(compiler)
    digest = tree.digest((target.id, platform, version, *flags, *recipe.link_flags, *recipe.libraries))

    directory = build_root.resolve() / f"{target.id}-{platform}-{digest[:12]}"
    with exclusive(directory):
        cached = cache.load_image(directory)
        if cached is not None:
            return cached
        job = _Job(compiler, recipe, tree, flags, f"{target.id}/{platform}")
        identity = (f'-DFIRMWARE_TARGET="{target.id}"', f'-DFIRMWARE_DIGEST="{digest}"')
        with cache.building(directory) as scratch:
            try:
                job.run(scratch, identity)
            except _CommandError as error:
                raise _failure(error, job, directory) from None
            image = Image(
                elf=scratch / cache.ELF,
                map_file=scratch / cache.MAP,
                build_log=scratch / cache.LOG,
                target=target.id,
                platform=platform,
                digest=digest,
                compiler=version,
                flags=flags,
                cached=False,
                flash=None,
                size_table="",
                **section_sizes(scratch / cache.ELF),
            )
            cache.save_image(image, scratch)
        return replace(
            image,
            elf=directory / cache.ELF,
            map_file=directory / cache.MAP,
            build_log=directory / cache.LOG,
        )


def get_recipe(platform: str) -> Recipe:
    """How `platform` is built. Raises UsageError that lists the known ones."""
    if platform not in _RECIPES:
        raise UsageError(f"unknown platform {platform!r}", f"Known platforms: {', '.join(_RECIPES)}")
    return _RECIPES[platform]


@functools.cache
def _version(compiler: Path) -> str:
    shown = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=True)
    return shown.stdout.splitlines()[0]


class _Tree:
    """The files of one build and the names by which they go: none depends on where they lie."""

    def __init__(self, project: Project, recipe: Recipe) -> None:
        firmware = firmware_dir()
        platforms = [firmware / "platforms" / folder for folder in recipe.folders]
        self.roots = ((firmware, "firmware"), (project.directory.resolve(), "project"))
        self.linker_script = platforms[-1] / "link.ld" if recipe.linker_script else None
        own = [path for folder in (firmware / "core", *platforms) for path in _sources(folder)]
        self.sources = sorted((*own, *(path.resolve() for path in project.sources)), key=self.label)
        include_dirs = [firmware, firmware / "core"]
        include_dirs += [path for folder in platforms for path in (folder, folder / "include")]
        self.project_include_dirs = [path.resolve() for path in project.include_dirs]
        include_dirs += self.project_include_dirs
        self.include_dirs = [path for path in dict.fromkeys(include_dirs) if path.is_dir()]

    def label(self, path: Path) -> str:
        for root, name in self.roots:
            if path.is_relative_to(root):
                return f"{name}/{path.relative_to(root)}"
        return f"elsewhere/{path.name}"

    def digest(self, settings: Iterable[str]) -> str:
        """SHA-256, hex, over the settings and over every source and header by name and content."""
        headers = {path for folder in self.include_dirs for path in folder.glob("*.h")}
        for folder in self.project_include_dirs:
            headers |= {path for path in folder.rglob("*") if _is_header(path, folder)}
        files = {*self.sources, *headers, *([self.linker_script] if self.linker_script else [])}
        total = hashlib.sha256("\0".join(settings).encode())
        for path in sorted(files, key=self.label):
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            total.update(f"\0{self.label(path)}\0{content}".encode())
        return total.hexdigest()


def _is_header(path: Path, folder: Path) -> bool:
    """Not of what is being written there, or was when a run was killed: a hidden folder."""
    hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
    return path.suffix in (".h", ".inc") and not hidden


def _sources(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.suffix in (".c", ".S")]


class _CommandError(Exception):
    """A compiler or linker call that failed; `log` is all that was said so far."""

    def __init__(self, what: str, log: str) -> None:
        super().__init__(what)
        self.what = what
        self.log = log


@dataclass(frozen=True)
class _Job:
    """The commands of one build."""

    compiler: Path
    recipe: Recipe
    tree: _Tree
    flags: tuple[str, ...]
    title: str

    def run(self, scratch: Path, identity: tuple[str, ...]) -> None:
        """Leaves firmware.elf, firmware.map and build.log in `scratch`. Raises _CommandError."""
        log: list[str] = []
        compile_flags = [*self.flags, *identity, *(f"-I{path}" for path in self.tree.include_dirs)]
        # Not -ffile-prefix-map, which is both: GCC hands only the first of these on to the assembler.
        for root, name in (*self.tree.roots, (scratch, ".")):
            compile_flags += [f"-fdebug-prefix-map={root}={name}", f"-fmacro-prefix-map={root}={name}"]
        objects = [f"{number:03d}-{path.stem}.o" for number, path in enumerate(self.tree.sources)]
        commands = [
            [str(self.compiler), *compile_flags, "-c", str(source), "-o", name]
            for source, name in zip(self.tree.sources, objects, strict=True)
        ]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            results = list(pool.map(lambda command: _call(command, scratch), commands))
        for source, command, (code, output) in zip(self.tree.sources, commands, results, strict=True):
            log.append(f"$ {' '.join(command)}\n{output}")
            if code != 0:
                raise _CommandError(f"{self.tree.label(source)} does not compile", "".join(log))
        link = [str(self.compiler), *self.flags, *self.recipe.link_flags, *objects, "-o", cache.ELF]
        link += [f"-Wl,-Map={cache.MAP}", *self.recipe.libraries]
        if self.tree.linker_script is not None:
            link += ["-T", str(self.tree.linker_script)]
        code, output = _call(link, scratch)
        log.append(f"$ {' '.join(link)}\n{output}")
        if code != 0:
            raise _CommandError("the firmware does not link", "".join(log))
        (scratch / cache.LOG).write_text("".join(log), encoding="utf-8")
        for name in objects:
            (scratch / name).unlink()


def _call(command: list[str], directory: Path) -> tuple[int, str]:
    environment = {**os.environ, "LC_ALL": "C"}
    done = subprocess.run(
        command, cwd=directory, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    return done.returncode, done.stdout


def _failure(error: _CommandError, job: _Job, directory: Path) -> BuildError:
    log_file = directory.with_name(directory.name + ".failed.log")
    log_file.write_text(error.log, encoding="utf-8")
    marks = ("error:", "undefined reference", "overflowed", "will not fit")
    lines = [line.strip() for line in error.log.splitlines() if any(mark in line for mark in marks)]
    said = "; ".join(lines[:3]) or "no error line in the log"
    return BuildError(f"{error.what} for {job.title}: {said}", f"The whole log: {log_file}")


def section_sizes(elf: Path) -> dict[str, int]:
    """Bytes of code, constants, initialised and zeroed data; the stack is nobody's."""
    write, allocate, execute = 1, 2, 4
    sizes = {"text_bytes": 0, "rodata_bytes": 0, "data_bytes": 0, "bss_bytes": 0}
    with elf.open("rb") as stream:
        for section in ELFFile(stream).iter_sections():
            flags = section["sh_flags"]
            # ESP-IDF maps flash where the dummies stand; they hold nothing.
            if not flags & allocate or section.name == ".stack" or "dummy" in section.name:
                continue
            if section["sh_type"] == "SHT_NOBITS":
                kind = "bss_bytes"
            elif flags & execute:
                kind = "text_bytes"
            elif flags & write:
                kind = "data_bytes"
            else:
                kind = "rodata_bytes"
            sizes[kind] += section["sh_size"]
    return sizes
