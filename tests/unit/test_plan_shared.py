"""An output over the input that it is computed from: the planner's rule, and that nothing is lost by it."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.arena import tflm_arena_bytes
from benchmarks.instructions import SAME, VALID, Layer, convolution
from harness.portable.memory import Buffer, align, overlap_in_time, plan_memory
from harness.portable.ops.conv import Convolution
from harness.portable.ops.depthwise import DepthwiseConv2D
from harness.portable.ops.pool import Pool
from harness.portable.ops.window import Axis
from harness.portable.plan import bytes_apart, make_plan
from harness.portable.step import Step
from harness.runtimes.planned import PlannedArtifact
from harness.runtimes.tflm import Tflm
from harness.runtimes.tflm.reader import read
from tests.engine_host import assert_exact
from tests.tflite_builder import ModelBuilder

unhurried = settings(deadline=None)
ZOO = sorted((Path(__file__).parents[2] / "models").glob("*/model.tflite"))


def pool(size: int, channels: int, taps: int, stride: int, padding: int) -> Layer:
    def add(model: ModelBuilder, rng: np.random.Generator) -> int:
        del rng
        out = -(-size // stride) if padding == SAME else (size - taps) // stride + 1
        x, y = (
            model.input((1, size, size, channels), scale=0.1),
            model.tensor((1, out, out, channels), scale=0.1),
        )
        options = {"stride_h": stride, "stride_w": stride, "filter_height": taps, "filter_width": taps}
        model.operator("MAX_POOL_2D", [x], [y], padding=padding, fused_activation_function=0, **options)
        return y

    return add


LAYERS: dict[str, Layer] = {
    "depthwise 48x48x8": convolution(48, 8, 0, padding=SAME),
    "depthwise 3x3x256": convolution(3, 256, 0, padding=SAME),
    "depthwise 12x12x32, stride 2": convolution(12, 32, 0, stride=2, padding=SAME),
    "convolution 8x8x64": convolution(8, 64, 64, padding=SAME),
    "convolution 4x4x128": convolution(4, 128, 128, padding=SAME),
    "convolution 96x96x3 to 48x48x8": convolution(96, 3, 8, stride=2, padding=SAME),
    "convolution 32x32x3 to 32x32x32": convolution(32, 3, 32, padding=SAME),
    "convolution 16x16x32 to 16x16x4": convolution(16, 32, 4, padding=SAME),
    "convolution 7x7 of 32x32x3": convolution(32, 3, 16, 7, stride=2, padding=SAME),
    "convolution 9x9x8 to 7x7x24": convolution(9, 8, 24),
    "convolution 1x1, 9x9x16 to 9x9x40": convolution(9, 16, 40, 1),
    "pool of 12x12x8": pool(12, 8, 2, 2, VALID),
    "int16 convolution 16x16x16": convolution(16, 16, 16, padding=SAME, data="int16"),
}


def layer(name: str, directory: Path) -> PlannedArtifact:
    model, path = ModelBuilder(), directory / "layer.tflite"
    path.write_bytes(model.build([LAYERS[name](model, np.random.default_rng(0))]))
    return Tflm().load(path)


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_takes_no_more_than_tflm(name: str, tmp_path: Path) -> None:
    plan = layer(name, tmp_path).plan
    assert plan.memory.peak_bytes <= tflm_arena_bytes(tmp_path / "layer.tflite").total


@pytest.mark.parametrize("path", ZOO, ids=lambda path: path.parent.name)
def test_zoo_takes_no_more_than_tflm(path: Path) -> None:
    assert Tflm().load(path).plan.memory.peak_bytes <= tflm_arena_bytes(path).total


@pytest.mark.parametrize(
    "name",
    [
        "depthwise 3x3x256",
        "convolution 16x16x32 to 16x16x4",
        "convolution 9x9x8 to 7x7x24",
        "convolution 1x1, 9x9x16 to 9x9x40",
        "pool of 12x12x8",
        "int16 convolution 16x16x16",
    ],
)
def test_exact_though_the_output_lies_over_the_input(name: str, tmp_path: Path) -> None:
    artifact = layer(name, tmp_path)
    (read,), (written,) = artifact.graph.inputs, artifact.graph.outputs
    assert artifact.plan.offsets[read] < artifact.plan.offsets[written] + artifact.outputs[0].size_bytes
    assert_exact(artifact, tmp_path / "project")


def step_of(layer: Layer) -> Step:
    model = ModelBuilder()
    return make_plan(read(model.build([layer(model, np.random.default_rng(0))]))).steps[0]


@unhurried
@given(
    size=st.integers(5, 12),
    channels=st.integers(1, 4),
    outputs=st.integers(0, 9),
    taps=st.sampled_from([2, 3, 5]),
    stride=st.integers(1, 3),
    padding=st.sampled_from([SAME, VALID]),
    pooling=st.booleans(),
)
def test_lead_is_what_the_rows_need_and_no_byte_more(
    size: int, channels: int, outputs: int, taps: int, stride: int, padding: int, pooling: bool
) -> None:
    step = step_of(
        pool(size, channels, taps, stride, padding)
        if pooling
        else convolution(size, channels, outputs, taps, stride=stride, padding=padding)
    )
    assert isinstance(step, Convolution | Pool)
    if step.lead_bytes is None:
        assert isinstance(step, DepthwiseConv2D)
        assert step.inside
        return
    copied = isinstance(step, Convolution) and not step.inside
    image_row, row = (
        size * tensor.info.shape[3]
        for tensor, size in ((step.reads[0], step.width.size), (step.writes[0], step.width.out))
    )
    assert not spoils(step.height, image_row, row, copied, step.lead_bytes)
    assert step.lead_bytes == 0 or spoils(step.height, image_row, row, copied, step.lead_bytes - 1)


@unhurried
@given(size=st.integers(1, 6), channels=st.integers(1, 9), outputs=st.integers(1, 20))
def test_lead_of_a_convolution_pixel_by_pixel(size: int, channels: int, outputs: int) -> None:
    """Two pixels are written before either is read for the last time."""
    step = step_of(convolution(size, channels, outputs, 1))
    assert step.lead_bytes is not None
    written: set[int] = set()
    for first in range(0, size * size, 2):
        pair = range(first, min(first + 2, size * size))
        written.update(range(first * outputs - step.lead_bytes, pair.stop * outputs - step.lead_bytes))
        assert written.isdisjoint(range(first * channels, pair.stop * channels))


def spoils(height: Axis, image_row: int, row: int, copied: bool, lead_bytes: int) -> bool:
    """Whether a row of the output takes the place of a row of the image that is still to be read.

    `copied`: the rows under a window are copied before anything is written; else they are read until the
    whole row is written.
    """
    written: set[int] = set()
    for y in range(height.out):
        row_written = range(y * row - lead_bytes, (y + 1) * row - lead_bytes)
        if not copied:
            written.update(row_written)
        for image_y in range(y * height.stride - height.pad, height.size)[: height.taps]:
            if image_y >= 0 and not written.isdisjoint(range(image_y * image_row, (image_y + 1) * image_row)):
                return True
        written.update(row_written)
    return False


@st.composite
def chains(draw: st.DrawFn) -> tuple[list[Buffer], dict[tuple[int, int], int]]:
    """Each layer reads the one before, and some may write over it, with scratch; some tensors live on."""
    sizes = draw(st.lists(st.integers(1, 3000), min_size=2, max_size=12))
    longer = [draw(st.sampled_from([0, 0, 0, 2])) for _ in sizes]
    tensors = [Buffer(size, i - 1, i + longer[i]) for i, size in enumerate(sizes)]
    leads = {
        (i + 1, i): draw(st.integers(0, sizes[i + 1] + 100))
        for i in range(len(sizes) - 1)
        if not longer[i] and draw(st.booleans())
    }
    scratch = [Buffer(draw(st.integers(1, 500)), i, i) for _, i in leads]
    return [*tensors, *scratch], leads


@unhurried
@given(chains())
def test_living_buffers_overlap_only_as_a_lead_allows(
    chain: tuple[list[Buffer], dict[tuple[int, int], int]],
) -> None:
    buffers, leads = chain
    plan = plan_memory(buffers, leads)

    def apart(lower: int, upper: int) -> bool:
        size_bytes = buffers[lower].size_bytes
        distance = min(leads.get((lower, upper), size_bytes), size_bytes)
        return plan.offsets[upper] - plan.offsets[lower] >= distance

    for i, j in itertools.combinations(range(len(buffers)), 2):
        assert not overlap_in_time(buffers[i], buffers[j]) or apart(i, j) or apart(j, i)
    assert plan.lower_bound_bytes <= plan.peak_bytes <= plan_memory(buffers).peak_bytes


def test_a_layer_and_what_it_may_overwrite_need_the_lead_only() -> None:
    buffers = [Buffer(1600, -1, 0), Buffer(1600, 0, 1), Buffer(160, 0, 0)]
    plan = plan_memory(buffers, {(1, 0): 100})
    assert plan.peak_bytes == plan.lower_bound_bytes == align(100) + 1600 + 160


def test_a_vendors_library_is_reckoned_with_input_and_output_apart(tmp_path: Path) -> None:
    plan = layer("depthwise 48x48x8", tmp_path).plan
    assert bytes_apart(plan) == 2 * 48 * 48 * 8
    assert plan.memory.peak_bytes < bytes_apart(plan)
