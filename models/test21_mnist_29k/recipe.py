"""Eleven convolutions without a pool, 29,130 parameters."""

from typing import Any

from harness.model.recipe import Recipe

CHANNELS = [16] * 11


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


RECIPE = Recipe(build, epochs=14, batch=32, learning_rate=0.002, from_logits=False, max_shift=1, seed=1)
