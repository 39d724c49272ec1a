"""The oracle: shapes and types as the artifact states them, wrong inputs refused, silence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness.errors import DataError
from harness.runtimes.base import Oracle
from harness.runtimes.planned import PlannedArtifact
from harness.runtimes.tflm import Tflm
from tests.engine_host import random_input
from tests.tflite_builder import ModelBuilder


@pytest.fixture
def artifact(tmp_path: Path) -> PlannedArtifact:
    """relu(a) + b, two inputs, two outputs."""
    model = ModelBuilder()
    a, b = model.input((2, 3), scale=0.1), model.input((3,), scale=0.2, zero_point=7)
    positive, total = model.tensor((2, 3), scale=0.1), model.tensor((2, 3), scale=0.3)
    model.operator("RELU", [a], [positive])
    model.operator("ADD", [positive, b], [total], fused_activation_function=0)
    path = tmp_path / "net.tflite"
    path.write_bytes(model.build([total, positive]))
    return Tflm().load(path)


@pytest.fixture
def oracle(artifact: PlannedArtifact) -> Oracle:
    return Tflm().oracle(artifact)


def test_outputs_and_layers_have_the_stated_shapes(artifact: PlannedArtifact, oracle: Oracle) -> None:
    inputs = [random_input(np.random.default_rng(1), info) for info in artifact.inputs]
    outputs, layers = oracle.run(inputs), oracle.run_layers(inputs)
    assert [(o.shape, o.dtype.name) for o in outputs] == [(i.shape, i.dtype) for i in artifact.outputs]
    assert [(v.shape, v.dtype.name) for v in layers] == [
        (x.output.shape, x.output.dtype) for x in artifact.layers
    ]
    assert (layers[1] == outputs[0]).all()
    assert (layers[0] == outputs[1]).all()
    assert (layers[0] == np.maximum(inputs[0], 0)).all()


def test_results_are_copies(artifact: PlannedArtifact, oracle: Oracle) -> None:
    low, high = ([np.full(info.shape, value, np.int8) for info in artifact.inputs] for value in (-100, 100))
    first = oracle.run_layers(low)
    kept = [value.copy() for value in first]
    oracle.run_layers(high)
    assert all((a == b).all() for a, b in zip(first, kept, strict=True))


def test_an_input_may_come_in_another_shape_of_the_same_size(oracle: Oracle) -> None:
    flat = oracle.run([np.arange(6, dtype=np.int8), np.zeros(3, np.int8)])
    shaped = oracle.run([np.arange(6, dtype=np.int8).reshape(2, 3), np.zeros((1, 3), np.int8)])
    assert (flat[0] == shaped[0]).all()


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ([np.zeros((2, 3), np.int8)], "takes 2 inputs, 1 came"),
        ([np.zeros((2, 3), np.float32), np.zeros(3, np.int8)], "float32"),
        ([np.zeros((2, 4), np.int8), np.zeros(3, np.int8)], r"\[2, 3\].*\[2, 4\]"),
    ],
)
def test_wrong_inputs_are_named(oracle: Oracle, inputs: list[np.ndarray], words: str) -> None:
    with pytest.raises(DataError, match=words):
        oracle.run(inputs)


def test_the_interpreter_is_silent(
    artifact: PlannedArtifact, oracle: Oracle, capfd: pytest.CaptureFixture[str]
) -> None:
    oracle.run([np.zeros(info.shape, np.int8) for info in artifact.inputs])
    assert capfd.readouterr() == ("", "")
