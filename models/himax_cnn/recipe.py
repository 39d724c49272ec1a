"""The handwriting network of the Himax WE-I Plus tutorial. `harness train himax_cnn` runs this."""

from typing import Any

from harness.model.recipe import Recipe


def build() -> Any:
    import keras

    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            keras.layers.Conv2D(8, 3, activation="relu"),
            keras.layers.MaxPooling2D(2),
            keras.layers.Conv2D(16, 3, activation="relu"),
            keras.layers.MaxPooling2D(2),
            keras.layers.Conv2D(32, 5),
            keras.layers.Flatten(),
            keras.layers.Dense(64, activation="relu"),
            keras.layers.Dense(10),
        ]
    )


RECIPE = Recipe(build, epochs=30, batch=64, learning_rate=2e-3, from_logits=True, max_shift=2, seed=1)
