"""The operators the portable kernels cover: name in the TFLite schema to planning function."""

from __future__ import annotations

from collections.abc import Callable

from harness.portable.node import Node
from harness.portable.ops.conv import plan_conv_2d, plan_depthwise_conv_2d
from harness.portable.ops.fully_connected import plan_fully_connected
from harness.portable.ops.pool import plan_pool
from harness.portable.ops.shape import plan_reshape
from harness.portable.ops.softmax import plan_softmax
from harness.portable.step import Step

OPERATORS: dict[str, Callable[[Node], Step]] = {
    "CONV_2D": plan_conv_2d,
    "DEPTHWISE_CONV_2D": plan_depthwise_conv_2d,
    "EXPAND_DIMS": plan_reshape,
    "FULLY_CONNECTED": plan_fully_connected,
    "MAX_POOL_2D": plan_pool,
    "RESHAPE": plan_reshape,
    "SOFTMAX": plan_softmax,
    "SQUEEZE": plan_reshape,
}
