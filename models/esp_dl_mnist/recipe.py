"""The 784-128-64-10 perceptron of ESP-DL's first example."""

from typing import Any

from harness.model.recipe import Recipe


def build() -> Any:
    import keras

    return keras.Sequential(
        [
            keras.Input((28, 28)),
            keras.layers.Flatten(),
            keras.layers.Dense(128, activation="relu"),
            keras.layers.Dense(64, activation="relu"),
            keras.layers.Dense(10),
        ]
    )


RECIPE = Recipe(build, epochs=60, batch=64, learning_rate=3e-3, from_logits=True, max_shift=2, seed=1)
