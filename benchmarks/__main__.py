"""The project's own figures, beside those of the commit you have; or one of the benchmarks of README.md.

./run benchmark                      all but the night: some three minutes on two idle cores
./run benchmark --store              the same, and write benchmarks/*.json and docs/performance.md
./run benchmark --only exact         what is the same on every machine: instructions, flash, arena
./run benchmark --only night         a night cold and warm: up to an hour
./run benchmark link [options]       a benchmark alone, with options of its own: ./run benchmark link --help
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import tempfile
from pathlib import Path

from benchmarks import figures

MODULES = {
    "link": "link_efficiency",
    "chaos": "link_chaos",
    "boards": "link_boards",
    "emulated": "link_throughput",
}
EXACT, NIGHT = "exact", "night"


def main() -> int:
    if len(sys.argv) > 1 and sys.argv[1] in MODULES:
        first = sys.argv.pop(1)
        sys.argv[0] = f"./run benchmark {first}"
        return int(importlib.import_module(f"benchmarks.{MODULES[first]}").main())
    parts = [EXACT, *figures.ROWS]
    parser = argparse.ArgumentParser(
        prog="./run benchmark", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("alone", nargs="?", choices=MODULES, help="one benchmark, with options of its own")
    parser.add_argument("--only", metavar="LIST", help=f"of {', '.join(parts)}; or all")
    parser.add_argument("--store", action="store_true", help="write what was taken, to be committed")
    options = parser.parse_args()
    chosen = {None: [part for part in parts if part != NIGHT], "all": parts}.get(
        options.only, (options.only or "").split(",")
    )
    if unknown := [part for part in chosen if part not in parts]:
        parser.error(f"no part '{unknown[0]}'; there are {', '.join(parts)}, and all")
    return run(chosen, store=options.store)


def run(chosen: list[str], *, store: bool) -> int:
    exact: figures.Figures = {}
    machine: figures.Parts = {}
    stored_exact, stored = figures.load(figures.EXACT), figures.load(figures.MACHINE)
    for part in chosen:
        before = os.getloadavg()[0]
        if part == EXACT:
            from benchmarks.instructions import measure

            with tempfile.TemporaryDirectory() as directory:
                exact = measure(Path(directory))
            for title, rows in exact.items():
                print(figures.printed(title, rows, stored_exact.get(title, {})) + "\n", flush=True)
        else:
            from benchmarks.machine import PARTS

            machine[part] = figures.taken(PARTS[part](), before)
            print(figures.printed_part(part, machine[part], stored.get(part)) + "\n", flush=True)
    if store:
        figures.store(exact, machine)
        written = [path for path, new in ((figures.EXACT, exact), (figures.MACHINE, machine)) if new]
        print(
            "stored in " + ", ".join(str(path.relative_to(figures.ROOT)) for path in (*written, figures.PAGE))
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
