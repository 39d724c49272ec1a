"""Accuracy, area under the curve and the data set of an MLPerf Tiny run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import DataError
from harness.mlperf_tiny.dataset import read_dataset
from harness.mlperf_tiny.score import area_under_curve, mean_scores, quality, top1_percent


def pairs_area(values: list[int], labels: list[int]) -> float | None:
    """The definition, pair by pair."""
    high = [v for v, label in zip(values, labels, strict=True) if label]
    low = [v for v, label in zip(values, labels, strict=True) if not label]
    pairs = [(h > w) + (h == w) / 2 for h in high for w in low]
    return sum(pairs) / len(pairs) if pairs else None


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 1)), min_size=1, max_size=20))
def test_area_is_the_share_of_pairs_in_order(rows: list[tuple[int, int]]) -> None:
    values, labels = [row[0] for row in rows], [row[1] for row in rows]
    wanted = pairs_area(values, labels)
    for scores in (np.array([[v] for v in values], float), np.array([[-v, v] for v in values], float)):
        assert area_under_curve(scores, labels) == pytest.approx(wanted)


def test_area_of_several_classes_is_the_mean_of_each_against_the_rest() -> None:
    scores = np.array([[0.6, 0.3, 0.1], [0.5, 0.4, 0.1], [0.2, 0.2, 0.6], [0.1, 0.7, 0.2]])
    labels = [0, 1, 2, 1]
    each = [pairs_area(list(scores[:, k]), [int(label == k) for label in labels]) for k in range(3)]
    assert area_under_curve(scores, labels) == pytest.approx(np.mean([a for a in each if a is not None]))
    assert area_under_curve(scores[:2], [0, 1]) is None


def test_top1_and_the_mean_of_windows() -> None:
    assert list(mean_scores([(1.0, 3.0), (2.0, 2.0)])) == [0.375, 0.625]
    assert list(mean_scores([(-3.0, -1.0)])) == [-3.0, -1.0]  # a sum below 0 would turn the order round
    assert list(mean_scores([(0.0, 0.0)])) == [0.0, 0.0]
    assert top1_percent(np.array([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7], [0.6, 0.4]]), [1, 0, 0, 0]) == 75


def test_top1_of_an_anomaly_score_is_the_best_threshold() -> None:
    assert top1_percent(np.array([[1.0], [2.0], [9.0], [10.0]]), [0, 0, 1, 1]) == pytest.approx(100)
    assert top1_percent(np.array([[1.0], [9.0], [2.0], [10.0]]), [0, 0, 1, 1]) < 100


@pytest.mark.parametrize(
    ("model", "top1", "area", "said"),
    [
        ("ad01", 99.0, 0.849, "ad01: AUC 0.849, the closed division asks for 0.85: not reached"),
        ("ad01", 10.0, 0.86, "ad01: AUC 0.860, the closed division asks for 0.85: reached"),
        ("ad01", 99.0, None, "ad01: AUC unknown, the closed division asks for 0.85: not reached"),
        ("ic01", 85.0, 0.1, "ic01: Top-1 in percent 85.0, the closed division asks for 85: reached"),
        ("kws01", 89.9, 1.0, "kws01: Top-1 in percent 89.9, the closed division asks for 90: not reached"),
        ("vww01", 80.0, None, "vww01: Top-1 in percent 80.0, the closed division asks for 80: reached"),
        ("my_net", 100.0, 1.0, None),
    ],
)
def test_the_closed_divisions_quality_targets(
    model: str, top1: float, area: float | None, said: str | None
) -> None:
    assert quality(model, top1, area) == said


def dataset(directory: Path, labels: str) -> Path:
    (directory / "a.bin").write_bytes(bytes(range(10)))
    (directory / "y_labels.csv").write_text(labels)
    return directory


def test_windows_overlap_by_the_stride(tmp_path: Path) -> None:
    (sample,) = read_dataset(dataset(tmp_path, "a.bin,2,1,4,3\n"))
    assert (sample.label, sample.classes) == (1, 2)
    assert sample.windows == (bytes([0, 1, 2, 3]), bytes([3, 4, 5, 6]), bytes([6, 7, 8, 9]))


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ("", "at least one row"),
        ("a.bin,2\n", "expected file,classes,class"),
        ("a.bin,2,x\n", "expected file,classes,class"),
        ("a.bin,2,2\n", "a class below 2, came 2"),
        ("b.bin,2,1\n", "No such file"),
        ("../a.bin,2,1\n", "expected a file in"),
        ("a.bin,2,1,11,3\n", "within the 10 bytes"),
        ("a.bin,2,1,4,0\n", "within the 10 bytes"),
    ],
)
def test_a_wrong_list_is_refused(tmp_path: Path, labels: str, words: str) -> None:
    with pytest.raises(DataError, match=words):
        read_dataset(dataset(tmp_path, labels))
