"""`harness init`: in the directory it writes, pytest passes; and nothing is overwritten or half written."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.cli import main
from harness.model.spec import read_spec

ROOT = Path(__file__).parents[2]
HIMAX = ROOT / "models" / "himax_cnn"
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}


def in_directory(directory: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Pytest as a user runs it there."""
    command = [sys.executable, "-m", "pytest", "--target", "esp32c3", *options]
    return subprocess.run(
        command, cwd=directory, env=ENVIRONMENT, capture_output=True, text=True, check=False, timeout=300
    )


@pytest.fixture
def digits(tmp_path: Path) -> Path:
    """A folder of classes of 40 x 40 images, of two formats."""
    with np.load(ROOT / "models" / "mnist" / "test.npz") as file:
        x, y = file["x"][:20], file["y"][:20]
    for number, (image, label) in enumerate(zip(x, y, strict=True)):
        folder = tmp_path / "digits" / str(label)
        folder.mkdir(parents=True, exist_ok=True)
        scaled = Image.fromarray(image).resize((40, 40))
        scaled.save(folder / f"{number}.{'bmp' if number % 2 else 'png'}")
    return tmp_path / "digits"


def test_a_users_model_and_folder_of_images_pass(
    digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = tmp_path / "mine"
    how = "offset=-128,resize=bilinear"
    given = ["--model", str(HIMAX / "model.tflite"), "--data", str(digits), "--preprocess", how]
    assert main(["init", str(mine), *given]) == 0
    assert f"Next: cd {mine} && pytest --target esp32c3" in capsys.readouterr().out
    done = in_directory(mine)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout
    assert "data: 20 samples, test_data" in done.stdout
    assert "runtime gap       0 LSB, 0 of 200 differ" in done.stdout
    # The declaration is what is run: a wrong one breaks the item.
    declared = (mine / "model.toml").read_text()
    (mine / "model.toml").write_text(declared.replace('resize = "bilinear"\n', ""))
    assert main(["inspect", str(mine), "--data", str(mine / "test_data")]) == 2
    assert "the images are 40x40, the model takes 28x28" in capsys.readouterr().err


def test_a_float_model_is_calibrated_on_its_data(digits: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    given = ["--model", str(HIMAX / "model.onnx"), "--data", str(digits)]
    assert main(["init", str(mine), *given, "--preprocess", "offset=-128,resize=bilinear"]) == 0
    done = in_directory(mine, "--runtime", "espdl-v1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "runtime gap       0 LSB, 0 of 200 differ" in done.stdout


def test_without_a_model_the_zoos_smallest_is_copied_whole(tmp_path: Path) -> None:
    assert main(["init", str(tmp_path / "mine")]) == 0
    spec, own = read_spec(tmp_path / "mine"), read_spec(ROOT / "models" / "mnist_mlp")
    assert (spec.preprocess, spec.classes, spec.input_shape) == (own.preprocess, own.classes, own.input_shape)
    assert spec.artifacts.keys() == own.artifacts.keys()
    assert spec.test is not None
    assert own.test is not None
    assert spec.test.read_bytes() == own.test.read_bytes()


def test_a_directory_with_something_in_it_stays_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "model.toml").write_text("mine")
    assert main(["init", str(tmp_path)]) == 2
    assert "expected a new or empty directory" in capsys.readouterr().err
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("model.toml", "mine")]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["--model", str(HIMAX / "model.onnx")], "is a float model, and there are no inputs to quantise it"),
        (["--model", "gone.tflite"], "gone.tflite: no such file"),
        (["--model", str(HIMAX / "model.tflite"), "--data", "gone.npz"], "gone.npz: no such data file"),
        (["--data", str(ROOT / "models" / "photographs" / "test.npz")], "expected (N, 784)"),
        (["--preprocess", "scale=big"], "--preprocess expects a number for scale, got 'big'"),
    ],
)
def test_what_cannot_be_tested_is_refused_before_anything_is_written(
    given: list[str], expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["init", str(tmp_path / "mine"), *given]) == 2
    error = capsys.readouterr().err
    assert expected in error
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
