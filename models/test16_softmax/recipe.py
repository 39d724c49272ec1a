"""A dense layer of two with softmax, 4 parameters."""

from typing import Any

from harness.model.recipe import Recipe


def build() -> Any:
    import keras

    return keras.Sequential(
        [
            keras.Input((1, 1, 1)),
            keras.layers.Flatten(),
            keras.layers.Dense(2, activation="softmax"),
        ]
    )


RECIPE = Recipe(
    build, epochs=40, batch=32, learning_rate=0.2, from_logits=False, max_shift=0, seed=1, data="bands_1x1"
)
