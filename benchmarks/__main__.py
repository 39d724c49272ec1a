"""`./run benchmark [NAME] [options]`: one of the benchmarks of README.md, by default `instructions`."""

from __future__ import annotations

import importlib
import sys

MODULES = {
    "instructions": "instructions",
    "link": "link_efficiency",
    "chaos": "link_chaos",
    "boards": "link_boards",
    "emulated": "link_throughput",
}


def main() -> int:
    first = sys.argv[1] if len(sys.argv) > 1 else ""
    if first and not first.startswith("-"):
        del sys.argv[1]
    else:
        first = "instructions"
    if first not in MODULES:
        print(f"benchmark: no '{first}'; there are {', '.join(MODULES)}", file=sys.stderr)
        return 2
    sys.argv[0] = f"./run benchmark {first}"
    return int(importlib.import_module(f"benchmarks.{MODULES[first]}").main())


if __name__ == "__main__":
    sys.exit(main())
