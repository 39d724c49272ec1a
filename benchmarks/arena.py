"""What tflite-micro takes for a model's arena, as its recording allocator counts it on this computer.

`activations` (its head) is what a chip needs as well; the rest are its records of tensors, nodes and
scales, larger here than on a chip, for a pointer has eight bytes. Not used by the harness itself.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tflite_micro import runtime

_ENOUGH_BYTES = 8 << 20


@dataclass(frozen=True)
class Arena:
    total: int
    activations: int


def tflm_arena_bytes(model: Path) -> Arena:
    interpreter = runtime.Interpreter.from_file(str(model), arena_size=_ENOUGH_BYTES)
    sys.stderr.flush()
    saved = os.dup(2)
    with tempfile.TemporaryFile() as log:
        os.dup2(log.fileno(), 2)
        try:
            interpreter.print_allocations()
        finally:
            os.dup2(saved, 2)
            os.close(saved)
        log.seek(0)
        said = log.read().decode()
    figures = dict(re.findall(r"Arena allocation (total|head|tail) (\d+) bytes", said))
    return Arena(int(figures["total"]), int(figures["head"]))
