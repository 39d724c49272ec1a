"""Instructions per multiply-accumulate of the kernels, per inference of the zoo, flash and arena bytes.

Counted by the emulator, requantisation included: the same on every machine with the same compilers, and
neither cycles nor milliseconds. Each answer is compared with the oracle first, so that no figure is of a
wrong kernel.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.arena import tflm_arena_bytes
from benchmarks.figures import ARENA, FLASH, PER_INFERENCE, PER_MAC, ROOT, Figures
from harness.boards import choose_board
from harness.link.client import Link
from harness.runtimes import get_runtime
from harness.runtimes.planned import PlannedArtifact
from harness.targets import get_target
from harness.toolchains.bare_metal import build
from tests.engine_host import random_input
from tests.firmware_wire import digest8
from tests.tflite_builder import ModelBuilder

TARGETS = ("esp32c3", "esp32s3")
SAME, VALID = 0, 1
Layer = Callable[[ModelBuilder, np.random.Generator], int]


def convolution(
    size: int,
    channels: int,
    outputs: int,
    taps: int = 3,
    *,
    stride: int = 1,
    padding: int = VALID,
    data: str = "int8",
) -> Layer:
    """CONV_2D of a square image; `outputs` 0 makes it depthwise."""

    def add(model: ModelBuilder, rng: np.random.Generator) -> int:
        depthwise = outputs == 0
        made = channels if depthwise else outputs
        shape = (1, taps, taps, channels) if depthwise else (outputs, taps, taps, channels)
        zero = 0 if data == "int16" else 1
        x = model.input((1, size, size, channels), data, 0.05, -4 * zero)
        scales = [float(np.float32(0.002 + 0.0001 * c)) for c in range(made)]
        weights = model.constant(
            rng.integers(-127, 128, shape, np.int8), scales=scales, axis=3 if depthwise else 0
        )
        bias = model.constant(
            rng.integers(-3000, 3000, made, np.int32).astype(np.int64 if data == "int16" else np.int32),
            scales=[float(np.float32(0.05 * scale)) for scale in scales],
            axis=0,
        )
        out = -(-size // stride) if padding == SAME else (size - taps) // stride + 1
        y = model.tensor((1, out, out, made), data, 0.3, 3 * zero)
        options = {"padding": padding, "stride_h": stride, "stride_w": stride, "fused_activation_function": 1}
        options |= {"dilation_h_factor": 1, "dilation_w_factor": 1}
        if depthwise:
            model.operator("DEPTHWISE_CONV_2D", [x, weights, bias], [y], depth_multiplier=1, **options)
        else:
            model.operator("CONV_2D", [x, weights, bias], [y], **options)
        return y

    return add


def fully_connected(inputs: int, outputs: int, data: str = "int8") -> Layer:
    def add(model: ModelBuilder, rng: np.random.Generator) -> int:
        zero = 0 if data == "int16" else 1
        x = model.input((1, inputs), data, 0.05, -4 * zero)
        weights = model.constant(
            rng.integers(-127, 128, (outputs, inputs), np.int8), scales=[0.01] * outputs, axis=0
        )
        y = model.tensor((1, outputs), data, 0.3, 3 * zero)
        model.operator("FULLY_CONNECTED", [x, weights, -1], [y], fused_activation_function=0)
        return y

    return add


KERNELS: dict[str, Layer] = {
    "conv 3x3, 16x16x16 to 14x14x16": convolution(16, 16, 16),
    "conv 3x3, 16x16x16, padded": convolution(16, 16, 16, padding=SAME),
    "conv 3x3, 16x16x16 to 7x7x32": convolution(16, 16, 32, stride=2),
    "conv 3x3, 32x32x3 to 16x16x8, padded": convolution(32, 3, 8, stride=2, padding=SAME),
    "conv 3x3, 13x13x5 to 11x11x7": convolution(13, 5, 7),
    "conv 1x1, 12x12x32 to 12x12x64": convolution(12, 32, 64, 1),
    "depthwise 3x3, 16x16x16 to 14x14x16": convolution(16, 16, 0),
    "depthwise 3x3, 16x16x16, padded": convolution(16, 16, 0, padding=SAME),
    "depthwise 3x3, 16x16x16 to 7x7x16": convolution(16, 16, 0, stride=2),
    "fully connected, 256 to 64": fully_connected(256, 64),
    "int16x8 conv 3x3, 16x16x16 to 14x14x16": convolution(16, 16, 16, data="int16"),
    "int16x8 depthwise 3x3, 16x16x16": convolution(16, 16, 0, data="int16"),
    "int16x8 fully connected, 256 to 64": fully_connected(256, 64, "int16"),
}


PADDED: dict[str, Layer] = {
    "depthwise 3x3, 48x48x8, padded": convolution(48, 8, 0, padding=SAME),
    "depthwise 3x3, 3x3x256, padded": convolution(3, 256, 0, padding=SAME),
    "depthwise 5x5, 6x6x96, padded": convolution(6, 96, 0, 5, padding=SAME),
    "conv 3x3, 8x8x64, padded": convolution(8, 64, 64, padding=SAME),
    "conv 3x3, 96x96x3 to 48x48x8, padded": convolution(96, 3, 8, stride=2, padding=SAME),
}
"""Layers whose windows reach over the border, each a model of its own: what their arena takes."""


def count(artifact: PlannedArtifact, target_id: str, directory: Path) -> tuple[tuple[int, ...], int]:
    """Instructions of each layer for one input, and flash bytes. Every layer has come out exactly."""
    target, runtime = get_target(target_id), get_runtime(artifact.runtime)
    project = runtime.generate(artifact, "portable", directory / "project")
    image = build(project, target, target.isa_platform, build_root=directory / "build")
    rng = np.random.default_rng(1)
    inputs = [random_input(rng, info) for info in artifact.inputs]
    board, _ = choose_board(target, image, kind="qemu")
    with board as port:
        link = Link(port, board_state=board.state, timeout_s=120.0)
        link.connect()
        sample = b"".join(array.tobytes() for array in inputs)
        reply = link.infer(sample, layer_counts=True, layer_digests=True)
    for layer, got, expected in zip(
        artifact.layers, reply.layer_digests, runtime.oracle(artifact).run_layers(inputs), strict=True
    ):
        if got != digest8(expected.tobytes()):
            sys.exit(f"{target_id}: layer {layer.index} {layer.op} is not exact; nothing is counted")
    return reply.layer_counts, image.flash_bytes


def measure(directory: Path) -> Figures:
    """All tables: title, row, target, figure."""
    figures: Figures = {title: {} for title in (PER_MAC, PER_INFERENCE, FLASH, ARENA)}
    kernels = get_runtime("tflm").load(layers_alone(list(KERNELS.values()), directory / "kernels.tflite"))
    counts = {target: count(kernels, target, directory / target)[0] for target in TARGETS}
    for name, info in zip(KERNELS, kernels.layers, strict=True):
        figures[PER_MAC][name] = {
            target: round(layers[info.index] / info.macs, 3) for target, layers in counts.items()
        }
    for path in sorted(ROOT.glob("models/*/model.tflite")):
        name, network = path.parent.name, get_runtime("tflm").load(path)
        both = {target: count(network, target, directory / name / target) for target in TARGETS}
        figures[PER_INFERENCE][name] = {target: sum(layers) for target, (layers, _) in both.items()}
        figures[FLASH][name] = {target: flash for target, (_, flash) in both.items()}
        figures[ARENA][name] = arena(path)
    for name, layer in PADDED.items():
        figures[ARENA][name] = arena(layers_alone([layer], directory / "padded.tflite"))
    return figures


def layers_alone(layers: list[Layer], path: Path) -> Path:
    """Writes a model of layers that have nothing to do with each other."""
    model, rng = ModelBuilder(), np.random.default_rng(0)
    path.write_bytes(model.build([add(model, rng) for add in layers]))
    return path


def arena(model: Path) -> dict[str, float]:
    plan, theirs = get_runtime("tflm").load(model).plan, tflm_arena_bytes(model)
    return {
        "here": plan.memory.peak_bytes,
        "tflite-micro, activations": theirs.activations,
        "tflite-micro": theirs.total,
    }
