"""QDQ files: what runtime tvm reads and what it refuses; its oracle against onnxruntime."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from harness.errors import HarnessError, ModelError, UnsupportedError
from harness.runtimes.tvm import Tvm
from harness.runtimes.tvm.oracle import divide
from harness.runtimes.tvm.reader import read
from tests.tvm_networks import Qdq, onnxruntime_layers, save

INPUT = (1, 2, 6, 5)
OUTPUT = (1, 9)


def foreign() -> Qdq:
    """As other tools write them: scales by channel, int32 biases, stored floats, unfused Relu."""
    rng = np.random.default_rng(3)

    def weights(*shape: int) -> np.ndarray:
        return rng.integers(-128, 128, shape).astype(np.int8)

    net = Qdq()
    x = net.quantised("x", -4)
    w1 = net.parameter("w1", weights(4, 2, 3, 3), [-9, -8, -7, -6])
    sums = [-4 + exponent for exponent in (-9, -8, -7, -6)]
    b1 = net.parameter("b1", rng.integers(-4000, 4000, 4).astype(np.int32), sums)
    c1 = net.quantised(net.node("Conv", [x, w1, b1], "c1"), -3)
    r1 = net.quantised(net.node("Relu", [c1], "r1"), 0)
    stored = net.constant("w2", rng.normal(0, 0.04, (3, 4, 1, 1)).astype(np.float32))
    scale = net.scale("w2", -6, np.array(0, np.int8))
    net.node("QuantizeLinear", [stored, *scale], "w2_int8")
    w2 = net.node("DequantizeLinear", ["w2_int8", *scale], "w2_real")
    c2 = net.quantised(net.node("Conv", [r1, w2], "c2"), -7)  # finer than its sums: scaled up
    f2 = net.quantised(net.node("Flatten", [c2], "f2"), -7)
    w3 = net.parameter("w3", weights(36, 9), -8)
    b3 = net.parameter("b3", rng.integers(-100, 100, 9).astype(np.int8), -9)
    net.node("MatMul", [f2, w3], "m3")
    net.quantised(net.node("Add", [b3, "m3"], "s3"), -7, output="y")
    return net


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return foreign().save(tmp_path_factory.mktemp("qdq") / "net.onnx", (INPUT, OUTPUT))


def test_every_layer_is_what_onnxruntime_gives(file: Path) -> None:
    artifact = Tvm().load(file)
    oracle, rng = Tvm().oracle(artifact), np.random.default_rng(4)
    assert [layer.op for layer in artifact.layers] == ["Conv", "Relu", "Conv", "Flatten", "Gemm"]
    for _ in range(20):
        q = rng.integers(-128, 128, INPUT).astype(np.int8)
        found, expected = oracle.run_layers([q]), onnxruntime_layers(file, artifact, q)
        for layer, mine, theirs in zip(artifact.layers, found, expected, strict=True):
            np.testing.assert_array_equal(mine, theirs.reshape(mine.shape), f"{layer.index} {layer.op}")
            assert len(np.unique(mine)) > 5


def test_a_model_may_begin_and_end_in_int8(tmp_path: Path) -> None:
    net = Qdq()
    scale = net.scale("x", -2, np.array(0, np.int8))
    net.node("DequantizeLinear", ["x", *scale], "x_real")
    net.node("QuantizeLinear", ["x_real", *net.scale("y", -1, np.array(0, np.int8))], "y")
    graph = helper.make_graph(
        net.nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.INT8, [1, 4])],
        [helper.make_tensor_value_info("y", TensorProto.INT8, [1, 4])],
        [onnx.numpy_helper.from_array(values, name) for name, values in net.constants.items()],
    )
    opsets = [helper.make_opsetid("", 13)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    (tmp_path / "net.onnx").write_bytes(model.SerializeToString())
    artifact = Tvm().load(tmp_path / "net.onnx")
    assert (artifact.inputs[0].scale, artifact.outputs[0].scale) == (0.25, 0.5)
    (result,) = Tvm().oracle(artifact).run([np.array([[1, 2, 3, -1]], np.int8)])
    assert result.tolist() == [[0, 1, 2, 0]]  # halves to even


@given(st.integers(-(1 << 40), 1 << 40), st.integers(1, 1 << 20))
def test_division_rounds_to_nearest_halves_to_even(number: int, divisor: int) -> None:
    from fractions import Fraction

    assert divide(np.array([number]), divisor)[0] == round(Fraction(number, divisor))


def replaced(name: str, values: np.ndarray) -> Callable[[Qdq], None]:
    def change(net: Qdq) -> None:
        net.constants[name] = values

    return change


def node_of(net: Qdq, output: str) -> onnx.NodeProto:
    return next(node for node in net.nodes if output in node.output)


def attribute(output: str, **attributes: object) -> Callable[[Qdq], None]:
    def change(net: Qdq) -> None:
        for name, value in attributes.items():
            node_of(net, output).attribute.append(helper.make_attribute(name, value))

    return change


def unquantised_weights(net: Qdq) -> None:
    node_of(net, "c2").input[1] = "w2"


def softmax_inside(net: Qdq) -> None:
    node_of(net, "r1").op_type = "Softmax"


def foreign_operator(net: Qdq) -> None:
    node_of(net, "r1").op_type = "Erf"


REFUSED: dict[str, tuple[Callable[[Qdq], None], type[HarnessError], str]] = {
    "scale": (replaced("x_scale", np.float32(0.1)), UnsupportedError, r"0\.1 of 'x' is not a power of two"),
    "zero point": (
        replaced("c1_zero", np.int8(3)), UnsupportedError, r"operator 5 .* zero point of 'c1' is not 0",
    ),
    "uint8": (replaced("x_zero", np.uint8(0)), UnsupportedError, "'x' becomes uint8, expected int8"),
    "float weights": (unquantised_weights, UnsupportedError, "its weights 'w2' is float"),
    "softmax inside": (softmax_inside, UnsupportedError, r"\(Softmax\): its result is quantised again"),
    "operator": (foreign_operator, UnsupportedError, r"operator 7 \(Erf\): is not supported"),
    "bias too fine": (
        replaced("b1_scale", np.float32([2.0**-20] * 4)), UnsupportedError, "its bias is finer than its sums",
    ),
    "negative scale": (replaced("x_scale", np.float32(-1)), UnsupportedError, "not a power of two"),
    "two scales": (
        lambda net: node_of(net, "c1_real").input.__setitem__(1, "x_scale"),
        UnsupportedError, "quantised by one scale and dequantised by another",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_and_why(case: str, tmp_path: Path) -> None:
    change, kind, words = REFUSED[case]
    net = foreign()
    change(net)
    path = net.save(tmp_path / "net.onnx", (INPUT, OUTPUT))
    with pytest.raises(kind, match=words) as caught:
        Tvm().load(path)
    assert str(path) in caught.value.message
    assert "\n" not in str(caught.value)


def test_a_float_model_and_one_in_qoperator_form(tmp_path: Path) -> None:
    node = helper.make_node("Relu", ["x"], ["y"])
    with pytest.raises(ModelError, match="a float model, expected one in QDQ form") as caught:
        Tvm().load(save(tmp_path / "float.onnx", [node], {}, ((1, 4), (1, 4))))
    assert "harness quantise MODEL --runtime tvm" in caught.value.remedy
    assert not Tvm().accepts(tmp_path / "float.onnx")
    zero = {"s": np.float32(1), "z": np.int8(0)}
    names = ["x_int8", "s", "z", "x_int8", "s", "z", "s", "z"]
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["x_int8"]),
        helper.make_node("QLinearMatMul", names, ["y_int8"]),
        helper.make_node("DequantizeLinear", ["y_int8", "s", "z"], ["y"]),
    ]
    path = save(tmp_path / "operators.onnx", nodes, dict(zero), ((4, 4), (4, 4)))
    assert Tvm().accepts(path)
    with pytest.raises(UnsupportedError, match="QLinearMatMul: the file is in QOperator form"):
        Tvm().load(path)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_damage_is_one_line(file: Path, data: st.DataObject) -> None:
    content = bytearray(file.read_bytes())
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    else:
        for _ in range(data.draw(st.integers(1, 4))):
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    # Anything but a HarnessError is a bug, and fails.
    with contextlib.suppress(HarnessError):
        read(bytes(content))
