"""What is done to a network for the Himax SDK's TFLM of 2021, and the memory it is said to take there."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from harness.errors import ModelError, UnsupportedError
from harness.model.spec import load_model
from harness.portable.graph import Graph
from harness.runtimes.tflm.himax import adapt as adapting
from harness.runtimes.tflm.himax.adapt import adapt
from harness.runtimes.tflm.himax.preflight import check_memory, check_operators, resolver_methods
from harness.runtimes.tflm.oracle import TflmOracle
from harness.runtimes.tflm.reader import read
from harness.runtimes.tflm.writer import write
from harness.targets import get_target
from tests.engine_host import random_input
from tests.operator_cases import CASES, bundle
from tests.tflite_builder import ModelBuilder


def equal_outputs(before: Graph, data: bytes, after: Graph, written: bytes) -> None:
    one, other = TflmOracle(before, data), TflmOracle(after, written)
    random = np.random.default_rng(7)
    for _ in range(3):
        inputs = [random_input(random, before.tensors[index].info) for index in before.inputs]
        for wanted, got in zip(one.run(inputs), other.run(inputs), strict=True):
            assert wanted.tobytes() == got.tobytes()


@pytest.mark.parametrize("name", CASES)
def test_a_model_written_again_computes_the_same(name: str) -> None:
    data = bundle(name, 3, 4)
    graph = read(data)
    written = write(graph)
    again = read(written)
    assert [(op.op, op.inputs, op.options) for op in again.operators] == [
        (op.op, op.inputs, op.options) for op in graph.operators
    ]
    equal_outputs(graph, data, again, written)


def test_constants_are_aligned_as_the_schema_says() -> None:
    data = load_model("himax_cnn").artifacts["tflite"].read_bytes()
    written = write(read(data))
    for tensor in read(data).tensors:
        if tensor.data is not None and tensor.data.nbytes >= 64:
            assert written.index(tensor.data.tobytes()) % 16 == 0


@pytest.mark.parametrize("seed", range(4))
def test_dense_layers_become_what_the_sdk_computes_right(seed: int) -> None:
    data = bundle("fully_connected", seed, 6)
    graph = read(data)
    adapted = adapt(graph, data)
    for operator in adapted.graph.operators:
        if operator.op == "FULLY_CONNECTED":
            assert len(adapted.graph.tensors[operator.inputs[1]].scales) == 1
        if operator.op in ("FULLY_CONNECTED", "CONV_2D"):
            assert operator.inputs[2] >= 0, "a bias, if of zeros"
    assert any("CONV_2D 1x1" in change for change in adapted.changes)
    equal_outputs(graph, data, read(adapted.data), adapted.data)


@pytest.mark.parametrize("name", ["conv_2d", "depthwise_conv_2d"])
def test_an_absent_bias_is_added(name: str) -> None:
    data = next(data for data in (bundle(name, seed, 4) for seed in range(9)) if _lacks_bias(data))
    adapted = adapt(read(data), data)
    assert adapted.changes
    assert all("a bias of zeros added" in change for change in adapted.changes)
    assert not _lacks_bias(adapted.data)


def _lacks_bias(data: bytes) -> bool:
    return any(len(operator.inputs) < 3 or operator.inputs[2] < 0 for operator in read(data).operators)


def test_a_model_that_needs_nothing_stays_as_it_is() -> None:
    data = bundle("max_pool_2d", 0, 2)
    assert adapt(read(data), data) == adapting.Adapted(read(data), data, ())


def test_weights_are_not_kept_twice() -> None:
    data = load_model("mnist_mlp").artifacts["tflite"].read_bytes()
    assert len(adapt(read(data), data).data) < len(data) + 2048


def test_a_rewriting_that_is_wrong_is_not_given_out(monkeypatch: pytest.MonkeyPatch) -> None:
    data = bundle("fully_connected", 1, 3)

    def spoilt(graph: Graph) -> bytes:
        tensors = [
            dataclasses.replace(tensor, data=tensor.data + 1)
            if tensor.data is not None and tensor.data.dtype == np.int8
            else tensor
            for tensor in graph.tensors
        ]
        return write(dataclasses.replace(graph, tensors=tuple(tensors)))

    monkeypatch.setattr(adapting, "write", spoilt)
    with pytest.raises(ModelError, match="does not give the integers of the original"):
        adapt(read(data), data)


# The least arena with which AllocateTensors() succeeds in TFLM of himax_tflm 1172fc6 with reference kernels,
# built for i386, found by bisection (docs/himax.md).
LEAST_ARENA_BYTES = {"himax_cnn": 9376, "mnist_mlp": 4096}
MLI_BYTES = 400


@pytest.mark.parametrize("name", LEAST_ARENA_BYTES)
def test_the_estimated_arena_is_enough_and_not_wasteful(name: str) -> None:
    data = load_model(name).artifacts["tflite"].read_bytes()
    adapted = adapt(read(data), data)
    memory = check_memory(adapted.graph, len(adapted.data), get_target("himax_we1"))
    least = LEAST_ARENA_BYTES[name]
    ours = sum(operator.op in ("CONV_2D", "MAX_POOL_2D") for operator in adapted.graph.operators) * MLI_BYTES
    assert least <= memory.activation_bytes + memory.overhead_bytes - ours
    assert memory.arena_bytes < least + ours + 2048
    assert memory.left_bytes == 957_168 - len(adapted.data) - memory.arena_bytes


def test_every_operator_of_the_kernels_here_can_be_registered() -> None:
    assert {read(bundle(name, 0, 1)).operators[-1].op for name in CASES} <= set(resolver_methods())


@pytest.mark.parametrize(
    ("op", "options", "message"),
    [
        (
            "RESIZE_NEAREST_NEIGHBOR",
            {"align_corners": False, "half_pixel_centers": True},
            "half_pixel_centers",
        ),
        ("RESIZE_NEAREST_NEIGHBOR", {"align_corners": True, "half_pixel_centers": False}, None),
    ],
)
def test_forms_that_version_computes_otherwise(
    op: str, options: dict[str, bool], message: str | None
) -> None:
    model = ModelBuilder()
    x = model.input((1, 4, 4, 2), scale=0.1)
    y = model.tensor((1, 8, 8, 2), scale=0.1)
    model.operator(op, [x, model.constant(np.array([8, 8], np.int32))], [y], **options)
    graph = read(model.build([y]))
    if message is None:
        check_operators(graph)
    else:
        with pytest.raises(UnsupportedError, match=message):
            check_operators(graph)
