"""Patches of the two photographs in the scikit-learn wheel: a stand-in for the faces of tutorial 0.

Class 0 is china.jpg, a temple, class 1 flower.jpg. Training patches come from the left part of each
photograph, held-out ones from the right. It is a demonstration of the 60 x 60 x 3 network, not of
recognising faces: for that there is `harness train --folder`.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.errors import MissingError
from harness.extras import install_command, require_installed
from harness.model.images import Images

PHOTOGRAPHS = ("china.jpg", "flower.jpg")
SIDE = 60
TRAIN_SHARE = 0.7
TRAIN_PATCHES, HELD_OUT_PATCHES = 300, 20
SEED = 23


def split() -> tuple[Images, Images]:
    """600 training and 40 held-out patches (60, 60, 3), always the same ones, classes mixed.

    Raises:
        MissingError: scikit-learn is not installed, or no longer holds the photographs.
    """
    from PIL import Image

    require_installed("sklearn", "keras")
    spec = importlib.util.find_spec("sklearn")
    folder = Path(str(spec and spec.origin)).parent / "datasets" / "images"
    random = np.random.RandomState(SEED)
    parts: tuple[list[NDArray[np.uint8]], list[NDArray[np.uint8]]] = [], []
    for name in PHOTOGRAPHS:
        if not (folder / name).is_file():
            raise MissingError(f"scikit-learn holds no {name}", f"Install it: {install_command('keras')}")
        with Image.open(folder / name) as file:
            pixels = np.asarray(file.convert("RGB"))
        edge = int(pixels.shape[1] * TRAIN_SHARE)
        parts[0].append(_patches(pixels[:, :edge], TRAIN_PATCHES, random))
        parts[1].append(_patches(pixels[:, edge:], HELD_OUT_PATCHES, random))
    train, held_out = (
        Images(np.concatenate(part), np.repeat(np.arange(2), len(part[0])).astype(np.uint8)) for part in parts
    )
    return train.take(random.permutation(len(train.y))), held_out.take(random.permutation(len(held_out.y)))


def _patches(pixels: NDArray[np.uint8], patches: int, random: np.random.RandomState) -> NDArray[np.uint8]:
    rows = random.randint(0, pixels.shape[0] - SIDE + 1, patches)
    columns = random.randint(0, pixels.shape[1] - SIDE + 1, patches)
    return np.stack(
        [pixels[y : y + SIDE, x : x + SIDE] for y, x in zip(rows.tolist(), columns.tolist(), strict=True)]
    )
