"""Images of random pixels within a band of brightness, the toy data of tutorial 0 (test15 to test19).

Class i of n has pixels from i * floor(255 / n) up to, not including, (i + 1) * floor(255 / n). Nothing
is downloaded: equal seeds give equal images.
"""

from __future__ import annotations

import numpy as np

from harness.model.images import Images

IMAGES = 1000
HELD_OUT = 300
SEED = 42


def split(classes: int, side: int) -> tuple[Images, Images]:
    """700 training and 300 held-out images (side, side), shuffled; each class has equally many."""
    random = np.random.RandomState(SEED)  # its stream is frozen for good
    width = 255 // classes
    each = IMAGES // classes
    x = [random.randint(i * width, (i + 1) * width, (each, side, side)) for i in range(classes)]
    images = Images(np.concatenate(x).astype(np.uint8), np.repeat(np.arange(classes), each).astype(np.uint8))
    images = images.take(random.permutation(classes * each))
    return images.take(slice(HELD_OUT, None)), images.take(slice(HELD_OUT))
