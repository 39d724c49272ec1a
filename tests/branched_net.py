"""A float .tflite with branches, without TensorFlow."""

from __future__ import annotations

import numpy as np

from tests.tflite_builder import ModelBuilder

RELU, SAME = 1, 0


def numbers(*shape: int) -> np.ndarray:
    return np.random.default_rng(shape).normal(0, 0.5, shape).astype(np.float32)


def net_with_branches() -> bytes:
    """Residuals, a gate per channel, constants on either side, and vectors that lie otherwise in ONNX."""
    model = ModelBuilder()
    apart = {"dilation_w_factor": 1, "dilation_h_factor": 1, "stride_w": 1, "stride_h": 1, "padding": SAME}

    def made(op: str, shape: tuple[int, ...], *inputs: int | np.ndarray, **options: object) -> int:
        out = model.tensor((1, *shape), "float32")
        given = [each if isinstance(each, int) else model.constant(each) for each in inputs]
        model.operator(op, given, [out], **options)
        return out

    x = model.input((1, 5, 4, 3), "float32")
    a = made("CONV_2D", (5, 4, 3), x, numbers(3, 3, 3, 3), numbers(3), **apart)
    sum_of = made("ADD", (5, 4, 3), a, x, fused_activation_function=RELU)
    gate = made("MEAN", (3,), sum_of, np.array([1, 2], np.int32), keep_dims=False)
    gate = made("RESHAPE", (1, 1, 3), gate, np.array([1, 1, 1, 3], np.int32))
    gate = made("HARD_SWISH", (1, 1, 3), gate)
    gated = made("MUL", (5, 4, 3), gate, sum_of)
    turned = made("SUB", (5, 4, 3), numbers(1, 1, 1, 3), gated)
    scaled = made("MUL", (5, 4, 3), turned, np.float32(0.5).reshape(()))
    wide = made("CONCATENATION", (5, 4, 6), scaled, x, axis=3)
    tall = made("CONCATENATION", (10, 4, 6), wide, wide, axis=-3)
    flat = made("RESHAPE", (240,), tall, np.array([1, 240], np.int32))
    other = made("ADD", (240,), flat, numbers(1, 240))
    both = made("SUB", (240,), made("TANH", (240,), flat), other)
    made("RELU", (240,), both)  # nobody reads it
    return model.build([both])
