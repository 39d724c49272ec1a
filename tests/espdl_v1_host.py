"""Compiles a generated ESP-DL v1 project for this computer and runs it: the generated C++ itself,
over the project's own headers with the v1 class names.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import onnx

from harness.bundled import firmware_dir
from harness.runtimes.espdl_v1.export import Export

FLAGS = ["-std=c++11", "-O1", "-ffp-contract=off", "-Wall", "-Wextra", "-Werror"]
FLAGS += ["-fsanitize=address,undefined", "-fno-sanitize-recover"]

MAIN = """
#include <unistd.h>
#include "model_define.hpp"

int main()
{{
    {type} *values = ({type} *)malloc({size} * sizeof({type}));
    {name} model;
    while (fread(values, sizeof({type}), {size}, stdin) == {size}) {{
        Tensor<{type}> input;
        input.set_element(values).set_exponent({exponent}).set_shape({{{shape}}}).set_auto_free(false);
        model.forward(input);
        fwrite(model.l{last}.get_output().get_element_ptr(), sizeof({output}),
               (size_t)model.l{last}.get_output().get_size(), stdout);
    }}
    free(values);
    return 0;
}}
"""


def run_on_host(export: Export, chip: str, inputs: np.ndarray, scratch: Path) -> np.ndarray:
    """Device-order integers (N, height, width, channels) to the last layer's elements (N, elements)."""
    network = export.network
    output = "float" if network.float_output else network.scheme.c_type
    main = scratch / "main.cpp"
    main.write_text(
        MAIN.format(
            type=network.scheme.c_type,
            size=inputs[0].size,
            name=export.name.upper(),
            exponent=network.input_exponent,
            shape=", ".join(map(str, inputs.shape[1:])),
            last=len(network.layers),
            output=output,
        )
    )
    program = compile_project(export, chip, main, scratch)
    ran = subprocess.run([program], input=inputs.tobytes(), capture_output=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr.decode()
    dtype = np.float32 if network.float_output else network.integer_dtype
    return np.frombuffer(ran.stdout, dtype).reshape(len(inputs), -1)


def run_app(export: Export, chip: str, scratch: Path) -> list[str]:
    """What the generated app_main.cpp prints."""
    main = scratch / "main.cpp"
    main.write_text('extern "C" void app_main(void);\nint main() { app_main(); return 0; }\n')
    app = export.directory / "main" / "app_main.cpp"
    program = compile_project(export, chip, main, scratch, app)
    environment = {"ASAN_OPTIONS": "detect_leaks=0"}  # app_main never returns its input's memory
    return subprocess.run(
        [program], capture_output=True, text=True, timeout=60, check=True, env=environment
    ).stdout.splitlines()


def compile_project(export: Export, chip: str, main: Path, scratch: Path, *sources: Path) -> Path:
    directory, program = export.directory, scratch / "program"
    includes = [firmware_dir() / "runtimes" / "espdl_v1" / "host", directory / "model", directory / "main"]
    command = ["g++", *FLAGS, f"-DCONFIG_IDF_TARGET_{chip.upper()}=1", "-o", str(program), str(main)]
    command += [*map(str, sources), *map(str, (directory / "model").glob("*.cpp"))]
    command += [word for path in includes for word in ("-I", str(path))]
    built = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert built.returncode == 0, built.stderr
    return program


def onnx_chain(path: Path, nodes: list, weights: dict[str, np.ndarray], shape: tuple) -> Path:
    """An ONNX file with one input `x` and the last node's output."""
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        nodes,
        "chain",
        [value("x", onnx.TensorProto.FLOAT, shape)],
        [value(nodes[-1].output[0], onnx.TensorProto.FLOAT, ())],
        [onnx.numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)])
    model.ir_version = 8
    onnx.save(model, path)
    return path
