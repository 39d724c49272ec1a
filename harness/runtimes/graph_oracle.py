"""What oracles share that run a graph operator by operator in numpy: the walk. The arithmetic is theirs."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

from harness.errors import DataError
from harness.portable.graph import Graph, Operator
from harness.runtimes.base import Array, Oracle


class GraphOracle(Oracle):
    """Runs a graph, one inference at a time."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph

    @abstractmethod
    def compute(self, operator: Operator, values: dict[int, Array]) -> Array:
        """The output of one operator; `values` are the tensors that are there, by index."""

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        values = self._values(inputs)
        return [values[index] for index in self._graph.outputs]

    def run_layers(self, inputs: Sequence[Array]) -> list[Array]:
        values = self._values(inputs)
        return [values[operator.outputs[0]] for operator in self._graph.operators]

    def _values(self, inputs: Sequence[Array]) -> dict[int, Array]:
        expected = [self._graph.tensors[index].info for index in self._graph.inputs]
        if len(inputs) != len(expected):
            raise DataError(f"the model takes {len(expected)} inputs, {len(inputs)} came")
        values: dict[int, Array] = {}
        for index, value, info in zip(self._graph.inputs, inputs, expected, strict=True):
            if value.dtype.name != info.dtype or value.size != info.elements:
                raise DataError(
                    f"input '{info.name}' is {info.dtype} {list(info.shape)}; "
                    f"{value.dtype.name} {list(value.shape)} came"
                )
            values[index] = value.reshape(info.shape)
        for operator in self._graph.operators:
            target = self._graph.tensors[operator.outputs[0]]
            result = self.compute(operator, values)
            values[target.index] = result.reshape(target.info.shape).astype(target.info.dtype)
        return values
