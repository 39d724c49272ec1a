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
from harness.runtimes.espdl.oracle import EspdlOracle, shift_and_round
from harness.runtimes.espdl.reader import read
from harness.runtimes.espdl.variants import VARIANTS
from harness.tensors import TensorInfo
from tests.espdl_builder import EspdlBuilder


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


def both(model: EspdlBuilder, output: str, x: np.ndarray, variant: str = "c") -> list[list[int]]:
    """What ESP-DL's kernel gives for one operator, and what esp-ppq's executor."""
    graph = read(model.build([output]), VARIANTS[variant]).graph
    return [EspdlOracle(graph, as_exporter=who).run([x])[0].reshape(-1).tolist() for who in (False, True)]


def test_a_mean_halfway_falls_where_single_precision_puts_it() -> None:
    """Sums over 7 x 8 values: (n + 1/2) * 56 is halfway, but 56 times 1 / 56 in float32 is not one."""
    model = EspdlBuilder()
    x = model.input("x", (1, 7, 8, 128), 0)
    y = model.operator("GlobalAveragePool", [x], "y", 0)
    values = np.zeros((1, 7, 8, 128), np.int8)
    values[:, :, :4] = -np.arange(128)  # means of -n / 2
    chip, exporter = both(model, y, values)
    assert exporter == [-(n // 2) for n in range(128)]
    wrong = [n for n in range(128) if chip[n] != exporter[n]]
    assert wrong
    assert all(n % 2 == 1 and chip[n] == exporter[n] - 1 for n in wrong)


def test_padding_counts_into_an_average() -> None:
    model = EspdlBuilder()
    x = model.input("x", (1, 2, 2, 1), 0)
    y = model.operator("AveragePool", [x], "y", 0, kernel_shape=[2, 2], pads=[1, 1, 0, 0], strides=[1, 1])
    chip, exporter = both(model, y, np.full((1, 2, 2, 1), 100, np.int8))
    assert chip == exporter == [25, 50, 50, 100]


def test_prelu_drops_the_fraction_and_the_p4_rounds_it() -> None:
    x = np.array([-1, -2, -3, -5, 7], np.int8).reshape(1, 1, 5, 1)
    results = {}
    for variant in ("c", "esp32p4"):
        model = EspdlBuilder(variant)
        slopes = model.constant("slopes", np.full((1, 1, 1), 64, np.int8), [-7])  # one half
        y = model.operator("PRelu", [model.input("x", x.shape, 0), slopes], "y", 0)
        results[variant] = both(model, y, x, variant)
    assert results["c"] == [[-1, -1, -2, -3, 7], [0, -1, -1, -2, 7]]
    assert results["esp32p4"] == [[0, -1, -2, -2, 7]] * 2


def test_resize_goes_by_the_reciprocal_of_the_scale() -> None:
    """6 to 26: output row 13 lies on input row 3, but 13 * (1 / (26 / 6)) in float32 is just below."""
    model = EspdlBuilder()
    x = model.input("x", (1, 6, 1, 1), 0)
    sizes = model.constant("sizes", np.array([1, 1, 26, 1], np.int64))
    y = model.operator("Resize", [x, "", "", sizes], "y", 0, mode="nearest")
    chip, exporter = both(model, y, np.arange(6, dtype=np.int8).reshape(1, 6, 1, 1))
    assert exporter == [place * 6 // 26 for place in range(26)]
    assert [place for place in range(26) if chip[place] != exporter[place]] == [13]
    assert (chip[13], exporter[13]) == (2, 3)


def test_wrong_inputs_are_refused() -> None:
    artifact = Espdl().load(zoo_directory() / "mnist_mlp" / "model.c.espdl", "c")
    oracle = Espdl().oracle(artifact)
    with pytest.raises(DataError, match="takes 1 inputs, 0 came"):
        oracle.run([])
    with pytest.raises(DataError, match=r"int8 \[1, 784\]; uint8 \[1, 784\] came"):
        oracle.run([np.zeros((1, 784), np.uint8)])
