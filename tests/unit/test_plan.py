"""Plans and projects: aliases, buffer reuse, what is refused, and the same bytes for the same model."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import numpy as np
import pytest

from harness.errors import HarnessError, OutputError, UnsupportedError, UsageError
from harness.portable.plan import Plan, make_plan
from harness.portable.step import Alias
from harness.runtimes.tflm import Tflm
from harness.runtimes.tflm.reader import read
from tests.operator_cases import CASES, bundle
from tests.tflite_builder import ModelBuilder


def plan_of(model: ModelBuilder, *outputs: int) -> Plan:
    return make_plan(read(model.build(outputs)))


def chain(model: ModelBuilder, source: int, *ops: str) -> list[int]:
    """Elementwise operators one after another, all of the source's shape and scale."""
    tensors = [source]
    shape = model.tensors[source].shape
    for op in ops:
        tensors.append(model.tensor(shape, scale=0.1))
        if op == "RESHAPE":
            model.operator(op, [tensors[-2], model.constant(np.array(shape, np.int32))], [tensors[-1]])
        else:
            model.operator(op, [tensors[-2]], [tensors[-1]])
    return tensors


def test_a_reshape_is_an_alias_and_costs_nothing() -> None:
    model = ModelBuilder()
    x = model.input((4, 16), scale=0.1)
    first, second, third = chain(model, x, "RELU", "RESHAPE", "RELU")[1:]
    plan = plan_of(model, third)
    assert isinstance(plan.steps[1], Alias)
    assert plan.offsets[first] == plan.offsets[second]
    assert plan.memory.peak_bytes == 2 * 64


def test_an_alias_keeps_its_source_alive() -> None:
    """The buffer of a reshaped tensor must not be reused while the reshaped name is still to be read."""
    model = ModelBuilder()
    x = model.input((4, 16), scale=0.1)
    start, alias, a, b = chain(model, x, "RELU", "RESHAPE", "RELU", "RELU")[1:]
    y = model.tensor((4, 16), scale=0.2)
    model.operator("ADD", [alias, b], [y], fused_activation_function=0)
    plan = plan_of(model, y)
    assert len({plan.offsets[start], plan.offsets[a], plan.offsets[b]}) == 3


def test_a_chain_reuses_two_buffers() -> None:
    model = ModelBuilder()
    x = model.input((1, 256), scale=0.1)
    last = chain(model, x, *["RELU"] * 8)[-1]
    plan = plan_of(model, last)
    assert plan.memory.peak_bytes == plan.memory.lower_bound_bytes == 512


def test_outputs_live_to_the_end() -> None:
    model = ModelBuilder()
    x = model.input((1, 64), scale=0.1)
    tensors = chain(model, x, *["RELU"] * 5)
    plan = plan_of(model, *tensors[1:])
    spans = sorted((plan.offsets[index], plan.offsets[index] + 64) for index in tensors[1:])
    assert all(left[1] <= right[0] for left, right in itertools.pairwise(spans))


def test_two_names_may_not_write_one_tensor() -> None:
    model = ModelBuilder()
    x = model.input((1, 4), scale=0.1)
    y = model.tensor((1, 4), scale=0.1)
    model.operator("RELU", [x], [y])
    model.operator("RELU", [x], [y])
    with pytest.raises(HarnessError, match="a second time"):
        plan_of(model, y)


@pytest.mark.parametrize("operator", CASES)
def test_every_operator_checks_its_output_shape(operator: str) -> None:
    """No kernel may write past its tensor: an output longer in any direction is refused."""
    for axis in range(-4, 0):
        model = ModelBuilder()
        outputs = CASES[operator](np.random.default_rng(3), model)
        last = model.tensors[outputs[-1]]
        if len(last.shape) >= -axis:
            shape = list(last.shape)
            shape[axis] += 1
            last.shape = tuple(shape)
            with pytest.raises(HarnessError):
                plan_of(model, *outputs)


@pytest.mark.parametrize("operator", CASES)
def test_every_operator_checks_its_types(operator: str) -> None:
    model = ModelBuilder()
    outputs = CASES[operator](np.random.default_rng(3), model)
    for tensor in model.tensors:
        if tensor.data is None and tensor.dtype == "int8":
            tensor.dtype = "int32"
    model.tensors[outputs[0]].dtype = "int32"
    with pytest.raises(HarnessError, match="int32"):
        plan_of(model, *outputs)


def softmax(shape: tuple[int, ...], scale: float = 1 / 256, zero_point: int = -128) -> Plan:
    model = ModelBuilder()
    x = model.input(shape, scale=0.1)
    y = model.tensor(shape, scale=scale, zero_point=zero_point)
    model.operator("SOFTMAX", [x], [y], beta=1.0)
    return plan_of(model, y)


def test_softmax_refuses_what_tflite_micro_cannot() -> None:
    with pytest.raises(UnsupportedError, match="1/256"):
        softmax((1, 10), scale=0.01)
    with pytest.raises(UnsupportedError, match="512 classes"):
        softmax((1, 512))
    assert softmax((1, 511)).steps[0].op == "SOFTMAX"


def test_add_refuses_scales_that_make_the_kernel_abort() -> None:
    model = ModelBuilder()
    a, b = model.input((4,), scale=8.0), model.input((4,), scale=0.01)
    y = model.tensor((4,), scale=1e-6)
    model.operator("ADD", [a, b], [y], fused_activation_function=0)
    with pytest.raises(UnsupportedError, match="too far apart"):
        plan_of(model, y)


def test_concatenation_does_not_rescale() -> None:
    model = ModelBuilder()
    a, b = model.input((1, 4), scale=0.1), model.input((1, 4), scale=0.2)
    y = model.tensor((1, 8), scale=0.1)
    model.operator("CONCATENATION", [a, b], [y], axis=1, fused_activation_function=0)
    with pytest.raises(UnsupportedError, match="differ in scale"):
        plan_of(model, y)


def generate(tmp_path: Path, directory: Path) -> dict[str, bytes]:
    path = tmp_path / "net.tflite"
    path.write_bytes(bundle("conv_2d", seed=1, count=3))
    project = Tflm().generate(Tflm().load(path), "portable", directory)
    assert project.arena_bytes > 0
    return {file.name: file.read_bytes() for file in sorted(directory.iterdir())}


def test_the_same_model_gives_the_same_bytes(tmp_path: Path) -> None:
    first = generate(tmp_path, tmp_path / "a")
    assert first == generate(tmp_path, tmp_path / "b") == generate(tmp_path, tmp_path / "a")
    assert {"model.c", "model_weights.c", "model_weights.h", "fixed_point.h"} <= set(first)
    assert str(tmp_path).encode() not in b"".join(first.values())


def test_other_kernels_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.tflite"
    path.write_bytes(bundle("relu", seed=1, count=1))
    with pytest.raises(UsageError, match=r"no kernels 'nope'.*portable"):
        Tflm().generate(Tflm().load(path), "nope", tmp_path / "out")


def test_a_directory_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write the project"):
        generate(tmp_path, tmp_path / "file" / "below")


def test_a_failed_write_leaves_nothing_half_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    before = generate(tmp_path, out)

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OutputError, match="No space left"):
        generate(tmp_path, out)
    assert {file.name: file.read_bytes() for file in sorted(out.iterdir())} == before


def test_names_cannot_break_out_of_the_source(tmp_path: Path) -> None:
    """A tensor's name goes into comments and strings; the compiler must see neither end early."""
    model = ModelBuilder()
    x = model.input((1, 4), scale=0.1)
    y = model.tensor((1, 4), scale=0.1, name='*/ "quoted" \\ ??/ \n ümläut /*')
    model.operator("RELU", [x], [y])
    path = tmp_path / "net.tflite"
    path.write_bytes(model.build([y]))
    artifact = Tflm().load(path)
    project = Tflm().generate(artifact, "portable", tmp_path / "out")
    text = (project.directory / "model.c").read_text(encoding="ascii")
    assert text.count("*/") == text.count("/*")
