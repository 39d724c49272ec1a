"""Figures of counts: centre, tail, outliers kept, drift, cold start apart."""

import numpy as np

from harness.measure.counts import count_statistics


def test_an_odd_number_of_counts():
    found = count_statistics([5, 1, 9], "instructions")
    assert (found.unit, found.minimum, found.median, found.maximum, found.samples) == (
        "instructions",
        1,
        5.0,
        9,
        3,
    )
    assert (found.deviation, found.drift, found.outliers) == (4.0, None, 0)


def test_an_even_number_of_counts_has_the_mean_of_the_middle_two():
    assert count_statistics([4, 1, 2, 8], "us").median == 3.0


def test_counts_a_device_did_not_report_are_left_out():
    found = count_statistics([None, 7, None], "cycles")
    assert (found.minimum, found.median, found.maximum, found.samples) == (7, 7.0, 7, 1)
    assert found.median_interval == (7.0, 7.0)
    assert count_statistics([None], "cycles") is None
    assert count_statistics([], "cycles") is None


def test_counts_beyond_32_bits_are_exact():
    count = 2**40 + 1
    found = count_statistics([count, count], "cycles")
    assert (found.minimum, found.median, found.maximum) == (count, count, count)


def test_outliers_are_named_and_stay_in_every_figure():
    counts = [100, 101, 102, 103] * 10
    counts[7], counts[20] = 5000, 9000
    found = count_statistics(counts, "us")
    assert (found.outliers, found.outlier_samples, found.maximum) == (2, (20, 7), 9000)


def test_cold_start_and_warm_up_are_in_no_other_figure():
    found = count_statistics([10] * 50, "us", cold=900, warmup=[30, 12])
    assert (found.cold, found.warmup, found.maximum, found.p99) == (900, (30, 12), 10, 10.0)


def test_a_device_that_slows_down_drifts_and_a_steady_one_does_not():
    noise = np.random.default_rng(1).normal(0, 10, 400)
    steady = count_statistics((10_000 + noise).astype(int).tolist(), "us")
    slowing = count_statistics((10_000 + noise + np.arange(400)).astype(int).tolist(), "us")
    assert steady.drift.p > 0.01
    assert abs(slowing.drift.change - 0.03) < 0.002
    assert slowing.drift.p < 1e-20
