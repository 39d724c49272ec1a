"""`harness quantise` and esp-ppq itself: the same bytes each time, and every layer as its executor has it."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from harness.bundled import zoo_directory
from harness.cli import main
from harness.extras import install_command
from harness.runtimes.espdl import Espdl
from harness.runtimes.espdl.oracle import EspdlOracle

PPQ = pytest.mark.skipif(
    importlib.util.find_spec("esp_ppq") is None,
    reason=f"esp_ppq is not installed: {install_command('espdl')}",
)
CHIP_OF = {"c": "esp32c3", "esp32s3": "esp32s3", "esp32p4": "esp32p4"}

# Quantises a network of convolutions and activations, and writes what esp-ppq's executor gives for each
# tensor, as integers (or floats where there is no exponent).
EXECUTOR = """
import sys
import numpy as np, torch
from esp_ppq.api import espdl_quantize_onnx, get_target_platform
from esp_ppq.executor import TorchExecutor
torch.set_num_threads(1)
samples = [torch.tensor(x) for x in np.load("samples.npy")]
graph = espdl_quantize_onnx(
    onnx_import_file="net.onnx", espdl_export_file="net.espdl", calib_dataloader=samples[:16], calib_steps=16,
    input_shape=list(samples[0].shape), inputs=samples[:1], target=sys.argv[1], quant_type=sys.argv[3],
    debug=True, device="cpu", error_report=False, export_test_values=True, verbose=0,
)
for operation in graph.operations.values():
    # In float32 the executor loses bits of 16-bit sums; int16's own double precision serves w8a16 too.
    if operation.platform == get_target_platform(sys.argv[1], "w8a16"):
        operation.platform = get_target_platform(sys.argv[1], "w16a16", debug=True)
names = [variable for variable in sys.argv[2].split(",")]
executor = TorchExecutor(graph=graph, device="cpu")
runs = [executor.forward(x, output_names=names) for x in samples]
np.savez("executor.npz", **{n: np.stack([run[i].numpy() for run in runs]) for i, n in enumerate(names)})
"""


def network(path: Path) -> list[str]:
    """Strided, padded, depthwise, grouped and dilated convolutions, activations, pool, dense, softmax."""
    rng = np.random.default_rng(0)
    weights = {
        "w1": (8, 3, 3, 3), "b1": (8,), "w2": (8, 1, 3, 3), "b2": (8,), "w3": (20, 8, 1, 1),
        "w4": (20, 5, 3, 2), "b4": (20,), "w5": (40, 6), "b5": (6,),
    }  # fmt: skip
    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["c1"], pads=[0, 1, 1, 0], strides=[2, 1]),
        helper.make_node("Relu", ["c1"], ["r1"]),
        helper.make_node("Conv", ["r1", "w2", "b2"], ["c2"], pads=[1, 1, 1, 1], group=8),
        helper.make_node("Sigmoid", ["c2"], ["s2"]),
        helper.make_node("Conv", ["s2", "w3"], ["c3"]),
        helper.make_node("LeakyRelu", ["c3"], ["l3"], alpha=0.1),
        helper.make_node("Conv", ["l3", "w4", "b4"], ["c4"], group=4, dilations=[2, 1]),
        helper.make_node("Tanh", ["c4"], ["t4"]),
        helper.make_node("Concat", ["t4", "c4"], ["j4"], axis=1),
        helper.make_node("MaxPool", ["j4"], ["m4"], kernel_shape=[3, 6], strides=[3, 6], pads=[0, 0, 0, 0]),
        helper.make_node("Flatten", ["m4"], ["f"]),
        helper.make_node("Gemm", ["f", "w5", "b5"], ["g"]),
        helper.make_node("Softmax", ["g"], ["p"], axis=-1),
    ]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 16, 12])],
        [helper.make_tensor_value_info("p", TensorProto.FLOAT, [1, 6])],
        [
            numpy_helper.from_array(rng.normal(0, 0.3, shape).astype(np.float32), name)
            for name, shape in weights.items()
        ],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return ["r1", "c2", "s2", "c3", "l3", "c4", "t4", "j4", "m4", "f", "g", "p"]


def more_operators(path: Path) -> list[str]:
    """What has no weights: averages, broadcasts, moves, products of two activations, further tables."""
    rng = np.random.default_rng(0)
    floats = {
        "w": rng.normal(0, 0.3, (8, 3, 3, 3)), "b": np.full(8, 1.0),
        "slopes": rng.uniform(0.6, 0.9, (8, 1, 1)), "slope": [[[0.2]]], "low": 0.0,
        "six": 6.0, "half": 0.5, "third": [0.33], "twice": [1, 1, 2, 2],
        "matrix": rng.normal(0, 0.3, (6, 10)), "row": rng.normal(0, 0.3, (10,)),
    }  # fmt: skip
    integers = {
        "pads": [0, 0, 1, 2, 0, 0, 0, 1], "begins": [1, 0], "ends": [100, -1], "axes": [2, 3],
        "steps": [2, 1], "sizes": [1, 8, 26, 7], "flat": [8, -1], "whole": [1, 8, 8], "zero": [0],
        "six_of": [6], "last": [2],
    }  # fmt: skip
    make = helper.make_node
    nearest = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    nodes = [
        make("Conv", ["x", "w", "b"], ["conv"], pads=[1, 1, 1, 1]),
        make("PRelu", ["conv", "slopes"], ["prelu"]),
        make("PRelu", ["conv", "slope"], ["prelu_table"]),
        make("Clip", ["conv", "low", "six"], ["clip"]),
        make("AveragePool", ["prelu"], ["average"], kernel_shape=[3, 5], strides=[2, 2], pads=[1, 2, 1, 2]),
        make(
            "AveragePool", ["prelu_table"], ["other"], kernel_shape=[3, 5], strides=[2, 2], pads=[1, 2, 1, 2]
        ),
        make("Sub", ["average", "other"], ["sub"]),
        make("Mul", ["sub", "other"], ["mul"]),
        make("Add", ["mul", "half"], ["add"]),
        make("Mul", ["add", "third"], ["mul_by_one"]),
        make("Pad", ["mul_by_one", "pads", "half"], ["pad"], mode="constant"),
        make("Slice", ["pad", "begins", "ends", "axes", "steps"], ["slice"]),
        make("Resize", ["slice", "", "twice"], ["doubled"], **nearest),
        make("Resize", ["slice", "", "", "sizes"], ["resized"], **nearest),
        make("GlobalAveragePool", ["doubled"], ["global"]),
        make("ReduceMean", ["resized"], ["mean"], axes=[2, 3], keepdims=1),
        make("ReduceMean", ["resized"], ["mean_of_channels"], axes=[1], keepdims=0),
        make("Add", ["global", "mean"], ["sum"]),
        make("Elu", ["sum"], ["elu"]),
        make("HardSigmoid", ["elu"], ["hard"]),
        make("Exp", ["hard"], ["y"]),
        make("Flatten", ["mean_of_channels"], ["means"]),
        make("Sigmoid", ["clip"], ["sigmoid"]),
        make("Mul", ["clip", "sigmoid"], ["swish"]),
        make("Reshape", ["swish", "flat"], ["rows"]),
        make("Transpose", ["rows"], ["columns"], perm=[1, 0]),
        make("MatMul", ["rows", "columns"], ["gram"]),
        make("Reshape", ["gram", "whole"], ["batch"]),
        make("Slice", ["batch", "zero", "six_of", "last"], ["part"]),
        make("MatMul", ["part", "matrix"], ["product"]),
        make("Relu", ["product"], ["relu"]),
        make("Add", ["relu", "row"], ["z"]),
    ]
    stored = [numpy_helper.from_array(np.array(values, np.float32), name) for name, values in floats.items()]
    stored += [numpy_helper.from_array(np.array(values, np.int64), name) for name, values in integers.items()]
    outputs = {"y": [1, 8, 1, 1], "means": [1, 182], "z": [1, 8, 10]}
    graph = helper.make_graph(
        nodes,
        "more",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 16, 12])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()],
        stored,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    # esp-ppq makes one Swish of Sigmoid and Mul, and one MatMul of MatMul and Relu.
    return [node.output[0] for node in nodes if node.output[0] not in ("sigmoid", "product")]


@PPQ
@pytest.mark.parametrize(
    ("variant", "make_network", "quant_type"),
    [
        *((variant, make, "w8a8") for variant in CHIP_OF for make in (network, more_operators)),
        ("c", network, "w16a16"),
        ("esp32s3", network, "w8a16"),
        ("esp32p4", network, "w16a16"),
    ],
)
def test_every_layer_is_what_esp_ppqs_executor_gives(
    variant: str, make_network: Callable[[Path], list[str]], quant_type: str, tmp_path: Path
) -> None:
    names = make_network(tmp_path / "net.onnx")
    samples = np.random.default_rng(1).normal(0, 1, (40, 1, 3, 16, 12)).astype(np.float32)
    np.save(tmp_path / "samples.npy", samples)
    done = subprocess.run(
        [sys.executable, "-c", EXECUTOR, variant, ",".join(names), quant_type],
        cwd=tmp_path, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONHASHSEED": "0"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    artifact = Espdl().load(tmp_path / "net.espdl", variant)
    oracle = EspdlOracle(artifact.plan.graph, as_exporter=True)
    executed = np.load(tmp_path / "executor.npz")
    seen = set()
    for index, sample in enumerate(samples):
        q = artifact.inputs[0].quantise(sample.transpose(0, 2, 3, 1))  # ESP-DL's tensors are NHWC
        for layer, got in zip(artifact.layers, oracle.run_layers([q]), strict=True):
            if layer.output.name not in executed:
                continue  # the transposes that the export inserts
            expected = executed[layer.output.name][index]
            if expected.ndim == 4 and expected.shape != got.shape:
                expected = expected.transpose(0, 2, 3, 1)
            seen.add(layer.output.name)
            if got.dtype == np.float32:
                np.testing.assert_allclose(got, expected, rtol=1e-6, atol=0)
            else:
                np.testing.assert_array_equal(
                    got.reshape(-1), (expected / layer.output.scale).reshape(-1), layer.output.name
                )
    assert seen == set(names)


@PPQ
def test_the_committed_files_are_made_again_byte_for_byte(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new" / "again.espdl"
    assert main(["quantise", "himax_cnn", "--target", "esp32c6", "--out", str(out)]) == 0
    assert out.read_bytes() == (zoo_directory() / "himax_cnn" / "model.c.espdl").read_bytes()
    shown = capsys.readouterr().out
    for method in ("minmax     agreement", "kl         agreement", "percentile agreement"):
        assert method in shown
    assert "again.espdl: int8, percentile, on the calibration set against the float model" in shown
    assert sorted(path.name for path in out.parent.iterdir()) == ["again.espdl", "again.info", "again.json"]
    json.loads(out.with_suffix(".json").read_text())


@PPQ
def test_sixteen_bits_are_made_reproducibly_with_exact_test_values(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also on the way of a run, which makes the file where the model has none."""
    network(tmp_path / "net.onnx")
    data = tmp_path / "data.npz"
    np.savez(data, x=np.random.default_rng(2).normal(0, 1, (8, 3, 16, 12)).astype(np.float32))
    files = [tmp_path / name for name in ("a.espdl", "b.espdl")]
    for out in files:
        command = ["quantise", str(tmp_path / "net.onnx"), "--target", "esp32s3", "--scheme", "w8a16"]
        assert main([*command, "--calibration", "minmax", "--data", str(data), "--out", str(out)]) == 0
    assert files[0].read_bytes() == files[1].read_bytes()
    shown = capsys.readouterr()
    assert shown.err.count("net: quantising to w8a16 for esp32s3, calibration minmax\n") == 2
    assert "b.espdl: w8a16, minmax, on the calibration set" in shown.out
    artifact = Espdl("w8a16").load(files[0], "esp32s3")
    assert (artifact.runtime, artifact.scheme) == ("espdl:w8a16", "w8a16")
    (scores,) = Espdl("w8a16").oracle(artifact).run([artifact.test_inputs["x"]])
    np.testing.assert_allclose(scores, artifact.test_outputs["p"].reshape(scores.shape), rtol=1e-6, atol=0)


@PPQ
def test_the_onnx_file_is_left_as_it_was(tmp_path: Path) -> None:
    network(tmp_path / "net.onnx")
    before = (tmp_path / "net.onnx").read_bytes()
    data = tmp_path / "data.npz"
    np.savez(data, x=np.random.default_rng(2).normal(0, 1, (8, 3, 16, 12)).astype(np.float32))
    out = tmp_path / "net.espdl"
    command = ["quantise", str(tmp_path / "net.onnx"), "--target", "esp32s3", "--calibration", "minmax"]
    assert main([*command, "--data", str(data), "--out", str(out)]) == 0
    assert (tmp_path / "net.onnx").read_bytes() == before
    assert Espdl().load(out, "esp32s3").outputs[0].shape == (1, 6)


@PPQ
def test_images_are_compared_in_one_layout(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Input and output are NCHW in the ONNX file and NHWC in the .espdl file."""
    node = helper.make_node("AveragePool", ["x"], ["y"], kernel_shape=[2, 2], strides=[2, 2])
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in (("x", [1, 3, 8, 6]), ("y", [1, 3, 4, 3]))
    ]
    model = helper.make_model(
        helper.make_graph([node], "pool", ends[:1], ends[1:]), opset_imports=[helper.make_opsetid("", 13)]
    )
    model.ir_version = 8
    onnx.save(model, tmp_path / "pool.onnx")
    np.savez(
        tmp_path / "data.npz", x=np.random.default_rng(4).uniform(-1, 1, (8, 3, 8, 6)).astype(np.float32)
    )
    command = ["quantise", str(tmp_path / "pool.onnx"), "--target", "esp32c3", "--calibration", "minmax"]
    assert main([*command, "--data", str(tmp_path / "data.npz"), "--out", str(tmp_path / "pool.espdl")]) == 0
    found = re.search(r"max ([\d.e-]+)", capsys.readouterr().out)
    assert found is not None
    assert float(found[1]) < 2 / 64  # half a step of input and output each


@PPQ
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["mnist_mlp", "--target", "esp32h2"], "ESP-DL does not support esp32h2"),
        (["mnist_mlp", "--target", "esp32"], "expected a name that ends in .espdl"),
        (["open.onnx", "--target", "esp32", "--data", "data.npz"], "--input_name x --input_shape 1,3,16,12 "),
        (["net.onnx", "--target", "esp32"], "net has no calibration set"),
        (["net.onnx", "--target", "esp32", "--data", "odd.npz"], "odd.npz"),
        (["net.onnx", "--target", "esp32", "--data", "empty.npz"], "empty.npz"),
        (
            ["net.onnx", "--target", "esp32", "--data", "zero.npz"],
            "largest |value| of the calibration set is 0",
        ),
        (["net.onnx", "--target", "esp32", "--data", "huge.npz"], "is 3e+38, expected 6e-08 to 1.7e+07"),
        (["two.onnx", "--target", "esp32", "--data", "data.npz"], "two.onnx: 2 outputs"),
        (["max.onnx", "--target", "esp32", "--data", "data.npz"], r"(ReduceMax) is not supported"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(
    arguments: list[str],
    words: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    network(Path("net.onnx"))
    model = onnx.load("net.onnx")
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "batch"
    onnx.save(model, "open.onnx")
    reduced = helper.make_graph(
        [helper.make_node("ReduceMax", ["x"], ["y"], axes=[2, 3], keepdims=1)],
        "max",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 16, 12])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3, 1, 1])],
    )
    opset = [helper.make_opsetid("", 13)]
    onnx.save(helper.make_model(reduced, opset_imports=opset, ir_version=8), "max.onnx")
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    model.graph.output.append(helper.make_tensor_value_info("g", TensorProto.FLOAT, [1, 6]))
    onnx.save(model, "two.onnx")
    np.savez("odd.npz", x=np.zeros((4, 5, 5), np.float32))
    np.savez("empty.npz", x=np.zeros((0, 3, 16, 12), np.float32))
    np.savez("zero.npz", x=np.zeros((4, 3, 16, 12), np.float32))
    np.savez("huge.npz", x=np.full((4, 3, 16, 12), 3e38, np.float32))
    np.savez("data.npz", x=np.random.default_rng(3).normal(0, 1, (4, 3, 16, 12)).astype(np.float32))
    out = "out.tflite" if ".espdl" in words else "out.espdl"
    before = sorted(os.listdir())
    assert main(["quantise", *arguments, "--calibration", "minmax", "--out", out]) == 2
    *progress, error = capsys.readouterr().err.splitlines()
    assert words in error
    assert all(": quantising to int8 for c, " in line for line in progress)
    assert sorted(os.listdir()) == before
