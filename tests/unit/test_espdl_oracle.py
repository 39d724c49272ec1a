"""The espdl oracle's arithmetic against definitions, and the rounding of real inputs."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.bundled import zoo_directory
from harness.errors import DataError
from harness.runtimes.espdl import Espdl
from harness.runtimes.espdl.oracle import shift_and_round
from harness.tensors import TensorInfo


@given(st.integers(-(2**40), 2**40), st.integers(-20, 30), st.booleans())
def test_shift_and_round(x: int, shift: int, half_even: bool) -> None:
    real = Fraction(x) / Fraction(2) ** shift
    expected = round(real) if half_even else math.floor(real + Fraction(1, 2))  # Python rounds halves to even
    assert shift_and_round(np.array([x]), np.array([shift]), half_even) == expected


def test_a_shift_for_each_channel() -> None:
    sums = np.array([[3, 3, 3], [-3, -3, -3]])
    np.testing.assert_array_equal(
        shift_and_round(sums, np.array([0, 1, -1]), False), [[3, 2, 6], [-3, -1, -6]]
    )


def test_halves_of_real_inputs_go_where_the_chip_rounds_them() -> None:
    halves = np.array([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5], np.float32)
    expected = {
        "half_away": [-3, -2, -1, 1, 2, 3],
        "half_up": [-2, -1, 0, 1, 2, 3],
        "half_even": [-2, -2, 0, 0, 2, 2],
    }
    for rounding, integers in expected.items():
        info = TensorInfo("x", (6,), "int8", 1.0, 0, rounding)  # type: ignore[arg-type]
        assert info.quantise(halves).tolist() == integers
        assert info.quantise(np.array([300.0, -300.0], np.float32)).tolist() == [127, -128]


@pytest.mark.parametrize("variant", ["c", "esp32s3", "esp32p4"])
@pytest.mark.parametrize("name", ["mnist_mlp", "himax_cnn"])
def test_the_sample_in_the_zoos_files_comes_out(name: str, variant: str) -> None:
    """The integers esp-ppq's executor wrote there; float scores within 1e-6."""
    artifact = Espdl().load(zoo_directory() / name / f"model.{variant}.espdl", variant)
    inputs = [artifact.test_inputs[info.name] for info in artifact.inputs]
    (output,) = Espdl().oracle(artifact).run(inputs)
    expected = artifact.test_outputs[artifact.outputs[0].name]
    if output.dtype == np.int8:
        np.testing.assert_array_equal(output, expected)
    else:
        np.testing.assert_allclose(output, expected, rtol=1e-6, atol=0)


def test_softmax_is_the_softmax() -> None:
    artifact = Espdl().load(zoo_directory() / "mnist_mlp" / "model.c.espdl", "c")
    oracle = Espdl().oracle(artifact)
    rng = np.random.default_rng(3)
    for _ in range(50):
        image = rng.integers(-128, 128, (1, 784), np.int8)
        *_, logits, scores = oracle.run_layers([image])
        z = logits.astype(np.float64) * artifact.layers[-2].output.scale
        exact = np.exp(z - z.max()) / np.exp(z - z.max()).sum()
        np.testing.assert_allclose(scores, exact, rtol=1e-6, atol=1e-44)


def test_wrong_inputs_are_refused() -> None:
    artifact = Espdl().load(zoo_directory() / "mnist_mlp" / "model.c.espdl", "c")
    oracle = Espdl().oracle(artifact)
    with pytest.raises(DataError, match="takes 1 inputs, 0 came"):
        oracle.run([])
    with pytest.raises(DataError, match=r"int8 \[1, 784\]; uint8 \[1, 784\] came"):
        oracle.run([np.zeros((1, 784), np.uint8)])
