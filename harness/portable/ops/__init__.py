"""The operators the portable kernels cover: name in the TFLite schema to planning function."""

from __future__ import annotations

from collections.abc import Callable

from harness.portable.node import Node
from harness.portable.ops.conv import plan_conv_2d
from harness.portable.ops.depthwise import plan_depthwise_conv_2d
from harness.portable.ops.elementwise import plan_add_sub, plan_mul
from harness.portable.ops.fully_connected import plan_fully_connected
from harness.portable.ops.lookup import (
    plan_dequantize,
    plan_hard_swish,
    plan_leaky_relu,
    plan_quantize,
    plan_relu,
    plan_relu6,
    plan_sigmoid,
)
from harness.portable.ops.mean import plan_mean
from harness.portable.ops.move import (
    plan_concatenation,
    plan_pad,
    plan_resize_nearest,
    plan_split,
    plan_strided_slice,
    plan_transpose,
)
from harness.portable.ops.pool import plan_average_pool, plan_max_pool
from harness.portable.ops.shape import plan_expand_dims, plan_reshape, plan_squeeze
from harness.portable.ops.softmax import plan_softmax
from harness.portable.step import Step

OPERATORS: dict[str, Callable[[Node], Step]] = {
    "ADD": plan_add_sub,
    "AVERAGE_POOL_2D": plan_average_pool,
    "CONCATENATION": plan_concatenation,
    "CONV_2D": plan_conv_2d,
    "DEPTHWISE_CONV_2D": plan_depthwise_conv_2d,
    "DEQUANTIZE": plan_dequantize,
    "EXPAND_DIMS": plan_expand_dims,
    "FULLY_CONNECTED": plan_fully_connected,
    "HARD_SWISH": plan_hard_swish,
    "LEAKY_RELU": plan_leaky_relu,
    "LOGISTIC": plan_sigmoid,
    "MAX_POOL_2D": plan_max_pool,
    "MEAN": plan_mean,
    "MUL": plan_mul,
    "PAD": plan_pad,
    "PADV2": plan_pad,
    "QUANTIZE": plan_quantize,
    "RELU": plan_relu,
    "RELU6": plan_relu6,
    "RESHAPE": plan_reshape,
    "RESIZE_NEAREST_NEIGHBOR": plan_resize_nearest,
    "SOFTMAX": plan_softmax,
    "SPLIT": plan_split,
    "SQUEEZE": plan_squeeze,
    "STRIDED_SLICE": plan_strided_slice,
    "SUB": plan_add_sub,
    "TANH": plan_sigmoid,
    "TRANSPOSE": plan_transpose,
}
