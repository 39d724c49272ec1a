"""The C of a plan's kernels: `lower.py` in a process of its own, where alone TVM is loaded.

TVM takes seconds to import and brings a runtime of its own, so neither pytest nor the `harness`
command ever imports it. A fixed hash seed keeps the text the same in every run.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path

from harness.errors import HarnessError
from harness.extras import require_installed
from harness.portable.c_text import C_TYPES
from harness.portable.plan import Plan
from harness.runtimes.tvm.operators import KernelStep

HEADER = "tvm_kernels.h"
SOURCE = "tvm_kernels.c"
LOG_TAIL_LINES = 3


def kernel_files(plan: Plan, directory: Path) -> dict[str, str]:
    """tvm_kernels.c and tvm_kernels.h, by name; those in `directory` as they are, if they are the same.

    Raises:
        MissingError: TVM is not installed.
        HarnessError: TVM failed; carries the tail of what it said.
    """
    steps = [step for step in plan.steps if isinstance(step, KernelStep)]
    require_installed("tvm", "tvm")
    version = metadata.version("apache-tvm")
    job = json.dumps([_job(step) for step in steps], default=int)
    functions = _kept(directory, f"{version} {job}") or _lower(job)
    shared = sorted({header for step in steps for header in step.headers})
    source = [
        f"/* The kernels, one for each layer, as TVM {version} wrote them; only `const` was added. */",
        f'#include "{HEADER}"',
        *(f'#include "{header}"' for header in shared),
        "",
        "#include <stdbool.h>",
        "",
        "/* TVM names expressions that it then does not use. */",
        '#pragma GCC diagnostic ignored "-Wunused-variable"',
        "",
        functions,
    ]
    header = [
        "/* One function for each layer that computes something; written by TVM. */",
        "#ifndef TVM_KERNELS_H",
        "#define TVM_KERNELS_H",
        "",
        "#include <stdint.h>",
        "",
        *(f"{line[:-2]};" for line in functions.splitlines() if line.startswith("void ")),
        "",
        "#endif",
    ]
    return {SOURCE: "\n".join(source), HEADER: "\n".join(header) + "\n"}


def _job(step: KernelStep) -> dict[str, object]:
    def dtype(name: str) -> str:
        # Floats travel as their bit patterns.
        return "uint32" if C_TYPES[name] == "uint32_t" else name

    names = [*step.read_names, *(constant.name for constant in step.arrays)]
    kinds = [*(t.info.dtype for t in step.reads), *(c.values.dtype.name for c in step.arrays)]
    shapes = [*(step.seen(tensor) for tensor in step.reads), *(c.values.shape for c in step.arrays)]
    return {
        "name": step.kernel,
        "expression": step.expression,
        "numbers": dict(step.numbers),
        "output": step.seen(step.writes[0]),
        "buffers": [
            {"name": name, "dtype": dtype(kind), "shape": shape or (1,)}
            for name, kind, shape in zip(names, kinds, shapes, strict=True)
        ],
    }


@functools.cache
def _lower(job: str) -> str:
    """The functions' text; the targets of one run share it."""
    with tempfile.TemporaryDirectory(prefix="tvm-") as directory:
        request, out = Path(directory, "job.json"), Path(directory, "kernels.c")
        request.write_text(job, encoding="utf-8")
        paths = [str(Path(__file__).parents[3]), *filter(None, [os.environ.get("PYTHONPATH")])]
        done = subprocess.run(
            [sys.executable, "-m", "harness.runtimes.tvm.lower", str(request), str(out)],
            env={**os.environ, "PYTHONHASHSEED": "0", "PYTHONPATH": os.pathsep.join(paths)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
        if done.returncode or not out.is_file():
            tail = " | ".join(done.stdout.strip().splitlines()[-LOG_TAIL_LINES:])
            raise HarnessError(f"TVM failed with exit status {done.returncode}: {tail}")
        return out.read_text(encoding="utf-8")
