"""`harness limits`: the largest networks that a chip takes, found by building and running them."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from rich.console import Console

from harness.errors import MissingError, UnsupportedError, UsageError
from harness.fit.options import add_room, chip, room_of
from harness.limits.families import Family, families
from harness.limits.find import find
from harness.limits.networks import MAKERS, Maker
from harness.limits.probe import Probe
from harness.limits.show import explanations, footnote, plain, table
from harness.progress import ConsoleWriter, silent
from harness.runtimes import get_runtime
from harness.settings import build_root_under, split_list
from harness.toolchains.esp_idf.engines import PORTABLE

SEARCHES = ("parameters", "input", "channels")
LARGEST_BUILT_BYTES = 12 << 20
Parsers = Any  # argparse's own type of `add_subparsers` is private


def add_command(commands: Parsers) -> None:
    """Adds `limits` to the command line."""
    parser = commands.add_parser(
        "limits",
        help="the largest parameter count, input and channel count that a chip takes, and what ends it",
        description="Bisects three families of networks on a chip: more parameters, larger images, more "
        "channels. The largest that works and the next are built and run in QEMU, in the memory the chip "
        "has, every layer compared. Exit code 1: not even the smallest works, or a layer is wrong. How it is "
        "found: docs/limits.md.",
        epilog="harness limits --target esp32 --runtime espdl-v1 --bits 16 --partition 1536K",
    )
    parser.add_argument("--target", required=True, metavar="NAME", help="the chip, e.g. esp32")
    parser.add_argument(
        "--runtime",
        default="espdl-v1",
        metavar="NAME",
        help="espdl-v1 (default) or tflm: those whose files need no extra",
    )
    parser.add_argument(
        "--bits",
        type=int,
        choices=(8, 16),
        help="of activations (default: 16 for espdl-v1, 8 for tflm; tflm's 16 are int16x8)",
    )
    parser.add_argument(
        "--kernels",
        default="vendor",
        choices=("vendor", PORTABLE),
        help="whose memory: vendor, activations on the heap as Espressif's library has them (default); "
        "portable, one arena in static RAM. What computes in QEMU is portable in both",
    )
    add_room(parser)
    parser.add_argument(
        "--search",
        default=",".join(SEARCHES),
        metavar="LIST",
        help=f"of {', '.join(SEARCHES)} (default: all)",
    )
    parser.add_argument(
        "--input-channels", type=int, default=3, metavar="N", help="of the images (default: 3)"
    )
    parser.add_argument("--estimate", action="store_true", help="by the memory map alone, nothing is built")
    parser.add_argument("--json", action="store_true", help="the same as JSON, for programs")
    parser.set_defaults(run=_limits)


def _limits(parsed: argparse.Namespace) -> int:
    searched = _families(parsed)
    probe = Probe(
        chip(parsed.target),
        _maker(parsed.runtime, parsed.bits),
        parsed.kernels,
        room_of(parsed),
        build_root_under(Path.cwd()),
    )
    get_runtime(probe.maker.runtime).variant(probe.target)  # refuses a chip that the runtime does not know
    room = probe.room
    if not parsed.estimate and room.partition_bytes + room.psram_bytes > LARGEST_BUILT_BYTES:
        raise UsageError(
            f"--partition {parsed.partition} and --psram {parsed.psram or 0}: the emulated machine has "
            f"{LARGEST_BUILT_BYTES >> 20}MB for both",
            "Add --estimate",
        )
    say = ConsoleWriter(sys.stderr).line if not parsed.json else silent
    try:
        limits = [find(family, probe, not parsed.estimate, say) for family in searched]
    except MissingError as error:
        raise MissingError(
            error.message, f"{error.remedy}, or search by the memory map: --estimate"
        ) from None
    if parsed.json:
        print(json.dumps([plain(limit) for limit in limits], indent=2))
    else:
        print(f"{probe.target.id} {probe.maker.runtime}, memory of {parsed.kernels} kernels")
        Console().print(table(limits))
        for limit in limits:
            print("\n".join(explanations(limit)))
        print(footnote(probe, not parsed.estimate))
    return int(any(limit.largest is None or limit.wrong for limit in limits))


def _families(parsed: argparse.Namespace) -> list[Family]:
    if not 1 <= parsed.input_channels <= 64:
        raise UsageError(f"--input-channels expects 1 to 64, got {parsed.input_channels}")
    known = {family.name: family for family in families(parsed.input_channels)}
    names = split_list("--search", parsed.search)
    for name in names:
        if name not in known:
            raise UsageError(f"--search expects names of {', '.join(SEARCHES)}, got '{name}'")
    return [known[name] for name in names]


def _maker(runtime: str, bits: int | None) -> Maker:
    get_runtime(runtime)
    if ":" in runtime:
        raise UsageError(f"--runtime {runtime}: how wide is said by --bits", "Say --bits 8 or --bits 16")
    made = {key_bits: maker for (name, key_bits), maker in MAKERS.items() if name == runtime}
    if not made:
        raise UnsupportedError(
            f"networks for runtime {runtime} are made by its quantiser, not here",
            "Search with --runtime espdl-v1 or tflm; of a model of yours: harness fit MODEL --runtime "
            f"{runtime}",
        )
    return made[bits or next(iter(made))]
