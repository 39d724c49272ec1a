"""From a graph to a plan: one resolved step per operator and a place for every tensor.

Making the plan is also the full check of a model: what this module accepts can be
generated and run. It writes no files; `project.py` does.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from harness.errors import UnsupportedError
from harness.portable.graph import Graph, Tensor
from harness.portable.memory import Buffer, Leads, MemoryPlan, plan_memory
from harness.portable.node import MAX_RANK, Node
from harness.portable.ops import OPERATORS
from harness.portable.step import Alias, Step

Operators = Mapping[str, Callable[[Node], Step]]


@dataclass(frozen=True)
class Plan:
    """`offsets` maps each activation tensor's index to its byte offset in the arena, `scratch` each
    step that needs some.
    """

    graph: Graph
    steps: tuple[Step, ...]
    offsets: dict[int, int]
    scratch: dict[int, int]
    memory: MemoryPlan

    @property
    def constant_bytes(self) -> int:
        return sum(constant.values.nbytes for step in self.steps for constant in step.constants())


def check_operators(graph: Graph, operators: Operators = OPERATORS) -> None:
    """Raises UnsupportedError for the first operator without a kernel, by name and index."""
    for operator in graph.operators:
        if operator.op not in operators:
            raise UnsupportedError(
                f"operator {operator.index} ({operator.op}) is not supported",
                f"Supported: {', '.join(sorted(operators))}",
            )


def make_plan(
    graph: Graph,
    operators: Operators = OPERATORS,
    activations: tuple[str, ...] = ("int8", "uint8", "int16", "float32"),
) -> Plan:
    """Resolves every operator and places every activation.

    Args:
        operators: the planning functions of the graph's dialect, TFLite's by default.
        activations: the types that computed tensors of that dialect may have.

    Raises:
        UnsupportedError: an operator, or a form of one, that has no kernel here.
        ModelError: shapes, types or options that contradict each other.
    """
    check_operators(graph, operators)
    _check_order(graph, activations)
    return _placed(
        graph, tuple(operators[operator.op](Node(graph, operator)) for operator in graph.operators)
    )


def layer_alone(plan: Plan, index: int) -> Plan:
    """A plan of just one layer of another: its activations are the inputs, all it writes the outputs."""
    step = dataclasses.replace(plan.steps[index], index=0)
    graph = Graph(
        tensors=plan.graph.tensors,
        operators=(dataclasses.replace(plan.graph.operators[index], index=0),),
        inputs=tuple(dict.fromkeys(tensor.index for tensor in step.reads)),
        outputs=tuple(tensor.index for tensor in step.writes),
    )
    return _placed(graph, (step,))


def activation_buffers(plan: Plan) -> list[Buffer]:
    """How large each activation is and when it lives; one that aliases another is not counted again."""
    return [buffer for buffer, _ in activation_owners(plan)]


def activation_owners(plan: Plan) -> list[tuple[Buffer, tuple[int, ...]]]:
    """The same buffers, each with the tensors that lie in it: its owner, then what aliases that."""
    roots = _alias_roots(plan.steps)
    return [
        (buffer, (owner, *(tensor for tensor, root in roots.items() if root == owner)))
        for owner, buffer in _buffers(plan.graph, plan.steps, roots).items()
    ]


def bytes_apart(plan: Plan) -> int:
    """What the activations take where none may lie over another that is still read, as vendors' libraries
    place them.
    """
    return plan_memory(activation_buffers(plan)).peak_bytes


def _placed(graph: Graph, steps: tuple[Step, ...]) -> Plan:
    roots = _alias_roots(steps)
    lifetimes = _buffers(graph, steps, roots)
    owners, buffers = list(lifetimes), list(lifetimes.values())
    working = [index for index, step in enumerate(steps) if step.scratch_bytes]
    memory = plan_memory(
        [*buffers, *(Buffer(steps[i].scratch_bytes, i, i) for i in working)], _leads(steps, roots, lifetimes)
    )
    placed = dict(zip(owners, memory.offsets[: len(owners)], strict=True))
    scratch = {steps[i].index: at for i, at in zip(working, memory.offsets[len(owners) :], strict=True)}
    offsets = {tensor: placed[roots.get(tensor, tensor)] for tensor in sorted(_activations(graph))}
    return Plan(graph, steps, offsets, scratch, memory)


def _leads(steps: tuple[Step, ...], roots: dict[int, int], lifetimes: dict[int, Buffer]) -> Leads:
    """Where a step may write over its input: nobody reads it afterwards."""
    positions = {owner: position for position, owner in enumerate(lifetimes)}
    leads = {}
    for index, step in enumerate(steps):
        if step.lead_bytes is not None:
            written, read = (
                roots.get(tensor.index, tensor.index) for tensor in (step.writes[0], step.reads[0])
            )
            if lifetimes[read].last == index:
                leads[positions[written], positions[read]] = step.lead_bytes
    return leads


def _activations(graph: Graph) -> set[int]:
    """Tensors that live in the arena."""
    return {*graph.inputs, *(tensor for operator in graph.operators for tensor in operator.outputs)}


def _check_order(graph: Graph, activations: tuple[str, ...]) -> None:
    """Every tensor must be written once, before it is read."""
    ready = set(graph.inputs)
    for tensor in graph.inputs:
        again = tensor in graph.inputs[: graph.inputs.index(tensor)]
        _check_activation(graph.tensors[tensor], again, activations)
    for operator in graph.operators:
        node = Node(graph, operator)
        for index in operator.inputs:
            if index >= 0 and graph.tensors[index].data is None and index not in ready:
                node.malformed(f"reads tensor '{graph.tensors[index].info.name}' before anything wrote it")
        for index in operator.outputs:
            if index in ready:
                node.malformed(f"writes tensor '{graph.tensors[index].info.name}' a second time")
            _check_activation(graph.tensors[index], graph.tensors[index].data is not None, activations)
            ready.add(index)
    for index in graph.outputs:
        if index not in ready:
            raise UnsupportedError(
                f"output '{graph.tensors[index].info.name}' is not computed by any operator"
            )


def _check_activation(tensor: Tensor, conflict: bool, activations: tuple[str, ...]) -> None:
    if conflict:
        raise UnsupportedError(f"tensor '{tensor.info.name}' is an activation and something else as well")
    if len(tensor.info.shape) > MAX_RANK:
        raise UnsupportedError(
            f"tensor '{tensor.info.name}' has {len(tensor.info.shape)} dimensions; {MAX_RANK} at most"
        )
    if tensor.info.dtype not in activations:
        raise UnsupportedError(
            f"activation '{tensor.info.name}' is {tensor.info.dtype}, expected int8 or int16",
            "Convert with full-integer quantisation",
        )


def _alias_roots(steps: tuple[Step, ...]) -> dict[int, int]:
    """For the output of an alias, the tensor whose buffer it shares."""
    roots: dict[int, int] = {}
    for step in steps:
        if isinstance(step, Alias):
            source = step.reads[0].index
            roots[step.writes[0].index] = roots.get(source, source)
    return roots


def _buffers(graph: Graph, steps: tuple[Step, ...], roots: dict[int, int]) -> dict[int, Buffer]:
    """By the tensor that owns it, every place that activations take."""
    owners = sorted({roots.get(tensor, tensor) for tensor in _activations(graph)})
    return {owner: _lifetime(graph, steps, roots, owner) for owner in owners}


def _lifetime(graph: Graph, steps: tuple[Step, ...], roots: dict[int, int], owner: int) -> Buffer:
    """From the step that writes `owner` to the last that reads it under any of its names."""
    names = {owner, *(tensor for tensor, root in roots.items() if root == owner)}
    uses = [
        index
        for index, step in enumerate(steps)
        if any(tensor.index in names for tensor in (*step.reads, *step.writes))
    ]
    if names & set(graph.inputs):
        uses.append(-1)
    if names & set(graph.outputs):
        uses.append(len(steps))
    return Buffer(graph.tensors[owner].info.size_bytes, min(uses), max(uses))
