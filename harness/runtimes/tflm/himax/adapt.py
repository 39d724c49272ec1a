"""A network as the Himax SDK's TFLM of 2021 computes it right: the same integers, in older forms.

Today's converter quantises dense weights per channel and may leave a bias out. That TFLM takes the
first scale for all channels, and its ARC kernels follow the pointer of an absent bias. Both
have an equal form it knows: a 1x1 convolution, and a bias of zeros. Seen by running that TFLM;
docs/himax.md has the figures.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.errors import ModelError
from harness.portable.graph import Graph, Operator, Tensor
from harness.portable.plan import check_operators
from harness.runtimes.tflm.oracle import TflmOracle
from harness.runtimes.tflm.writer import write
from harness.tensors import TensorInfo

WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
PROOF_INPUTS = 16
_PADDING_VALID = 1


@dataclass(frozen=True)
class Adapted:
    """`changes` says in a sentence each what differs from the file that was brought; empty: nothing."""

    graph: Graph
    data: bytes
    changes: tuple[str, ...]


def adapt(graph: Graph, data: bytes) -> Adapted:
    """`data` as it is where it will do, else rewritten and shown to be equal on random inputs.

    Raises:
        UnsupportedError: something must be rewritten, and there is an operator that cannot be.
        ModelError: the rewritten network does not give the same integers.
    """
    rewriting = _Rewriting(graph)
    for operator in graph.operators:
        rewriting.take(operator)
    if not rewriting.changes:
        return Adapted(graph, data, ())
    check_operators(graph)
    changed = Graph(tuple(rewriting.tensors), tuple(rewriting.operators), graph.inputs, graph.outputs)
    written = write(changed)
    _prove(graph, data, changed, written)
    return Adapted(changed, written, tuple(rewriting.changes))


class _Rewriting:
    def __init__(self, graph: Graph) -> None:
        self.tensors = list(graph.tensors)
        self.operators: list[Operator] = []
        self.changes: list[str] = []
        self._uses = Counter(index for operator in graph.operators for index in operator.inputs)

    def take(self, operator: Operator) -> None:
        if operator.op in WEIGHTED:
            operator = self._with_bias(operator)
        if operator.op == "FULLY_CONNECTED" and len(self.tensors[operator.inputs[1]].scales) > 1:
            self._as_convolution(operator)
        else:
            self._append(operator.op, operator.inputs, operator.outputs, operator)

    def _with_bias(self, operator: Operator) -> Operator:
        if len(operator.inputs) > 2 and operator.inputs[2] >= 0:
            return operator
        source, weights = (self.tensors[index] for index in operator.inputs[:2])
        channels = self.tensors[operator.outputs[0]].info.shape[-1]
        scales = tuple(source.info.scale * scale for scale in weights.scales)
        bias = self._add(
            TensorInfo(f"bias_{operator.index}", (channels,), "int32", scales[0]),
            np.zeros(channels, np.int32),
            scales,
        )
        self.changes.append(f"operator {operator.index} ({operator.op}): a bias of zeros added")
        return dataclasses.replace(operator, inputs=(*operator.inputs[:2], bias))

    def _as_convolution(self, operator: Operator) -> None:
        """Reshape to (rows, 1, 1, inputs), convolve 1x1, reshape to the output's own shape."""
        source, weights = (self.tensors[index] for index in operator.inputs[:2])
        output = self.tensors[operator.outputs[0]]
        channels, width = weights.info.shape
        rows = source.info.elements // width
        name = f"dense_{operator.index}"
        kernel = self._kernel(weights, (channels, 1, 1, width))
        flat = self._reshape(operator.inputs[0], f"{name}_input", (rows, 1, 1, width), operator)
        result = self._add(
            dataclasses.replace(output.info, name=f"{name}_output", shape=(rows, 1, 1, channels)),
            None,
            output.scales,
            output.zero_points,
        )
        options = {
            "padding": _PADDING_VALID,
            "stride_w": 1,
            "stride_h": 1,
            "dilation_w_factor": 1,
            "dilation_h_factor": 1,
            "fused_activation_function": operator.options.get("fused_activation_function", 0),
        }
        convolution = dataclasses.replace(operator, options=options)
        self._append("CONV_2D", (flat, kernel, operator.inputs[2]), (result,), convolution)
        self._reshape(result, name, output.info.shape, operator, operator.outputs[0])
        where = f"operator {operator.index} (FULLY_CONNECTED)"
        self.changes.append(f"{where}: {channels} weight scales, so written as CONV_2D 1x1")

    def _kernel(self, weights: Tensor, shape: tuple[int, ...]) -> int:
        """The weights under their new shape: in their own place, unless others use them too."""
        info = dataclasses.replace(weights.info, shape=shape)
        if self._uses[weights.index] > 1 or weights.data is None:
            return self._add(info, weights.data, weights.scales, weights.zero_points)
        self.tensors[weights.index] = dataclasses.replace(
            weights, info=info, data=weights.data.reshape(shape)
        )
        return weights.index

    def _reshape(
        self, source: int, name: str, shape: tuple[int, ...], operator: Operator, target: int = -1
    ) -> int:
        """The tensor of the new shape; none is made where the shape is that already."""
        tensor = self.tensors[source]
        if target < 0:
            if tensor.info.shape == shape:
                return source
            info = dataclasses.replace(tensor.info, name=name, shape=shape)
            target = self._add(info, None, tensor.scales, tensor.zero_points)
        wanted = np.array(shape, np.int32)
        constant = self._add(TensorInfo(f"{name}_shape", wanted.shape, "int32"), wanted)
        self._append("RESHAPE", (source, constant), (target,), dataclasses.replace(operator, options={}))
        return target

    def _add(
        self,
        info: TensorInfo,
        data: NDArray[np.generic] | None,
        scales: tuple[float, ...] = (),
        zero_points: tuple[int, ...] | None = None,
    ) -> int:
        index = len(self.tensors)
        zeros = (0,) * len(scales) if zero_points is None else zero_points
        shaped = None if data is None else data.reshape(info.shape)
        self.tensors.append(Tensor(index, info, scales, zeros, 0, shaped))
        return index

    def _append(self, op: str, inputs: tuple[int, ...], outputs: tuple[int, ...], like: Operator) -> None:
        index = len(self.operators)
        self.operators.append(dataclasses.replace(like, index=index, op=op, inputs=inputs, outputs=outputs))


def _prove(graph: Graph, data: bytes, changed: Graph, written: bytes) -> None:
    """0 LSB between the network as brought and as written, or nothing is generated."""
    before, after = TflmOracle(graph, data), TflmOracle(changed, written)
    random = np.random.default_rng(0)
    for _ in range(PROOF_INPUTS):
        inputs = [
            random.integers(-128, 127, graph.tensors[index].info.shape, np.int8, endpoint=True)
            for index in graph.inputs
        ]
        for wanted, got in zip(before.run(inputs), after.run(inputs), strict=True):
            if wanted.tobytes() != got.tobytes():
                raise ModelError(
                    "the network rewritten for the Himax SDK does not give the integers of the original",
                    "Convert it with per-tensor dense weights: "
                    "converter._experimental_disable_per_channel_quantization_for_dense_layers = True",
                )
