"""Code bytes per layer of the portable firmware, from real builds: the table that `harness fit` estimates by.

    python -m benchmarks.firmware_sizes [--store] [--build-dir DIR]

Builds the zoo in every runtime for both emulated instruction sets, reads symbols and calls off each ELF, and
prints how far the estimate made from the others is off for each network (it is left out of the table that
judges it). --store writes harness/fit/code_sizes.json.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from elftools.elf.elffile import ELFFile

from harness.errors import HarnessError
from harness.fit import code_size
from harness.items import Workshop, load_artifact
from harness.model.spec import load_model, zoo
from harness.runtimes import get_runtime
from harness.runtimes.planned import PlannedArtifact
from harness.targets import get_target
from harness.toolchains.bare_metal import build

ROOT = Path(__file__).resolve().parents[1]
STORED = ROOT / "harness" / "fit" / "code_sizes.json"
TARGETS = ("esp32c3", "esp32s3")
RUNTIMES = ("tflm", "espdl", "espdl-v1", "espdl-v1:int8")
OBJDUMP = {"riscv32": "riscv64-unknown-elf-objdump", "xtensa": "xtensa-lx106-elf-objdump"}
KERNEL = re.compile(r"kernel_\d+")
# What Step.kernels may name.
SHARED = re.compile(r"tile(16)?_\dx\d$|convolve(_row)?$")
LAYER = re.compile(r"layer_(\d+)_")
NETWORK = re.compile(f"{LAYER.pattern}|{SHARED.pattern}")
Table = dict[str, Any]


@dataclass(frozen=True)
class Build:
    """What one ELF says. `own` and `shared` go by layer number: bytes, and functions of the headers."""

    label: str
    network: str
    parts: code_size.Parts
    isa: str
    flash_bytes: int
    ram_bytes: int
    own: dict[int, int]
    shared: dict[int, set[str]]
    sizes: dict[str, int]


def builds(directory: Path) -> Iterator[Build]:
    """Every network x runtime x instruction set that can be made here."""
    workshop = Workshop(directory / "artifacts")
    workshop.directory.mkdir(parents=True, exist_ok=True)
    for runtime in RUNTIMES:
        for name in zoo():
            for target_id in TARGETS:
                target = get_target(target_id)
                label = f"{name} {runtime} {target_id}"
                try:
                    artifact = load_artifact(load_model(name), runtime, target, workshop)
                except HarnessError as error:
                    print(f"left out: {label}: {error}", file=sys.stderr)
                    continue
                assert isinstance(artifact, PlannedArtifact)
                sources = directory / "projects" / label.replace(" ", "-").replace(":", "-")
                project = get_runtime(runtime).generate(artifact, "portable", sources)
                image = build(project, target, str(target.isa_platform), build_root=directory / "images")
                yield read_build(label, artifact, target.isa, image.elf, image.flash_bytes, image.ram_bytes)


def read_build(
    label: str, artifact: PlannedArtifact, isa: str, elf: Path, flash_bytes: int, ram_bytes: int
) -> Build:
    sizes, calls = functions(elf), calls_of(elf, isa)
    own: dict[int, int] = {}
    shared: dict[int, set[str]] = {}
    core = reachable(calls, {"_start", "main", "core_run", "engine_init"}, stop=NETWORK)
    for name in sizes:
        if not (match := LAYER.match(name)):
            continue
        layer = int(match[1])
        used = reachable(calls, {name}) - core - {name}
        # A kernel that TVM wrote is called for its layer alone.
        alone = {one for one in used if KERNEL.match(one)}
        own[layer] = own.get(layer, 0) + sizes[name] + sum(sizes[one] for one in alone)
        shared.setdefault(layer, set()).update(
            name for name in (used - alone) & sizes.keys() if not SHARED.match(name)
        )
    return Build(
        label, artifact.name, code_size.parts(artifact), isa, flash_bytes, ram_bytes, own, shared, sizes
    )


def functions(elf: Path) -> dict[str, int]:
    with elf.open("rb") as stream:
        symbols = ELFFile(stream).get_section_by_name(".symtab").iter_symbols()
        return {one.name: one["st_size"] for one in symbols if one["st_info"]["type"] == "STT_FUNC"}


def calls_of(elf: Path, isa: str) -> dict[str, set[str]]:
    """Function -> the functions whose names stand in its code."""
    command = [OBJDUMP[isa], "-d", "--no-show-raw-insn", str(elf)]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found: dict[str, set[str]] = {}
    here = ""
    for line in said.splitlines():
        if head := re.match(r"[0-9a-f]+ <(.+)>:", line):
            here = head[1]
            found[here] = set()
        elif (to := re.search(r"<([^+>]+)>", line)) and to[1] != here:
            found[here].add(to[1])
    return found


def reachable(calls: dict[str, set[str]], roots: set[str], stop: re.Pattern[str] | None = None) -> set[str]:
    done: set[str] = set()
    queue = list(roots)
    while queue:
        name = queue.pop()
        if name not in done and not (stop and stop.match(name)):
            done.add(name)
            queue.extend(calls.get(name, ()))
    return done


def table(found: list[Build]) -> Table:
    """Layers by key, shared functions and the base, each the median of what builds had."""
    result: Table = {}
    for isa in sorted({each.isa for each in found}):
        layers: dict[str, list[tuple[int, frozenset[str]]]] = {}
        shared: dict[str, list[int]] = {}
        mine = [each for each in found if each.isa == isa]
        for each in mine:
            for index, _, key in each.parts.layers:
                layers.setdefault(key, []).append((each.own[index], frozenset(each.shared[index])))
            for name in each.parts.kernels.union(*each.shared.values()):
                shared.setdefault(name, []).append(each.sizes[name.split(" ")[0]])
        rows = {
            key: {
                "bytes": round(median(size for size, _ in rows)),
                "shared": sorted(max((names for _, names in rows), key=len)),
            }
            for key, rows in sorted(layers.items())
        }
        result[isa] = {
            "base": {"flash": 0, "ram": 0},
            "shared": {name: round(median(sizes)) for name, sizes in sorted(shared.items())},
            "layers": rows,
        }
        sizes = [(each, code_size.add_up(each.parts, result[isa])) for each in mine]
        result[isa]["base"] = {
            "flash": round(median(each.flash_bytes - guess.flash_bytes for each, guess in sizes)),
            "ram": round(median(each.ram_bytes - guess.ram_bytes for each, guess in sizes)),
        }
    return result


def errors(found: list[Build]) -> Iterator[tuple[Build, float, float]]:
    """Error of flash and RAM, in per cent, of each build by the table made without its network."""
    networks = sorted({each.network for each in found})
    tables = {name: table([each for each in found if each.network != name]) for name in networks}
    for each in found:
        guess = code_size.add_up(each.parts, tables[each.network][each.isa])
        flash = 100 * (guess.flash_bytes / each.flash_bytes - 1)
        yield each, flash, 100 * (guess.ram_bytes / each.ram_bytes - 1)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--store", action="store_true", help=f"write {STORED.name}")
    parser.add_argument("--build-dir", type=Path, default=ROOT / "build" / "firmware_sizes")
    options = parser.parse_args()
    found = list(builds(options.build_dir))
    if options.store:
        STORED.write_text(json.dumps(table(found), indent=1, sort_keys=True) + "\n", encoding="utf-8")
    for each, flash, ram in errors(found):
        sizes = f"flash {each.flash_bytes:>9,} {flash:+6.2f} %   RAM {each.ram_bytes:>8,} {ram:+6.2f} %"
        print(f"{each.label:44} {sizes}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
