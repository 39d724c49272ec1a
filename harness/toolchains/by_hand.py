"""A firmware tree that builds with `make` alone: the model, the core, one platform and a Makefile.

For people who want to open, change and build it. The bench builds by
`bare_metal` and not by this, with the same flags for every file.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from harness.bundled import firmware_dir
from harness.errors import OutputError
from harness.runtimes.base import Project
from harness.targets import Target
from harness.toolchains.bare_metal import LANGUAGE_FLAGS, get_recipe

NO_DIGEST = "0" * 64
"""What the firmware reports as its own digest: sources that may be changed have none."""


def write_tree(project: Project, target: Target, platform: str, directory: Path) -> Path:
    """Adds `firmware/` and a Makefile to `directory`, in which `project` lies; returns the Makefile.

    Raises:
        UsageError: unknown platform.
        OutputError: the directory cannot be written.
    """
    recipe = get_recipe(platform)
    firmware = firmware_dir()
    folders = ["core", *(f"platforms/{folder}" for folder in recipe.folders)]
    try:
        for folder in folders:
            shutil.copytree(firmware / folder, directory / "firmware" / folder, dirs_exist_ok=True)
        for header in ("engine.h", "platform.h"):
            shutil.copy(firmware / header, directory / "firmware" / header)
        makefile = directory / "Makefile"
        makefile.write_text(_makefile(project, target, platform, directory), encoding="utf-8")
    except OSError as error:
        raise OutputError(
            f"cannot write the firmware into {directory}: {error.strerror}", "Choose another directory"
        ) from error
    return makefile


def _makefile(project: Project, target: Target, platform: str, directory: Path) -> str:
    recipe = get_recipe(platform)
    folders = ["firmware/core", *(f"firmware/platforms/{folder}" for folder in recipe.folders)]
    own = [
        f"{folder}/{path.name}"
        for folder in folders
        for path in sorted((directory / folder).iterdir())
        if path.suffix in (".c", ".S")
    ]
    small = [source for source in own if recipe.size_flags(firmware_dir().parent / source)]
    model = [str(path.relative_to(directory)) for path in project.sources]
    includes = ["firmware", *folders, *(f"{folder}/include" for folder in folders)]
    includes = [folder for folder in includes if (directory / folder).is_dir()]
    includes += [
        str(path.relative_to(directory)) for path in project.include_dirs if directory in path.parents
    ]
    script = [f"-T {folders[-1]}/link.ld"] if recipe.linker_script else []
    lines = [
        f"# Firmware for {target.id}, platform {platform}: `make` gives firmware.elf.",
        f"# {folders[-1]}/ says how to start it; it speaks the protocol of the harness's docs/protocol.md.",
        f"CC = {recipe.compiler}",
        f"CFLAGS = {' '.join((*LANGUAGE_FLAGS, *recipe.flags))}",
        f"CPPFLAGS = {' '.join(f'-I{folder}' for folder in includes)} \\",
        f"    '-DFIRMWARE_TARGET=\"{target.id}\"'",
        f"LDFLAGS = {' '.join((*recipe.small, *recipe.link_flags, *script))} -Wl,-Map=firmware.map",
        f"LDLIBS = {' '.join(recipe.libraries)}",
        *_variable("SOURCES", [*model, *own]),
        "OBJECTS = $(addsuffix .o,$(basename $(SOURCES)))",
        "",
        "firmware.elf: $(OBJECTS) $(shell find . -name '*.ld')",
        "\t$(CC) $(CFLAGS) $(OBJECTS) -o $@ $(LDFLAGS) $(LDLIBS)",
        "",
        "$(OBJECTS): $(shell find . -name '*.h') Makefile",
        "",
        "%.o: %.c",
        "\t$(CC) $(CFLAGS) $(CPPFLAGS) -c $< -o $@",
        "",
        "%.o: %.S",
        "\t$(CC) $(CFLAGS) $(CPPFLAGS) -c $< -o $@",
        "",
        *(_small(recipe.small, small) if small else []),
        "clean:",
        "\trm -f firmware.elf firmware.map $(OBJECTS)",
        "",
        ".PHONY: clean",
    ]
    return "\n".join(lines) + "\n"


def _variable(name: str, words: list[str]) -> list[str]:
    return [f"{name} = \\", *(f"    {word} \\" for word in words[:-1]), f"    {words[-1]}"]


def _small(flags: tuple[str, ...], sources: list[str]) -> list[str]:
    """What no network calls: for size."""
    return [
        "# Protocol and platform: small rather than fast.",
        *_variable("SMALL", sources),
        f"$(addsuffix .o,$(basename $(SMALL))): CFLAGS += {' '.join(flags)}",
        "",
    ]
