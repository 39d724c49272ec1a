"""What a zoo model's `recipe.py` declares: the network and how it is trained.

A recipe holds choices only; the steps that all models share (data, seeds, fitting, export)
stand in `training_job.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Recipe:
    """`build()` returns an uncompiled keras.Model without a batch size.

    `from_logits` says the last layer has no softmax. `max_shift` is the largest random
    translation of a training image, in pixels; a new one is drawn for each image and epoch.
    The learning rate falls from `learning_rate` to 0 along half a cosine. `data` is a set of
    `zoo_data.py`.
    """

    build: Callable[[], Any]
    epochs: int
    batch: int
    learning_rate: float
    from_logits: bool
    max_shift: int
    seed: int
    data: str = "mnist"
