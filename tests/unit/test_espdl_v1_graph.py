"""The optimiser passes leave the result as it was; the reader follows Keras and PyTorch layouts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper

from harness.errors import HarnessError, ModelError, UnsupportedError
from harness.runtimes.espdl_v1 import oracle
from harness.runtimes.espdl_v1.calibrate import Scheme, calibrate
from harness.runtimes.espdl_v1.graph import read_graph
from harness.runtimes.espdl_v1.network import read_network
from harness.runtimes.espdl_v1.optimise import optimise
from harness.runtimes.espdl_v1.quantise import quantise
from tests.espdl_v1_host import onnx_chain

node = helper.make_node


def floats(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.RandomState(seed).uniform(-1, 1, shape).astype(np.float32)


def norm_constants(prefix: str, channels: int) -> dict[str, np.ndarray]:
    random = np.random.RandomState(5)
    return {f"{prefix}{i}": random.uniform(0.5, 2, channels).astype(np.float32) for i in range(4)}


def every_pass(path: Path) -> Path:
    """Pad, Conv + Add, BatchNormalization, transposes, dense layers both ways, Identity."""
    weights = {
        "pads": np.array([0, 0, 1, 0, 0, 0, 2, 1]),
        "conv": floats(6, 3, 3, 3),
        "add": floats(1, 6, 1, 1, seed=1),
        **norm_constants("n", 6),
        "shape": np.array([-1, 6 * 4 * 4]),
        "dense": floats(5, 6 * 4 * 4, seed=2),
        "bias": floats(5, seed=3),
        "last": floats(5, 4, seed=4),
        **norm_constants("m", 4),
    }
    nodes = [
        node("Transpose", ["x"], ["t"], perm=[0, 3, 1, 2]),
        node("Pad", ["t", "pads"], ["p"]),
        node("Conv", ["p", "conv"], ["c"], "conv", strides=[2, 2], kernel_shape=[3, 3]),
        node("Add", ["c", "add"], ["a"]),
        node("BatchNormalization", ["a", "n0", "n1", "n2", "n3"], ["b"]),
        node("Relu", ["b"], ["r"]),
        node("Identity", ["r"], ["i"]),
        node("Transpose", ["i"], ["u"], perm=[0, 2, 3, 1]),
        node("Reshape", ["u", "shape"], ["f"], "flat"),
        node("Transpose", ["dense"], ["dense_t"]),
        node("MatMul", ["f", "dense_t"], ["m"]),
        node("Add", ["bias", "m"], ["d"]),
        node("Relu", ["d"], ["e"]),
        node("MatMul", ["e", "last"], ["g"]),
        node("BatchNormalization", ["g", "m0", "m1", "m2", "m3"], ["z"]),
    ]
    return onnx_chain(path, nodes, weights, (1, 6, 8, 3))


def outputs(model: object, values: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.SerializeToString())  # type: ignore[attr-defined]
    return session.run(None, {session.get_inputs()[0].name: values})[0]


def test_the_passes_fuse_everything_and_change_nothing(tmp_path: Path) -> None:
    graph = read_graph(every_pass(tmp_path / "net.onnx"))
    best = optimise(graph)
    kinds = [n.op_type for n in best.nodes]
    assert kinds == ["Transpose", "Conv", "Relu", "Transpose", "Reshape", "Gemm", "Relu", "Gemm"]
    assert [n.name for n in best.nodes if n.op_type == "Gemm"] == ["fused_gemm_0", "fused_gemm_1"]
    for seed in range(3):
        values = floats(1, 6, 8, 3, seed=seed)
        assert outputs(best.to_model(), values) == pytest.approx(outputs(graph.to_model(), values), abs=2e-5)


def test_two_transposes_that_cancel_are_gone(tmp_path: Path) -> None:
    nodes = [
        node("Conv", ["x", "w"], ["c"]),
        node("Transpose", ["c"], ["t"], perm=[0, 2, 3, 1]),
        node("Transpose", ["t"], ["u"], perm=[0, 3, 1, 2]),
        node("Relu", ["u"], ["y"]),
    ]
    graph = read_graph(onnx_chain(tmp_path / "net.onnx", nodes, {"w": floats(2, 1, 1, 1)}, (1, 1, 4, 4)))
    assert [n.op_type for n in optimise(graph).nodes] == ["Conv", "Relu"]


def real_outputs(path: Path, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The int16 network's outputs as real values, and the float model's."""
    graph = read_graph(path)
    best = optimise(graph)
    network, scheme = read_network(best), Scheme(16)
    quantised = quantise(network, calibrate(best, network, samples, scheme), scheme)
    integers = quantised.quantise_input(network.to_device(samples))
    found = [oracle.run(quantised, value)[-1].reshape(-1) for value in integers]
    wanted = [outputs(graph.to_model(), sample[np.newaxis]).reshape(-1) for sample in samples]
    return np.array(found) * 2.0 ** quantised.layers[-1].output_exponent, np.array(wanted)


def test_keras_layout_with_every_pass(tmp_path: Path) -> None:
    found, wanted = real_outputs(every_pass(tmp_path / "net.onnx"), floats(8, 6, 8, 3))
    assert found == pytest.approx(wanted, abs=2e-3 * float(np.abs(wanted).max()))


def test_pytorch_layout_has_its_dense_weights_moved(tmp_path: Path) -> None:
    nodes = [
        node("Conv", ["x", "w", "b"], ["c"], auto_pad="SAME_UPPER"),
        node("LeakyRelu", ["c"], ["r"], alpha=0.2),
        node("Conv", ["r", "depth"], ["d"], group=4, pads=[1, 0, 0, 1], dilations=[1, 2]),
        node("MaxPool", ["d"], ["p"], kernel_shape=[2, 2], strides=[2, 1]),
        node("Flatten", ["p"], ["f"]),
        node("Gemm", ["f", "dense"], ["y"], "dense", transB=1),
    ]
    weights = {"w": floats(4, 2, 2, 3), "b": floats(4, seed=1), "depth": floats(4, 1, 2, 2, seed=2)}
    weights["dense"] = floats(3, 4 * 3 * 5, seed=3)
    path = onnx_chain(tmp_path / "net.onnx", nodes, weights, (1, 2, 6, 7))
    found, wanted = real_outputs(path, floats(8, 2, 6, 7))
    assert found == pytest.approx(wanted, abs=2e-3 * float(np.abs(wanted).max()))


@pytest.mark.parametrize(
    ("nodes", "error", "message"),
    [
        ([node("Elu", ["x"], ["y"], "curve")], UnsupportedError, r"operator 0 \(Elu curve\) is not supp"),
        (
            [node("MaxPool", ["x"], ["y"], kernel_shape=[2, 2], pads=[1, 1, 1, 1])],
            UnsupportedError,
            "padding",
        ),
        (
            [node("Relu", ["x"], ["r"]), node("Add", ["x", "r"], ["y"], "sum")],
            UnsupportedError,
            r"operator 1 \(Add sum\) is not supported: .* closed library.* not published",
        ),
        ([node("Relu", ["x"], ["r"]), node("Relu", ["x"], ["y"])], UnsupportedError, "branches off"),
        ([node("Tanh", ["x"], ["y"])], UnsupportedError, "Tanh y.* the chip's own exp"),
        ([node("Sigmoid", ["x"], ["s"]), node("Relu", ["s"], ["y"])], UnsupportedError, "after Sigmoid"),
        ([node("Conv", ["x", "w5"], ["y"])], ModelError, "5 channels, its input has 4"),
        ([node("Conv", ["x", "w2"], ["y"], group=2)], UnsupportedError, "2 groups"),
        ([node("Conv", ["x", "nan"], ["y"])], ModelError, "NaN or infinite"),
        ([node("Squeeze", ["x", "axis"], ["y"])], ModelError, r"does not fit shape \(1, 4, 4, 4\)"),
        ([node("Constant", [], ["y"], value_float=1.0)], UnsupportedError, "only a chain"),
    ],
)
def test_what_is_refused_is_named(
    nodes: list, error: type[HarnessError], message: str, tmp_path: Path
) -> None:
    weights = {"w5": floats(4, 5, 1, 1), "w2": floats(4, 2, 1, 1), "axis": np.array([9])}
    weights["nan"] = np.full((4, 4, 1, 1), np.nan, np.float32)
    with pytest.raises(error, match=message):
        read_network(read_graph(onnx_chain(tmp_path / "net.onnx", nodes, weights, (1, 4, 4, 4))))


def test_exponents_too_far_apart_for_a_shift_are_refused(tmp_path: Path) -> None:
    nodes = [node("Gemm", ["x", "w", "b"], ["y"], "faint")]
    weights = {"w": np.full((4, 2), 1e-25, np.float32), "b": floats(2)}
    network = read_network(read_graph(onnx_chain(tmp_path / "net.onnx", nodes, weights, (1, 4))))
    with pytest.raises(ModelError, match=r"layer faint: .* too far apart"):
        quantise(network, {"x": -15, "y": -15}, Scheme(16))


def test_an_open_batch_is_one_and_another_open_size_is_refused(tmp_path: Path) -> None:
    relu = [node("Relu", ["x"], ["y"])]
    assert read_graph(onnx_chain(tmp_path / "a.onnx", relu, {}, ("N", 4))).input_shape == (1, 4)
    for shape in ((2, 4), (1, "width")):
        with pytest.raises(ModelError, match=r"expected \(1, \.\.\.\)"):
            read_graph(onnx_chain(tmp_path / "b.onnx", relu, {}, shape))


def test_files_that_are_no_float_onnx(tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_text("no model")
    with pytest.raises(ModelError, match="not a valid ONNX model"):
        read_graph(tmp_path / "text.onnx")
    with pytest.raises(ModelError, match=r"expected an \.onnx file"):
        read_graph(tmp_path / "absent.onnx")
    graph = helper.make_graph(
        [node("Relu", ["x"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.INT8, (1, 4))],
        [helper.make_tensor_value_info("y", TensorProto.INT8, (1, 4))],
    )
    (tmp_path / "int.onnx").write_bytes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)]).SerializeToString()
    )
    with pytest.raises(ModelError, match="INT8, expected FLOAT"):
        read_graph(tmp_path / "int.onnx")
