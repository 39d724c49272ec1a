"""The committed models are what their model.toml and README say they are."""

import hashlib
from pathlib import Path

import numpy as np
import onnx
import pytest
import tflite
from tflite_micro import runtime

from harness.bundled import zoo_directory
from harness.measure.gaps import classes
from harness.model.dataset import load_dataset
from harness.model.digests import read_sums
from harness.model.reference import OnnxReference, open_reference
from harness.model.spec import load_model, zoo
from harness.tensors import TensorInfo

BUILTINS = {
    "mnist_mlp": ["FULLY_CONNECTED"] * 3 + ["SOFTMAX"],
    "himax_cnn": ["CONV_2D", "MAX_POOL_2D", "CONV_2D", "MAX_POOL_2D", "CONV_2D"] + ["FULLY_CONNECTED"] * 2,
}
README_TOP1 = {"mnist_mlp": (0.954, 0.954), "himax_cnn": (0.972, 0.973)}

pytestmark = pytest.mark.parametrize("name", ["mnist_mlp", "himax_cnn"])


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


def test_every_binary_file_is_listed_with_its_digest(name):
    assert name in zoo()
    for directory in (zoo_directory() / name, zoo_directory() / "mnist"):
        binaries = {
            path.name: hashlib.sha256(path.read_bytes()).hexdigest()
            for path in directory.iterdir()
            if path.suffix in {".espdl", ".keras", ".onnx", ".tflite", ".npz"}
        }
        assert binaries == read_sums(directory)


def test_float_top1_on_the_held_out_digits(name):
    model = load_model(name)
    assert model.test is not None
    assert model.reference_top1_min is not None
    data = load_dataset(model.test, input_tensor(model.artifacts["tflite"]), model.preprocess, 10)
    assert data.samples == 1000
    assert data.labels is not None
    reference, reason = open_reference(model)
    assert isinstance(reference, OnnxReference), reason
    scores = reference.run(data.real())
    assert scores.shape == (1000, 10)
    top1 = np.mean(classes(scores) == data.labels)
    assert top1 >= model.reference_top1_min
    # Another CPU may round another way, and flip a digit that hangs in the balance.
    assert top1 == pytest.approx(README_TOP1[name][0], abs=0.002)


def test_int8_top1_in_tflite_micro(name):
    model = load_model(name)
    path = model.artifacts["tflite"]
    assert model.test is not None
    data = load_dataset(model.test, input_tensor(path), model.preprocess, 10)
    interpreter = runtime.Interpreter.from_file(str(path))
    scores = []
    for image in data.quantised()[0]:
        interpreter.set_input(image, 0)
        interpreter.invoke()
        scores.append(interpreter.get_output(0).ravel().copy())
    top1 = float(np.mean(classes(np.array(scores)) == data.labels))
    assert round(top1, 3) == README_TOP1[name][1]
    assert f"| {README_TOP1[name][0]} | {README_TOP1[name][1]} |" in (
        next(line for line in (zoo_directory() / "README.md").read_text().splitlines() if f"[{name}]" in line)
    )


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


def test_the_tflite_has_the_plain_operators_only(name):
    data = load_model(name).artifacts["tflite"].read_bytes()
    model = tflite.Model.GetRootAs(data)
    graph = model.Subgraphs(0)
    operators = [
        tflite.opcode2name(model.OperatorCodes(graph.Operators(index).OpcodeIndex()).BuiltinCode())
        for index in range(graph.OperatorsLength())
    ]
    assert operators == BUILTINS[name]


def test_the_onnx_is_batch_1_and_opset_13(name):
    spec = load_model(name)
    model = onnx.load(spec.artifacts["onnx"])
    assert {opset.domain: opset.version for opset in model.opset_import}[""] == 13
    assert [size.dim_value for size in model.graph.input[0].type.tensor_type.shape.dim] == list(
        spec.input_shape or ()
    )
    assert "Gemm" in {node.op_type for node in model.graph.node}


def test_no_test_image_was_used_for_calibration(name):
    model = load_model(name)
    assert model.test is not None
    assert model.calibration is not None
    with np.load(model.test) as test, np.load(model.calibration) as calibration:
        images = {image.tobytes() for image in test["x"]}
        assert not any(image.tobytes() in images for image in calibration["x"])
        assert (calibration["x"].shape, calibration["x"].dtype) == ((200, 28, 28), np.uint8)
