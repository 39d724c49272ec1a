"""The drop-in folder `examples/<app>/`: the sources of firmware/himax_we1, and what depends on the model."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harness.bundled import firmware_dir
from harness.errors import HarnessError, ModelError, UsageError
from harness.model.spec import ModelSpec
from harness.new_directory import check_new, write_new
from harness.portable.c_text import comment_text, fill, literals, string
from harness.portable.graph import Graph
from harness.runtimes.planned import read_file
from harness.runtimes.tflm.himax.adapt import adapt
from harness.runtimes.tflm.himax.preflight import (
    Memory,
    check_memory,
    check_operators,
    check_tensors,
    resolver_methods,
)
from harness.runtimes.tflm.himax.texts import makefile, readme
from harness.runtimes.tflm.reader import FULL_INTEGER, read
from harness.targets import Target

# Folders and make targets that the SDK has already.
TAKEN = (
    *("handwriting", "magic_wand", "micro_speech", "person_detection", "person_detection_int8"),
    *("all", "clean", "download", "flash"),
)


@dataclass(frozen=True)
class Generated:
    """`directory` is examples/<app> below what was asked for; `files` are relative to it."""

    directory: Path
    app: str
    files: tuple[str, ...]
    operators: tuple[str, ...]
    changes: tuple[str, ...]
    memory: Memory


def generate(model: ModelSpec, target: Target, directory: Path) -> Generated:
    """Checks the model's .tflite file and writes its firmware below `directory`, whole or not at all.

    Raises:
        ModelError, UnsupportedError: the network is not what the SDK takes, or does not fit.
        UsageError: the name is one of the SDK's own.
        OutputError: `directory` holds something already, or cannot be written.
    """
    check_new(directory)
    name = model.name
    # A float file is refused by its tensors, which says more.
    path = model.artifacts.get("tflite") or model.artifacts.get("tflite_float")
    if path is None:
        had = ", ".join(f".{kind}" for kind in model.artifacts)
        raise ModelError(f"{name}: the Himax SDK takes a .tflite file, this model has {had}", FULL_INTEGER)
    app = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_") or "model"
    if app in TAKEN:
        raise UsageError(f"'{app}' is one of the Himax SDK's own examples or targets", "Rename the model")
    data = read_file(path)
    try:
        graph = read(data)
        check_operators(graph)
        check_tensors(graph)
        adapted = adapt(graph, data)
        memory = check_memory(adapted.graph, len(adapted.data), target)
    except HarnessError as error:
        raise type(error)(f"{path}: {error.message}", error.remedy) from error
    operators = tuple(dict.fromkeys(operator.op for operator in adapted.graph.operators))
    files = _shared_sources() | {
        "model_data.cc": _model_data(adapted.data, name),
        "model_data.h": _MODEL_DATA_HEADER,
        "model_operators.h": _model_operators(operators),
        "model_settings.cc": _model_settings(name, hashlib.sha256(data).hexdigest()),
        "model_settings.h": _settings_header(adapted.graph, memory),
    }
    sources = sorted(path for path in files if path.endswith((".c", ".cc")))
    files[f"{app}.mk"] = makefile(app, sources)
    files["README.md"] = readme(app, name, memory.lines(), adapted.changes)
    write_new(directory, {f"examples/{app}/{path}": text for path, text in files.items()})
    return Generated(
        directory / "examples" / app, app, tuple(sorted(files)), operators, adapted.changes, memory
    )


def _shared_sources() -> dict[str, str]:
    """What is the same for every model, by path in the folder."""
    own = firmware_dir() / "himax_we1"
    files = {
        path.relative_to(own).as_posix(): path.read_text(encoding="utf-8")
        for path in sorted(own.rglob("*"))
        if path.suffix in (".cc", ".h")
    }
    core = firmware_dir() / "core"
    return files | {name: (core / name).read_text(encoding="utf-8") for name in ("crc32.c", "crc32.h")}


_MODEL_DATA_HEADER = """#ifndef MODEL_DATA_H
#define MODEL_DATA_H

// The .tflite file. TFLM reads it in place, in words too: it must be aligned.
extern const unsigned char kModelData[];
extern const unsigned int kModelDataSize;

#endif
"""


def _model_data(data: bytes, name: str) -> str:
    values = literals(np.frombuffer(data, np.uint8))
    lines = [f"// {comment_text(name)}, {len(data)} bytes.", '#include "model_data.h"', ""]
    lines += ["alignas(16) const unsigned char kModelData[] = {", *fill(values), "};"]
    return "\n".join([*lines, "const unsigned int kModelDataSize = sizeof(kModelData);", ""])


def _model_operators(operators: tuple[str, ...]) -> str:
    methods = resolver_methods()
    calls = " ||\n        ".join(f"resolver->{methods[op]}() != kTfLiteOk" for op in operators)
    return f"""// The operators of this network, and no others: each one costs code.
#ifndef MODEL_OPERATORS_H
#define MODEL_OPERATORS_H

#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"

typedef tflite::MicroMutableOpResolver<{len(operators)}> OperatorResolver;

inline TfLiteStatus RegisterOperators(OperatorResolver *resolver) {{
    if ({calls}) {{
        return kTfLiteError;
    }}
    return kTfLiteOk;
}}

#endif
"""


def _model_settings(name: str, digest: str) -> str:
    return f"""#include "model_settings.h"

const char kModelName[] = {string(name)};
const char kModelDigest[] = "{digest}";
"""


def _settings_header(graph: Graph, memory: Memory) -> str:
    source = graph.tensors[graph.inputs[0]].info
    output = graph.tensors[graph.outputs[0]].info
    image = len(source.shape) == 4 and source.shape[0] == 1
    rows, columns, channels = source.shape[1:] if image else (1, source.elements, 1)
    return f"""#ifndef MODEL_SETTINGS_H
#define MODEL_SETTINGS_H

// The input as {list(source.shape)}: real = (value - {source.zero_point}) * {source.scale!r}
const int kNumCols = {columns};
const int kNumRows = {rows};
const int kNumChannels = {channels};
const int kMaxImageSize = kNumCols * kNumRows * kNumChannels;

// The output: real = (score - {output.zero_point}) * {output.scale!r}
const int kCategoryCount = {output.elements};

// An estimate from the graph, see README.md.
const int kTensorArenaSize = {memory.arena_bytes};

// The file this was generated from, and its SHA-256: the firmware prints it, the host compares it.
extern const char kModelName[];
extern const char kModelDigest[];

#endif
"""
