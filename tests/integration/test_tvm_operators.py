"""Every operator of runtime tvm: the oracle against onnxruntime, TVM's C against the oracle, 0 LSB."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from harness.bundled import firmware_dir
from harness.errors import MissingError
from harness.portable.receptive_field import receptive_field
from harness.runtimes.base import FloatModel, Project
from harness.runtimes.planned import PlannedArtifact
from harness.runtimes.tvm import Tvm, kernels
from harness.runtimes.tvm.operators import TVM_OPERATORS
from harness.runtimes.tvm.oracle import TvmOracle
from harness.runtimes.tvm.quantise import quantise
from tests.engine_host import CROSS_COMPILERS, WARNINGS, assert_exact
from tests.tvm_networks import EVERY_INPUT, Qdq, every_operator, onnxruntime_layers

TVM = pytest.mark.skipif(importlib.util.find_spec("tvm") is None, reason="pip install -e '.[tvm]'")
# Names that quantise.py's own form of network does not leave in a file.
ELSEWHERE = {"Clip", "Relu", "Requantise", "Reshape"}


@dataclass(frozen=True)
class Generated:
    path: Path
    artifact: PlannedArtifact
    project: Project


@pytest.fixture(scope="module")
def every(tmp_path_factory: pytest.TempPathFactory) -> Generated:
    """A network of every operator, quantised and generated once for all tests here."""
    directory = tmp_path_factory.mktemp("every")
    samples = np.random.default_rng(1).normal(0, 1, (12, *EVERY_INPUT[1:])).astype(np.float32)
    np.savez(directory / "data.npz", x=samples)
    source = FloatModel("every", every_operator(directory / "every.onnx"), directory / "data.npz")
    path = quantise(Tvm(), source, directory / "every.qdq.onnx", "minmax").path
    artifact = Tvm().load(path)
    return Generated(path, artifact, Tvm().generate(artifact, "portable", directory / "project"))


@TVM
def test_the_network_has_every_operator(every: Generated) -> None:
    found = {layer.op.partition("+")[0] for layer in every.artifact.layers}
    assert found == set(TVM_OPERATORS) - ELSEWHERE


@TVM
def test_what_is_outside_the_receptive_field_changes_nothing(every: Generated) -> None:
    """As in test_measure_divergence.py for runtime tflm."""
    oracle, rng = Tvm().oracle(every.artifact), np.random.default_rng(11)
    assert isinstance(oracle, TvmOracle)
    constants = {
        tensor.index: tensor.data for tensor in every.artifact.graph.tensors if tensor.data is not None
    }
    partial = set()
    for step, operator in zip(every.artifact.plan.steps, every.artifact.graph.operators, strict=True):
        shape = step.writes[0].info.shape
        element = tuple(int(rng.integers(size)) for size in shape)
        before, after = (
            {t.index: rng.integers(-128, 128, t.info.shape).astype(np.int8) for t in step.reads}
            for _ in range(2)
        )
        for tensor, region in zip(step.reads, receptive_field(step, element), strict=True):
            kept = before[tensor.index][region]
            after[tensor.index][region] = kept
            if kept.size < tensor.info.elements:
                partial.add(step.op.partition("+")[0])
        first, second = (
            oracle.compute(operator, constants | values).reshape(shape)[element] for values in (before, after)
        )
        assert first == second, step.op
    assert partial >= {"Conv", "MaxPool", "AveragePool", "Add", "Mul", "Sigmoid"}


@TVM
def test_the_oracle_gives_onnxruntimes_integers(every: Generated) -> None:
    oracle, rng = Tvm().oracle(every.artifact), np.random.default_rng(7)
    for _ in range(10):
        q = rng.integers(-128, 128, EVERY_INPUT).astype(np.int8)
        layers = onnxruntime_layers(every.path, every.artifact, q)
        for layer, mine, theirs in zip(every.artifact.layers, oracle.run_layers([q]), layers, strict=True):
            what = f"{layer.index} {layer.op}"
            if mine.dtype == np.float32:  # onnxruntime's own expf
                np.testing.assert_allclose(mine, theirs, rtol=1e-6, atol=0, err_msg=what)
            else:
                np.testing.assert_array_equal(mine, theirs.reshape(mine.shape), what)


@TVM
def test_the_kernels_are_exact_with_sanitizers(every: Generated) -> None:
    assert_exact(every.artifact, every.project.directory, count=6)


@TVM
@pytest.mark.parametrize("compiler", CROSS_COMPILERS)
def test_the_kernels_compile_without_warnings(compiler: str, every: Generated, tmp_path: Path) -> None:
    string_h = firmware_dir() / "platforms" / "qemu_common" / "include"
    includes = [f"-I{directory}" for directory in (*every.project.include_dirs, string_h)]
    for source in every.project.sources:
        command = [compiler, *WARNINGS, "-O2", *CROSS_COMPILERS[compiler], *includes, "-c", str(source)]
        done = subprocess.run([*command, "-o", str(tmp_path / "object.o")], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


@TVM
def test_the_same_text_under_another_hash_seed(every: Generated, tmp_path: Path) -> None:
    steps = [step for step in every.artifact.plan.steps if isinstance(step, kernels.KernelStep)]
    (tmp_path / "job.json").write_text(json.dumps([kernels._job(step) for step in steps], default=int))
    command = [sys.executable, "-m", "harness.runtimes.tvm.lower", tmp_path / "job.json", tmp_path / "k.c"]
    subprocess.run(command, check=True, env={**os.environ, "PYTHONHASHSEED": "99"})
    source = (every.project.directory / kernels.SOURCE).read_text()
    assert source.endswith((tmp_path / "k.c").read_text())


@TVM
def test_kernels_are_kept_until_somebody_changes_them(
    every: Generated, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = every.project.directory / kernels.SOURCE
    good = source.read_text()
    monkeypatch.setattr(kernels, "_lower", lambda _: "void made_again(void) {\n}\n")
    Tvm().generate(every.artifact, "portable", every.project.directory)
    assert source.read_text() == good
    source.write_text(good.replace(">> 8", ">> 7", 1))
    try:
        Tvm().generate(every.artifact, "portable", every.project.directory)
        assert "made_again" in source.read_text()
    finally:
        source.write_text(good)


@TVM
def test_sums_halfway_between_two_integers(tmp_path: Path) -> None:
    """Every int8 value through shifts 1 to 8, one for each output: each second, fourth, ... is a half."""
    net = Qdq()
    x = net.quantised("x", 0)
    w = net.parameter("w", np.eye(8, dtype=np.int8), [-1, -2, -3, -4, -5, -6, -7, -8], axis=1)
    net.quantised(net.node("MatMul", [x, w], "m"), 0, output="y")
    path = net.save(tmp_path / "halves.onnx", ((1, 8), (1, 8)))
    artifact = Tvm().load(path)
    inferences = [[np.full((1, 8), value, np.int8)] for value in range(-128, 128)]
    assert_exact(artifact, tmp_path / "project", inferences=inferences)
    outputs = [Tvm().oracle(artifact).run(inputs)[0][0, 0] for inputs in inferences]
    assert outputs == [round(value / 2) for value in range(-128, 128)]


def test_without_tvm_one_line_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net = Qdq()
    net.quantised(net.node("Relu", [net.quantised("x", 0)], "r"), 0, output="y")
    artifact = Tvm().load(net.save(tmp_path / "relu.onnx", ((1, 8), (1, 8))))
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "tvm" else real(name))
    with pytest.raises(MissingError, match=r"pip install -e '\.\[tvm\]'"):
        Tvm().generate(artifact, "portable", tmp_path / "project")
    assert not (tmp_path / "project").exists()
