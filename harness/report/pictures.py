"""The pictures of wrongly classified samples: which are shown, and the file that keeps them beside a report.

Records hold no pictures, so that file is what a report is made from when it is made again.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from harness.errors import DataError
from harness.records.schema import RunRecord, Sample

FILE = "pictures.npz"
MOST = 48
"""Of each item."""


class Images(Protocol):
    """uint8 images (H, W) or (H, W, 3) by sample index: an array, a list or a dict."""

    def __getitem__(self, index: int, /) -> NDArray[np.uint8]: ...


def labelled(samples: Sequence[Sample]) -> list[Sample]:
    """Those with a label and an answer."""
    return [sample for sample in samples if sample.label is not None and sample.device_class is not None]


def wrong(samples: Sequence[Sample]) -> list[Sample]:
    """Those the device classified wrongly; first where the oracle answered otherwise than the device."""
    found = [sample for sample in labelled(samples) if sample.device_class != sample.label]
    return sorted(found, key=lambda sample: (sample.device_class == sample.oracle_class, sample.index))


def image_of(images: Images | None, sample: Sample) -> NDArray[np.uint8] | None:
    """A sample's image; None where it is not at hand."""
    if images is None:
        return None
    try:
        return np.asarray(images[sample.index])
    except (IndexError, KeyError):
        return None


def pack(
    run: RunRecord, samples: Mapping[str, Sequence[Sample]], images: Mapping[str, Images]
) -> bytes | None:
    """The pictures of all items as one .npz, the same bytes for the same pictures; None without any."""
    arrays = dict(_arrays(run, samples, images))
    if not arrays:
        return None
    file = io.BytesIO()
    np.savez_compressed(file, allow_pickle=False, **arrays)
    return file.getvalue()


def unpack(run: RunRecord, path: Path) -> dict[str, dict[int, NDArray[np.uint8]]]:
    """What `pack` kept, by `ItemRecord.key` and sample index; {} where there is no such file.

    Raises:
        DataError: the file is damaged, or not of this run.
    """
    images: dict[str, dict[int, NDArray[np.uint8]]] = {}
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
            for name in file.files:
                number, index = map(int, name.split("-"))
                images.setdefault(run.items[number].key, {})[index] = file[name]
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, IndexError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(
            f"expected the pictures of run {run.run_id} in {path}; {error}",
            f"Without them the report has none: remove {path}",
        ) from error
    return images


def _arrays(
    run: RunRecord, samples: Mapping[str, Sequence[Sample]], images: Mapping[str, Images]
) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Named by the item's place in the run: a key may hold what no name of a file may."""
    for number, item in enumerate(run.items):
        for sample in wrong(samples.get(item.key, ()))[:MOST]:
            if (image := image_of(images.get(item.key), sample)) is not None:
                yield f"{number}-{sample.index}", image
