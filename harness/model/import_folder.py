"""`harness import-folder`: a folder of images as the .npz files that --data and --calibration take."""

from __future__ import annotations

import os
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harness.errors import OutputError, UsageError
from harness.model.image_folder import Form, read_split
from harness.model.images import Images
from harness.model.preprocess import Preprocess
from harness.progress import Progress

CALIBRATION_IMAGES = 200


@dataclass(frozen=True)
class Imported:
    """`files`: the .npz written and how many images are in each."""

    classes: tuple[str, ...]
    shape: tuple[int, ...]
    files: dict[Path, int]


def import_folder(
    directory: Path,
    out: Path,
    form: Form,
    share: float = 0.8,
    calibration: int = CALIBRATION_IMAGES,
    preprocess: Preprocess | None = None,
    progress: Progress | None = None,
) -> Imported:
    """Writes the held-out images to `out`, and so many training images to OUT.calibration.npz.

    Both hold `x`, `y` and the `classes`' names; `x` is uint8, or with a `preprocess` the float32 values
    that a model takes which does not declare its own. See `image_folder.read_split` for the layouts.

    Raises:
        UsageError: `out` is no .npz, or a number is out of its range.
        DataError: the folder is not laid out so, or holds what is no image.
        OutputError: the files cannot be written; then none is.
    """
    if out.suffix != ".npz":
        raise UsageError(f"{out}: expected a name that ends in .npz")
    if not 0 < share < 1:
        raise UsageError(f"--split expects a share between 0 and 1, got {share}", "e.g. --split 0.8")
    if calibration < 1:
        raise UsageError(f"--calibration expects 1 or more, got {calibration}")
    split = read_split(directory, form, share, calibration, progress)
    parts = {out: split.held_out, out.with_suffix(".calibration.npz"): split.train}
    _write(parts, split.classes, preprocess)
    files = {path: len(images.y) for path, images in parts.items()}
    return Imported(split.classes, split.held_out.x.shape[1:], files)


def parse_size(text: str) -> tuple[int, int]:
    """`60x40`, height first, to (60, 40)."""
    found = re.fullmatch(r"([1-9]\d{0,3})x([1-9]\d{0,3})", text)
    if found is None:
        raise UsageError(f"--size expects HEIGHTxWIDTH in pixels, got '{text}'", "e.g. --size 60x60")
    return int(found[1]), int(found[2])


def _write(parts: dict[Path, Images], classes: tuple[str, ...], preprocess: Preprocess | None) -> None:
    directory = next(iter(parts)).parent
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".import-", dir=directory) as work:
            for path, images in parts.items():
                x = preprocess.apply(images.x) if preprocess else images.x
                np.savez_compressed(Path(work) / path.name, x=x, y=images.y, classes=np.array(classes))
            for path in parts:
                os.replace(Path(work) / path.name, path)
    except OSError as error:
        raise OutputError(f"{directory}: not writable: {error.strerror}", "Give another --out") from None
