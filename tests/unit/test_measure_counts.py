from harness.measure.counts import count_statistics
from harness.records.schema import CountStatistics


def test_an_odd_number_of_counts():
    assert count_statistics([5, 1, 9], "instructions") == CountStatistics("instructions", 1, 5.0, 9, 3)


def test_an_even_number_of_counts_has_the_mean_of_the_middle_two():
    assert count_statistics([4, 1, 2, 8], "us") == CountStatistics("us", 1, 3.0, 8, 4)


def test_counts_a_device_did_not_report_are_left_out():
    assert count_statistics([None, 7, None], "cycles") == CountStatistics("cycles", 7, 7.0, 7, 1)
    assert count_statistics([None], "cycles") is None
    assert count_statistics([], "cycles") is None


def test_counts_beyond_32_bits_are_exact():
    count = 2**40 + 1
    assert count_statistics([count, count], "cycles") == CountStatistics("cycles", count, count, count, 2)
