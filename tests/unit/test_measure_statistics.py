"""The statistics against what they are known to give: coverage by simulation, p against enumeration."""

import itertools

import numpy as np
import pytest

from harness.measure.statistics import deviation, far_out, greater, median_interval, share_interval


@pytest.mark.parametrize("count", [11, 12, 300])
def test_the_interval_is_that_of_resampled_medians(count: int) -> None:
    values = np.random.default_rng(2).lognormal(3, 0.5, count)
    picks = np.random.default_rng(3).integers(0, count, (20_000, count))
    plain = np.quantile(np.median(values[picks], axis=1), (0.025, 0.975))
    spread = plain[1] - plain[0]
    assert np.abs(np.array(median_interval(values)) - plain).max() < 0.08 * spread


def test_the_interval_covers_the_true_median_19_times_of_20() -> None:
    generator = np.random.default_rng(4)
    hits = 0
    for _ in range(400):
        low, high = median_interval(generator.normal(50, 5, 60))
        hits += low <= 50 <= high
    assert 0.92 <= hits / 400 <= 0.98


def test_equal_seeds_give_equal_intervals() -> None:
    values = np.random.default_rng(5).normal(0, 1, 30)
    assert median_interval(values) == median_interval(values)
    assert median_interval(values) != median_interval(values, seed=1)


def test_p_is_close_to_that_of_every_permutation() -> None:
    """9 values against 9 at random, with ties: all 48 620 ways to deal them."""
    generator = np.random.default_rng(6)
    before, after = generator.integers(0, 40, 9), generator.integers(8, 48, 9)
    pooled = np.concatenate([after, before])
    ranks = np.array([np.mean(np.flatnonzero(np.sort(pooled) == value)) for value in pooled])
    sums = np.array([ranks[list(deal)].sum() for deal in itertools.combinations(range(18), 9)])
    exact = float(np.mean(sums >= ranks[:9].sum() - 1e-9))
    assert greater(after, before) == pytest.approx(exact, abs=0.006)


def test_p_is_uniform_where_nothing_changed() -> None:
    generator = np.random.default_rng(7)
    found = [greater(generator.normal(0, 1, 40), generator.normal(0, 1, 40)) for _ in range(1000)]
    assert 0.03 < np.mean(np.array(found) < 0.05) < 0.07


def test_equal_values_are_no_evidence() -> None:
    same = np.full(50, 7)
    assert greater(same, same) == 1.0
    assert (deviation(same), len(far_out(same))) == (0.0, 0)


def test_the_interval_of_a_share() -> None:
    """Brown, Cai & DasGupta's formula at 50 of 100 and at the ends."""
    assert share_interval(0.5, 100) == pytest.approx((0.40383, 0.59617), abs=1e-5)
    assert share_interval(1.0, 50) == pytest.approx((0.92865, 1.0), abs=1e-5)
    assert share_interval(0.0, 50) == pytest.approx((0.0, 0.07135), abs=1e-5)
