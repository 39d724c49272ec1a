"""Two 1x1 convolutions and two 1x1 pools, 338 parameters."""

from typing import Any

from harness.model.recipe import Recipe


def build() -> Any:
    import keras

    return keras.Sequential(
        [
            keras.Input((1, 1, 1)),
            keras.layers.Conv2D(16, 1, activation="relu"),
            keras.layers.MaxPooling2D(1),
            keras.layers.Conv2D(16, 1, activation="relu"),
            keras.layers.MaxPooling2D(1),
            keras.layers.Flatten(),
            keras.layers.Dense(2, activation="softmax"),
        ]
    )


RECIPE = Recipe(
    build, epochs=20, batch=32, learning_rate=1e-2, from_logits=False, max_shift=0, seed=1, data="bands_1x1"
)
