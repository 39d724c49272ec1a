"""The ESP-IDF project around a generated model, with what tutorial 3's has, and the sample it runs.

All but two headers and the README are files of firmware/runtimes/tvm/esp_idf. ESP-IDF is not here:
the tests compile the program against a stand-in for its one ESP-IDF call.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from harness.bundled import firmware_dir
from harness.errors import OutputError
from harness.portable.c_text import C_TYPES, comment_text, fill, literals
from harness.runtimes.base import Array, Artifact
from harness.targets import Target

COMPONENT = Path("components", "tvm_model")


def write_application(
    artifact: Artifact, inputs: Sequence[Array], outputs: Sequence[Array], target: Target, directory: Path
) -> None:
    """Adds the project to `directory`, which holds the model in `COMPONENT`.

    Args:
        inputs: the sample that the program runs, in the artifact's integers.
        outputs: the oracle's answer to it.

    Raises:
        OutputError: the directory cannot be written.
    """
    template = firmware_dir() / "runtimes" / "tvm" / "esp_idf"
    texts = {
        "main/input_data.h": _header("input", "The sample that app_main runs", inputs, artifact.name),
        "main/output_data.h": _header(
            "output", "What the model must answer to input_data.h", outputs, artifact.name
        ),
        "README.md": _readme(artifact, target),
    }
    try:
        shutil.copytree(template, directory, dirs_exist_ok=True)
        shutil.copy(firmware_dir() / "engine.h", directory / COMPONENT / "engine.h")
        for name, text in texts.items():
            temporary = directory / f"{name}.writing"
            temporary.write_text(text, encoding="utf-8", newline="\n")
            os.replace(temporary, directory / name)
    except OSError as error:
        raise OutputError(
            f"cannot write the project into {directory}: {error.strerror}", "Choose another directory"
        ) from error


def _header(kind: str, what: str, tensors: Sequence[Array], model: str) -> str:
    """One array for each tensor, and `<kind>_data` to reach them by index."""
    guard = f"{kind.upper()}_DATA_H"
    lines = [f"/* {what} ({comment_text(model)}), tensor by tensor. */", f"#ifndef {guard}"]
    lines += [f"#define {guard}", "", "#include <stdint.h>", ""]
    for index, tensor in enumerate(tensors):
        floats = tensor.dtype == np.float32
        values = np.ascontiguousarray(tensor).view(np.uint32) if floats else tensor
        note = " /* float32, as bit patterns */" if floats else ""
        c_type = C_TYPES[values.dtype.name]
        lines.append(f"static const {c_type} {kind}_{index}[{values.size}] = {{{note}")
        lines += [*fill(literals(values)), "};", ""]
    names = ", ".join(f"{kind}_{index}" for index in range(len(tensors)))
    return "\n".join([*lines, f"static const void *const {kind}_data[] = {{{names}}};", "", "#endif", ""])


def _readme(artifact: Artifact, target: Target) -> str:
    return f"""# {artifact.name} on {target.name}, by TVM

Generated from the QDQ file with SHA-256 {artifact.digest}.

With ESP-IDF 5.x:

    idf.py set-target {target.id} && idf.py flash monitor | tee monitor.log
    harness parse monitor.log

The program runs the sample in `main/input_data.h`, prints times, scores and the workspace's size, and
says whether the answer is the one in `main/output_data.h`. **It was generated, not built:** no ESP-IDF
was there. The names in `sdkconfig.defaults*` are those of ESP-IDF 5.5's Kconfig files.

Without ESP-IDF, on an emulator of the instruction set:

    make

gives `firmware.elf`, the same model under the harness's protocol. After a change to a kernel,

    harness debug MODEL --runtime tvm --target {target.id} --elf firmware.elf

names the first layer that differs.

| | |
|---|---|
| `components/tvm_model/tvm_kernels.c` | one function for each layer, written by TVM |
| `components/tvm_model/model.c` | memory plan, order of the layers; implements `engine.h` |
| `components/tvm_model/model_weights.c` | weights, biases, tables |
| `main/app_main.c` | the program |
| `partitions.csv`, `sdkconfig.defaults*` | 3.75 MB for the program; clocks and caches of each chip |
| `firmware/`, `Makefile` | for the emulator alone |
"""
