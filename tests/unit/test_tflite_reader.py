"""What `load` says about files that cannot be run, and that no damaged file gets past it to the oracle."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from harness.errors import HarnessError, ModelError, UnsupportedError, UsageError
from harness.runtimes import get_runtime
from harness.runtimes.tflm import Tflm
from tests.engine_host import random_input
from tests.operator_cases import bundle
from tests.tflite_builder import ModelBuilder


def dense(
    source: str = "int8", weights: str = "int8", target: str = "int8", shape: tuple[int, ...] = (1, 4)
) -> ModelBuilder:
    """One fully connected layer of the given types."""
    model = ModelBuilder()
    x = model.input(shape, source, 0.0 if source == "float32" else 0.1)
    w = model.constant(np.ones((3, 4), weights), scales=[] if weights == "float32" else [0.1])
    y = model.tensor((1, 3), target, 0.0 if target == "float32" else 0.1)
    model.operator("FULLY_CONNECTED", [x, w, -1], [y], fused_activation_function=0)
    return model


def load(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "net.tflite"
    path.write_bytes(data)
    Tflm().load(path)


def test_reads_shapes_scales_and_layers(tmp_path: Path) -> None:
    path = tmp_path / "net.tflite"
    path.write_bytes(dense().build([2]))
    artifact = Tflm().load(path)
    assert (artifact.name, artifact.runtime, len(artifact.digest)) == ("net", "tflm", 64)
    assert artifact.inputs[0].shape == (1, 4)
    assert artifact.outputs[0].scale == np.float32(0.1)
    assert [(layer.op, layer.macs, layer.output.shape) for layer in artifact.layers] == [
        ("FULLY_CONNECTED", 12, (1, 3))
    ]


def test_a_zoo_artifact_has_its_folders_name(tmp_path: Path) -> None:
    (tmp_path / "mnist").mkdir()
    path = tmp_path / "mnist" / "model.tflite"
    path.write_bytes(dense().build([2]))
    assert Tflm().load(path).name == "mnist"


@pytest.mark.parametrize(
    ("network", "words"),
    [
        (dense("float32", "float32", "float32"), ["float model", "full-integer quantisation"]),
        (dense("float32", "int8", "float32"), ["dynamic-range", "full-integer quantisation"]),
    ],
)
def test_other_quantisations_are_named(tmp_path: Path, network: ModelBuilder, words: list[str]) -> None:
    with pytest.raises(ModelError) as caught:
        load(tmp_path, network.build([2]))
    assert all(word in str(caught.value) for word in words)
    assert "\n" not in str(caught.value)


def test_an_unknown_operator_is_named_with_index_and_list(tmp_path: Path) -> None:
    model = dense()
    y = model.tensor((1, 3), scale=0.1)
    model.operator("COS", [2], [y])
    with pytest.raises(UnsupportedError, match=r"operator 1 \(COS\).*Supported: ADD, .*TRANSPOSE"):
        load(tmp_path, model.build([y]))


def test_a_dynamic_batch_offers_a_fixed_one(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match=r"dynamic shape \[-1, 4\].*fixed batch of 1"):
        load(tmp_path, dense(shape=(-1, 4)).build([2]))


def test_several_subgraphs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="2 subgraphs, expected 1"):
        load(tmp_path, dense().build([2], subgraphs=2))


def test_another_schema_version_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="schema version 4"):
        load(tmp_path, dense().build([2], version=4))


@pytest.mark.parametrize("data", [b"", b"TFL3", b"not a model, but long enough to be one", b"\0" * 64])
def test_other_files_are_not_flatbuffers(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(ModelError, match=r"not a \.tflite file"):
        load(tmp_path, data)


def test_a_missing_file_is_a_model_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot read"):
        Tflm().load(tmp_path / "absent.tflite")


def test_a_truncated_file_says_how_long_it_should_be(tmp_path: Path) -> None:
    data = dense().build([2])
    with pytest.raises(ModelError, match=rf"truncated: {len(data) // 2} bytes, expected at least \d+"):
        load(tmp_path, data[: len(data) // 2])


def test_every_truncation_is_refused_or_runs(tmp_path: Path) -> None:
    data = dense().build([2])
    outcomes = [_loads_and_runs(tmp_path, data[:length]) for length in range(len(data))]
    assert not any(outcomes[: len(data) * 3 // 4])
    assert _loads_and_runs(tmp_path, data)


@pytest.mark.parametrize(
    "operator", ["conv_2d", "reshape", "add", "concatenation", "strided_slice", "softmax", "quantize"]
)
def test_flipped_bytes_are_refused_or_run(tmp_path: Path, operator: str) -> None:
    """Nothing but a HarnessError may come out, and the interpreter must not crash this process."""
    data = bundle(operator, seed=5, count=2)
    source = random.Random(operator)
    outcomes = []
    for _ in range(60):
        damaged = bytearray(data)
        for _ in range(source.choice([1, 1, 3])):
            damaged[source.randrange(len(damaged))] = source.choice([0, 1, 127, 255, source.randrange(256)])
        outcomes.append(_loads_and_runs(tmp_path, bytes(damaged)))
    assert any(outcomes)
    assert not all(outcomes)


def _loads_and_runs(tmp_path: Path, data: bytes) -> bool:
    path = tmp_path / "damaged.tflite"
    path.write_bytes(data)
    try:
        artifact = Tflm().load(path)
        inputs = [random_input(np.random.default_rng(0), info) for info in artifact.inputs]
        oracle = Tflm().oracle(artifact)
        oracle.run(inputs)
        oracle.run_layers(inputs)
    except HarnessError:
        return False
    return True


def _unread_tensor(model: ModelBuilder) -> None:
    model.operators[0].inputs[0] = model.tensor((1, 4), scale=0.1)


def _index_out_of_range(model: ModelBuilder) -> None:
    model.operators[0].inputs[0] = 77


def _short_constant(model: ModelBuilder) -> None:
    model.tensors[1].shape = (3, 5)


def _two_scales_for_three_channels(model: ModelBuilder) -> None:
    model.tensors[1].scales, model.tensors[1].zero_points = [0.1, 0.2], [0, 0]


def _negative_scale(model: ModelBuilder) -> None:
    model.tensors[0].scales = [-0.1]


def _no_options(model: ModelBuilder) -> None:
    model.operators[0].op = "CONV_2D"
    model.operators[0].options = {"padding": 0}


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (_unread_tensor, "before anything wrote it"),
        (_index_out_of_range, "names tensor 77 of"),
        (_short_constant, "has 12 bytes, expected 15"),
        (_two_scales_for_three_channels, "2 scales along axis 0"),
        (_negative_scale, "scale"),
        (_no_options, "four dimensions"),
    ],
)
def test_contradictions_are_named(tmp_path: Path, spoil: Callable[[ModelBuilder], None], words: str) -> None:
    model = dense()
    spoil(model)
    with pytest.raises(HarnessError, match=words):
        load(tmp_path, model.build([2]))


def test_weights_of_zero_point_other_than_zero_are_refused(tmp_path: Path) -> None:
    model = dense()
    model.tensors[1].zero_points = [3]
    with pytest.raises(UnsupportedError, match="zero point"):
        load(tmp_path, model.build([2]))


def test_sums_that_overflow_are_refused(tmp_path: Path) -> None:
    model = ModelBuilder()
    x = model.input((1, 4), scale=0.1)
    w = model.constant(np.ones((3, 4), np.int8), scales=[0.1, 0.1, 0.2], axis=0)
    b = model.constant(np.full(3, 2**31 - 100, np.int32), scales=[0.01])
    y = model.tensor((1, 3), scale=0.1)
    model.operator("FULLY_CONNECTED", [x, w, b], [y], fused_activation_function=0)
    with pytest.raises(UnsupportedError, match="does not fit 32 bits"):
        load(tmp_path, model.build([y]))


def test_runtimes_are_found_by_name() -> None:
    assert isinstance(get_runtime("tflm"), Tflm)
    with pytest.raises(UsageError, match=r"unknown runtime 'tflite'.*tflm"):
        get_runtime("tflite")
