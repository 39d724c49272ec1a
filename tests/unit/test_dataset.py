import contextlib
import hashlib
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import DataError
from harness.model.dataset import dataset_from, load_dataset, random_dataset
from harness.model.preprocess import Preprocess
from harness.tensors import TensorInfo

VECTOR = TensorInfo("input", (1, 6), "int8", 0.5, -3)
IMAGE = TensorInfo("image", (1, 2, 3, 1), "int8", 1.0, 0)
RGB = TensorInfo("image", (1, 4, 5, 3), "int8", 1.0, 0)
FLOAT = TensorInfo("input", (1, 6), "float32")
TOKENS = TensorInfo("ids", (1, 6), "int32")


@pytest.fixture
def save(tmp_path: Path):
    def save(**arrays: object) -> Path:
        path = tmp_path / "data.npz"
        np.savez(path, **arrays)
        return path

    return save


def test_floats_are_real_values(save):
    x = np.array([[0.0, 0.25, -0.25, 1.0, 70.0, -70.0]])
    path = save(x=x, y=np.array([2]))
    data = load_dataset(path, VECTOR, classes=3)
    assert data.samples == 1
    (q,) = data.quantised()
    assert q.dtype == np.int8
    # 0.25 / 0.5 rounds away from zero; 70 / 0.5 - 3 = 137 saturates.
    assert q.tolist() == [[[-3, -2, -4, -1, 127, -128]]]
    (real,) = data.real()
    assert real.dtype == np.float32
    np.testing.assert_array_equal(real[0], x)
    assert data.labels is not None
    assert data.labels.tolist() == [2]
    assert data.source == str(path)
    assert data.digest == hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_inputs_own_integers_are_used_as_they_are(save):
    x = np.array([[-128, -3, -2, 0, 1, 127]], dtype=np.int8)
    data = load_dataset(save(x=x), VECTOR)
    np.testing.assert_array_equal(data.quantised()[0][0], x)
    np.testing.assert_array_equal(data.real()[0][0], [[-62.5, 0.0, 0.5, 1.5, 2.0, 65.0]])
    assert data.labels is None


def test_uint8_pixels_are_preprocessed(save):
    pixels = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    data = load_dataset(save(x=pixels), IMAGE, Preprocess("affine", 2.0, -5.0))
    np.testing.assert_array_equal(data.real()[0], pixels.reshape(2, 1, 2, 3, 1) * 2.0 - 5.0)


def test_floats_are_not_preprocessed(save):
    x = np.ones((2, 6), dtype=np.float32)
    data = load_dataset(save(x=x), VECTOR, Preprocess("affine", 2.0, -5.0))
    np.testing.assert_array_equal(data.real()[0], np.ones((2, 1, 6)))


@pytest.mark.parametrize("shape", [(5, 2, 3, 1), (5, 1, 2, 3, 1), (5, 2, 3), (5, 1, 2, 3)])
def test_axes_of_length_one_come_and_go(save, shape):
    x = np.arange(30, dtype=np.int8).reshape(shape)
    (q,) = load_dataset(save(x=x), IMAGE).quantised()
    assert q.shape == (5, 1, 2, 3, 1)
    np.testing.assert_array_equal(q.ravel(), np.arange(30))


@pytest.mark.parametrize("shape", [(2, 3, 1), (2, 3), (1, 2, 3, 1)])
def test_a_single_sample_needs_no_sample_axis(save, shape):
    assert load_dataset(save(x=np.zeros(shape, np.int8)), IMAGE).samples == 1


def test_a_vector_input_takes_images(save):
    x = np.arange(12, dtype=np.int8).reshape(2, 2, 3)
    (q,) = load_dataset(save(x=x), VECTOR).quantised()
    np.testing.assert_array_equal(q, np.arange(12).reshape(2, 1, 6))


@pytest.mark.parametrize("shape", [(5, 3, 2), (5, 7), (6, 5), (6, 2), (5,), ()])
def test_a_wrong_shape_is_refused(save, shape):
    with pytest.raises(DataError, match=r"x has shape .*, expected \(N, 2, 3, 1\)$"):
        load_dataset(save(x=np.zeros(shape, np.int8)), IMAGE)


def test_images_go_to_the_models_layout_where_only_that_fits(save):
    first = np.arange(2 * 3 * 4 * 5, dtype=np.int8).reshape(2, 3, 4, 5)
    last = first.transpose(0, 2, 3, 1)
    np.testing.assert_array_equal(load_dataset(save(x=first), RGB).inputs[0].reshape(last.shape), last)
    np.testing.assert_array_equal(load_dataset(save(x=last), RGB).inputs[0].reshape(last.shape), last)


@pytest.mark.parametrize(
    ("tensor", "dtype", "preprocess", "expected", "line"),
    [
        (VECTOR, "uint8", None, "float32 (real values) or int8 (already quantised)", "np.float32"),
        (VECTOR, "int64", None, "float32 (real values) or int8 (already quantised)", "np.float32"),
        (VECTOR, "complex64", None, "float32 (real values) or int8 (already quantised)", "np.float32"),
        (VECTOR, "<U3", None, "float32 (real values) or int8 (already quantised)", "np.float32"),
        (
            VECTOR,
            "int16",
            Preprocess("affine", 1.0, 0.0),
            "uint8 (pixels) or float32 (real values) or int8 (already quantised)",
            "np.uint8",
        ),
        (FLOAT, "int8", None, "float32 (real values)", "np.float32"),
        (TOKENS, "float32", None, "int32", "np.int32"),
    ],
)
def test_another_dtype_gets_the_numpy_line_that_mends_it(save, tensor, dtype, preprocess, expected, line):
    with pytest.raises(DataError) as caught:
        load_dataset(save(x=np.zeros((2, 6), dtype)), tensor, preprocess)
    assert caught.value.message.endswith(f"x is {np.dtype(dtype)}, expected {expected}")
    convert, _, pixels = caught.value.remedy.partition("; or, if it is pixels, ")
    assert convert == f'Convert it: np.savez("data.npz", x=x.astype({line}))'
    assert bool(pixels) == (dtype == "uint8")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300])
def test_what_is_not_finite_in_float32_names_the_sample(save, bad):
    x = np.zeros((5, 6))
    x[3, 2] = bad
    with pytest.raises(DataError, match=r"x: sample 3 \(from 0\) holds NaN or infinity \(1 of 5"):
        load_dataset(save(x=x), VECTOR)


def test_a_pickle_is_refused_and_not_run(save, tmp_path):
    class Bomb:
        def __reduce__(self):
            return Path.touch, (tmp_path / "ran",)

    with pytest.raises(DataError, match="x holds Python objects"):
        load_dataset(save(x=np.array([Bomb()], dtype=object)), VECTOR)
    path = tmp_path / "data.pkl"
    path.write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(DataError, match=r"expected an \.npz file"):
        load_dataset(path, VECTOR)
    assert not (tmp_path / "ran").exists()


def test_a_missing_file_a_text_and_an_empty_file_are_refused(tmp_path):
    with pytest.raises(DataError, match="no such data file"):
        load_dataset(tmp_path / "absent.npz", VECTOR)
    (tmp_path / "x.txt").write_text("1,2,3,4,5,6")
    with pytest.raises(DataError, match=r"expected an \.npz file"):
        load_dataset(tmp_path / "x.txt", VECTOR)
    (tmp_path / "empty.npz").touch()
    with pytest.raises(DataError, match=r"expected an \.npz file"):
        load_dataset(tmp_path / "empty.npz", VECTOR)


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_a_damaged_npz_is_refused_or_read_whole(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("damaged") / "data.npz"
    save = data.draw(st.sampled_from([np.savez, np.savez_compressed]))
    save(path, x=np.zeros((2, 6), np.float32), y=np.array([0, 1]))
    raw = bytearray(path.read_bytes())
    if data.draw(st.booleans()):
        raw = raw[: data.draw(st.integers(0, len(raw) - 1))]
    else:
        for _ in range(data.draw(st.integers(1, 4))):
            raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(bytes(raw))
    with contextlib.suppress(DataError):
        np.testing.assert_array_equal(load_dataset(path, VECTOR).real()[0], np.zeros((2, 1, 6)))


def test_no_samples_are_refused(save):
    with pytest.raises(DataError, match=r"x is empty: its shape is \(0, 6\)"):
        load_dataset(save(x=np.zeros((0, 6), np.int8)), VECTOR)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        ([0, 1, 2], "3 labels in y for 2 samples"),
        ([0, 3], r"y\[1\] is 3, expected 0\.\.2"),
        ([-1, 0], r"y\[0\] is -1, expected 0\.\.2"),
        ([0.0, 1.0], r"y is float64, expected whole class numbers.*astype\(np\.int64\)"),
        ([[0, 1, 0], [1, 0, 0]], r"If it is one-hot: y = y\.argmax\(axis=1\)"),
    ],
)
def test_wrong_labels_are_refused(save, y, message):
    with pytest.raises(DataError, match=message):
        load_dataset(save(x=np.zeros((2, 6), np.int8), y=np.array(y)), VECTOR, classes=3)


def test_column_labels_are_taken(save):
    data = load_dataset(save(x=np.zeros((2, 6), np.int8), y=np.array([[1], [2]], np.uint8)), VECTOR)
    assert data.labels is not None
    assert (data.labels.tolist(), data.labels.dtype) == ([1, 2], np.int64)


def test_an_only_array_may_have_any_name(save):
    assert load_dataset(save(images=np.zeros((2, 6), np.int8), y=np.array([0, 1])), VECTOR).samples == 2
    with pytest.raises(DataError, match=r"expected x \(and optionally y\), found images, more"):
        load_dataset(save(images=np.zeros((2, 6)), more=np.zeros(2)), VECTOR)
    with pytest.raises(DataError, match="found y"):
        load_dataset(save(y=np.zeros(2)), VECTOR)


@pytest.mark.parametrize("keys", [("x0", "x1"), ("input", "image")])
def test_several_inputs_go_by_number_or_name(save, keys):
    arrays = {keys[1]: np.ones((2, 2, 3), np.int8), keys[0]: np.zeros((2, 6), np.int8)}
    a, b = load_dataset(save(**arrays), [VECTOR, IMAGE]).quantised()
    assert (a.shape, b.shape) == ((2, 1, 6), (2, 1, 2, 3, 1))
    assert (a.max(), b.min()) == (0, 1)


def test_several_inputs_must_be_there_and_equally_many(save):
    with pytest.raises(DataError, match=r"expected x0, x1 \(and optionally y\), found x0"):
        load_dataset(save(x0=np.zeros((2, 6), np.int8)), [VECTOR, IMAGE])
    with pytest.raises(DataError, match="x0 has 2 samples, x1 has 3"):
        load_dataset(save(x0=np.zeros((2, 6), np.int8), x1=np.zeros((3, 2, 3), np.int8)), [VECTOR, IMAGE])


def test_take_keeps_inputs_and_labels_together(save):
    data = load_dataset(save(x=np.arange(18, dtype=np.int8).reshape(3, 6), y=np.array([2, 1, 0])), VECTOR)
    first = data.take(2)
    assert (first.samples, first.digest) == (2, data.digest)
    assert first.labels is not None
    assert first.labels.tolist() == [2, 1]
    assert data.take(9).samples == 3


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16"])
def test_random_data_cover_the_whole_range(dtype):
    tensor = TensorInfo("input", (1, 1000), dtype, 0.1, 0)
    limits = np.iinfo(dtype)
    data = random_dataset([tensor], samples=300, seed=1)
    (q,) = data.quantised()
    assert (q.shape, q.dtype) == ((300, 1, 1000), dtype)
    tolerance = (int(limits.max) - int(limits.min)) * 0.001
    assert q.min() <= limits.min + tolerance
    assert q.max() >= limits.max - tolerance


def test_random_data_are_set_by_their_seed():
    a, b, other = (random_dataset([VECTOR, FLOAT], 3, seed) for seed in (1, 1, 2))
    assert a.digest == b.digest != other.digest
    np.testing.assert_array_equal(a.inputs[0], b.inputs[0])
    assert a.inputs[1].dtype == np.float32
    # The stream itself is fixed: a seed in an old record must still mean the same data.
    assert a.inputs[0].ravel()[:6].tolist() == [-91, 107, 12, -56, 127, 9]


def test_random_floats_and_bools_stay_in_their_range():
    flag = TensorInfo("flag", (1, 6), "bool")
    real, flags = random_dataset([FLOAT, flag], 200, 3).quantised()
    assert (real.dtype, flags.dtype) == (np.float32, np.bool_)
    assert -1 <= real.min() < -0.9
    assert 0.9 < real.max() < 1
    assert set(flags.ravel().tolist()) == {True, False}


def test_random_data_need_a_known_range():
    with pytest.raises(DataError, match=r"input ids is int32 without a scale.*--data"):
        random_dataset([TOKENS], 1, 0)


def test_arrays_in_hand_follow_the_same_rules():
    pixels = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    data = dataset_from(pixels, np.array([0, 1]), [IMAGE], Preprocess("affine", 2.0, -5.0))
    np.testing.assert_array_equal(data.real()[0], pixels.reshape(2, 1, 2, 3, 1) * 2.0 - 5.0)
    assert data.labels is not None
    assert (data.labels.tolist(), data.source, len(data.digest)) == ([0, 1], "arrays", 64)
    with pytest.raises(DataError, match=r"^inputs: x0 has shape \(2, 7\), expected \(N, 6\)$"):
        dataset_from(np.zeros((2, 7)), None, [VECTOR])
    with pytest.raises(DataError, match="inputs: 1 labels in y for 2 samples"):
        dataset_from(pixels, np.array([0]), [IMAGE], Preprocess("affine", 1.0, 0.0))


@pytest.mark.parametrize("samples", [1, 3])
def test_one_input_is_an_array_a_list_of_samples_or_a_list_of_one_array(samples):
    x = np.arange(6 * samples, dtype=np.int8).reshape(samples, 6)
    for inputs in (x, list(x), [x]):
        np.testing.assert_array_equal(dataset_from(inputs, None, [VECTOR]).quantised()[0][:, 0], x)


def test_several_inputs_are_an_array_each():
    a, b = np.zeros((2, 6), np.int8), np.zeros((2, 2, 3), np.int8)
    assert dataset_from([a, b], None, [VECTOR, IMAGE]).samples == 2
    with pytest.raises(DataError, match="inputs: expected 2 arrays, one per input, came 1"):
        dataset_from([a], None, [VECTOR, IMAGE])
    with pytest.raises(DataError, match="inputs: x0 has 1 samples, x1 has 2"):
        dataset_from([a[:1], b], None, [VECTOR, IMAGE])


@pytest.mark.parametrize(
    ("shape", "pixels"),
    [((2, 2, 3), (2, 2, 3)), ((2, 2, 3, 1), (2, 2, 3)), ((2, 1, 6), (2, 1, 6)), ((2, 6), None)],
)
def test_images_are_kept_to_look_at(save, shape, pixels):
    x = np.arange(12, dtype=np.uint8).reshape(shape)
    data = load_dataset(save(x=x), VECTOR, Preprocess("affine", 1.0, 0.0)).take(1)
    assert (None if data.pixels is None else data.pixels.shape) == (pixels and (1, *pixels[1:]))


def test_colour_images_are_kept_and_numbers_are_not(save):
    x = np.zeros((2, 4, 5, 3), np.uint8)
    data = load_dataset(save(x=x), RGB, Preprocess("affine", 1.0, 0.0))
    assert data.pixels is not None
    assert data.pixels.shape == (2, 4, 5, 3)
    assert load_dataset(save(x=x.astype(np.float32)), RGB).pixels is None
