"""The operators of runtime espdl: name in the file to planning function."""

from __future__ import annotations

from collections.abc import Callable

from harness.portable.node import Node
from harness.portable.ops.float_softmax import plan_float_softmax
from harness.portable.ops.move import concatenation
from harness.portable.ops.power_of_two import (
    plan_alias,
    plan_conv,
    plan_gemm,
    plan_max_pool,
    plan_relu,
    plan_table,
    plan_transpose,
)
from harness.portable.ops.power_of_two_elementwise import (
    plan_add_sub,
    plan_clip,
    plan_mul,
    plan_prelu,
    plan_requantize,
)
from harness.portable.ops.power_of_two_matmul import plan_matmul
from harness.portable.ops.power_of_two_mean import (
    plan_average_pool,
    plan_global_average_pool,
    plan_reduce_mean,
)
from harness.portable.ops.power_of_two_move import plan_pad, plan_resize, plan_slice
from harness.portable.step import Step

ESPDL_OPERATORS: dict[str, Callable[[Node], Step]] = {
    "Add": plan_add_sub,
    "AveragePool": plan_average_pool,
    "Clip": plan_clip,
    "Concat": concatenation,
    "Conv": plan_conv,
    "Elu": plan_table,
    "Exp": plan_table,
    "Flatten": plan_alias,
    "Gelu": plan_table,
    "Gemm": plan_gemm,
    "GlobalAveragePool": plan_global_average_pool,
    "HardSigmoid": plan_table,
    "HardSwish": plan_table,
    "LUT": plan_table,
    "LeakyRelu": plan_table,
    "Log": plan_table,
    "MatMul": plan_matmul,
    "MaxPool": plan_max_pool,
    "Mul": plan_mul,
    "PRelu": plan_prelu,
    "Pad": plan_pad,
    "ReduceMean": plan_reduce_mean,
    "Relu": plan_relu,
    "RequantizeLinear": plan_requantize,
    "Reshape": plan_alias,
    "Resize": plan_resize,
    "Sigmoid": plan_table,
    "Slice": plan_slice,
    "Softmax": plan_float_softmax,
    "Sqrt": plan_table,
    "Squeeze": plan_alias,
    "Sub": plan_add_sub,
    "Swish": plan_table,
    "Tanh": plan_table,
    "Transpose": plan_transpose,
    "Unsqueeze": plan_alias,
}
