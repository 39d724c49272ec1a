"""Two convolutions and two pools on 15x15 pixels, 3,130 parameters."""

from typing import Any

from harness.model.recipe import Recipe


def build() -> Any:
    import keras

    return keras.Sequential(
        [
            keras.Input((15, 15, 1)),
            keras.layers.Conv2D(16, 3, activation="relu"),
            keras.layers.MaxPooling2D(2),
            keras.layers.Conv2D(16, 3, activation="relu"),
            keras.layers.MaxPooling2D(2),
            keras.layers.Flatten(),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )


RECIPE = Recipe(
    build, epochs=20, batch=32, learning_rate=2e-3, from_logits=False, max_shift=0, seed=1, data="bands_15x15"
)
