"""The committed models are what their model.toml and README say they are."""

import hashlib
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import pytest
import tflite
from tflite_micro import runtime

from harness.bundled import zoo_directory
from harness.measure.gaps import classes
from harness.model.dataset import Dataset, load_dataset
from harness.model.digests import read_sums
from harness.model.reference import OnnxReference, open_reference
from harness.model.spec import load_model, zoo
from harness.runtimes import get_runtime
from harness.tensors import TensorInfo

BUILTINS = {
    "mnist_mlp": ["FULLY_CONNECTED"] * 3 + ["SOFTMAX"],
    "himax_cnn": ["CONV_2D", "MAX_POOL_2D", "CONV_2D", "MAX_POOL_2D", "CONV_2D"] + ["FULLY_CONNECTED"] * 2,
}
HEAVY_SAMPLES = 20

every_model = pytest.mark.parametrize("name", zoo())
first_models = pytest.mark.parametrize("name", BUILTINS)


@cache
def readme_row(name: str) -> tuple[int, int, str, str]:
    """Parameters, multiply-accumulates, float and int8 top-1 as models/README.md has them."""
    lines = (zoo_directory() / "README.md").read_text().splitlines()
    (row,) = (line for line in lines if line.startswith(f"| [{name}]"))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    return int(cells[2].replace(",", "")), int(cells[3].replace(",", "")), cells[4], cells[5]


def input_tensor(path: Path) -> TensorInfo:
    details = runtime.Interpreter.from_file(str(path)).get_input_details(0)
    quantisation = details["quantization_parameters"]
    return TensorInfo(
        "input",
        tuple(int(size) for size in details["shape"]),
        np.dtype(details["dtype"]).name,
        float(quantisation["scales"][0]),
        int(quantisation["zero_points"][0]),
    )


def held_out(name: str) -> Dataset:
    """The whole test set, or the first of it where the network is heavy."""
    model = load_model(name)
    assert model.test is not None
    data = load_dataset(model.test, input_tensor(model.artifacts["tflite"]), model.preprocess)
    return data.take(HEAVY_SAMPLES) if model.bench_samples else data


def check_top1(scores: np.ndarray, data: Dataset, documented: str, whole: bool) -> None:
    if scores.shape[1] == 1:
        assert documented == "-"
        # A sigmoid: above one half is class 1.
        assert np.mean((scores[:, 0] > 0.5) == data.labels) >= 0.98
        return
    top1 = float(np.mean(classes(scores) == data.labels))
    # Another CPU may round another way, and flip a digit that hangs in the balance.
    assert top1 == pytest.approx(float(documented), abs=0.002 if whole else 0.1)


@every_model
def test_every_binary_file_is_listed_with_its_digest(name):
    model = load_model(name)
    assert model.test is not None
    for directory in (zoo_directory() / name, model.test.parent):
        binaries = {
            path.name: hashlib.sha256(path.read_bytes()).hexdigest()
            for path in directory.iterdir()
            if path.suffix in {".espdl", ".keras", ".onnx", ".tflite", ".npz"}
        }
        assert binaries == read_sums(directory)


@every_model
def test_parameters_and_multiply_accumulates(name):
    model = load_model(name)
    graph = onnx.load(model.artifacts["onnx"]).graph
    weights = [constant for constant in graph.initializer if constant.data_type == onnx.TensorProto.FLOAT]
    tflm = get_runtime("tflm").load(model.artifacts["tflite"])
    found = sum(int(np.prod(constant.dims)) for constant in weights), sum(layer.macs for layer in tflm.layers)
    assert found == readme_row(name)[:2]


@every_model
def test_float_top1(name):
    model = load_model(name)
    data = held_out(name)
    reference, reason = open_reference(model)
    assert isinstance(reference, OnnxReference), reason
    scores = reference.run(data.real())
    assert scores.shape == (data.samples, max(len(model.classes), 1))
    whole = model.bench_samples is None
    check_top1(scores, data, readme_row(name)[2], whole)
    if whole and model.reference_top1_min is not None:
        assert np.mean(classes(scores) == data.labels) >= model.reference_top1_min


@every_model
def test_int8_top1_in_tflite_micro(name):
    model = load_model(name)
    data = held_out(name)
    interpreter = runtime.Interpreter.from_file(str(model.artifacts["tflite"]))
    output = get_runtime("tflm").load(model.artifacts["tflite"]).outputs[0]
    scores = []
    for image in data.quantised()[0]:
        interpreter.set_input(image, 0)
        interpreter.invoke()
        scores.append(output.dequantise(interpreter.get_output(0)).reshape(-1))
    check_top1(np.array(scores), data, readme_row(name)[3], model.bench_samples is None)


@every_model
def test_the_onnx_is_batch_1_and_opset_13(name):
    spec = load_model(name)
    model = onnx.load(spec.artifacts["onnx"])
    assert {opset.domain: opset.version for opset in model.opset_import}[""] == 13
    shape = [size.dim_value for size in model.graph.input[0].type.tensor_type.shape.dim]
    assert sorted(shape) == sorted(spec.input_shape or ())
    assert shape[0] == 1
    assert "Gemm" in {node.op_type for node in model.graph.node}
    assert "MatMul" not in {node.op_type for node in model.graph.node}


# An image of one pixel is one of 255.
@pytest.mark.parametrize("name", [name for name in zoo() if load_model(name).input_shape != (1, 1, 1, 1)])
def test_no_test_image_was_used_for_calibration(name):
    model = load_model(name)
    assert model.test is not None
    assert model.calibration is not None
    with np.load(model.test) as test, np.load(model.calibration) as calibration:
        images = {image.tobytes() for image in test["x"]}
        assert not any(image.tobytes() in images for image in calibration["x"])


@first_models
def test_pixels_survive_the_trip_to_integers(name):
    """Both inputs are calibrated so that a pixel p is exactly the integer p - 128."""
    model = load_model(name)
    tensor = input_tensor(model.artifacts["tflite"])
    assert model.preprocess is not None
    pixels = np.arange(256, dtype=np.uint8)
    q = tensor.quantise(model.preprocess.apply(pixels))
    np.testing.assert_array_equal(q, np.arange(-128, 128))
    if name == "himax_cnn":
        assert (tensor.scale, tensor.zero_point) == (1.0, 0)


@first_models
def test_the_tflite_has_the_plain_operators_only(name):
    data = load_model(name).artifacts["tflite"].read_bytes()
    model = tflite.Model.GetRootAs(data)
    graph = model.Subgraphs(0)
    operators = [
        tflite.opcode2name(model.OperatorCodes(graph.Operators(index).OpcodeIndex()).BuiltinCode())
        for index in range(graph.OperatorsLength())
    ]
    assert operators == BUILTINS[name]
