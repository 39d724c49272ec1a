"""`harness import-folder` and `harness train`: data from images, and networks from data."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from harness.model.image_folder import Form
from harness.model.import_folder import CALIBRATION_IMAGES, import_folder, parse_size
from harness.model.preprocess import Preprocess
from harness.model.spec import zoo
from harness.model.train import train
from harness.progress import ConsoleWriter, ProgressLine

Parsers = Any  # argparse's own type of `add_subparsers` is private


def add_command(commands: Parsers) -> None:
    """Adds `import-folder` and `train` to the command line."""
    imported = commands.add_parser(
        "import-folder",
        help="make --data and --calibration files of a folder of images",
        description="Reads DIR/<class>/*.png, DIR/training/<class>/* beside DIR/validation/<class>/*, or "
        "Kaggle's MNIST tables (train.csv). Held-out images go to FILE.npz, some training images to "
        "FILE.calibration.npz.",
        epilog="harness import-folder archive --size 60x60 --out gender.npz",
    )
    imported.add_argument("directory", type=Path, metavar="DIR", help="the folder, or one .csv file")
    imported.add_argument("--out", required=True, type=Path, metavar="FILE", help="FILE.npz")
    imported.add_argument("--size", metavar="HxW", help="scale every image (default: as they are)")
    imported.add_argument("--gray", action="store_true", help="drop the colours (default: as they are)")
    imported.add_argument(
        "--split",
        type=float,
        default=0.8,
        metavar="SHARE",
        help="so much of each class is for training, where the folder does not say itself (default: 0.8)",
    )
    imported.add_argument(
        "--calibration",
        type=int,
        default=CALIBRATION_IMAGES,
        metavar="N",
        help=f"training images to calibrate with (default: {CALIBRATION_IMAGES})",
    )
    imported.add_argument(
        "--scale",
        type=float,
        help="store real values, pixel x SCALE + OFFSET, for a model file without a model.toml: 0.00392157 "
        "is / 255 (default: pixels)",
    )
    imported.add_argument("--offset", type=float, help="see --scale (default: 0)")
    imported.set_defaults(run=_import_folder)

    again = commands.add_parser(
        "train",
        help="make a zoo model's artifacts again (extra [keras])",
        description="Trains and converts a zoo model with its recipe.py.",
    )
    again.add_argument("name", help=f"of {', '.join(zoo())}")
    again.add_argument("--full", action="store_true", help="the whole of MNIST, downloaded, not 4000 digits")
    again.add_argument(
        "--folder",
        type=Path,
        metavar="DIR",
        help="train on these images (see import-folder); needs --out",
    )
    again.add_argument("--out", type=Path, metavar="DIR", help="leave the zoo as it is, write here")
    again.set_defaults(run=_train)


def _import_folder(parsed: argparse.Namespace) -> int:
    form = Form(parse_size(parsed.size) if parsed.size else None, gray=parsed.gray or None)
    real = None
    if parsed.scale is not None or parsed.offset is not None:
        real = Preprocess("affine", 1.0 if parsed.scale is None else parsed.scale, parsed.offset or 0.0)
    progress = ProgressLine(str(parsed.directory), ConsoleWriter(sys.stderr), "images")
    done = import_folder(parsed.directory, parsed.out, form, parsed.split, parsed.calibration, real, progress)
    print(f"{len(done.classes)} classes: {', '.join(done.classes)}")
    for path, images in done.files.items():
        print(f"{path}: {images} images {'x'.join(map(str, done.shape))}")
    return 0


def _train(parsed: argparse.Namespace) -> int:
    made = train(parsed.name, full=parsed.full, folder=parsed.folder, out=parsed.out)
    print(f"Artifacts in {made}")
    return 0
