"""`harness train` with the real TensorFlow: the pipeline end to end, and what it does when it fails."""

import importlib.util

import numpy as np
import pytest
from PIL import Image

from harness.bundled import zoo_directory
from harness.cli import main
from harness.errors import DataError, HarnessError, MissingError, ModelError, OutputError, UsageError
from harness.extras import EXTRAS, install_command
from harness.model import digests, train
from harness.model.dataset import Dataset, load_dataset
from harness.model.images import Images, write_sets
from harness.model.reference import KerasReference, OnnxReference, open_reference
from harness.model.spec import load_model
from harness.model.training_job import shifted, without
from harness.model.zoo_data import SETS
from harness.tensors import TensorInfo
from tests.bench_runs import run_harness

HAVE_TENSORFLOW = all(importlib.util.find_spec(module) for module in EXTRAS["keras"])
needs_tensorflow = pytest.mark.skipif(not HAVE_TENSORFLOW, reason=f"needs {install_command('keras')}")


def held_out(name: str, samples: int) -> Dataset:
    model = load_model(name)
    assert model.test is not None
    assert model.input_shape is not None
    tensor = TensorInfo("input", model.input_shape, "float32")
    return load_dataset(model.test, tensor, model.preprocess).take(samples)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """mnist_mlp after two epochs, twice, in processes of their own."""
    lines: list[str] = []
    directories = [tmp_path_factory.mktemp("trained") for _ in range(2)]
    for directory in directories:
        train.train("mnist_mlp", out=directory, epochs=2, progress=lines.append)
    return directories, lines


@pytest.mark.tensorflow
@needs_tensorflow
def test_training_twice_gives_the_same_bytes(trained):
    (first, second), lines = trained
    names = {"model.keras", "model.onnx", "model.tflite"}
    assert {path.name for path in first.iterdir()} == names | {"SHA256SUMS"}
    assert digests.read_sums(first) == digests.read_sums(second)
    assert digests.read_sums(first) == {name: digests.file_digest(first / name) for name in names}
    assert lines[:2] == lines[3:5]
    assert lines[1].startswith("mnist_mlp: epoch 2/2, loss 0.")


@pytest.mark.tensorflow
@needs_tensorflow
def test_a_short_training_learns_and_all_three_files_agree(trained):
    from tflite_micro import runtime

    (directory, _), _ = trained
    data = held_out("mnist_mlp", 300)
    onnx_scores = OnnxReference(directory / "model.onnx").run(data.real())
    keras_scores = KerasReference(directory / "model.keras").run(data.real())
    np.testing.assert_allclose(keras_scores, onnx_scores, atol=1e-4)
    assert np.mean(onnx_scores.argmax(axis=1) == data.labels) > 0.8

    interpreter = runtime.Interpreter.from_file(str(directory / "model.tflite"))
    info = interpreter.get_input_details(0)
    assert (info["dtype"], list(info["shape"])) == (np.int8, [1, 784])
    pixels = np.round(data.real()[0] * 255).astype(np.int64) - 128
    int8_classes = []
    for image in pixels.astype(np.int8):
        interpreter.set_input(image, 0)
        interpreter.invoke()
        int8_classes.append(int(interpreter.get_output(0).argmax()))
    assert np.mean(np.array(int8_classes) == onnx_scores.argmax(axis=1)) > 0.97


@pytest.mark.tensorflow
@needs_tensorflow
@pytest.mark.parametrize("name", ["mnist_mlp", "himax_cnn"])
def test_the_committed_keras_and_onnx_files_agree(name):
    data = held_out(name, 100)
    model = load_model(name)
    keras, _ = open_reference(model, "keras")
    onnx, _ = open_reference(model, "onnx")
    assert keras is not None
    assert onnx is not None
    np.testing.assert_allclose(keras.run(data.real()), onnx.run(data.real()), atol=1e-4)


@pytest.mark.tensorflow
@needs_tensorflow
def test_a_damaged_keras_file_is_refused(tmp_path):
    path = tmp_path / "broken.keras"
    path.write_bytes(b"not a model")
    with pytest.raises(ModelError, match=r"broken\.keras: Keras cannot load it: "):
        KerasReference(path)


@needs_tensorflow
@pytest.mark.parametrize("name", SETS)
def test_the_committed_data_are_those_of_their_sources(name, tmp_path):
    write_sets(tmp_path, *SETS[name].split(), SETS[name].calibration)
    for file in ("test.npz", "calibration.npz"):
        with np.load(tmp_path / file) as made, np.load(zoo_directory() / name / file) as committed:
            np.testing.assert_array_equal(made["x"], committed["x"])
            np.testing.assert_array_equal(made["y"], committed["y"])


@pytest.mark.tensorflow
@needs_tensorflow
def test_a_model_of_ones_own_images_runs_as_it_is(tmp_path):
    """The gender network on a folder of JPEGs of uneven size, after one epoch."""
    random = np.random.RandomState(1)
    for part, images in (("training", 30), ("validation", 6)):
        for label, name in enumerate(("female", "male")):
            (tmp_path / "archive" / part / name).mkdir(parents=True)
            for number in range(images):
                pixels = random.randint(120 * label, 120 * label + 100, (70, 50 + number, 3)).astype(np.uint8)
                Image.fromarray(pixels).save(tmp_path / "archive" / part / name / f"{number}.jpg")
    out = tmp_path / "mine"
    lines: list[str] = []
    folder = tmp_path / "archive"
    train.train("test23_gender_4pool", folder=folder, out=out, epochs=1, progress=lines.append)
    assert lines[0] == f"{folder}: 60 training images of female, male"
    assert lines[2].endswith(" on 12 held-out images")
    files = {"model.keras", "model.onnx", "model.tflite", "test.npz", "calibration.npz"}
    assert {path.name for path in out.iterdir()} == files | {"model.toml", "SHA256SUMS"}
    spec = load_model(out)
    assert (spec.name, spec.classes) == ("test23_gender_4pool", ("female", "male"))
    assert (spec.test, spec.preprocess) == (out / "test.npz", load_model("test23_gender_4pool").preprocess)
    with np.load(spec.test) as data:
        # A pixel's mean says the class: the bright ones are male.
        np.testing.assert_array_equal(data["x"].mean(axis=(1, 2, 3)) > 110, data["y"])
    run = run_harness(tmp_path / "r", str(out), "--target", "esp32c3", "--runtime", "tflm", "--samples", "2")
    assert run.code == 0, run.output
    (record,) = run.items().values()
    assert record["runtime_gap"]["max_lsb"] == 0


@pytest.mark.tensorflow
@needs_tensorflow
def test_a_folder_that_does_not_fit_is_one_line(tmp_path, capsys):
    for name in ("a", "b", "c"):
        (tmp_path / "images" / name).mkdir(parents=True)
        for number in range(5):
            Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "images" / name / f"{number}.png")
    train = ["train", "test23_gender_4pool", "--folder", str(tmp_path / "images")]
    for arguments, message in (
        ([], "--folder: the zoo model stays as it is, so --out is needed"),
        (
            ["--out", str(tmp_path / "out")],
            "test23_gender_4pool tells 2 classes apart, the folder has 3: a, b, c",
        ),
    ):
        assert main([*train, *arguments]) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.tensorflow
@needs_tensorflow
def test_a_failed_training_leaves_the_artifacts_alone(tmp_path, monkeypatch):
    zoo = tmp_path / "models"
    (zoo / "mnist_mlp").mkdir(parents=True)
    model_toml = (zoo_directory() / "mnist_mlp" / "model.toml").read_text()
    (zoo / "mnist_mlp" / "model.toml").write_text(model_toml)
    (zoo / "mnist_mlp" / "recipe.py").write_text("raise ValueError('no recipe today')\n")
    (zoo / "mnist_mlp" / "model.tflite").write_bytes(b"precious")
    monkeypatch.setattr(train, "zoo", lambda: ["mnist_mlp"])
    monkeypatch.setattr(train, "zoo_directory", lambda: zoo)
    with pytest.raises(HarnessError, match=r"Training mnist_mlp failed .*no recipe today"):
        train.train("mnist_mlp")
    left = {path.name for path in (zoo / "mnist_mlp").iterdir()}
    assert left == {"model.toml", "recipe.py", "model.tflite"}
    assert (zoo / "mnist_mlp" / "model.tflite").read_bytes() == b"precious"


@pytest.mark.tensorflow
@needs_tensorflow
def test_an_interrupted_training_leaves_nothing(tmp_path):
    def interrupt(line: str) -> None:
        raise KeyboardInterrupt(line)

    with pytest.raises(KeyboardInterrupt, match="epoch 1/9"):
        train.train("mnist_mlp", out=tmp_path, epochs=9, progress=interrupt)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.tensorflow
@needs_tensorflow
def test_the_full_set_without_a_network_says_how_to_go_on(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:1")
    with pytest.raises(DataError) as caught:
        train.train("mnist_mlp", full=True, out=tmp_path / "out", epochs=1)
    assert caught.value.message.startswith("The full MNIST set could not be downloaded: ")
    assert caught.value.remedy.endswith(": harness train mnist_mlp")
    assert list((tmp_path / "out").iterdir()) == []


def test_shifted_images_are_moved_by_whole_pixels_up_to_the_limit():
    image = np.zeros((1, 9, 9), np.uint8)
    image[0, 4, 4] = 200
    moved = shifted(np.repeat(image, 500, axis=0), 2, np.random.RandomState(1))
    assert (moved.shape, moved.dtype) == ((500, 9, 9), np.uint8)
    assert (moved.sum(axis=(1, 2)) == 200).all()
    _, rows, columns = np.nonzero(moved)
    assert set(zip(rows.tolist(), columns.tolist(), strict=True)) == {
        (row, column) for row in range(2, 7) for column in range(2, 7)
    }


def test_held_out_images_are_taken_out_of_the_full_set(capsys):
    x = np.arange(12, dtype=np.uint8).reshape(3, 2, 2)
    train_set = Images(x, np.array([7, 8, 9], np.uint8))
    kept = without(train_set, Images(x[1:2], np.array([8], np.uint8)))
    np.testing.assert_array_equal(kept.x, x[[0, 2]])
    assert kept.y.tolist() == [7, 9]
    assert capsys.readouterr().out == "1 of 3 training images are held out: left aside\n"


@pytest.mark.skipif(HAVE_TENSORFLOW, reason="the extra keras is installed")
def test_without_tensorflow_the_pip_line_is_named(tmp_path):
    for step in (
        lambda: train.train("mnist_mlp", out=tmp_path),
        lambda: KerasReference(load_model("mnist_mlp").artifacts["keras"]),
    ):
        with pytest.raises(MissingError) as caught:
            step()
        assert install_command("keras") in caught.value.remedy


def test_wrong_arguments_are_refused(tmp_path, monkeypatch):
    with pytest.raises(UsageError, match=r"resnet: no such zoo model\. The zoo has: .*himax_cnn, mnist_mlp"):
        train.train("resnet")
    with pytest.raises(UsageError, match="epochs: expected 1 or more, came 0"):
        train.train("mnist_mlp", epochs=0)
    monkeypatch.setattr(train, "require_installed", lambda *_: None)
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="file: not writable"):
        train.train("mnist_mlp", out=tmp_path / "file")


@pytest.mark.parametrize("changed", [False, True])
def test_what_quantise_made_keeps_its_sums_and_is_named_when_it_is_of_another_network(changed, tmp_path):
    out, work = tmp_path / "out", tmp_path / "work"
    for directory, network in ((out, b"old"), (work, b"new" if changed else b"old")):
        directory.mkdir()
        (directory / "model.onnx").write_bytes(network)
    (out / "model.c.espdl").write_bytes(b"quantised")
    digests.write_sums(out, ["model.onnx", "model.c.espdl"])
    digests.write_sums(work, ["model.onnx"])
    lines = []
    train.put_in_place("mine", work, out, lines.append)
    assert (out / "model.onnx").read_bytes() == (b"new" if changed else b"old")
    assert digests.read_sums(out) == {path.name: digests.file_digest(path) for path in out.glob("model.*")}
    said = ["mine: model.c.espdl: made of the network before; harness quantise makes them again"]
    assert lines == (said if changed else [])
