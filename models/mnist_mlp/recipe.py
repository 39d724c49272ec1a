"""A 784-64-64-10 perceptron with softmax. `harness train mnist_mlp` runs this."""

from typing import Any

from harness.model.recipe import Recipe


def build() -> Any:
    import keras

    return keras.Sequential(
        [
            keras.Input((784,)),
            keras.layers.Dense(64, activation="relu"),
            keras.layers.Dense(64, activation="relu"),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )


RECIPE = Recipe(build, epochs=60, batch=64, learning_rate=3e-3, from_logits=False, max_shift=2, seed=1)
