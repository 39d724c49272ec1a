"""Convolutions and dense layers in the shapes that networks have, on this machine and both instruction sets.

The random configurations of test_operators.py are small; here every form of the tiled kernels occurs:
full eights and what is left of them, rows longer than a chunk, margins, strides, dilation, groups.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness.boards import choose_board
from harness.link.client import Link
from harness.runtimes.planned import PlannedArtifact
from harness.runtimes.tflm import Tflm
from harness.targets import get_target
from harness.toolchains import bare_metal
from tests.engine_host import assert_exact, random_input
from tests.firmware_wire import digest8
from tests.operator_cases import bias, out_size, output_scale, quantised, weights
from tests.tflite_builder import ModelBuilder

SAME, VALID = 0, 1
# size, channels in, out, filter, stride, padding, dilation, groups
CONVOLUTIONS = [
    ((16, 16), 16, 16, (3, 3), 1, VALID, 1, 1),
    ((16, 16), 16, 16, (3, 3), 1, SAME, 1, 1),
    ((12, 12), 3, 8, (3, 3), 2, SAME, 1, 1),
    ((9, 9), 1, 9, (3, 3), 1, VALID, 1, 1),
    ((13, 5), 1, 24, (10, 4), 2, SAME, 1, 1),
    ((7, 7), 24, 17, (1, 1), 1, SAME, 1, 1),
    ((8, 8), 16, 32, (1, 1), 2, SAME, 1, 1),
    ((3, 3), 40, 11, (3, 3), 1, SAME, 1, 1),
    ((11, 10), 5, 13, (3, 2), 1, SAME, 2, 1),
    ((12, 11), 6, 20, (2, 3), 1, VALID, 3, 1),
    ((6, 6), 6, 16, (3, 3), 1, SAME, 1, 2),
    ((6, 6), 6, 22, (3, 3), 1, SAME, 1, 2),
    ((1, 40), 8, 16, (1, 5), 1, SAME, 1, 1),
]
# size, channels, multiplier, filter, stride, padding, dilation
DEPTHWISE = [
    ((16, 16), 16, 1, (3, 3), 1, VALID, 1),
    ((24, 24), 8, 1, (3, 3), 1, SAME, 1),
    ((12, 49), 3, 1, (3, 3), 2, SAME, 1),
    ((5, 37), 7, 2, (5, 5), 1, SAME, 1),
    ((25, 5), 24, 1, (3, 3), 1, SAME, 1),
    ((3, 3), 32, 1, (3, 3), 1, SAME, 1),
    ((14, 20), 4, 3, (2, 9), 1, VALID, 1),
    ((14, 20), 4, 1, (3, 3), 1, SAME, 2),
    ((11, 11), 5, 1, (11, 11), 1, VALID, 1),
]
DENSE = [(1, 256, 64), (1, 37, 10), (5, 19, 23), (2, 8, 1), (4, 64, 8)]


def convolution(
    rng: np.random.Generator,
    model: ModelBuilder,
    size: tuple[int, int],
    shape: tuple[int, ...],
    axis: int,
    outputs: int,
    stride: int,
    padding: int,
    dilation: int,
    channels: int,
    **options: int,
) -> int:
    taps = shape[1:3]
    x = quantised(rng, model, (int(rng.integers(1, 3)), *size, channels))
    w, scales = weights(rng, model, shape, axis=axis)
    b = bias(rng, model, outputs, scales)
    out = [out_size(size[i], taps[i], stride, dilation, padding) for i in range(2)]
    batch = model.tensors[x].shape[0]
    y_scale = output_scale(rng, model, scales, taps[0] * taps[1] * (1 if axis == 3 else shape[3]))
    y = model.tensor((batch, *out, outputs), scale=y_scale, zero_point=int(rng.integers(-128, 128)))
    model.operator(
        "DEPTHWISE_CONV_2D" if axis == 3 else "CONV_2D",
        [x, w, *b],
        [y],
        padding=padding,
        stride_h=stride,
        stride_w=stride,
        dilation_h_factor=dilation,
        dilation_w_factor=dilation,
        fused_activation_function=0,
        **options,
    )
    return y


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> PlannedArtifact:
    """All of them side by side in one model."""
    rng, model, outputs = np.random.default_rng(21), ModelBuilder(), []
    for size, channels, made, taps, stride, padding, dilation, groups in CONVOLUTIONS:
        shape = (made, *taps, channels // groups)
        outputs.append(convolution(rng, model, size, shape, 0, made, stride, padding, dilation, channels))
    for size, channels, multiplier, taps, stride, padding, dilation in DEPTHWISE:
        made = channels * multiplier
        shape = (1, *taps, made)
        outputs.append(
            convolution(
                rng,
                model,
                size,
                shape,
                3,
                made,
                stride,
                padding,
                dilation,
                channels,
                depth_multiplier=multiplier,
            )
        )
    for batch, inputs, made in DENSE:
        x = quantised(rng, model, (batch, inputs))
        w, scales = weights(rng, model, (made, inputs), axis=0)
        b = bias(rng, model, made, scales)
        y = model.tensor((batch, made), scale=output_scale(rng, model, scales, inputs), zero_point=9)
        model.operator("FULLY_CONNECTED", [x, w, *(b or [-1])], [y], fused_activation_function=1)
        outputs.append(y)
    path = tmp_path_factory.mktemp("shapes") / "shapes.tflite"
    path.write_bytes(model.build(outputs))
    return Tflm().load(path)


def test_every_shape_is_exact_here(network: PlannedArtifact, tmp_path: Path) -> None:
    assert_exact(network, tmp_path / "project", seed=22, count=2)


@pytest.mark.parametrize("chip", ["esp32c3", "esp32s3"])
def test_every_shape_is_exact_on(chip: str, network: PlannedArtifact, tmp_path: Path) -> None:
    project = Tflm().generate(network, "portable", tmp_path / "project")
    target = get_target(chip)
    image = bare_metal.build(project, target, target.isa_platform, build_root=tmp_path / "build")
    rng = np.random.default_rng(23)
    inputs = [random_input(rng, info) for info in network.inputs]
    board, _ = choose_board(target, image)
    with board as port:
        link = Link(port, board_state=board.state, timeout_s=60.0)
        link.connect()
        reply = link.infer(b"".join(array.tobytes() for array in inputs), layer_digests=True)
    expected = [digest8(layer.tobytes()) for layer in Tflm().oracle(network).run_layers(inputs)]
    wrong = [
        f"{layer.index} {layer.op} {layer.output.shape}"
        for layer, got, right in zip(network.layers, reply.layer_digests, expected, strict=True)
        if got != right
    ]
    assert wrong == []
