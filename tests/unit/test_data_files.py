"""Each format of data gives the same samples as the .npz of them, and each wrong file one line."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from harness.errors import DataError, UsageError
from harness.model.dataset import load_dataset
from harness.model.preprocess import Preprocess, parse_preprocess
from harness.tensors import TensorInfo

PIXELS = Preprocess("affine", 0.5, -3.0)
COLOUR = TensorInfo("image", (1, 4, 5, 3), "int8", 1.0, 0)
CHANNELS_FIRST = TensorInfo("image", (1, 3, 4, 5), "float32")
GRAY = TensorInfo("image", (1, 4, 5, 1), "int8", 1.0, 0)
VECTOR = TensorInfo("x", (1, 6), "int8", 0.5, -3)
TWO = (VECTOR, TensorInfo("z", (1, 2), "int8", 1.0, 0))

images = np.random.RandomState(0).randint(0, 256, (6, 4, 5, 3)).astype(np.uint8)
labels = np.array([0, 2, 1, 1, 0, 2])


def save(path: Path) -> Path:
    """The six images in the format that the name says."""
    if path.suffix == ".npy":
        np.save(path, images)
    elif path.suffix == ".csv":
        head = ",".join(["Label", *(f"pixel{i}" for i in range(60))])
        np.savetxt(
            path, np.column_stack([labels, images.reshape(6, -1)]), "%d", ",", header=head, comments=""
        )
    elif path.suffix == ".raw":
        images.tofile(path)
    else:
        for number, (image, label) in enumerate(zip(images, labels, strict=True)):
            folder = path / ["ant", "bee", "cat"][label]
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(folder / f"{number}.{'bmp' if number % 2 else 'png'}")
    return path


@pytest.mark.parametrize("tensor", [COLOUR, CHANNELS_FIRST], ids=["last", "first"])
@pytest.mark.parametrize("name", ["x.npy", "x.csv", "x.uint8.raw", "folder"])
def test_every_format_gives_the_same_images(name: str, tensor: TensorInfo, tmp_path: Path) -> None:
    data = load_dataset(save(tmp_path / name), tensor, PIXELS, classes=3)
    (real,) = data.real()
    expected = PIXELS.apply(images)
    if tensor is CHANNELS_FIRST:
        expected = expected.transpose(0, 3, 1, 2)
    order = np.arange(6)
    if name == "folder":
        order = np.array([int(np.argmin(np.abs(expected - one).sum(axis=(1, 2, 3)))) for one in real[:, 0]])
        assert sorted(order) == list(range(6))
        assert list(order) != list(range(6)), "of a folder, the first few must not be of one class"
    np.testing.assert_array_equal(real[:, 0], expected[order])
    if name in ("x.csv", "folder"):
        assert data.labels is not None
        np.testing.assert_array_equal(data.labels, labels[order])
    else:
        assert data.labels is None


def test_folders_of_classes_follow_the_models_own_order(tmp_path: Path) -> None:
    folder = save(tmp_path / "folder")
    given_order = ("cat", "dog", "bee", "ant")
    data = load_dataset(folder, COLOUR, PIXELS, 4, given_order)
    assert data.labels is not None
    np.testing.assert_array_equal(np.bincount(data.labels, minlength=4), [2, 0, 2, 2])
    with pytest.raises(
        DataError, match=r"the folders are ant, bee, cat, the model's classes cat, dog\. Call"
    ):
        load_dataset(folder, COLOUR, PIXELS, 2, ("cat", "dog"))


def test_images_are_scaled_and_turned_only_as_declared(tmp_path: Path) -> None:
    flat = tmp_path / "flat"
    flat.mkdir()
    for number in range(3):
        Image.fromarray(np.full((8, 10, 3), [10 * number, 100, 200], np.uint8)).save(flat / f"{number}.png")
    with pytest.raises(DataError, match=r"are 8x10, the model takes 4x5\. Scale them: --preprocess resize"):
        load_dataset(flat, COLOUR, PIXELS)
    scaled = load_dataset(flat, COLOUR, Preprocess("affine", 1.0, 0.0, "bilinear"))
    assert scaled.labels is None
    assert [one[0, 0, 0].tolist() for one in scaled.real()[0]] == [[10 * n, 100, 200] for n in range(3)]
    turned = load_dataset(flat, COLOUR, parse_preprocess("resize=bilinear,colour=bgr"))
    assert turned.real()[0][2][0, 0, 0].tolist() == [200, 100, 20]
    gray = load_dataset(flat, GRAY, parse_preprocess("scale=2,resize=bilinear,offset=1"))
    assert gray.real()[0].shape == (3, 1, 4, 5, 1)
    assert gray.real()[0][0].max() == 2 * 82 + 1  # ITU-R 601: 0.587 * 100 + 0.114 * 200 = 81.5


def test_a_digest_knows_every_file_of_a_folder(tmp_path: Path) -> None:
    folder = save(tmp_path / "folder")
    before = load_dataset(folder, COLOUR, PIXELS).digest
    assert load_dataset(folder, COLOUR, PIXELS).digest == before
    (folder / "ant" / "0.png").rename(folder / "ant" / "9.png")
    assert load_dataset(folder, COLOUR, PIXELS).digest != before


def test_raw_values_are_the_inputs_own_unless_the_name_says_otherwise(tmp_path: Path) -> None:
    own = np.arange(-6, 6, dtype=np.int8)
    (tmp_path / "a.bin").write_bytes(own.tobytes())
    np.testing.assert_array_equal(load_dataset(tmp_path / "a.bin", VECTOR).quantised()[0].reshape(-1), own)
    real = np.linspace(-1, 1, 6, dtype="<f4")
    (tmp_path / "a.float32.bin").write_bytes(real.tobytes())
    np.testing.assert_array_equal(load_dataset(tmp_path / "a.float32.bin", VECTOR).real()[0][0, 0], real)
    with pytest.raises(DataError, match=r"raw values of what type\? .* Name the file a\.float32\.bin"):
        load_dataset(tmp_path / "a.bin", TensorInfo("x", (1, 6), "float32"))


def test_lines_of_numbers_alone_are_samples_without_labels(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("0.5,1,2,3,4,5\n1,2,3,4,5,6.25\n")
    data = load_dataset(tmp_path / "x.csv", VECTOR, PIXELS)  # not all whole: no pixels
    assert data.labels is None
    assert data.real()[0][:, 0].tolist() == [[0.5, 1, 2, 3, 4, 5], [1, 2, 3, 4, 5, 6.25]]


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.csv", b"", "expected a line of numbers per sample, came an empty file"),
        ("a.csv", b"1,2,3\n", "3 values per line, the model's input has 6"),
        (
            "a.csv",
            b"a,b,c,d,e,f,g\n1,2,3,4,5,6,7\n",
            "has 6; a column of labels is called label, class, target",
        ),
        (
            "a.csv",
            b"y,b,c,d,e,f,g\n0.5,2,3,4,5,6,7\n",
            "y of sample 0 (from 0) is 0.5, expected a class number",
        ),
        ("a.csv", b"y,class,c\n1,2,3\n", "expected one column of labels, came y, class"),
        ("a.csv", b"a,b,c,d,e,f\n1,2,3,4,5,six\n", "could not convert string to float: 'six'"),
        ("a.csv", b"a,b,c,d,e,f\n1,2,3,4,5\n", "holds NaN or infinity"),
        ("a.csv", b"y,b,c,d,e,f,g\n", "x is empty"),
        ("a.csv", b"\xff\xfe\x00\x01", "expected a CSV file in UTF-8"),
        ("a.bin", b"12345", "5 bytes, expected a multiple of 6: 6 int8 per sample"),
        ("a.bin", b"", "0 bytes, expected a multiple of 6"),
        ("a.npy", b"\x93NUMPY\x01\x00", "damaged"),
        ("a.npy", b"\x80\x04\x95.", "expected an .npy file, came something else"),
    ],
)
def test_wrong_files_are_one_line(name: str, content: bytes, expected: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError) as refused:
        load_dataset(tmp_path / name, VECTOR)
    assert expected in str(refused.value)
    assert str(refused.value).startswith(str(tmp_path / name))
    assert "\n" not in str(refused.value)


def test_a_pickle_in_an_npy_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.array([{}], object))
    with pytest.raises(DataError, match=r"\(a pickle\), which could run code: refused"):
        load_dataset(tmp_path / "x.npy", VECTOR)


def test_only_an_npz_holds_several_inputs(tmp_path: Path) -> None:
    (tmp_path / "x.bin").write_bytes(bytes(8))
    with pytest.raises(DataError, match=r"the model has 2 inputs, which only an \.npz file can hold"):
        load_dataset(tmp_path / "x.bin", TWO)


def test_pixels_without_a_declaration_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"is not declared\. Say it: --preprocess scale="):
        load_dataset(save(tmp_path / "folder"), COLOUR)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("scale=x", "expects a number for scale, got 'x'"),
        ("scale=0", "scale=0 makes every pixel the same"),
        ("offset=nan", "expects a number for offset, got 'nan'"),
        ("resize=cubic", "expects bilinear for resize, got 'resize=cubic'"),
        ("gamma=2", "expects scale, offset, resize or colour, got 'gamma=2'"),
    ],
)
def test_a_wrong_preprocess_names_what_is_known(text: str, expected: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse_preprocess(text)
    assert expected in str(refused.value)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_damaged_files_are_refused_or_read(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    directory = tmp_path_factory.getbasetemp()
    path = directory / data.draw(st.sampled_from(["d.npy", "d.csv", "d.uint8.raw"]))
    save(path)
    good = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        good[data.draw(st.integers(0, min(len(good), 200) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(bytes(good[: data.draw(st.integers(0, len(good)))]))
    with contextlib.suppress(DataError):
        read = load_dataset(path, COLOUR, PIXELS)
        assert np.isfinite(read.real()[0]).all()
