"""`harness inspect` says of the zoo what is known of it, names what is not supported, and refuses rubbish."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper

from harness.bundled import zoo_directory
from harness.cli import main
from harness.inspection.model import inspect_model
from harness.inspection.support import NO, QUANTISES, RUNS
from harness.model.spec import load_model
from harness.runtimes.tflm import Tflm
from tests.tflite_builder import ModelBuilder
from tests.tvm_networks import save

HIMAX = zoo_directory() / "himax_cnn"


def inspected(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    assert main(["inspect", *map(str, arguments), "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


# From models/README.md: MACs and parameters of the zoo.
@pytest.mark.parametrize(
    ("name", "macs", "parameters"),
    [("mnist_mlp", 54_912, 55_050), ("himax_cnn", 203_552, 16_842), ("test20_mnist", 2_440_960, 34_826)],
)
def test_every_file_of_a_model_has_the_same_macs_and_parameters(
    name: str, macs: int, parameters: int
) -> None:
    for path in load_model(name).artifacts.values():
        facts = inspect_model(load_model(path)).facts
        assert (path.name, facts.macs, facts.parameters) == (path.name, macs, parameters)


def test_a_model_is_shown_whole(capsys: pytest.CaptureFixture[str]) -> None:
    found = inspected(capsys, "himax_cnn", "--data", zoo_directory() / "mnist" / "test.npz")
    artifact = Tflm().load(HIMAX / "model.tflite")
    assert [row["op"] for row in found["operators"]] == [layer.op for layer in artifact.layers]
    assert found["memory"]["arena_bytes"] == artifact.plan.memory.peak_bytes
    assert found["constant_bytes"] == artifact.plan.constant_bytes
    assert found["quantisation"] == "int8 data, int8 weights (5 of 5 per channel)"
    assert found["data"]["samples"] == 1000
    assert found["data"]["classes"] == 10
    assert found["data"]["saturated"] == 0
    runs = {one["file"].rsplit("/")[-1]: one["targets"] for one in found["support"] if one["verdict"] == RUNS}
    assert runs["model.esp32s3.espdl"] == ["esp32s3"]
    assert "esp32c3" in runs["model.c.espdl"]
    quantised = {one["runtime"] for one in found["support"] if one["verdict"] == QUANTISES}
    assert quantised == {"espdl", "espdl-v1", "tvm"}


def test_values_beyond_the_inputs_range_are_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    x = np.zeros((2, 28, 28, 1), np.float32)
    x[0, :14] = 127.4  # rounds to 127, the last integer
    x[1, :14] = 127.6
    np.savez(tmp_path / "x.npz", x=x)
    found = inspected(capsys, HIMAX / "model.tflite", "--data", tmp_path / "x.npz")
    assert found["data"]["saturated"] == 0.25


def test_all_operators_without_a_kernel_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = ModelBuilder()
    x = model.input((1, 4), scale=0.1)
    outputs = [model.tensor((1, 4), scale=0.1) for _ in range(3)]
    for op, source, target in zip(("COS", "RELU", "FLOOR_MOD"), (x, *outputs), outputs, strict=False):
        model.operator(op, [source], [target])
    path = tmp_path / "odd.tflite"
    path.write_bytes(model.build([outputs[-1]]))
    assert main(["inspect", str(path)]) == 1
    shown = capsys.readouterr().out
    assert "refused       operator 0 (COS) is not supported\n" in shown
    assert "refused       operator 2 (FLOOR_MOD) is not supported\n" in shown
    assert "operator 1" not in shown
    assert "arena" not in shown


def test_a_float_model_says_what_stands_against_each_runtime(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"]),
        helper.make_node("Erf", ["c"], ["e"]),
        helper.make_node("Softmax", ["e"], ["y"], axis=1),
    ]
    weights = {"w": np.ones((2, 3, 3, 3), np.float32)}
    path = save(tmp_path / "net.onnx", nodes, weights, ((1, 3, 6, 5), (1, 2, 4, 3)))
    found = inspect_model(load_model(path))
    assert (found.facts.macs, found.facts.parameters) == (24 * 27, 54)
    # The input's 90 and the Conv's 24 values are alive at once, each rounded up to 16.
    assert found.facts.memory is not None
    assert found.facts.memory.least_bytes == 96 + 32
    whys = {one.runtime: one.why for one in found.support}
    assert {one.verdict for one in found.support} == {NO}
    for runtime in ("espdl", "espdl-v1", "tvm"):
        assert "(Erf" in whys[runtime], runtime


@pytest.mark.parametrize("name", ["model.tflite", "model.onnx", "model.keras", "model.c.espdl"])
def test_damaged_files_are_one_line(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = (HIMAX / name).read_bytes()
    random = np.random.RandomState(1)
    garbage = random.bytes(2000)
    tailless = [good[:length] for length in (0, 3, 16, 100, 1000, len(good) // 2, len(good) - 1)]
    bent = []
    for _ in range(25):
        changed = bytearray(good)
        for place in random.randint(0, min(len(good), 3000), 4):
            changed[place] = random.randint(0, 256)
        bent.append(bytes(changed))
    refused = 0
    for content in (garbage, *tailless, *bent):
        path = tmp_path / name
        path.write_bytes(content)
        code = main(["inspect", str(path)])
        said = capsys.readouterr()
        if code == 2:
            refused += 1
            assert said.out == ""
            assert said.err.count("\n") == 1, said.err
            assert str(path) in said.err
        # A bent file may still be one, of another network.
        assert code in (0, 1, 2)
    assert refused >= 5
