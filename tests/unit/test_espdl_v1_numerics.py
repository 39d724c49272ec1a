"""ESP-DL v1's exponents, integers and layouts, by rule and against Espressif's published example."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import DataError, UsageError
from harness.model.spec import load_model
from harness.runtimes.espdl_v1 import oracle
from harness.runtimes.espdl_v1.calibrate import Scheme, calibrate, exponent_of, kl_threshold
from harness.runtimes.espdl_v1.from_onnx import read_samples
from harness.runtimes.espdl_v1.graph import Graph, read_graph
from harness.runtimes.espdl_v1.layout import pack_filter
from harness.runtimes.espdl_v1.network import Network, read_network
from harness.runtimes.espdl_v1.optimise import optimise
from harness.runtimes.espdl_v1.quantise import QuantisedNetwork, quantise

TUTORIAL = Path(__file__).parents[3] / "shared" / "data" / "esp_dl_v1_tutorial"
published = pytest.mark.skipif(
    not TUTORIAL.is_dir(), reason="Espressif's example data are not beside this checkout (shared/data)"
)


@given(st.floats(1e-30, 1e30), st.sampled_from([8, 16]))
def test_the_exponent_is_the_smallest_that_reaches(largest: float, bits: int) -> None:
    reach = 2.0 ** (exponent_of(largest, bits) + bits - 1)
    assert reach / 2 < largest <= reach


def test_a_tensor_of_zeros_has_the_range_of_one() -> None:
    assert (exponent_of(0.0, 8), exponent_of(1.0, 8)) == (-7, -7)


@pytest.mark.parametrize(
    ("bits", "granularity", "method", "message"),
    [
        (16, "per-tensor", "entropy", "int16 has minmax only"),
        (16, "per-channel", "minmax", "int16 has per-tensor only"),
        (4, "per-tensor", "minmax", "8 or 16 bits, came 4"),
        (8, "per-tensor", "kl", "came 'kl'"),
    ],
)
def test_schemes_that_v1_has_not(bits: int, granularity: str, method: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Scheme(bits, granularity, method)


def test_entropy_cuts_a_lone_outlier_and_keeps_an_even_spread() -> None:
    even = np.full(2048, 100)
    assert kl_threshold(even, 8.0) == 8.0
    bell = (10_000 * np.exp(-((np.arange(2048) / 150) ** 2))).astype(np.int64)
    bell[-1] = 1
    assert 1.0 < kl_threshold(bell, 8.0) < 4.0


def test_shifts_round_down_and_go_both_ways() -> None:
    values = np.array([-5, 5, 1 << 40])
    assert oracle.shift_right(values, 1).tolist() == [-3, 2, 1 << 39]
    assert oracle.shift_right(values, np.array([-1, 2, 8])).tolist() == [-10, 1, 1 << 32]


def test_exp_fast_is_the_headers_and_not_exp() -> None:
    x = np.array([0.0, -1.0, -8.0], dtype=np.float32)
    assert oracle.exp_fast(x) == pytest.approx([(1 + v / 256) ** 256 for v in x.tolist()], rel=1e-4)
    assert abs(oracle.exp_fast(x)[2] / np.exp(-8.0) - 1) > 0.1


def test_esp32s3_blocks_eight_channels_then_the_rest_one_by_one() -> None:
    values = np.arange(2 * 9).reshape(1, 1, 2, 9)
    packed = pack_filter(values, "esp32s3", 16, depthwise=False, dense=False)
    assert packed.tolist() == [*range(8), *range(9, 17), 8, 17]
    assert pack_filter(values, "esp32s3", 8, depthwise=False, dense=False).tolist() == [
        value for channel in range(9) for value in (channel, channel + 9)
    ]


def test_esp32_pads_only_convolutions_over_one_channel() -> None:
    one = np.ones((3, 3, 1, 4), dtype=np.int64)
    assert len(pack_filter(one, "esp32", 16, depthwise=False, dense=False)) == 48
    assert len(pack_filter(one, "esp32", 16, depthwise=False, dense=True)) == 36
    assert len(pack_filter(np.ones((3, 3, 4, 1)), "esp32", 16, depthwise=True, dense=False)) == 36
    order = pack_filter(np.arange(12).reshape(1, 2, 3, 2), "esp32", 16, depthwise=False, dense=False)
    assert order.tolist() == [0, 2, 4, 6, 8, 10, 1, 3, 5, 7, 9, 11]


def test_the_input_is_cut_off_not_rounded() -> None:
    layer = Network("x", (1, 1, 4), np.arange(4).reshape(1, 4), ())
    network = QuantisedNetwork(layer, Scheme(16), -15, ())
    real = np.array([1.0, 1.9 / 32768, -1.9 / 32768, -2.0], dtype=np.float32)
    assert network.quantise_input(real).tolist() == [32767, 1, -1, -32768]


# Espressif's quantization_tool_example on an ESP32-S3.


@pytest.fixture(scope="module")
def facts() -> dict:
    return json.loads((TUTORIAL / "published.json").read_text())


@pytest.fixture(scope="module")
def example() -> tuple[Graph, Network]:
    graph = optimise(read_graph(TUTORIAL / "mnist_model_example.onnx"))
    return graph, read_network(graph)


@pytest.fixture(scope="module")
def quantised(facts: dict, example: tuple[Graph, Network]) -> QuantisedNetwork:
    """With the exponents Espressif published: their calibration images are not in the example."""
    network = example[1]
    exponents = facts["layer_output_exponents"]
    table = {layer.tensor: exponents[layer.name] for layer in network.layers if layer.filter is not None}
    return quantise(network, {network.input: facts["input_exponent"], **table}, Scheme(16))


@published
def test_the_published_chip_output_bit_for_bit(facts: dict, quantised: QuantisedNetwork) -> None:
    image = np.load(TUTORIAL / "example_image_u8.npy").astype(np.float32) / np.float32(255)
    integers = quantised.quantise_input(quantised.network.to_device(image[np.newaxis])[0])
    scores = oracle.run(quantised, integers)[-1]
    assert scores.reshape(-1).tolist() == facts["published_chip_output_int16"]


@published
def test_the_published_coefficients_element_for_element(quantised: QuantisedNetwork) -> None:
    arrays = np.load(TUTORIAL / "published_coefficients_esp32s3_int16.npz")
    compared = 0
    for layer in quantised.layers:
        if layer.filter is not None:
            name = layer.layer.name
            packed = pack_filter(layer.filter, "esp32s3", 16, depthwise=False, dense=True)
            assert np.array_equal(packed, arrays[f"{name}_filter"])
            assert np.array_equal(layer.bias, arrays[f"{name}_bias"])
            assert layer.filter_exponents == (-15,)
            compared += 2
    assert compared == len(arrays.files) == 6


@published
def test_our_own_calibration_is_within_one_exponent_of_the_published(
    facts: dict, example: tuple[Graph, Network]
) -> None:
    """Other images, other maxima: one layer's largest value is just above 16, theirs below."""
    graph, network = example
    spec = load_model("mnist_mlp")
    assert spec.calibration is not None
    samples = read_samples(spec.calibration, graph, spec.preprocess)
    found = calibrate(graph, network, samples[:100], Scheme(16))
    layers = {layer.name: layer.tensor for layer in network.layers if layer.filter is not None}
    wanted = facts["layer_output_exponents"]
    difference = [found[tensor] - wanted[name] for name, tensor in layers.items()]
    assert found[network.input] == facts["input_exponent"]
    assert difference == [0, 1, 0]


@published
@pytest.mark.parametrize(
    ("samples", "message"),
    [(np.empty((0, 28, 28), np.float32), "empty"), (np.full((1, 28, 28), np.nan, np.float32), "NaN")],
)
def test_calibration_data_that_mean_nothing(
    samples: np.ndarray, message: str, example: tuple[Graph, Network]
) -> None:
    with pytest.raises(DataError, match=message):
        calibrate(*example, samples, Scheme(16))
