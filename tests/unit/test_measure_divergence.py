"""How far a tensor is off, and what an element was computed from."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra import numpy as hnp

from harness.measure.divergence import lsb_histogram, worst_element
from harness.measure.gaps import distance_lsb
from harness.portable.receptive_field import receptive_field, region_text
from harness.records.schema import LsbBin
from harness.runtimes.tflm import Tflm
from tests.engine_host import random_input
from tests.operator_cases import CASES, bundle

int8 = hnp.arrays(np.int8, 24)


def test_the_bins_are_powers_of_two_on_either_side() -> None:
    oracle = np.zeros(7, np.int8)
    device = np.array([0, 1, 2, 3, 4, -1, -128], np.int8)
    assert lsb_histogram(device, oracle) == (
        LsbBin(-255, -128, 1), LsbBin(-1, -1, 1), LsbBin(0, 0, 1), LsbBin(1, 1, 1), LsbBin(2, 3, 2),
        LsbBin(4, 7, 1),
    )  # fmt: skip


@given(int8, int8)
def test_every_element_is_in_its_bin(device: np.ndarray, oracle: np.ndarray) -> None:
    bins = lsb_histogram(device, oracle)
    off = device.astype(int) - oracle
    for part in bins:
        assert part.elements == np.count_nonzero((off >= part.low) & (off <= part.high)) > 0
    assert sum(part.elements for part in bins) == 24
    worst = worst_element(device, oracle)
    assert abs(worst.device - worst.oracle) == distance_lsb(device, oracle).max()


def test_the_worst_element_is_the_first_of_several() -> None:
    oracle = np.zeros((2, 3), np.int8)
    device = np.array([[0, 0, -9], [9, 0, 1]], np.int8)
    found = worst_element(device, oracle)
    assert (found.index, found.device, found.oracle) == ((0, 2), -9.0, 0.0)


@pytest.mark.parametrize("operator", CASES)
def test_what_is_outside_the_receptive_field_changes_nothing(operator: str, tmp_path: Path) -> None:
    """By the oracle: all other input elements at random, the one output element stays."""
    path = tmp_path / f"{operator}.tflite"
    path.write_bytes(bundle(operator, seed=5, count=8))
    artifact = Tflm().load(path)
    oracle, generator = Tflm().oracle(artifact), np.random.default_rng(6)
    indices = artifact.graph.inputs
    inputs = [random_input(generator, info) for info in artifact.inputs]
    before = oracle.run_layers(inputs)
    others = [random_input(generator, info) for info in artifact.inputs]
    kept = []
    steps = [step for step in artifact.plan.steps if all(tensor.index in indices for tensor in step.reads)]
    for step in steps:
        shape = step.writes[0].info.shape
        element = tuple(int(generator.integers(size)) for size in shape)
        kept.append(element)
        for tensor, region in zip(step.reads, receptive_field(step, element), strict=True):
            at = indices.index(tensor.index)
            others[at][region] = inputs[at][region]
    after = oracle.run_layers(others)
    assert len(steps) >= 4
    for step, element in zip(steps, kept, strict=True):
        assert before[step.index][element] == after[step.index][element]


def test_a_windows_region_is_what_numpy_indexes() -> None:
    region = (slice(0, 1), slice(3, 8, 2), slice(None), slice(2, 3))
    assert region_text(region, (1, 9, 5, 4)) == "[0, 3:8:2, :, 2]"
