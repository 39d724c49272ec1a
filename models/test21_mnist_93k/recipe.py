"""Eleven convolutions without a pool, 92,634 parameters."""

from typing import Any

from harness.model.recipe import Recipe

CHANNELS = [16] * 2 + [32] * 9


def build() -> Any:
    import keras

    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            *[keras.layers.Conv2D(channels, 3, activation="relu") for channels in CHANNELS],
            keras.layers.Flatten(),
            keras.layers.Dropout(0.5),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )


RECIPE = Recipe(build, epochs=6, batch=32, learning_rate=0.001, from_logits=False, max_shift=1, seed=1)
