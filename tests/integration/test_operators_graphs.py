"""Whole graphs against the oracle: branches that stress the memory plan, the zoo, and other compilers."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from benchmarks.arena import tflm_arena_bytes
from harness.bundled import firmware_dir
from harness.portable.graph import Graph, Operator
from harness.portable.memory import align
from harness.runtimes.planned import PlannedArtifact
from harness.runtimes.tflm import Tflm
from tests import int16x8_cases
from tests.engine_host import CROSS_COMPILERS, WARNINGS, assert_exact
from tests.operator_cases import CASES, bundle
from tests.tflite_builder import ModelBuilder

BARE_METAL_LIBC = firmware_dir() / "platforms" / "qemu_common" / "include"
ZOO = sorted((Path(__file__).parents[2] / "models").glob("*/model.tflite"))


class Net:
    """Builds networks layer by layer; every method returns the new tensor."""

    def __init__(self, seed: int) -> None:
        self.model = ModelBuilder()
        self.rng = np.random.default_rng(seed)

    def conv(self, x: int, channels: int, taps: int = 3, stride: int = 1) -> int:
        batch, height, width, inputs = self.model.tensors[x].shape
        data = self.rng.integers(-127, 128, (channels, taps, taps, inputs), np.int8)
        w = self.model.constant(data, scales=list(self.rng.uniform(0.002, 0.01, channels)), axis=0)
        y = self._like(x, (batch, -(-height // stride), -(-width // stride), channels))
        self.model.operator("CONV_2D", [x, w], [y], **self._window(stride))
        return y

    def depthwise(self, x: int, stride: int = 1) -> int:
        batch, height, width, channels = self.model.tensors[x].shape
        data = self.rng.integers(-127, 128, (1, 3, 3, channels), np.int8)
        w = self.model.constant(data, scales=list(self.rng.uniform(0.002, 0.01, channels)), axis=3)
        y = self._like(x, (batch, -(-height // stride), -(-width // stride), channels))
        self.model.operator("DEPTHWISE_CONV_2D", [x, w], [y], depth_multiplier=1, **self._window(stride))
        return y

    def add(self, a: int, b: int) -> int:
        y = self._like(a, self.model.tensors[a].shape)
        self.model.operator("ADD", [a, b], [y], fused_activation_function=1)
        return y

    def concatenate(self, *parts: int) -> int:
        shapes = [self.model.tensors[part].shape for part in parts]
        y = self._like(parts[0], (*shapes[0][:-1], sum(shape[-1] for shape in shapes)))
        self.model.operator("CONCATENATION", parts, [y], axis=-1, fused_activation_function=0)
        return y

    def head(self, x: int, classes: int) -> int:
        """Global mean, dense layer, softmax."""
        batch, _, _, channels = self.model.tensors[x].shape
        mean, logits = self._like(x, (batch, channels)), self._like(x, (batch, classes))
        self.model.operator(
            "MEAN", [x, self.model.constant(np.array([1, 2], np.int32))], [mean], keep_dims=False
        )
        w = self.model.constant(self.rng.integers(-127, 128, (classes, channels), np.int8), scales=[0.01])
        self.model.operator("FULLY_CONNECTED", [mean, w, -1], [logits], fused_activation_function=0)
        y = self.model.tensor((batch, classes), scale=1 / 256, zero_point=-128)
        self.model.operator("SOFTMAX", [logits], [y], beta=1.0)
        return y

    def _like(self, x: int, shape: tuple[int, ...]) -> int:
        source = self.model.tensors[x]
        return self.model.tensor(shape, scale=source.scales[0], zero_point=source.zero_points[0])

    def _window(self, stride: int) -> dict[str, int]:
        dilation = {"dilation_h_factor": 1, "dilation_w_factor": 1}
        return {
            "padding": 0,
            "stride_h": stride,
            "stride_w": stride,
            "fused_activation_function": 1,
            **dilation,
        }


def residual(net: Net) -> list[int]:
    x = net.model.input((1, 12, 10, 3), scale=0.05, zero_point=-9)
    y = net.conv(x, 8)
    for _ in range(3):
        y = net.add(y, net.conv(net.conv(y, 8), 8, taps=1))
    return [net.head(y, 5)]


def dense_branches(net: Net) -> list[int]:
    x = net.model.input((1, 9, 9, 4), scale=0.05, zero_point=4)
    y = net.conv(x, 4)
    for _ in range(3):
        y = net.concatenate(y, net.conv(y, 3), net.conv(y, 2, taps=1))
    return [net.head(y, 7), y]


def separable(net: Net) -> list[int]:
    x = net.model.input((1, 16, 16, 3), scale=0.05, zero_point=-128)
    y = net.conv(x, 8, stride=2)
    for stride in (1, 2, 1):
        y = net.conv(net.depthwise(y, stride), 12, taps=1)
    return [net.head(y, 2)]


def long_skips(net: Net) -> list[int]:
    """Tensors of very different age meet again; two inputs, a batch of two."""
    a = net.model.input((2, 6, 6, 4), scale=0.05, zero_point=0)
    b = net.model.input((2, 6, 6, 4), scale=0.04, zero_point=3)
    kept = [net.conv(a, 4), net.conv(b, 4)]
    for i in range(4):
        kept.append(net.add(net.conv(kept[-1], 4), kept[i]))
    return [net.concatenate(kept[2], kept[5], kept[1]), kept[3]]


def artifact_of(net: Net, outputs: list[int], tmp_path: Path) -> PlannedArtifact:
    path = tmp_path / "net.tflite"
    path.write_bytes(net.model.build(outputs))
    return Tflm().load(path)


@pytest.mark.parametrize("network", [residual, dense_branches, separable, long_skips])
def test_graph_is_exact(network, tmp_path: Path) -> None:
    net = Net(seed=7)
    artifact = artifact_of(net, network(net), tmp_path)
    assert_exact(artifact, tmp_path / "project", seed=3)
    plan = artifact.plan
    assert plan.memory.peak_bytes < sum(align(layer.output.size_bytes) for layer in artifact.layers)
    assert plan.memory.peak_bytes <= tflm_arena_bytes(tmp_path / "net.tflite").total
    assert_no_live_overlap(artifact)


def assert_no_live_overlap(artifact: PlannedArtifact) -> None:
    """From the graph alone: what is still to be read is not overwritten by any layer."""
    graph, offsets = artifact.graph, artifact.plan.offsets
    last_use = dict.fromkeys(graph.inputs, -1)
    for operator in graph.operators:
        last_use.update(
            dict.fromkeys((*operator.outputs, *(i for i in operator.inputs if i in offsets)), operator.index)
        )
    last_use.update(dict.fromkeys(graph.outputs, len(graph.operators)))
    born = dict.fromkeys(graph.inputs, -1)
    for operator in graph.operators:
        for written in operator.outputs:
            start, end = offsets[written], offsets[written] + graph.tensors[written].info.size_bytes
            for other, since in born.items():
                if last_use[other] >= operator.index:
                    size = graph.tensors[other].info.size_bytes
                    if other == operator.inputs[0] and last_use[other] == operator.index:
                        apart = read_before_overwritten(graph, operator, start - offsets[other])
                    else:
                        apart = end <= offsets[other] or offsets[other] + size <= start
                    assert apart, (operator.index, other, since)
            born[written] = operator.index


def read_before_overwritten(graph: Graph, operator: Operator, distance: int) -> bool:
    """Whether an operator whose output begins `distance` bytes behind its input reads all of it in time.

    A padded convolution copies the rows under a row of its output before it writes that; one of single
    pixels reads two while it writes them. Of others the output must lie elsewhere.
    """
    read, written = graph.tensors[operator.inputs[0]].info, graph.tensors[operator.outputs[0]].info
    taps = graph.tensors[operator.inputs[1]].info.shape[1] if "CONV_2D" in operator.op else 0
    if taps == 0 or read.shape[0] > 1:
        return distance + written.size_bytes <= 0 or read.size_bytes <= distance
    if taps == 1:
        rows, stride, pad = (written.size_bytes // written.shape[3] + 1) // 2, 1, 0
        row_bytes, image_row_bytes = 2 * written.shape[3], 2 * read.shape[3]
    else:
        rows, stride = written.shape[1], operator.options["stride_h"]
        pad = max(0, (rows - 1) * stride + taps - read.shape[1]) // 2
        row_bytes, image_row_bytes = (info.size_bytes // info.shape[1] for info in (written, read))
    lost = np.zeros(read.size_bytes, bool)
    for y in range(rows):
        row = distance + np.arange(y * row_bytes, min((y + 1) * row_bytes, written.size_bytes))
        over = row[(row >= 0) & (row < read.size_bytes)]
        if taps == 1:
            lost[over] = True
        top = y * stride - pad
        if lost[max(0, top) * image_row_bytes : max(0, top + taps) * image_row_bytes].any():
            return False
        lost[over] = True
    return True


@pytest.mark.parametrize("path", ZOO, ids=lambda path: path.parent.name)
def test_zoo_is_exact(path: Path, tmp_path: Path) -> None:
    assert_exact(Tflm().load(path), tmp_path / "project", seed=4, count=10)


def test_float_inputs_and_outputs(tmp_path: Path) -> None:
    """QUANTIZE first, DEQUANTIZE last: the device sees float32 only as bit patterns."""
    model = ModelBuilder()
    x = model.input((1, 40), "float32")
    q, r = model.tensor((1, 40), scale=0.05, zero_point=-3), model.tensor((1, 40), scale=0.06, zero_point=9)
    y = model.tensor((1, 40), "float32")
    model.operator("QUANTIZE", [x], [q])
    model.operator("LEAKY_RELU", [q], [r], alpha=0.2)
    model.operator("DEQUANTIZE", [r], [y])
    path = tmp_path / "net.tflite"
    path.write_bytes(model.build([y]))
    assert_exact(Tflm().load(path), tmp_path / "project")


@pytest.mark.parametrize("compiler", CROSS_COMPILERS)
def test_cross_compilers_have_nothing_to_say(compiler: str, tmp_path: Path) -> None:
    """Every operator, warnings as errors, and no call into a float or division routine."""
    if shutil.which(compiler) is None:
        pytest.skip(f"{compiler} is not installed")
    path = tmp_path / "net.tflite"
    models = {operator: bundle(operator, seed=8, count=4) for operator in CASES}
    models["int16x8"] = int16x8_cases.bundle([*int16x8_cases.CASES], seed=8, count=1)
    for operator, model in models.items():
        path.write_bytes(model)
        project = Tflm().generate(Tflm().load(path), "portable", tmp_path / operator)
        target = project.directory / "model.o"
        command = [compiler, *WARNINGS, "-O2", *CROSS_COMPILERS[compiler]]
        command += [f"-I{directory}" for directory in (*project.include_dirs, BARE_METAL_LIBC)]
        command += ["-c", str(project.directory / "model.c"), "-o", str(target)]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        assert result.returncode == 0, f"{operator}: {result.stderr}"
        nm = subprocess.run(
            [compiler.replace("gcc", "nm"), "-u", str(target)], capture_output=True, text=True, check=True
        )
        called = {line.split()[-1] for line in nm.stdout.splitlines()}
        called -= {name for name in called if name.startswith("layer_")}
        assert called <= {"memcpy", "memset", "__muldi3", "model_artifact"}, operator
