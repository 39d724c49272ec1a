"""A Keras file, SavedModel or float .tflite file to a quantised .tflite file, or a SavedModel to a float one;
a process of its own, started by `quantise.py`.

Everything here may import TensorFlow. A fault of the user's is the last line of stderr, with status 2.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness.errors import HarnessError, ModelError, UnsupportedError, first_line
from harness.model.dataset import load_dataset
from harness.model.preprocess import Preprocess
from harness.runtimes.tflm.float_file import float_bytes, read_float
from harness.tensors import TensorInfo

USER_ERROR = 2
FLOAT = "float"
"""In place of a scheme: nothing is quantised, no data are needed."""


def run(source: Path, data: Path | None, scheme: str, preprocess: Preprocess | None, out: Path) -> None:
    """Writes `out`. Raises HarnessError for a model or data that do not fit."""
    import tensorflow as tf

    if source.suffix.lower() == ".tflite" and data is not None:
        out.write_bytes(_of_tflite(tf, source, data, scheme, preprocess))
    else:
        out.write_bytes(_converted(tf, source, data, scheme, preprocess))


def _converted(tf: Any, source: Path, data: Path | None, scheme: str, preprocess: Preprocess | None) -> bytes:
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    # Batch 1 and frozen variables: a free batch size would leave SHAPE and PACK operators in the .tflite.
    called, shape = _function(tf, source)
    signature = tf.TensorSpec(shape, tf.float32, name="input")
    function = tf.function(lambda input: {"output": called(input)})  # noqa: A006
    frozen = convert_variables_to_constants_v2(function.get_concrete_function(signature))
    converter = tf.lite.TFLiteConverter.from_concrete_functions([frozen])
    if data is None:
        return bytes(converter.convert())
    calibration = load_dataset(
        data, TensorInfo("input", shape, "float32"), preprocess, labelled=False
    ).real()[0]
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([x] for x in calibration)
    sets, kinds = tf.lite.OpsSet, {"int8": tf.int8, "int16x8": tf.int16}
    converter.target_spec.supported_ops = [
        sets.TFLITE_BUILTINS_INT8
        if scheme == "int8"
        else sets.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
    ]
    converter.inference_input_type = converter.inference_output_type = kinds[scheme]
    return bytes(converter.convert())


def _of_tflite(tf: Any, source: Path, data: Path, scheme: str, preprocess: Preprocess | None) -> bytes:
    """What TFLiteConverter does to the float file that it has made, begun from the file: its public interface
    takes no .tflite.
    """
    from tensorflow.lite.python.convert import mlir_quantize
    from tensorflow.lite.python.optimize.calibrator import Calibrator

    graph = read_float(source)
    inputs = [graph.tensors[index].info for index in graph.inputs]
    real = load_dataset(data, inputs, preprocess, labelled=False).real()

    def samples() -> Iterator[list[Any]]:
        return (list(sample) for sample in zip(*real, strict=True))

    calibrator = Calibrator(float_bytes(source))
    if scheme == "int8":
        made = mlir_quantize(calibrator.calibrate(samples), input_data_type=tf.int8, output_data_type=tf.int8)
    else:
        made = calibrator.calibrate_and_quantize(
            samples, tf.int16, tf.int16, allow_float=False, activations_type=tf.int16, bias_type=tf.int64
        )
    return bytes(made)


def _function(tf: Any, source: Path) -> tuple[Any, tuple[int, ...]]:
    """What to call with one tensor, and that tensor's shape with batch 1."""
    try:
        if source.is_dir():
            loaded = _load(tf, source)
            signature = loaded.signatures["serving_default"]
            specs = signature.structured_input_signature[1]
            called = _of_signature(loaded, list(specs))
            shapes = [tuple(spec.shape) for spec in specs.values()]
            outputs = len(signature.structured_outputs)
        else:
            model = tf.keras.models.load_model(source, compile=False)
            called = lambda input: model(input, training=False)  # noqa: A006, E731
            shapes, outputs = [tuple(tensor.shape) for tensor in model.inputs], len(model.outputs)
    except Exception as error:  # zip, HDF5, protobuf and TensorFlow's own: all mean the file is not readable
        raise ModelError(f"{source}: TensorFlow cannot load it: {first_line(error)}") from error
    if len(shapes) != 1 or outputs != 1:
        raise UnsupportedError(f"{source}: {len(shapes)} inputs and {outputs} outputs, expected one of each")
    (shape,) = shapes
    if any(size is None for size in shape[1:]) or shape[:1] not in ((None,), (1,)):
        raise ModelError(
            f"{source}: its input is {shape}, expected a fixed shape and a batch of 1 or any",
            "Save it with fixed sizes, e.g. keras.Input((28, 28, 1))",
        )
    return called, (1, *shape[1:])


def _load(tf: Any, source: Path) -> Any:
    """A SavedModel, without the optimiser's variables: TensorFlow 2.21 fails on those that Keras 2 saved."""
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    saved = SavedModel.FromString((source / "saved_model.pb").read_bytes())
    for graph in saved.meta_graphs:
        for node in graph.object_graph_def.nodes:
            del node.slot_variables[:]
    with tempfile.TemporaryDirectory() as work:
        (Path(work) / "saved_model.pb").write_bytes(saved.SerializeToString())
        for name in ("variables", "assets"):
            if (source / name).is_dir():
                (Path(work) / name).symlink_to(source.resolve() / name, target_is_directory=True)
        return tf.saved_model.load(work)


def _of_signature(loaded: Any, names: list[str]) -> Any:
    # Holds all that was loaded: a signature alone lets its variables go.
    return lambda input: next(iter(loaded.signatures["serving_default"](**{names[0]: input}).values()))  # noqa: A006


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m harness.runtimes.tflm.quantise_job")
    parser.add_argument("source", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--scheme", required=True)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--preprocess", type=json.loads, help="the fields of Preprocess, as JSON")
    given = parser.parse_args()
    preprocess = Preprocess(**given.preprocess) if given.preprocess else None
    try:
        run(given.source, given.data, given.scheme, preprocess, given.out)
    except HarnessError as error:
        print(error, file=sys.stderr)
        sys.exit(USER_ERROR)


if __name__ == "__main__":
    main()
