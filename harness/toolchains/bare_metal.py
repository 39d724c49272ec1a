"""Builds a firmware project without an SDK: for QEMU's bare machines and for this host.

One table says which compiler, flags and sources a platform takes. It neither knows what a
project computes nor runs anything it built.
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from harness.bundled import firmware_dir
from harness.errors import BuildError, UsageError
from harness.exclusive import exclusive
from harness.runtimes.base import Project
from harness.targets import Target
from harness.toolchains import cache
from harness.toolchains.base import Image
from harness.toolchains.objects import FOLDER, Compiled, ObjectCache, call
from harness.toolchains.programs import require_program
from harness.toolchains.source_tree import SourceTree

_WARNINGS = ("-Wall", "-Wextra", "-Wconversion", "-Werror")
LANGUAGE_FLAGS = ("-std=c99", "-g", "-ffunction-sections", "-fdata-sections", *_WARNINGS)
_FREESTANDING = ("-O2", "-ffreestanding", "-fno-builtin")
_BARE_LINK = ("-nostdlib", "-nostartfiles", "-Wl,--gc-sections", "-Wl,--no-warn-rwx-segments")
# As fast as the network itself, which calls them.
_CALLED_BY_NETWORKS = ("arithmetic.c", "memory.c")
# Written to after linking: no optimiser may have looked at what it holds.
_WRITTEN_INTO = ("identity.c",)
# Protocol and platform as one unit at the link, which saves a tenth of them. One partition: the same image
# however many cores link it.
_SMALL = ("-Os", "-flto", "-flto-partition=one")
_SANITIZE = ("-O1", "-fno-omit-frame-pointer", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
_UNIT = re.compile(r"\S+\.ltrans0\.ltrans\.o")


@dataclass(frozen=True)
class Recipe:
    """How one platform is built. `folders` lie below firmware/platforms; the last one holds link.ld.

    `small` is added for the protocol and the platform, which are to take little flash, and for the link.
    """

    compiler: str
    flags: tuple[str, ...]
    small: tuple[str, ...]
    link_flags: tuple[str, ...]
    libraries: tuple[str, ...]
    folders: tuple[str, ...]
    linker_script: bool

    def size_flags(self, source: Path) -> tuple[str, ...]:
        """`small`, where `source` is of firmware/ and no network calls it."""
        ours = source.is_relative_to(firmware_dir())
        return self.small if ours and source.name not in (*_CALLED_BY_NETWORKS, *_WRITTEN_INTO) else ()


_RECIPES = {
    "host": Recipe(
        compiler="gcc",
        flags=("-O2", "-D_POSIX_C_SOURCE=200809L"),
        small=(),
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
        small=(*_SMALL, "-msave-restore"),
        link_flags=_BARE_LINK,
        libraries=("-lgcc",),
        folders=("qemu_common", "qemu_riscv32"),
        linker_script=True,
    ),
    "qemu_xtensa": Recipe(
        compiler="xtensa-lx106-elf-gcc",
        # Calls reach 512 KiB. No code is widened to align what is jumped to, no access to a register waits
        # for the one before: the emulated machine knows neither.
        flags=(
            *("-mno-longcalls", "-mno-target-align", "-mno-serialize-volatile", *_FREESTANDING),
            *("-DUART_BASE=0x9D050020u", "-DUART_STRIDE_BYTES=4u"),
        ),
        small=_SMALL,
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
    mlperf_dialect: bool = False,
    static_ram_bytes: int | None = None,
) -> Image:
    """Compiles and links `project` with the core and `platform`, or finds the same build done before.

    Only what no earlier build below `build_root` compiled is compiled: other weights cost one object and
    the link. The image lies in `<build_root>/<target>-<platform>-<12 digits of its digest>/`. `sanitize`
    (host only) adds address and undefined-behaviour sanitizers. `defines` are preprocessor
    definitions, name to value. `mlperf_dialect` makes the firmware answer MLPerf Tiny's commands too, for
    5 KB of flash. Of more than `static_ram_bytes` of static data, no image is linked (machines of QEMU only).

    Raises:
        UsageError: unknown platform, or sanitizers asked for where there are none.
        MissingError: the compiler is not installed.
        BuildError: a source does not compile or the image does not link.
        OutputError: `build_root` cannot be written.
    """
    recipe = get_recipe(platform)
    if static_ram_bytes is not None:
        limit = f"-Wl,--defsym=_static_ram_limit={static_ram_bytes}"
        recipe = replace(recipe, link_flags=(*recipe.link_flags, limit))
    if sanitize and platform != "host":
        raise UsageError(f"platform {platform} has no sanitizers", "Only host has")
    compiler = require_program(recipe.compiler)
    flags = (*LANGUAGE_FLAGS, *recipe.flags, *(_SANITIZE if sanitize else ()))
    flags += tuple(f"-D{name}={value}" for name, value in sorted((defines or {}).items()))
    tree = _source_tree(project, recipe)
    version = _version(compiler)
    told = {
        "identity.c": f'-DFIRMWARE_TARGET="{target.id}"',
        "session.c": f"-DMLPERF_DIALECT={int(mlperf_dialect)}",
    }
    all_flags = (*flags, *recipe.small, *told.values(), *recipe.link_flags, *recipe.libraries)
    digest = tree.digest((target.id, platform, version, *all_flags))

    root = build_root.resolve()
    directory = root / f"{target.id}-{platform}-{digest[:12]}"
    with exclusive(directory):
        cached = cache.load_image(directory)
        if cached is not None:
            return cached
        objects = ObjectCache(root / FOLDER, compiler, version)
        job = _Job(objects, recipe, tree, flags, told, f"{target.id}/{platform}")
        with cache.building(directory) as scratch:
            try:
                job.run(scratch)
            except _CommandError as error:
                raise _failure(error, job, directory) from None
            _write_digest(scratch / cache.ELF, digest)
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


def compiler_version(platform: str) -> str:
    """The first line of what the compiler of `platform` says of itself. Raises MissingError without it."""
    return _version(require_program(get_recipe(platform).compiler))


@functools.cache
def _version(compiler: Path) -> str:
    shown = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=True)
    return shown.stdout.splitlines()[0]


def _source_tree(project: Project, recipe: Recipe) -> SourceTree:
    firmware = firmware_dir()
    folders = [firmware / "core", *(firmware / "platforms" / folder for folder in recipe.folders)]
    project_include_dirs = [path.resolve() for path in project.include_dirs]
    include_dirs = [firmware, *(path for folder in folders for path in (folder, folder / "include"))]
    return SourceTree(
        roots=((firmware, "firmware"), (project.directory.resolve(), "project")),
        sources=[
            *(path for folder in folders for path in folder.iterdir() if path.suffix in (".c", ".S")),
            *(path.resolve() for path in project.sources),
        ],
        include_dirs=[*include_dirs, *project_include_dirs],
        header_trees=project_include_dirs,
        further=[folders[-1] / "link.ld"] if recipe.linker_script else [],
    )


class _CommandError(Exception):
    """A compiler or linker call that failed; `log` is all that was said so far."""

    def __init__(self, what: str, log: str) -> None:
        super().__init__(what)
        self.what = what
        self.log = log


@dataclass(frozen=True)
class _Job:
    """The commands of one build. `told` are flags for one source each: what would spoil sharing others."""

    objects: ObjectCache
    recipe: Recipe
    tree: SourceTree
    flags: tuple[str, ...]
    told: Mapping[str, str]
    title: str

    def run(self, scratch: Path) -> None:
        """Leaves firmware.elf, firmware.map and build.log in `scratch`. Raises _CommandError."""
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            results = list(pool.map(self._compile, self.tree.sources))
        log: list[str] = []
        for result in results:
            log.append(result.log)
            if not result.succeeded:
                raise _CommandError(f"{self.tree.label(result.source)} does not compile", "".join(log))
        # Under names that say what they are, for the map.
        names = [f"{number:03d}-{result.source.stem}.o" for number, result in enumerate(results)]
        for name, result in zip(names, results, strict=True):
            shutil.copyfile(result.object_file, scratch / name)
        link = [str(self.objects.compiler), *self.flags, *self.recipe.small, *self.recipe.link_flags]
        link += [f"-fdebug-prefix-map={scratch}=.", *names, "-o", cache.ELF]
        link += [f"-Wl,-Map={cache.MAP}", *self.recipe.libraries]
        if self.recipe.linker_script:
            link += ["-T", str(firmware_dir() / "platforms" / self.recipe.folders[-1] / "link.ld")]
        code, output = call(link, scratch)
        log.append(f"$ {' '.join(link)}\n{output}")
        if code != 0:
            raise _CommandError("the firmware does not link", "".join(log))
        _name_the_unit(scratch / cache.MAP)
        (scratch / cache.LOG).write_text("".join(log), encoding="utf-8")
        for name in names:
            (scratch / name).unlink()

    def _compile(self, source: Path) -> Compiled:
        told = [self.told[source.name]] if source.name in self.told else []
        return self.objects.compile(self.tree, source, (*self.flags, *self.recipe.size_flags(source), *told))


def _failure(error: _CommandError, job: _Job, directory: Path) -> BuildError:
    log_file = directory.with_name(directory.name + ".failed.log")
    log_file.write_text(error.log, encoding="utf-8")
    marks = ("error:", "undefined reference", "overflowed", "will not fit")
    lines = [line.strip() for line in error.log.splitlines() if any(mark in line for mark in marks)]
    said = "; ".join(lines[:3]) or "no error line in the log"
    return BuildError(f"{error.what} for {job.title}: {said}", f"The whole log: {log_file}")


def _name_the_unit(map_file: Path) -> None:
    """The unit that the link made of protocol and platform has a temporary file's name in the map."""
    text = map_file.read_text(encoding="utf-8")
    map_file.write_text(_UNIT.sub("protocol-and-platform.o", text), encoding="utf-8")


def _write_digest(elf: Path, digest: str) -> None:
    """Puts `digest` where the linked firmware has `firmware_digest`: no object can know it."""
    from elftools.elf.elffile import ELFFile  # no start-up needs it

    with elf.open("r+b") as stream:
        file = ELFFile(stream)
        symbols = file.get_section_by_name(".symtab")
        (symbol,) = symbols.get_symbol_by_name("firmware_digest")  # type: ignore[union-attr]
        section = file.get_section(symbol["st_shndx"])
        stream.seek(section["sh_offset"] + symbol["st_value"] - section["sh_addr"])
        stream.write(digest.encode("ascii"))


def section_sizes(elf: Path) -> dict[str, int]:
    """Bytes of code, constants, initialised and zeroed data; the stack is nobody's."""
    from elftools.elf.elffile import ELFFile

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
