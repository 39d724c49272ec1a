"""The operators the portable kernels cover: name in the TFLite schema to planning function."""

from __future__ import annotations

from collections.abc import Callable

from harness.portable.node import Node
from harness.portable.ops import functions16, softmax16
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

Plan = Callable[[Node], Step]


def _by_type(int8: Plan, int16: Plan) -> Plan:
    """The second where input or output is int16; a table of int8's 256 values may hold int16 as well."""

    def plan(node: Node) -> Step:
        source, target = node.input().info.dtype, node.output().info.dtype
        return (int16 if "int16" in (source, target) and source != "int8" else int8)(node)

    return plan


OPERATORS: dict[str, Plan] = {
    "ADD": plan_add_sub,
    "AVERAGE_POOL_2D": plan_average_pool,
    "CONCATENATION": plan_concatenation,
    "CONV_2D": plan_conv_2d,
    "DEPTHWISE_CONV_2D": plan_depthwise_conv_2d,
    "DEQUANTIZE": _by_type(plan_dequantize, functions16.plan_dequantize),
    "EXPAND_DIMS": plan_expand_dims,
    "FULLY_CONNECTED": plan_fully_connected,
    "HARD_SWISH": plan_hard_swish,
    "LEAKY_RELU": _by_type(plan_leaky_relu, functions16.plan_leaky_relu),
    "LOGISTIC": _by_type(plan_sigmoid, functions16.plan_sigmoid),
    "MAX_POOL_2D": plan_max_pool,
    "MEAN": plan_mean,
    "MUL": plan_mul,
    "PAD": plan_pad,
    "PADV2": plan_pad,
    "QUANTIZE": _by_type(plan_quantize, functions16.plan_quantize),
    "RELU": _by_type(plan_relu, functions16.plan_relu),
    "RELU6": _by_type(plan_relu6, functions16.plan_relu6),
    "RESHAPE": plan_reshape,
    "RESIZE_NEAREST_NEIGHBOR": plan_resize_nearest,
    "SOFTMAX": _by_type(plan_softmax, softmax16.plan_softmax),
    "SPLIT": plan_split,
    "SQUEEZE": plan_squeeze,
    "STRIDED_SLICE": plan_strided_slice,
    "SUB": plan_add_sub,
    "TANH": _by_type(plan_sigmoid, functions16.plan_sigmoid),
    "TRANSPOSE": plan_transpose,
}
