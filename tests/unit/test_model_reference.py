from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from harness.errors import ModelError, UsageError
from harness.model.reference import OnnxReference, fit_layout, open_reference
from harness.model.spec import ModelSpec

PATH = Path("model.onnx")


def write_graph(path: Path, nodes, inputs, outputs, initialisers=()) -> Path:
    def info(name, dtype, shape):
        return helper.make_tensor_value_info(name, dtype, shape)

    graph = helper.make_graph(
        nodes,
        "graph",
        [info(*value) for value in inputs],
        [info(*value) for value in outputs],
        [numpy_helper.from_array(array, name) for name, array in initialisers],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


@pytest.fixture(params=[1, "N"], ids=["batch 1", "open batch"])
def affine(request, tmp_path):
    """y = x @ [[1, 0], [0, 2], [0, 0]] + [0.5, 0]"""
    return write_graph(
        tmp_path / "affine.onnx",
        [helper.make_node("Gemm", ["x", "w", "b"], ["y"])],
        [("x", TensorProto.FLOAT, [request.param, 3])],
        [("y", TensorProto.FLOAT, [request.param, 2])],
        [
            ("w", np.array([[1, 0], [0, 2], [0, 0]], np.float32)),
            ("b", np.array([0.5, 0], np.float32)),
        ],
    )


def test_every_sample_is_run(affine):
    x = np.array([[1, 2, 3], [4, 5, 6]], np.float32).reshape(2, 1, 3)
    seen = []
    y = OnnxReference(affine).run([x], progress=lambda *step: seen.append(step))
    assert y.dtype == np.float32
    assert y.tolist() == [[1.5, 4.0], [4.5, 10.0]]
    assert seen == [(1, 2), (2, 2)]


def test_inputs_that_do_not_fit_are_refused(affine):
    reference = OnnxReference(affine)
    with pytest.raises(ModelError, match=r"the model has 1 inputs, the data 2"):
        reference.run([np.zeros((1, 3), np.float32)] * 2)
    with pytest.raises(ModelError, match=r"input is .*3\), one sample of the data is \(1, 4\)"):
        reference.run([np.zeros((1, 1, 4), np.float32)])


def test_two_inputs_go_in_order_and_get_their_own_dtype(tmp_path):
    path = write_graph(
        tmp_path / "two.onnx",
        [
            helper.make_node("Cast", ["b"], ["bf"], to=TensorProto.FLOAT),
            helper.make_node("Sub", ["a", "bf"], ["y"]),
        ],
        [("a", TensorProto.FLOAT, [1, 2]), ("b", TensorProto.INT64, [1, 2])],
        [("y", TensorProto.FLOAT, [1, 2])],
    )
    a, b = np.array([[[5, 6]]], np.float32), np.array([[[1, 4]]], np.float32)
    assert OnnxReference(path).run([a, b]).tolist() == [[4.0, 2.0]]


def test_nhwc_data_fit_an_nchw_model(tmp_path):
    path = write_graph(
        tmp_path / "nchw.onnx",
        [helper.make_node("ReduceMean", ["x"], ["y"], axes=[2, 3])],
        [("x", TensorProto.FLOAT, [1, 3, 2, 5])],
        [("y", TensorProto.FLOAT, [1, 3, 1, 1])],
    )
    x = np.zeros((1, 1, 2, 5, 3), np.float32)
    x[..., 1] = 7
    assert OnnxReference(path).run([x]).tolist() == [[0.0, 7.0, 0.0]]


def test_a_file_that_is_no_onnx_is_refused(tmp_path):
    path = tmp_path / "broken.onnx"
    path.write_bytes(b"not a model")
    with pytest.raises(ModelError, match=r"broken\.onnx: onnxruntime cannot load it: ") as caught:
        OnnxReference(path)
    assert "\n" not in str(caught.value)


def test_an_input_that_is_no_number_is_refused(tmp_path):
    path = write_graph(
        tmp_path / "text.onnx",
        [helper.make_node("Identity", ["x"], ["y"])],
        [("x", TensorProto.STRING, [1, 2])],
        [("y", TensorProto.STRING, [1, 2])],
    )
    with pytest.raises(ModelError, match=r"input x is tensor\(string\), expected tensor\(float\)"):
        OnnxReference(path)


def test_a_model_that_fails_at_run_time_says_so(tmp_path):
    path = write_graph(
        tmp_path / "fails.onnx",
        [helper.make_node("Reshape", ["x", "shape"], ["y"])],
        [("x", TensorProto.FLOAT, [1, "K"]), ("shape", TensorProto.INT64, [2])],
        [("y", TensorProto.FLOAT, [1, "M"])],
    )
    with pytest.raises(ModelError, match=r"fails\.onnx: onnx failed: "):
        OnnxReference(path).run([np.ones((1, 1, 4), np.float32), np.full((1, 2), 3, np.float32)])


@pytest.mark.parametrize(
    ("sample", "shape", "fitted"),
    [
        ((1, 28, 28, 1), (1, 28, 28, 1), (1, 28, 28, 1)),
        ((1, 28, 28, 1), (None, 28, 28, 1), (1, 28, 28, 1)),
        ((1, 28, 28, 1), (1, 1, 28, 28), (1, 1, 28, 28)),
        ((1, 4, 5, 3), (None, 3, 4, 5), (1, 3, 4, 5)),
        ((1, 3, 4, 5), (None, 4, 5, 3), (1, 4, 5, 3)),
        ((1, 4, 5, 3), (None, None, None, 3), (1, 4, 5, 3)),
        ((6,), (None, 6), (1, 6)),
    ],
)
def test_layouts_that_fit(sample, shape, fitted):
    values = np.arange(2 * np.prod(sample), dtype=np.float32).reshape(2, *sample)
    result = fit_layout(values, shape, PATH)
    assert result.shape == (2, *fitted)
    np.testing.assert_array_equal(np.sort(result[1].ravel()), values[1].ravel())


@pytest.mark.parametrize(
    ("sample", "shape"),
    [
        ((1, 4, 5, 3), (1, 5, 4, 3)),
        ((1, 784), (1, 28, 28, 1)),
        ((1, 6), (8, 6)),
    ],
)
def test_layouts_that_do_not_fit(sample, shape):
    with pytest.raises(ModelError, match="Export the float model with batch 1"):
        fit_layout(np.zeros((2, *sample), np.float32), shape, PATH)


def test_no_onnx_file_is_a_reason_not_an_error(tmp_path):
    spec = ModelSpec("mine", {"tflite": tmp_path / "mine.tflite"})
    assert open_reference(spec) == (
        None,
        "mine has no .onnx file, so there is no float reference to compare with",
    )
    with pytest.raises(UsageError, match="reference 'torch': expected onnx or keras"):
        open_reference(spec, "torch")
