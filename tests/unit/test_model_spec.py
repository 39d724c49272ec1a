import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest

from harness import bundled
from harness.errors import ModelError, UsageError
from harness.model import digests, spec
from harness.model.preprocess import Preprocess
from harness.model.spec import load_model, read_spec, zoo

MINIMAL = """
name = "mine"
[input]
shape = [1, 4]
[artifacts]
tflite = "mine.tflite"
"""


@pytest.fixture
def model_dir(tmp_path: Path) -> Path:
    (tmp_path / "mine.tflite").write_bytes(b"weights")
    (tmp_path / "model.toml").write_text(MINIMAL)
    return tmp_path


def test_a_zoo_model_is_found_by_name():
    model = load_model("himax_cnn")
    assert model.name == "himax_cnn"
    assert model.input_shape == (1, 28, 28, 1)
    assert model.preprocess == Preprocess("affine", 1.0, -128.0)
    assert set(model.artifacts) == {"espdl_c", "espdl_esp32p4", "espdl_esp32s3", "keras", "onnx", "tflite"}
    assert model.classes == tuple("0123456789")
    assert model.reference_top1_min == 0.955


@pytest.mark.parametrize("given", [".", "model.toml"])
def test_a_directory_and_its_model_toml_are_models(model_dir, given):
    model = load_model(model_dir / given)
    assert (model.name, model.input_shape) == ("mine", (1, 4))
    assert model.artifacts == {"tflite": model_dir / "mine.tflite"}
    assert (model.preprocess, model.test, model.classes, model.reference_top1_min) == (None, None, (), None)


def test_a_single_file_is_a_model_with_defaults(tmp_path):
    path = tmp_path / "Any Name.TFLITE"
    path.write_bytes(b"weights")
    model = load_model(str(path))
    assert model == spec.ModelSpec(name="Any Name", artifacts={"tflite": path})


def test_an_unknown_name_lists_the_zoo_and_the_near_match():
    with pytest.raises(UsageError) as caught:
        load_model("himax_cn")
    assert str(caught.value) == (
        f"himax_cn: no such model. Did you mean himax_cnn? The zoo has: {', '.join(zoo())}; "
        f"a path to a {', '.join(spec.SUFFIXES)} file works too"
    )


@pytest.mark.parametrize("name", ["absent.tflite", "some/where"])
def test_a_missing_path_is_called_a_file(name):
    with pytest.raises(UsageError, match=f"^{name}: no such file"):
        load_model(name)


def test_a_file_of_another_kind_is_refused(tmp_path):
    path = tmp_path / "picture.png"
    path.touch()
    with pytest.raises(
        UsageError, match=r"expected a model file \(\.espdl, \.espdlv1, \.h5, \.keras, \.onnx, \.tflite\)"
    ):
        load_model(path)


def test_a_directory_without_model_toml_is_refused(tmp_path):
    with pytest.raises(ModelError, match=r"expected a model\.toml in it, found none"):
        load_model(tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ('name = "mine"', "name = 3", 2, "name: expected text, came 3"),
        ('name = "mine"', "", 1, "key name is missing"),
        ('name = "mine"', 'name = "a/b"', 2, "name: expected letters, digits, _ and -, came 'a/b'"),
        ('name = "mine"', 'nmae = "mine"', 2, "unknown key nmae. Did you mean name?"),
        ("[1, 4]", "[4]", 4, "input.shape: expected a list of whole numbers, batch 1 first, came [4]"),
        ("[1, 4]", "[1, 0]", 4, "input.shape: expected a list of whole numbers, batch 1 first, came [1, 0]"),
        ("[1, 4]", "[1, true]", 4, "input.shape: expected a list of whole"),
        ("shape", "shapes", 4, "unknown key input.shapes. Did you mean shape?"),
        ("[input]\nshape = [1, 4]", "", 1, "key input is missing"),
        ("[input]\nshape = [1, 4]", "input = 4", 3, "input: expected a table, came 4"),
        (
            'tflite = "mine.tflite"',
            "",
            5,
            "artifacts: expected at least one of espdl, espdlv1, keras, onnx, tflite, came 'none'",
        ),
        ("mine.tflite", "absent.tflite", 6, "artifacts.tflite: no such file: "),
        ('"mine.tflite"', "7", 6, "artifacts.tflite: expected text, came 7"),
        ("[artifacts]", '[dataset]\ntest = "t.npz"\n[artifacts]', 6, "dataset.test: no such file: "),
        (
            "[artifacts]",
            "[expect]\nreference_top1_min = 2\n[artifacts]",
            6,
            "expect.reference_top1_min: expected",
        ),
        (
            "[artifacts]",
            '[preprocess]\nkind = "cubic"\nscale = 1\noffset = 0\n[artifacts]',
            6,
            "preprocess.kind: expected affine, came 'cubic'",
        ),
        (
            "[artifacts]",
            '[preprocess]\nkind = "affine"\nscale = 1\n[artifacts]',
            5,
            "key preprocess.offset is",
        ),
        (
            "[artifacts]",
            '[preprocess]\nkind = "affine"\nscale = nan\noffset = 0\n[artifacts]',
            7,
            "preprocess.scale: expected a finite number, came nan",
        ),
        (
            "[artifacts]",
            '[preprocess]\nkind = "affine"\nscale = "1"\noffset = 0\n[artifacts]',
            7,
            "preprocess.scale: expected a number, came '1'",
        ),
        ("[input]", "classes = [0, 1]\n[input]", 3, "classes: expected a list of texts, came [0, 1]"),
        ("[input]", "[input", 3, "expected TOML, got: "),
        (
            "[input]",
            "[bench]\nsamples = 0\n[input]",
            4,
            "bench.samples: expected a whole number of at least 1",
        ),
        ("[input]", "[bench]\nsamples = true\n[input]", 4, "bench.samples: expected a whole number of at"),
    ],
)
def test_a_wrong_model_toml_names_file_line_and_key(model_dir, old, new, line, message):
    path = model_dir / "model.toml"
    assert old in MINIMAL
    path.write_text(MINIMAL.replace(old, new))
    with pytest.raises(ModelError) as caught:
        read_spec(model_dir)
    assert str(caught.value).startswith(f"{path}:{line}: {message}")
    assert "\n" not in str(caught.value)


def test_a_changed_file_does_not_load(model_dir):
    digests.write_sums(model_dir, ["mine.tflite"])
    read_spec(model_dir)
    (model_dir / "mine.tflite").write_bytes(b"other weights")
    with pytest.raises(ModelError, match=r"mine.tflite: SHA256SUMS says SHA-256 .*git checkout -- "):
        read_spec(model_dir)


def test_a_damaged_sums_file_is_refused(model_dir):
    (model_dir / "SHA256SUMS").write_text("garbage\n")
    with pytest.raises(ModelError, match=r"expected 'digest  file', came 'garbage'"):
        read_spec(model_dir)


def test_what_is_written_is_read_back(model_dir):
    zoo_model = load_model("himax_cnn")
    artifacts = {"tflite": model_dir / "mine.tflite"}
    written = dataclasses.replace(zoo_model, title='say "ä\\"', bench_samples=3, artifacts=artifacts)
    spec.write_spec(written, model_dir)
    assert read_spec(model_dir) == written
    bare = spec.ModelSpec("bare", artifacts, input_shape=(1, 4))
    spec.write_spec(bare, model_dir)
    assert read_spec(model_dir) == bare


def test_the_zoo_of_a_wheel_is_the_bundled_one(tmp_path, monkeypatch):
    models = tmp_path / "harness" / "_bundled" / "models"
    shutil.copytree(bundled.zoo_directory() / "mnist_mlp", models / "only_model")
    monkeypatch.setattr(bundled, "PACKAGE", tmp_path / "harness")
    assert zoo() == ["only_model"]


def test_affine_preprocessing_by_hand():
    pixels = np.array([[0, 51, 255]], dtype=np.uint8)
    values = Preprocess("affine", 1 / 255, -0.5).apply(pixels)
    assert values.dtype == np.float32
    np.testing.assert_allclose(values, [[-0.5, -0.3, 0.5]], atol=1e-7)


DECLARED = (
    MINIMAL
    + """
[measurements."frame rate"]
figure = "count_median"
unit = "cycles"
doc = "a frame in 10 ms"
max = 1_600_000
regression = 0.02
targets = ["esp32c3"]

[measurements.top1_device]
min = 0.95
runtimes = ["tflm"]
"""
)


def test_measurements_are_declared_and_survive_being_written(model_dir):
    (model_dir / "model.toml").write_text(DECLARED)
    model = load_model(model_dir)
    rate, accuracy = model.measurements
    declared = rate.declared
    assert (declared.name, declared.figure, declared.unit) == ("frame rate", "count_median", "cycles")
    assert declared.limits == "1600000 or less, at most 2 % worse than the baseline"
    assert (rate.holds("esp32c3", "espdl"), rate.holds("esp32s3", "espdl")) == (True, False)
    assert (accuracy.holds("esp32s3", "tflm"), accuracy.holds("esp32s3", "espdl")) == (True, False)
    spec.write_spec(model, model_dir)
    assert load_model(model_dir) == model


@pytest.mark.parametrize(
    ("table", "complaint"),
    [
        ("measurements = 3", "measurements: expected tables"),
        ("[measurements.speeed]\nmax = 3", "measurements.speeed.figure: expected a figure"),
        ('[measurements.x]\nfigure = "top1_devise"\nmin = 0.5', "did you mean top1_device?"),
        ("[measurements.top1_device]", "at least one of min, max and regression, came 'none'"),
        ("[measurements.top1_device]\nmin = true", "measurements.top1_device.min: expected a finite number"),
        ("[measurements.top1_device]\nmaxx = 1", "measurements.top1_device.maxx: expected one of the keys"),
        ("[measurements.top1_device]\nregression = -0.1", "expected a number of at least 0, came -0.1"),
        ("[measurements.count_median]\nmax = 1", "count_median.unit: expected the unit of the count"),
        ('[measurements.top1_device]\nmin = 0\ntargets = "esp32"', "targets: expected a list of texts"),
    ],
)
def test_a_measurement_that_means_nothing_is_refused(model_dir, table, complaint):
    text = f"{table}\n{MINIMAL}" if table.startswith("measurements") else f"{MINIMAL}\n{table}\n"
    (model_dir / "model.toml").write_text(text)
    with pytest.raises(ModelError) as caught:
        load_model(model_dir)
    assert complaint in str(caught.value)
