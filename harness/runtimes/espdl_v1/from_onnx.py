"""A float ONNX file and typical inputs to the quantised network, and the exponents on the way.

The one place where the parts of this package stand in their order: read, optimise, calibrate, quantise.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.errors import DataError, ModelError, UnsupportedError
from harness.model.dataset import load_dataset
from harness.model.preprocess import Preprocess
from harness.model.reference import fit_layout
from harness.runtimes.espdl_v1.calibrate import Scheme, calibrate
from harness.runtimes.espdl_v1.graph import Graph, read_graph
from harness.runtimes.espdl_v1.network import Network, read_network
from harness.runtimes.espdl_v1.optimise import optimise
from harness.runtimes.espdl_v1.project_reader import read_exponents
from harness.runtimes.espdl_v1.quantise import QuantisedNetwork, quantise
from harness.tensors import TensorInfo


@dataclass(frozen=True)
class Quantised:
    """`exponents` by ONNX tensor, the input's first; `sample` is the first of the calibration set, real
    values in the device's order.
    """

    network: QuantisedNetwork
    exponents: dict[str, int]
    sample: NDArray[np.float32]


def quantise_onnx(
    model: Path,
    calibration: Path,
    scheme: Scheme,
    preprocess: Preprocess | None = None,
    table: Path | None = None,
) -> Quantised:
    """Quantises `model`; `table` is a quantization_table.json to use in place of calibrating.

    Raises:
        ModelError, UnsupportedError, DataError: what was given does not fit.
    """
    graph, network = read_float(model)
    samples = read_samples(calibration, graph, preprocess)
    exponents = read_table(table, network) if table else calibrate(graph, network, samples, scheme)
    sample = network.to_device(samples[:1])[0].astype(np.float32)
    return Quantised(quantise(network, exponents, scheme), exponents, sample)


def read_float(model: Path) -> tuple[Graph, Network]:
    """A float .onnx file as the layers a v1 device has. Raises ModelError or UnsupportedError."""
    graph = optimise(read_graph(model))
    try:
        return graph, read_network(graph)
    except (ModelError, UnsupportedError) as error:
        raise type(error)(f"{model}: {error.message}", error.remedy) from None


def read_samples(path: Path, graph: Graph, preprocess: Preprocess | None) -> NDArray[np.float32]:
    """Real values (N, *input shape of the graph without batch). Raises DataError or ModelError."""
    shape = graph.input_shape[1:]
    # The data may have its channels last where the graph has them first.
    if len(shape) == 3:
        shape = (shape[1], shape[2], shape[0])
    try:
        dataset = load_dataset(
            path, TensorInfo(graph.input, (1, *shape), "float32"), preprocess, labelled=False
        )
    except DataError:
        if shape == graph.input_shape[1:]:
            raise
        dataset = load_dataset(
            path, TensorInfo(graph.input, graph.input_shape, "float32"), preprocess, labelled=False
        )
    return fit_layout(np.asarray(dataset.inputs[0], dtype=np.float32), graph.input_shape, path)[:, 0]


def read_table(path: Path, network: Network) -> dict[str, int]:
    """Exponents from {tensor: scale}, every scale a power of two. Raises DataError."""
    exponents = read_exponents(path)
    needed = [network.input, *(layer.tensor for layer in network.layers if layer.filter is not None)]
    for name in needed:
        if name not in exponents:
            raise DataError(f"{path}: no scale for tensor '{name}'")
    return {name: exponents[name] for name in needed}
