"""A quantised network as the portable planner takes it, and the oracle of the bench.

Tensors have a batch of 1 in front; filters are turned to [out channel][row][column][filter channel].
Nothing is computed here that the network does not state.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from harness.portable.graph import Graph, Operator, Option, Tensor
from harness.runtimes.base import Array, Oracle
from harness.runtimes.espdl_v1 import oracle
from harness.runtimes.espdl_v1.network import FILTER_OPS, FLOAT_OPS, POOL_OPS
from harness.runtimes.espdl_v1.quantise import QuantisedLayer, QuantisedNetwork
from harness.tensors import TensorInfo


class EspdlV1Oracle(Oracle):
    """Gives what `oracle.run` gives, in the bench's shapes."""

    def __init__(self, network: QuantisedNetwork) -> None:
        self._network = network

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        return self.run_layers(inputs)[-1:]

    def run_layers(self, inputs: Sequence[Array]) -> list[Array]:
        (given,) = inputs
        outputs = oracle.run(self._network, given.reshape(self._network.network.input_shape))
        return [output[np.newaxis] for output in outputs]


def portable_graph(network: QuantisedNetwork) -> Graph:
    """One operator per layer, in the order they run."""
    tensors: list[Tensor] = []
    operators: list[Operator] = []

    def add(info: TensorInfo, exponents: Sequence[int] = (), data: Array | None = None) -> int:
        scales = tuple(2.0**exponent for exponent in exponents)
        tensors.append(Tensor(len(tensors), info, scales, (0,) * len(scales), data=data))
        return tensors[-1].index

    def constant(name: str, values: Array, exponents: Sequence[int]) -> int:
        scale = 2.0 ** exponents[0]
        return add(TensorInfo(name, values.shape, values.dtype.name, scale), exponents, values)

    dtype = network.integer_dtype.name
    exponent = network.input_exponent
    shape = network.network.input_shape
    # By position of the layer, the input at -1.
    written = {
        -1: add(
            TensorInfo(network.network.input, (1, *shape), dtype, 2.0**exponent, rounding="truncate"),
            [exponent],
        )
    }
    for index, layer in enumerate(network.layers):
        name, reads = layer.layer.name, [written[position] for position in layer.reads]
        if layer.filter is not None:
            turned = layer.filter.transpose(_TURNS[layer.layer.op])
            reads.append(constant(f"{name}_filter", turned.astype(dtype), layer.filter_exponents))
            if layer.bias is not None:
                exponents = [layer.output_exponent if layer.bias_exponent is None else layer.bias_exponent]
                reads.append(constant(f"{name}_bias", layer.bias.astype(np.int16), exponents))
        written[index] = add(_output_info(layer, dtype), [layer.output_exponent])
        operators.append(
            Operator(
                index,
                layer.layer.op,
                tuple(reads),
                (written[index],),
                _options(layer, network.scheme.per_channel),
            )
        )
    return Graph(tuple(tensors), tuple(operators), (written[-1],), (written[len(operators) - 1],))


_TURNS = {"Conv2D": (3, 0, 1, 2), "DepthwiseConv2D": (2, 0, 1, 3)}


def _output_info(layer: QuantisedLayer, dtype: str) -> TensorInfo:
    shape = (1, *layer.layer.output_shape)
    if layer.layer.op in FLOAT_OPS:
        return TensorInfo(layer.layer.name, shape, "float32")
    return TensorInfo(layer.layer.name, shape, dtype, 2.0**layer.output_exponent)


def _options(layer: QuantisedLayer, per_channel: bool) -> Mapping[str, Option]:
    """Named as ONNX does; pads are top, left, bottom, right."""
    shape = layer.layer
    options: dict[str, Option] = {"axis": 3} if shape.op == "Concat" else {}
    if shape.op in (*FILTER_OPS, *POOL_OPS):
        top, bottom, left, right = shape.pads
        options = {
            "kernel_shape": shape.kernel,
            "strides": shape.strides,
            "dilations": shape.dilations,
            "pads": (top, left, bottom, right),
            "ceil_mode": 0,
        }
    if layer.filter is not None:
        options |= {
            "relu": shape.activation == "ReLU",
            "leaky": shape.activation == "LeakyReLU",
            "alpha": layer.alpha,
            "alpha_exponent": layer.alpha_exponent,
            "per_channel": per_channel,
        }
    return options
