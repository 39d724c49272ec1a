import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from harness.measure.gaps import accuracy, classes, difference, distance_lsb, quantisation_gap, runtime_gap
from harness.records.schema import Accuracy, RuntimeGap

INTEGER_DTYPES = ["int8", "uint8", "int16", "int32", "int64"]


def test_equal_outputs_have_no_gap():
    q = np.array([[1, 2], [3, 4]], np.int8)
    gap = runtime_gap(distance_lsb(q, q.copy()))
    assert gap == RuntimeGap(0, 0, 4, 0, 2)
    assert gap.exact


def test_runtime_gap_by_hand():
    oracle = np.array([[0, 0, 0], [5, 5, 5], [-128, 7, 7]], np.int8)
    device = np.array([[0, 0, 0], [5, 4, 8], [127, 7, 7]], np.int8)
    distance = distance_lsb(device, oracle)
    gap = runtime_gap(distance, layer_samples=2, layers=4, mismatching_layers=("3 CONV_2D",))
    assert gap == RuntimeGap(
        max_lsb=255,
        mismatching_elements=3,
        elements=9,
        mismatching_samples=2,
        samples=3,
        layer_samples=2,
        layers=4,
        mismatching_layers=("3 CONV_2D",),
    )


@given(st.data())
def test_a_distance_is_exact_over_the_whole_range(data):
    dtype = data.draw(st.sampled_from(INTEGER_DTYPES))
    a, b = (data.draw(hnp.arrays(dtype, (3, 2))) for _ in range(2))
    expected = [abs(int(x) - int(y)) for x, y in zip(a.ravel(), b.ravel(), strict=True)]
    assert distance_lsb(a, b).ravel().tolist() == expected
    assert distance_lsb(b, a).ravel().tolist() == expected


def test_one_lsb_of_a_float_is_one_representable_value():
    one, tiny = np.float32(1), np.float32(1e-45)
    above = np.nextafter(one, np.float32(2))
    a = np.array([one, 0.0, -tiny, one], np.float32)
    b = np.array([above, -0.0, tiny, one], np.float32)
    assert distance_lsb(a, b).tolist() == [1, 0, 2, 0]
    assert difference(a, b).mismatching_elements == 2
    nan = np.array([np.nan], np.float32)
    assert difference(nan, nan.copy()).max_lsb == 0
    assert difference(nan, np.ones(1, np.float32)).max_lsb > 0


def test_bools_differ_by_one():
    assert difference(np.array([True, False]), np.array([True, True])).max_lsb == 1


def test_difference_of_one_tensor():
    result = difference(np.array([[3, -3]], np.int16), np.array([[1, 5]], np.int16))
    assert (result.max_lsb, result.mismatching_elements) == (8, 2)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (np.zeros((2, 3), np.int8), np.zeros((2, 1), np.int8)),
        (np.zeros((2, 3), np.int8), np.zeros((2, 3), np.uint8)),
        (np.zeros((2, 3)), np.zeros((2, 3))),
    ],
)
def test_what_cannot_be_compared_raises(a, b):
    with pytest.raises(ValueError, match=r"compared with|no LSB"):
        distance_lsb(a, b)


def test_no_samples_raise():
    with pytest.raises(ValueError, match="no samples"):
        runtime_gap(np.zeros((0, 3), np.uint64))
    with pytest.raises(ValueError, match="no samples"):
        quantisation_gap(np.zeros((0, 3)), np.zeros((0, 3)), "onnx")


def test_quantisation_gap_by_hand():
    oracle = np.array([[3.0, 4.0], [1.0, 0.0]])
    reference = np.array([[4.0, 3.0], [1.0, 0.0]])
    gap = quantisation_gap(oracle, reference, "onnx")
    assert gap.reference == "onnx"
    assert gap.samples == 2
    assert gap.agreement == 0.5
    assert gap.max_abs == 1.0
    assert gap.mean_abs == 0.5
    assert gap.rmse == pytest.approx(np.sqrt(0.5))
    assert gap.cosine == pytest.approx((24 / 25 + 1) / 2)


def test_outputs_of_another_shape_are_not_compared():
    with pytest.raises(ValueError, match="compared with reference"):
        quantisation_gap(np.zeros((2, 3)), np.zeros((2, 4)), "onnx")


def test_a_single_output_has_no_agreement_and_one_direction():
    gap = quantisation_gap(np.array([[3.0], [4.0]]), np.array([[4.0], [3.0]]), "onnx")
    assert gap.agreement is None
    assert gap.cosine == pytest.approx(24 / 25)


def test_zero_vectors_have_a_cosine():
    zeros, ones = np.zeros((1, 2)), np.ones((1, 2))
    assert quantisation_gap(zeros, zeros, "onnx").cosine == 1.0
    assert quantisation_gap(zeros, ones, "onnx").cosine == 0.0
    assert quantisation_gap(ones, -ones, "onnx").cosine == pytest.approx(-1.0)


@given(
    hnp.arrays(np.float32, (4, 3), elements=st.floats(-1e3, 1e3, width=32)),
    hnp.arrays(np.float32, (4, 3), elements=st.floats(-1e3, 1e3, width=32)),
)
def test_the_figures_of_a_quantisation_gap_are_ordered(a, b):
    gap = quantisation_gap(a, b, "onnx")
    assert 0 <= gap.mean_abs <= gap.rmse * (1 + 1e-9)
    assert gap.rmse <= gap.max_abs * (1 + 1e-9)
    assert -1 - 1e-9 <= gap.cosine <= 1 + 1e-9
    assert gap.agreement in (0.0, 0.25, 0.5, 0.75, 1.0)


def test_of_equal_scores_the_first_wins():
    assert classes(np.array([[1, 7, 7], [0, 0, 0]], np.int8)).tolist() == [1, 0]


def test_accuracy_by_hand():
    labels = np.array([1, 0, 1, 1])
    device = np.array([[0, 1], [0, 1], [0, 1], [1, 0]], np.int8)
    oracle = np.array([[0, 1], [1, 0], [0, 1], [1, 0]], np.int8)
    reference = np.array([[0.1, 0.9], [0.9, 0.1], [0.2, 0.8], [0.3, 0.7]])
    assert accuracy(labels, device, oracle, reference) == Accuracy(0.5, 0.75, 1.0, 4)


def test_accuracy_does_not_apply_without_labels_scores_or_classes():
    scores = np.zeros((2, 2), np.int8)
    assert accuracy(None, scores, scores, None) == Accuracy(None, None, None, 2)
    assert accuracy(np.array([0, 0]), scores, scores, None) == Accuracy(1.0, 1.0, None, 2)
    assert accuracy(np.array([0, 0]), scores[:, :1], None, None) == Accuracy(None, None, None, 2)
    with pytest.raises(ValueError, match="3 labels"):
        accuracy(np.array([0, 0, 0]), scores, scores, None)
