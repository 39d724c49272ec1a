"""Four times convolution and pool on 60x60 RGB, 7,442 parameters."""

from typing import Any

from harness.model.recipe import Recipe


def build() -> Any:
    import keras

    return keras.Sequential(
        [
            keras.Input((60, 60, 3)),
            keras.layers.Conv2D(16, 3, activation="relu"),
            keras.layers.MaxPooling2D(2),
            keras.layers.Conv2D(16, 3, activation="relu"),
            keras.layers.MaxPooling2D(2),
            keras.layers.Conv2D(16, 3, activation="relu"),
            keras.layers.MaxPooling2D(2),
            keras.layers.Conv2D(16, 3, activation="relu"),
            keras.layers.MaxPooling2D(2),
            keras.layers.Flatten(),
            keras.layers.Dropout(0.5),
            keras.layers.Dense(2, activation="softmax"),
        ]
    )


RECIPE = Recipe(
    build, epochs=20, batch=32, learning_rate=1e-3, from_logits=False, max_shift=0, seed=1, data="photographs"
)
