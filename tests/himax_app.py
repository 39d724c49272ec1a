"""Builds a generated Himax folder for this computer by its own Makefile fragment, and runs it on a terminal.

The SDK is tests/himax_sdk: stand-ins for what the firmware uses of it, over the portable engine of the model.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tty
from collections.abc import Iterator
from pathlib import Path

from harness.bundled import firmware_dir
from harness.items import load_artifact
from harness.model.spec import ModelSpec
from harness.runtimes import get_runtime

STAND_INS = Path(__file__).parent / "himax_sdk"
ARC_SOURCES = ("scratch_buffers", "scratch_buf_mgr", "mli_slicers")


def build_app(folder: Path, model: ModelSpec, sdk: Path) -> Path:
    """Puts `folder` (examples/<app>) into a copy of the stand-in SDK at `sdk`; the program's path."""
    shutil.copytree(STAND_INS, sdk)
    shutil.copytree(folder, sdk / "examples" / folder.name)
    arc = sdk / "tensorflow/lite/micro/kernels/arc_mli"
    arc.mkdir(parents=True)
    for name in ARC_SOURCES:
        (arc / f"{name}.cc").write_text("")
    get_runtime("tflm").generate(load_artifact(model, "tflm"), "portable", sdk / "engine")
    shutil.copy(firmware_dir() / "engine.h", sdk / "engine")
    with (sdk / "Makefile").open("a") as makefile:
        makefile.write(f"include examples/{folder.name}/{folder.name}.mk\n")
    built = subprocess.run(
        ["make", "-j2", "-C", str(sdk), folder.name], capture_output=True, text=True, timeout=300, check=False
    )
    assert built.returncode == 0, built.stderr
    return sdk / f"{folder.name}.elf"


@contextlib.contextmanager
def on_terminal(command: list[str]) -> Iterator[str]:
    """Runs `command` with its input and output on a pseudo-terminal; gives the other end's path."""
    master, slave = os.openpty()
    tty.setraw(slave)
    process = subprocess.Popen(command, stdin=master, stdout=master)
    try:
        yield os.ttyname(slave)
    finally:
        process.kill()
        process.wait()
        os.close(master)
        os.close(slave)
