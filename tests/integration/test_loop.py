"""The main job as a user starts it: real QEMU, real builds, real reports."""

from __future__ import annotations

import shutil
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.bench_runs import CHECKOUT, run_harness, run_pytest
from tests.tflite_builder import ModelBuilder


@pytest.fixture(scope="module")
def unseen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that is in no zoo: a strided convolution, its ReLU6, an average pool, a softmax."""
    random = np.random.default_rng(7)
    model = ModelBuilder()
    x = model.input((1, 9, 9, 3), scale=0.04, zero_point=-11)
    weights = model.constant(
        random.integers(-127, 128, (5, 3, 3, 3), dtype=np.int8), scales=[0.01, 0.02, 0.004, 0.03, 0.007]
    )
    bias = model.constant(random.integers(-900, 900, 5, dtype=np.int32), scales=[0.0004] * 5)
    y = model.tensor((1, 5, 5, 5), scale=0.0235, zero_point=-128)
    model.operator(
        "CONV_2D", [x, weights, bias], [y], padding=0, stride_w=2, stride_h=2, fused_activation_function=3
    )
    pooled = model.tensor((1, 1, 1, 5), scale=0.0235, zero_point=-128)
    model.operator(
        "AVERAGE_POOL_2D", [y], [pooled], padding=1, stride_w=1, stride_h=1, filter_width=5, filter_height=5
    )
    scores = model.tensor((1, 1, 1, 5), scale=1 / 256, zero_point=-128)
    model.operator("SOFTMAX", [pooled], [scores], beta=1.0)
    path = tmp_path_factory.mktemp("unseen") / "unseen.tflite"
    path.write_bytes(model.build(outputs=[scores]))
    return path


def test_both_targets_pass_and_every_report_is_written(tmp_path: Path) -> None:
    run = run_pytest(
        tmp_path / "r", "--target", "esp32s3,esp32c3", "--model", "mnist_mlp", "--runtime", "tflm",
        "--samples", "60",
        "--junitxml", tmp_path / "pytest.xml",
    )  # fmt: skip
    assert run.code == 0, run.output
    assert "2 passed" in run.output
    assert "instructions (emulated)" in run.output
    items = run.items()
    assert set(items) == {"esp32s3-mnist_mlp", "esp32c3-mnist_mlp"}
    for item in items.values():
        assert item["fidelity"] == "isa"
        gap = item["runtime_gap"]
        assert (gap["max_lsb"], gap["mismatching_elements"], gap["samples"]) == (0, 0, 60)
        assert (gap["layer_samples"], gap["layers"], gap["mismatching_layers"]) == (10, 4, [])
        assert item["accuracy"]["device"] == item["accuracy"]["oracle"] > 0.9
        counts = item["counts"]
        assert counts["unit"] == "instructions (emulated)"
        assert (counts["cold"] > 0, len(counts["warmup"]), counts["samples"]) == (True, 3, 60)
        assert item["latency"] is None
        budgets = {one["name"]: one["verdict"] for one in item["measurements"]}
        assert budgets == {"RAM budget": "PASS", "flash budget": "PASS", "stack budget": "PASS"}
    for name in ("report.html", "junit.xml", "items.csv", "samples.csv", "samples.jsonl", "summary.md"):
        assert (tmp_path / "r" / name).stat().st_size > 0, name
    samples = pd.read_csv(tmp_path / "r" / "samples.csv")
    assert len(samples) == 120
    cases = ET.parse(tmp_path / "pytest.xml").getroot().iter("testcase")
    names = {prop.get("name") for case in cases for prop in case.iter("property")}
    assert any("lsb" in str(name) for name in names), names


def test_instruction_counts_are_the_same_in_every_run(tmp_path: Path) -> None:
    counts = []
    for repeat in range(3):
        run = run_harness(
            tmp_path / str(repeat),
            "himax_cnn",
            "--target",
            "esp32s3,esp32c3",
            "--samples",
            "5",
            "--runtime",
            "tflm",
        )
        assert run.code == 0, run.output
        samples = pd.read_csv(run.reports / "samples.csv")
        layers = {key: [layer["count"] for layer in item["layers"]] for key, item in run.items().items()}
        counts.append((samples["count"].tolist(), layers))
    assert counts[0] == counts[1] == counts[2]
    assert min(counts[0][0]) > 100_000


def test_an_unseen_model_passes_with_random_inputs_and_with_data(unseen: Path, tmp_path: Path) -> None:
    run = run_pytest(tmp_path / "random", "--target", "esp32c3,esp32s3", "--model", unseen, "--samples", "12")
    assert run.code == 0, run.output
    assert {item["runtime_gap"]["samples"] for item in run.items().values()} == {12}
    assert "data: 12 samples, random (seed 0)" in run.output

    random = np.random.default_rng(1)
    data = tmp_path / "data.npz"
    np.savez(data, x=random.normal(0, 1.5, (8, 9, 9, 3)).astype(np.float32), y=random.integers(0, 5, 8))
    run = run_pytest(tmp_path / "given", "--target", "esp32c3", "--model", unseen, "--data", data)
    assert run.code == 0, run.output
    (item,) = run.items().values()
    assert item["runtime_gap"]["max_lsb"] == 0
    assert item["accuracy"]["samples"] == 8
    assert item["quantisation_gap"] is None


def test_a_heavy_model_says_how_many_samples_make_a_run(tmp_path: Path) -> None:
    arguments = ("test21_mnist_190k", "--target", "esp32c3", "--runtime", "tflm", "--reference", "none")
    (record,) = run_harness(tmp_path / "own", *arguments).items().values()
    assert record["runtime_gap"]["samples"] == 2
    assert "its model.toml stops at so many; --samples all takes the whole test set" in record["notes"]
    (record,) = run_harness(tmp_path / "asked", *arguments, "--samples", "1").items().values()
    assert record["runtime_gap"]["samples"] == 1
    assert not any("model.toml" in note for note in record["notes"])


def test_a_failed_build_fails_its_items_and_no_others(tmp_path: Path) -> None:
    """No Xtensa compiler on PATH: only the Xtensa item breaks, with the line that installs it."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for program in ("riscv64-unknown-elf-gcc", "qemu-system-riscv32", "qemu-system-xtensa", "git"):
        found = shutil.which(program)
        assert found
        (tools / program).symlink_to(found)
    run = run_pytest(
        tmp_path / "r", "--target", "esp32s3,esp32c3", "--model", "mnist_mlp",
        "--runtime", "tflm", "--samples", "3",
        environment={"PATH": str(tools), "HARNESS_BUILD_ROOT": str(tmp_path / "build")},
    )  # fmt: skip
    assert run.code == 1, run.output
    assert "1 passed, 1 error" in run.output
    assert "apt-get install gcc-xtensa-lx106" in run.output
    assert "Traceback" not in run.output
    outcomes = {key: item["outcome"] for key, item in run.items().items()}
    assert outcomes == {"esp32s3-mnist_mlp": "error", "esp32c3-mnist_mlp": "passed"}


def test_a_fault_in_the_generated_code_is_found_and_its_layer_named(tmp_path: Path) -> None:
    """The user's own test directory overrides one station: a weight of the second layer is flipped."""
    (tmp_path / "conftest.py").write_text(
        "import re, shutil\n"
        "from dataclasses import replace\n"
        "import pytest\n"
        "@pytest.fixture\n"
        "def project(project, tmp_path):\n"
        "    directory = tmp_path / 'project'\n"
        "    shutil.copytree(project.directory, directory)\n"
        "    weights = directory / 'model_weights.c'\n"
        "    text = weights.read_text()\n"
        "    array = text.index('{', text.index('layer_01')) \n"
        "    number = re.compile(r'-?\\d+').search(text, array)\n"
        "    changed = str(int(number.group()) ^ 1)\n"
        "    weights.write_text(text[:number.start()] + changed + text[number.end():])\n"
        "    sources = tuple(directory / path.name for path in project.sources)\n"
        "    return replace(project, directory=directory, sources=sources,\n"
        "                   include_dirs=(directory, *project.include_dirs[1:]))\n"
    )
    shutil.copy(CHECKOUT / "tests" / "hil" / "test_models.py", tmp_path / "test_models.py")
    run = run_pytest(
        tmp_path / "r", "-p", "no:cacheprovider", "--target", "esp32c3", "--model", "mnist_mlp",
        "--runtime", "tflm",
        "--samples", "50", tmp_path / "test_models.py", cwd=tmp_path,
    )  # fmt: skip
    assert run.code == 1, run.output
    (item,) = run.items().values()
    assert item["outcome"] == "failed"
    assert item["runtime_gap"]["mismatching_layers"][0] == "1 FULLY_CONNECTED"
    assert item["layers"][0]["mismatching_elements"] == 0
    assert item["layers"][1]["mismatching_elements"] > 0


def test_a_users_own_test_deploys_a_model(unseen: Path, tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\nharness_board = host\nharness_layer_samples = 2\n")
    (tmp_path / "test_mine.py").write_text(
        "import numpy as np\n"
        "def test_mine(deploy):\n"
        f"    board = deploy({str(unseen)!r}, runtime='tflm')\n"
        "    result = board.infer(np.zeros((3, 9, 9, 3), np.float32))\n"
        "    assert result.runtime_gap.max_lsb == 0\n"
        "    assert result.runtime_gap.layer_samples == 2\n"
        "    assert result.scores.shape == (3, 5)\n"
        "    assert board.fidelity == 'host'\n"
    )
    run = run_pytest(tmp_path / "r", "--target", "esp32c6,esp32", cwd=tmp_path)
    assert run.code == 0, run.output
    assert "2 passed" in run.output
    items = run.items()
    assert {key: item["runtime_gap"]["samples"] for key, item in items.items()} == {
        "esp32c6-unseen": 3,
        "esp32-unseen": 3,
    }


def test_of_several_tests_of_one_item_every_failure_stays_in_its_record(tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text(
        "import numpy as np\n"
        "def test_wrong(deploy):\n"
        "    result = deploy('mnist_mlp').infer(np.zeros((2, 784), np.float32))\n"
        "    assert result.runtime_gap.samples == 3\n"
        "def test_right(deploy):\n"
        "    deploy('mnist_mlp').infer(np.zeros((1, 784), np.float32))\n"
    )
    run = run_pytest(tmp_path / "r", "--target", "esp32c3", "--board", "host", cwd=tmp_path)
    assert run.code == 1
    assert "1 failed, 1 passed" in run.output
    (item,) = run.items().values()
    assert item["outcome"] == "failed"
    assert item["runtime_gap"]["samples"] == 1


def test_without_target_our_fixtures_skip_and_others_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text(
        "import pytest\n"
        "@pytest.fixture\n"
        "def model():\n"
        "    return 'mine'\n"
        "def test_mine(model):\n"
        "    assert model == 'mine'\n"
        "def test_ours(result):\n"
        "    assert False\n"
    )
    run = run_pytest(tmp_path / "r", "-rs", cwd=tmp_path)
    assert run.code == 0, run.output
    assert "1 passed, 1 skipped" in run.output
    assert "needs --target, e.g. pytest --target esp32s3" in run.output
    (tmp_path / "test_mine.py").write_text("def test_mine(target):\n    assert target == 'linux'\n")
    run = run_pytest(tmp_path / "r", "--target", "linux", cwd=tmp_path)
    assert "1 passed" in run.output
    assert not (tmp_path / "r").exists()


def test_a_refused_choice_is_a_usage_error(tmp_path: Path) -> None:
    run = run_pytest(tmp_path / "r", "--target", "esp32z9")
    assert run.code == pytest.ExitCode.USAGE_ERROR
    assert "ERROR: unknown target 'esp32z9'. Known targets: esp32, " in run.output
    assert not (tmp_path / "r").exists()


def test_keras_reference_agrees_with_onnx(tmp_path: Path) -> None:
    pytest.importorskip("tensorflow", reason="needs the extra [keras]")
    run = run_harness(
        tmp_path / "r", "mnist_mlp", "--target", "esp32c3", "--board", "host", "--reference", "keras",
        "--runtime", "tflm",
        "--samples", "20",
    )  # fmt: skip
    assert run.code == 0, run.output
    (item,) = run.items().values()
    assert item["quantisation_gap"]["reference"] == "keras"
    assert item["quantisation_gap"]["agreement"] > 0.9
