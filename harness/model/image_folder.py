"""Folders of images and CSV tables, as Kaggle's MNIST and gender sets come, read as labelled images.

    DIR/<class>/*.png                          split here, the same way each time
    DIR/training/<class>/*.jpg, DIR/validation/<class>/*.jpg     or train, test, testing, valid, ...
    DIR/train.csv                              see image_table.py

Only what is asked for is decoded. Nothing is guessed: a file that is no image, or an image that cannot
be decoded or has another size, is refused by its path.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from harness.errors import DataError
from harness.model.image_table import read_table, tables_in
from harness.model.images import Images
from harness.progress import Progress

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
PICKLES = (".joblib", ".npy", ".pickle", ".picle", ".pkl", ".pt", ".pth")
LITTER = ("desktop.ini", "thumbs.db", "__macosx")
"""What file managers leave behind; with names that start with a dot, passed over."""
TRAINING, HELD_OUT = ("train",), ("test", "val")
"""How the names of parts of a set begin."""
GRAY_MODES = ("1", "L", "LA")
COLOUR_MODES = ("P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "LAB", "RGBX")
SEED = 0
SHOWN_PATHS = 5
CLASSES_MAX = 256


@dataclass(frozen=True)
class Form:
    """How images are wanted: `size` (height, width), None as they come; `gray` None: if all are gray."""

    size: tuple[int, int] | None = None
    gray: bool | None = None


@dataclass(frozen=True)
class Split:
    """Labelled images in two parts, each in a fixed random order; and the classes' names."""

    classes: tuple[str, ...]
    train: Images
    held_out: Images


@dataclass(frozen=True)
class FolderImages:
    """`x` as in `Images`; `y` None where the folder says no classes."""

    x: NDArray[np.uint8]
    y: NDArray[np.uint8] | None


@dataclass(frozen=True)
class _Source:
    """One image not yet decoded: a file, or the row of a table."""

    name: str
    label: int
    pixels: NDArray[np.uint8] | None = None


def read_split(
    directory: Path,
    form: Form,
    share: float = 0.8,
    train_images: int | None = None,
    progress: Progress | None = None,
) -> Split:
    """Reads a folder, or one CSV file, in one of the layouts above.

    Args:
        share: of each class, so much is for training, where the folder does not say itself.
        train_images: decode only so many of the training images; None is all.

    Raises:
        DataError: no such layout; or a file that is no image, is damaged or of another size.
    """
    classes, train, held_out = _sources(directory, share)
    train = train[:train_images]
    images = _decoded([*train, *held_out], form, progress)
    return Split(classes, images.take(slice(len(train))), images.take(slice(len(train), None)))


def read_images(directory: Path, form: Form, classes: Sequence[str] = ()) -> FolderImages:
    """All images of a folder to test with: those directly in it, by name and without labels; or of one folder
    per class, in a fixed random order; or, of a set with a part to test with, that part.

    Args:
        classes: the classes in the model's order; without it by number where all are numbers, else by name.

    Raises:
        DataError: as `read_split`, or folders that are not called as the classes.
    """
    inside = _visible(directory)
    if inside and not any(path.is_dir() for path in inside):
        flat = _decoded([_Source(str(path), 0) for path in map(_image, inside)], form, None)
        return FolderImages(flat.x, None)
    directory = _down(directory)
    parts = [path for path in _subfolders(directory) if _is_part(path.name, (*TRAINING, *HELD_OUT))]
    held_out = [path for path in parts if _is_part(path.name, HELD_OUT)]
    part = _down(held_out[0]) if parts and held_out else directory
    found = _classes(part, {part.name: [path.name for path in _subfolders(part)]})
    if classes and not set(found) <= set(classes):
        raise DataError(
            f"{part}: the folders are {', '.join(found)}, the model's classes {', '.join(classes)}",
            "Call the folders as the classes",
        )
    sources = _mixed(_files(part, tuple(classes) if classes else found), np.random.RandomState(SEED))
    if not sources:
        raise DataError(f"{part}: expected images, came none")
    images = _decoded(sources, form, None)
    return FolderImages(images.x, images.y)


def _sources(directory: Path, share: float) -> tuple[tuple[str, ...], list[_Source], list[_Source]]:
    """The classes' names, the sources for training and those held out."""
    if not directory.exists():
        raise DataError(f"{directory}: no such folder")
    if tables := tables_in(directory):
        parts = {path.stem: _rows(path) for path in tables}
        classes = tuple(
            str(label) for label in range(1 + max(s.label for part in parts.values() for s in part))
        )
    else:
        directory = _down(directory)
        folders = _subfolders(directory)
        is_set = any(_is_part(folder.name, TRAINING) for folder in folders)
        named = {folder.name: _down(folder) for folder in folders} if is_set else {"": directory}
        names = {name: [folder.name for folder in _subfolders(part)] for name, part in named.items()}
        classes = _classes(directory, names)
        parts = {name: _files(part, classes) for name, part in named.items()}
    train = [s for name, part in parts.items() if not _is_part(name, HELD_OUT) for s in part]
    held_out = [s for name, part in parts.items() if _is_part(name, HELD_OUT) for s in part]
    random = np.random.RandomState(SEED)  # its stream is frozen for good
    if not held_out or not train:
        train, held_out = _divided([*train, *held_out], share, random)
    if not train or not held_out:
        raise DataError(
            f"{directory}: expected images for training and others to test with, "
            f"came {len(train)} and {len(held_out)}",
            "Add images, or change --split",
        )
    return classes, _mixed(train, random), _mixed(held_out, random)


def _down(directory: Path) -> Path:
    """Into archives that hold one folder and nothing else, as Kaggle's trainingSet/trainingSet."""
    inside = _visible(directory)
    while len(inside) == 1 and inside[0].is_dir():
        directory = inside[0]
        inside = _visible(directory)
    return directory


def _visible(directory: Path) -> list[Path]:
    try:
        found = sorted(directory.iterdir())
    except OSError as error:
        raise DataError(f"{directory}: expected a folder of images: {error.strerror}") from None
    return [path for path in found if path.name[0] != "." and path.name.lower() not in LITTER]


def _subfolders(directory: Path) -> list[Path]:
    """The folders in one that should hold nothing else."""
    inside = _visible(directory)
    for path in inside:
        if not path.is_dir():
            raise _junk(path, "expected one folder for each class here")
    if len(inside) < 2:
        raise DataError(
            f"{directory}: expected one folder for each class, came {len(inside)}",
            "Lay the images out as DIR/<class>/*.png or DIR/training/<class>/*.jpg",
        )
    return inside


def _is_part(name: str, beginnings: Sequence[str]) -> bool:
    return name.lower().startswith(tuple(beginnings))


def _classes(directory: Path, names: dict[str, list[str]]) -> tuple[str, ...]:
    """The classes in order: by number where all are numbers, else by name."""
    (first, found), *others = names.items()
    for name, classes in others:
        if classes != found:
            raise DataError(
                f"{directory}: {first} has the classes {', '.join(found)}, {name} has {', '.join(classes)}"
            )
    if len(found) > CLASSES_MAX:
        raise DataError(f"{directory}: {len(found)} classes, expected at most {CLASSES_MAX}")
    return tuple(sorted(found, key=int) if all(name.isdecimal() for name in found) else found)


def _files(part: Path, classes: tuple[str, ...]) -> list[_Source]:
    sources = []
    for label, name in enumerate(classes):
        inside = _visible(part / name) if (part / name).exists() else []
        sources += [_Source(str(_image(path)), label) for path in inside]
    return sources


def _image(path: Path) -> Path:
    """Raises DataError for what is none by its name."""
    if path.is_dir() or path.suffix.lower() not in SUFFIXES:
        raise _junk(path, f"expected an image ({', '.join(SUFFIXES)})")
    return path


def _rows(path: Path) -> list[_Source]:
    pixels, labels = read_table(path)
    return [
        _Source(f"{path}, line {line}", int(label), image)
        for line, (image, label) in enumerate(zip(pixels, labels, strict=True), start=2)
    ]


def _junk(path: Path, expected: str) -> DataError:
    pickled = path.suffix.lower() in PICKLES
    what = "a pickle, which could run code" if pickled else "a folder" if path.is_dir() else "another file"
    return DataError(f"{path}: {expected}, came {what}", "Move it elsewhere")


def _divided(
    sources: list[_Source], share: float, random: np.random.RandomState
) -> tuple[list[_Source], list[_Source]]:
    """`share` of each class, and the rest."""
    train, held_out = [], []
    for label in sorted({source.label for source in sources}):
        mixed = _mixed([source for source in sources if source.label == label], random)
        edge = round(len(mixed) * share)
        train += mixed[:edge]
        held_out += mixed[edge:]
    return train, held_out


def _mixed(sources: list[_Source], random: np.random.RandomState) -> list[_Source]:
    return [sources[place] for place in random.permutation(len(sources))]


def _decoded(sources: list[_Source], form: Form, progress: Progress | None) -> Images:
    arrays: list[NDArray[np.uint8]] = []
    damaged: list[str] = []
    for done, source in enumerate(sources, start=1):
        try:
            arrays.append(_pixels(source, form))
        except (
            OSError,
            SyntaxError,
            ValueError,
            UnidentifiedImageError,
            Image.DecompressionBombError,
            Warning,
        ):
            damaged.append(source.name)
        if progress is not None:
            progress(done, len(sources))
    if damaged:
        more = f" and {len(damaged) - SHOWN_PATHS} more" if len(damaged) > SHOWN_PATHS else ""
        shown = ", ".join(damaged[:SHOWN_PATHS])
        raise DataError(f"cannot be decoded as images: {shown}{more}", "Remove or replace them")
    first = arrays[0].shape[:2]
    for source, array in zip(sources, arrays, strict=True):
        if array.shape[:2] != first:
            sizes = [
                f"{name} has {h}x{w}"
                for name, (h, w) in ((sources[0].name, first), (source.name, array.shape[:2]))
            ]
            raise DataError(f"images of several sizes: {', '.join(sizes)}", "Choose one, e.g. --size 60x60")
    if form.gray is None and len({array.ndim for array in arrays}) > 1:
        arrays = [array if array.ndim == 3 else np.repeat(array[..., None], 3, axis=2) for array in arrays]
    return Images(np.stack(arrays), np.array([source.label for source in sources], np.uint8))


def _pixels(source: _Source, form: Form) -> NDArray[np.uint8]:
    """uint8 (height, width), or (height, width, 3) in colour."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # Pillow warns of images that are suspiciously large
        image = Image.open(source.name) if source.pixels is None else Image.fromarray(source.pixels)
        with image:
            if image.mode not in (*GRAY_MODES, *COLOUR_MODES):
                raise ValueError(f"mode {image.mode}: more than 8 bits")
            gray = image.mode in GRAY_MODES if form.gray is None else form.gray
            flat = image.convert("L" if gray else "RGB")
    if form.size is not None:
        height, width = form.size
        flat = flat.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(flat, dtype=np.uint8)
