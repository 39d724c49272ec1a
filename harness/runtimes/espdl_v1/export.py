"""ONNX file and calibration data in, a directory with the whole ESP-DL v1 project out.

The directory appears complete or not at all. Prints nothing: the log lines of the old tool are
returned.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.errors import DataError, UsageError
from harness.model.dataset import load_dataset
from harness.model.preprocess import Preprocess
from harness.model.reference import fit_layout
from harness.new_directory import check_new, write_new
from harness.runtimes.espdl_v1 import project
from harness.runtimes.espdl_v1.calibrate import Scheme, calibrate
from harness.runtimes.espdl_v1.coefficients import coefficient_header, coefficient_source, identifier
from harness.runtimes.espdl_v1.graph import Graph, read_graph
from harness.runtimes.espdl_v1.layout import CHIPS, is_inferred
from harness.runtimes.espdl_v1.network import Network, read_network
from harness.runtimes.espdl_v1.optimise import optimise
from harness.runtimes.espdl_v1.quantise import QuantisedNetwork, quantise
from harness.tensors import TensorInfo


@dataclass(frozen=True)
class Export:
    """`name` is the model's in the files, `files` are relative to `directory`, `log` is what the
    calibrator of v1 printed.
    """

    directory: Path
    name: str
    files: tuple[str, ...]
    log: tuple[str, ...]
    network: QuantisedNetwork


def export_v1(
    model: Path,
    calibration: Path,
    directory: Path,
    *,
    chip: str,
    scheme: Scheme,
    name: str = "",
    preprocess: Preprocess | None = None,
    table: Path | None = None,
) -> Export:
    """Quantises `model` and writes its v1 project for `chip` into `directory`.

    Args:
        calibration: .npz with x, real float32 values (or uint8 pixels with a `preprocess`); its
            first sample becomes image.hpp.
        name: what the model is called in the files; default: the file's own.
        table: a quantization_table.json of an earlier export, used in place of calibrating.

    Raises:
        UsageError, ModelError, UnsupportedError, DataError: what was given does not fit.
        OutputError: `directory` holds something already, or cannot be written.
    """
    if chip not in CHIPS:
        raise UsageError(f"esp-dl v1 has no target '{chip}'", f"It has: {', '.join(CHIPS)}")
    check_new(directory)
    graph = optimise(read_graph(model))
    network = read_network(graph)
    samples = read_samples(calibration, graph, preprocess)
    exponents = read_table(table, network) if table else calibrate(graph, network, samples, scheme)
    quantised = quantise(network, exponents, scheme)
    name = identifier(name or model.stem)
    stem = f"{name}_coefficient"
    files = {
        "CMakeLists.txt": project.project_cmake(name),
        "main/CMakeLists.txt": project.main_cmake(name),
        "main/app_main.cpp": project.app_main(quantised, name),
        "main/image.hpp": project.image(network.to_device(samples[:1])[0].astype(np.float32)),
        f"model/{stem}.cpp": coefficient_source(quantised, stem, chip),
        f"model/{stem}.hpp": coefficient_header(quantised, stem),
        "model/model_define.hpp": project.model_define(quantised, name),
        "quantization_table.json": json.dumps({k: 2.0**e for k, e in exponents.items()}, indent=1) + "\n",
    }
    write_new(directory, files)
    log = _log(quantised, chip, directory / "model" / stem)
    return Export(directory, name, tuple(files), tuple(log), quantised)


def read_samples(path: Path, graph: Graph, preprocess: Preprocess | None) -> NDArray[np.float32]:
    """Real values (N, *input shape of the graph without batch). Raises DataError or ModelError."""
    shape = graph.input_shape[1:]
    # The data may have its channels last where the graph has them first.
    if len(shape) == 3:
        shape = (shape[1], shape[2], shape[0])
    try:
        dataset = load_dataset(path, TensorInfo(graph.input, (1, *shape), "float32"), preprocess)
    except DataError:
        if shape == graph.input_shape[1:]:
            raise
        dataset = load_dataset(path, TensorInfo(graph.input, graph.input_shape, "float32"), preprocess)
    return fit_layout(np.asarray(dataset.inputs[0], dtype=np.float32), graph.input_shape, path)[:, 0]


def read_table(path: Path, network: Network) -> dict[str, int]:
    """Exponents from {tensor: scale}, every scale a power of two. Raises DataError."""
    needed = [network.input, *(layer.tensor for layer in network.layers if layer.filter is not None)]
    try:
        table = json.loads(path.read_text())
        scales = {name: float(table[name]) for name in needed}
    except KeyError as error:
        raise DataError(f"{path}: no scale for tensor {error}") from None
    except (OSError, TypeError, ValueError) as error:
        raise DataError(f"{path}: expected a JSON table {{tensor: scale}}; {error}") from None
    exponents = {}
    for name, scale in scales.items():
        mantissa, exponent = np.frexp(scale)
        if mantissa != 0.5 or not -128 <= exponent <= 128:
            raise DataError(f"{path}: {name}: expected a power of two, came {scale}")
        exponents[name] = int(exponent) - 1
    return exponents


def _log(network: QuantisedNetwork, chip: str, stem: Path) -> list[str]:
    scheme = network.scheme
    lines = [
        "Generating the quantization table:",
        f"Converting coefficient to int{scheme.bits} {scheme.granularity} quantization for {chip}",
        f"Exporting finish, the output files are: {stem}.cpp, {stem}.hpp",
        "",
        "Quantized model info:",
        f"model input name: {network.network.input}, exponent: {network.input_exponent}",
    ]
    lines += [
        f"{layer.layer.onnx_op} layer name: {layer.layer.name}, output_exponent: {layer.output_exponent}"
        for layer in network.layers
    ]
    if is_inferred(chip, scheme.bits):
        lines += ["", f"Element order of {chip} int{scheme.bits} is inferred: see docs/espdl_v1.md"]
    return lines
