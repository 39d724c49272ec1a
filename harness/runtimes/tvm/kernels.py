"""The C of a plan's kernels: `lower.py` in a process of its own, where alone TVM is loaded.

TVM takes seconds to import and brings a runtime of its own, so neither pytest nor the `harness`
command ever imports it. A fixed hash seed keeps the text the same in every run.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
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
GENERATORS = ("expressions.py", "lower.py")
LOG_TAIL_LINES = 3


def kernel_files(plan: Plan, directory: Path) -> dict[str, str]:
    """tvm_kernels.c and tvm_kernels.h, by name.

    Kernels that stand in `directory` from an earlier run are taken as they are, provided that they were
    made of the same expressions by the same TVM and that nobody has changed them since.

    Raises:
        MissingError: TVM is not installed.
        HarnessError: TVM failed; carries the tail of what it said.
    """
    require_installed("tvm", "tvm")
    version = metadata.version("apache-tvm")
    steps = [step for step in plan.steps if isinstance(step, KernelStep)]
    job = json.dumps([_job(step) for step in steps], default=int)
    here = Path(__file__).parent
    made_of = _digest(version, job, *((here / name).read_text(encoding="utf-8") for name in GENERATORS))
    functions = _kept(directory / SOURCE, made_of) or _lower(job)
    shared = sorted({header for step in steps for header in step.headers})
    source = [
        f"/* The kernels, one for each layer, as TVM {version} wrote them; only `const` was added. */",
        f'#include "{HEADER}"',
        *(f'#include "{header}"' for header in shared),
        "",
        "#include <stdbool.h>",
        "",
        f"/* made of {made_of}; digest of what follows {_digest(functions)} */",
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
        *(line.replace(" {", ";") for line in functions.splitlines() if line.startswith("void ")),
        "",
        "#endif",
    ]
    return {SOURCE: "\n".join(source), HEADER: "\n".join(header) + "\n"}


def _digest(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:32]


def _kept(source: Path, made_of: str) -> str | None:
    """The functions in an earlier `source`, if they are still those that would be made."""
    if not source.is_file():
        return None
    stamp = re.compile(r"^/\* made of (\w+); digest of what follows (\w+) \*/\n\n", re.MULTILINE)
    text = source.read_text(encoding="utf-8", errors="replace")
    match = stamp.search(text)
    if match is None or match[1] != made_of or _digest(text[match.end() :]) != match[2]:
        return None
    return text[match.end() :]


def _job(step: KernelStep) -> dict[str, object]:
    """What `lower.py` needs to know of a step."""
    parameters = [(name, tensor.info.dtype, step.seen(tensor)) for name, tensor in step.parameters()]
    parameters += [(array.name, array.values.dtype.name, array.values.shape) for array in step.arrays]
    return {
        "name": step.kernel,
        "expression": step.expression,
        "numbers": dict(step.numbers),
        "output": step.seen(step.writes[0]),
        "buffers": [
            # Floats travel as their bit patterns.
            {"name": name, "dtype": C_TYPES[dtype].removesuffix("_t"), "shape": shape or (1,)}
            for name, dtype, shape in parameters
        ],
    }


def _lower(job: str) -> str:
    """Runs `lower.py`."""
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
