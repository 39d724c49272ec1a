"""One graph as a table, with its totals: what each operator makes, costs and holds, and the memory it takes.

For quantised files the figures are those of the plan that the kernels are generated from; for float ones
what the same network takes with one byte per value.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from harness.errors import HarnessError
from harness.inspection.float_graph import macs_of
from harness.portable.graph import Graph, Operator, Tensor
from harness.portable.memory import Buffer, MemoryPlan, plan_memory
from harness.portable.node import Node
from harness.portable.plan import Operators, make_plan

STORED_INTEGERS = ("int8", "uint8", "int16")


@dataclass(frozen=True)
class Row:
    """One operator. `parameters` are the elements of its weights and biases, `refused` why it has no kernel
    ("" where it has one); `macs` is None where it is refused.
    """

    index: int
    op: str
    output: str
    shape: tuple[int, ...]
    dtype: str
    macs: int | None
    parameters: int
    scale: float
    zero_point: int
    refused: str = ""

    @property
    def exponent(self) -> int | None:
        return exponent_of(self.scale, self.zero_point)


def exponent_of(scale: float, zero_point: int) -> int | None:
    """Where real = integer * 2^exponent; None for any other scale."""
    mantissa, exponent = math.frexp(scale)
    return exponent - 1 if mantissa == 0.5 and zero_point == 0 else None


@dataclass(frozen=True)
class Memory:
    """Of all that is alive while the network runs: what the plan takes, and what no plan could go below."""

    arena_bytes: int
    least_bytes: int


@dataclass(frozen=True)
class GraphFacts:
    """`weight_bytes` are the parameters as the file stores them, `constant_bytes` what the generated kernels
    keep in flash: those, and multipliers, shifts and tables. None where an operator is refused.
    """

    rows: tuple[Row, ...]
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    quantisation: str
    parameters: int
    weight_bytes: int
    memory: Memory | None
    constant_bytes: int | None = None

    @property
    def macs(self) -> int:
        """Of the operators that have kernels."""
        return sum(row.macs or 0 for row in self.rows)

    @property
    def refusals(self) -> tuple[str, ...]:
        return tuple(row.refused for row in self.rows if row.refused)


def planned_facts(graph: Graph, operators: Operators) -> GraphFacts:
    """The facts of a quantised file, each operator planned by itself."""
    rows = tuple(_planned_row(graph, operator, operators) for operator in graph.operators)
    memory, constant_bytes = None, None
    if not any(row.refused for row in rows):
        try:
            plan = make_plan(graph, operators)
        except HarnessError:
            pass  # the whole is at fault, not an operator: whoever loads the file says how
        else:
            memory = Memory(plan.memory.peak_bytes, plan.memory.lower_bound_bytes)
            constant_bytes = plan.constant_bytes
    return _facts(graph, rows, memory, constant_bytes)


def float_facts(graph: Graph, macs: Callable[[Graph, Operator], int] = macs_of) -> GraphFacts:
    """The facts of a float file; the arena as if each value took one byte, in the file's order."""
    rows = tuple(_row(graph, operator, macs(graph, operator)) for operator in graph.operators)
    plan = _plan_bytes(graph)
    return _facts(graph, rows, Memory(plan.peak_bytes, plan.lower_bound_bytes), None)


def _facts(
    graph: Graph, rows: tuple[Row, ...], memory: Memory | None, constant_bytes: int | None
) -> GraphFacts:
    held = {
        tensor.index: tensor for operator in graph.operators for tensor in _parameters(graph, operator)
    }.values()
    return GraphFacts(
        rows=rows,
        inputs=tuple(graph.tensors[index] for index in graph.inputs),
        outputs=tuple(graph.tensors[index] for index in graph.outputs),
        quantisation=_quantisation(graph),
        parameters=sum(tensor.info.elements for tensor in held),
        weight_bytes=sum(tensor.info.size_bytes for tensor in held),
        memory=memory,
        constant_bytes=constant_bytes,
    )


def _planned_row(graph: Graph, operator: Operator, operators: Operators) -> Row:
    if operator.op not in operators:
        return _row(graph, operator, None, f"operator {operator.index} ({operator.op}) is not supported")
    try:
        step = operators[operator.op](Node(graph, operator))
    except HarnessError as error:
        return _row(graph, operator, None, str(error))
    return _row(graph, operator, step.macs)


def _row(graph: Graph, operator: Operator, macs: int | None, refused: str = "") -> Row:
    output = graph.tensors[operator.outputs[0]].info
    parameters = sum(tensor.info.elements for tensor in _parameters(graph, operator))
    return Row(
        operator.index,
        operator.op,
        output.name,
        output.shape,
        output.dtype,
        macs,
        parameters,
        output.scale,
        output.zero_point,
        refused,
    )


def _parameters(graph: Graph, operator: Operator) -> list[Tensor]:
    """Weights and biases; shapes, axes and permutations have no scale, or, in ESP-DL's files, the scale 1."""
    constants = [graph.tensors[i] for i in operator.inputs if i >= 0 and graph.tensors[i].data is not None]
    return [
        tensor
        for tensor in constants
        if tensor.info.dtype == "float32"
        or (tensor.info.quantised and (tensor.info.dtype, tensor.info.scale) != ("int64", 1.0))
    ]


def _quantisation(graph: Graph) -> str:
    """E.g. `int8 data, int8 weights (4 of 5 per channel)`."""
    made = Counter(graph.tensors[index].info.dtype for o in graph.operators for index in o.outputs[:1])
    weights = [
        tensor
        for operator in graph.operators
        for tensor in _parameters(graph, operator)
        if tensor.info.dtype in STORED_INTEGERS
    ]
    data = " and ".join(kind for kind, _ in made.most_common())
    if not weights:
        return f"none: {data} data" if set(made) <= {"float32", "float16", "float64"} else f"{data} data"
    kinds = " and ".join(kind for kind, _ in Counter(tensor.info.dtype for tensor in weights).most_common())
    by_channel = sum(len(tensor.scales) > 1 for tensor in weights)
    spread = f"{by_channel} of {len(weights)} per channel" if by_channel else "per tensor"
    return f"{data} data, {kinds} weights ({spread})"


def _plan_bytes(graph: Graph) -> MemoryPlan:
    """The arena with one byte per computed value, each alive from its writer to its last reader."""
    end = len(graph.operators)
    written = dict.fromkeys(graph.inputs, -1)
    written |= {index: at for at, operator in enumerate(graph.operators) for index in operator.outputs}
    last = {
        **written,
        **{i: at for at, operator in enumerate(graph.operators) for i in operator.inputs if i in written},
        **dict.fromkeys(graph.outputs, end),
    }
    return plan_memory(
        [Buffer(graph.tensors[i].info.elements, written[i], last[i]) for i in sorted(written) if i >= 0]
    )
