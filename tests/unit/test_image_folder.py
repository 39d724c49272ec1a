"""Folders of images and MNIST tables, with real image files."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.cli import main
from harness.errors import DataError, UsageError
from harness.model.image_folder import Form, read_split
from harness.model.import_folder import parse_size


def picture(path: Path, value: int, size: tuple[int, int] = (4, 6), colour: bool = False) -> Path:
    """A plain image of `size` (height, width)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (*size, 3) if colour else size
    Image.fromarray(np.full(shape, value, np.uint8)).save(path)
    return path


@pytest.fixture
def digits(tmp_path: Path) -> Path:
    """Twelve classes of ten images; the value of a pixel says class and number."""
    root = tmp_path / "digits"
    for label in range(12):
        for number in range(10):
            picture(root / "trainingSet" / str(label) / f"img_{number}.png", 20 * label + number)
    return root


def test_one_folder_per_class_is_split_the_same_way_each_time(digits):
    split = read_split(digits, Form())
    assert split.classes == tuple(str(label) for label in range(12))  # 10 after 9, not after 1
    for images, each in ((split.train, 8), (split.held_out, 2)):
        assert images.x.shape == (12 * each, 4, 6)
        np.testing.assert_array_equal(np.bincount(images.y), [each] * 12)
        np.testing.assert_array_equal(images.x[:, 0, 0] // 20, images.y)
    values = {int(image[0, 0]) for part in (split.train, split.held_out) for image in part.x}
    assert values == {20 * label + number for label in range(12) for number in range(10)}
    assert len(set(split.train.y[:12])) > 5  # mixed: the first few are not of one class
    again = read_split(digits, Form())
    np.testing.assert_array_equal(again.held_out.x, split.held_out.x)
    few = read_split(digits, Form(), train_images=7)
    np.testing.assert_array_equal(few.train.x, split.train.x[:7])


def test_training_and_validation_folders_are_kept_apart(tmp_path):
    for part, value in (("Training", 10), ("Validation", 20), ("test", 30)):
        for label, name in enumerate(("female", "male")):
            picture(tmp_path / "archive" / part / name / "a.png", value + label, colour=True)
    (tmp_path / "archive" / ".DS_Store").write_bytes(b"x")
    (tmp_path / "archive" / "test" / "male" / "Thumbs.db").write_bytes(b"x")
    split = read_split(tmp_path, Form())
    assert split.classes == ("female", "male")
    assert split.train.x.shape == (2, 4, 6, 3)
    assert sorted(zip(split.train.x[:, 0, 0, 0], split.train.y, strict=True)) == [(10, 0), (11, 1)]
    assert sorted(split.held_out.x[:, 0, 0, 0]) == [20, 21, 30, 31]


def test_sizes_and_colours(tmp_path):
    for name, size, colour in (("a", (4, 6), True), ("b", (8, 2), False)):
        for number in range(2):
            picture(tmp_path / name / f"{number}.bmp", 50, size, colour)
    with pytest.raises(DataError, match=r"several sizes: .*\d\.bmp has \dx\d, .* Choose one, e\.g\. --size"):
        read_split(tmp_path, Form(), 0.5)
    assert read_split(tmp_path, Form((5, 3)), 0.5).train.x.shape == (2, 5, 3, 3)
    gray = read_split(tmp_path, Form((5, 3), gray=True), 0.5).train
    assert gray.x.shape == (2, 5, 3)
    assert (gray.x == 50).all()


def test_kaggles_table(tmp_path):
    rows = [[label, *range(label, label + 9)] for label in (3, 1, 0, 2) * 5]
    header = ",".join(["label", *(f"pixel{place}" for place in range(9))])
    table = "\n".join([header, *(",".join(map(str, row)) for row in rows)])
    (tmp_path / "train.csv").write_text(table)
    (tmp_path / "test.csv").write_text(header.removeprefix("label,") + "\n" + ",".join("0" * 9))
    split = read_split(tmp_path, Form())
    assert split.classes == ("0", "1", "2", "3")
    assert (split.train.x.shape, split.held_out.x.shape) == ((16, 3, 3), (4, 3, 3))
    for image, label in zip(split.held_out.x, split.held_out.y, strict=True):
        np.testing.assert_array_equal(image.reshape(-1), np.arange(label, label + 9))
    np.testing.assert_array_equal(read_split(tmp_path / "train.csv", Form()).train.x, split.train.x)
    assert read_split(tmp_path, Form((6, 6), gray=False)).train.x.shape == (16, 6, 6, 3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2", r"train\.csv: expected a header line label,pixel0,pixel1,\.\.\., came a,b,\.\.\."),
        ("label,p0\n1,2\n1,-2\n", r"train\.csv, line 3: expected whole numbers 0\.\.255"),
        ("label,p0\n1,2\n1,\n", r"train\.csv, line 3: expected whole numbers"),
        ("label,p0\n1,x\n", "came text"),
        ("label,p0,p1\n1,2,3\n", "2 pixels per line are no square image"),
        ("label,p0\n", "it holds no images"),
        ("label,p0\n1,2\n1,2,3,4\n", "not readable as CSV"),
    ],
)
def test_a_table_that_cannot_be_meant(tmp_path, text, message):
    (tmp_path / "train.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        read_split(tmp_path, Form())


def test_what_is_no_image_is_refused_by_name(digits):
    (folder,) = digits.glob("*/3")
    (folder / "notes.txt").write_text("hello")
    with pytest.raises(
        DataError, match=r"3/notes\.txt: expected an image \(.*\), came another file\. Move it"
    ):
        read_split(digits, Form())
    (folder / "notes.txt").rename(folder / "a.pkl")
    (folder / "a.pkl").write_bytes(pickle.dumps([1]))
    with pytest.raises(DataError, match=r"a\.pkl: expected an image .*, came a pickle, which could run code"):
        read_split(digits, Form())
    (folder / "a.pkl").unlink()
    (folder / "more").mkdir()
    with pytest.raises(DataError, match=r"3/more: expected an image .*, came a folder"):
        read_split(digits, Form())


def test_damaged_images_are_named_together(digits):
    (folder,) = digits.glob("*/3")
    for number, image in enumerate(sorted(folder.iterdir())[:7]):
        data = image.read_bytes()
        image.write_bytes(data[: len(data) // 2] if number else b"not an image")
    with pytest.raises(DataError) as caught:
        read_split(digits, Form())
    assert caught.value.message.startswith("cannot be decoded as images: ")
    assert caught.value.message.count(".png") == 5
    assert caught.value.message.endswith("and 2 more")


def test_sixteen_bits_are_refused(digits):
    (image,) = digits.glob("*/3/img_0.png")
    Image.fromarray(np.full((4, 6), 300, np.uint16)).save(image)
    with pytest.raises(DataError, match=r"cannot be decoded as images: .*3/img_0\.png\. "):
        read_split(digits, Form())


def test_layouts_that_are_none(tmp_path, digits):
    with pytest.raises(DataError, match="nowhere: no such folder"):
        read_split(tmp_path / "nowhere", Form())
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty: expected one folder for each class, came 0"):
        read_split(tmp_path / "empty", Form())
    picture(tmp_path / "flat" / "a.png", 1)
    picture(tmp_path / "flat" / "b.png", 1)
    with pytest.raises(DataError, match=r"flat/a\.png: expected one folder for each class here"):
        read_split(tmp_path / "flat", Form())
    for part, name in (("train", "a"), ("train", "b"), ("test", "a"), ("test", "c")):
        picture(tmp_path / "uneven" / part / name / "1.png", 1)
    with pytest.raises(DataError, match="test has the classes a, c, train has a, b"):
        read_split(tmp_path / "uneven", Form())
    with pytest.raises(DataError, match=r"came 120 and 0\. Add images, or change --split"):
        read_split(digits, Form(), 0.99)


def test_the_command_writes_both_files_and_says_what_is_in_them(digits, tmp_path, capsys):
    out = tmp_path / "new" / "data.npz"
    assert (
        main(["import-folder", str(digits), "--out", str(out), "--size", "8x8", "--calibration", "30"]) == 0
    )
    shown = capsys.readouterr().out
    assert "12 classes: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11" in shown
    assert f"{out}: 24 images 8x8" in shown
    assert "data.calibration.npz: 30 images 8x8" in shown
    with np.load(out, allow_pickle=False) as data:
        assert (data["x"].shape, data["x"].dtype, data["y"].shape) == ((24, 8, 8), np.uint8, (24,))
        assert data["classes"][11] == "11"
    assert sorted(path.name for path in out.parent.iterdir()) == ["data.calibration.npz", "data.npz"]


def test_real_values_for_a_model_that_declares_no_preprocessing(digits, tmp_path):
    out = tmp_path / "real.npz"
    assert main(["import-folder", str(digits), "--out", str(out), "--scale", "0.5", "--offset", "-1"]) == 0
    with np.load(out) as data:
        assert data["x"].dtype == np.float32
        np.testing.assert_array_equal((data["x"][:, 0, 0] + 1) * 2 // 20, data["y"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out", "data.csv"], "data.csv: expected a name that ends in .npz"),
        (["--out", "d.npz", "--size", "60"], "--size expects HEIGHTxWIDTH in pixels, got '60'"),
        (["--out", "d.npz", "--split", "1"], "--split expects a share between 0 and 1, got 1.0"),
        (["--out", "d.npz", "--calibration", "0"], "--calibration expects 1 or more, got 0"),
        (["--out", "/proc/nowhere/d.npz"], "/proc/nowhere: not writable"),
    ],
)
def test_wrong_arguments_are_one_line_and_write_nothing(
    digits, tmp_path, monkeypatch, capsys, arguments, message
):
    monkeypatch.chdir(tmp_path)
    assert main(["import-folder", str(digits), *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["digits"]


def test_a_size_is_height_first():
    assert parse_size("60x40") == (60, 40)
    for text in ("0x4", "4x", "-1x2", "4X4", "99999x1"):
        with pytest.raises(UsageError):
            parse_size(text)
