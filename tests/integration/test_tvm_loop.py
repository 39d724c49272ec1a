"""Runtime tvm as a user meets it: the bench on both instruction sets, the ESP-IDF project, debug."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from harness.bundled import zoo_directory
from harness.cli import main
from harness.model.spec import load_model
from harness.runtimes.tvm import Tvm
from tests.bench_runs import run_pytest
from tests.engine_host import SANITIZERS, WARNINGS
from tests.idf_projects import not_required

pytestmark = pytest.mark.skipif(importlib.util.find_spec("tvm") is None, reason="pip install -e '.[tvm]'")
STAND_IN = Path(__file__).parents[1] / "esp_idf_stand_in"


def test_both_models_pass_on_both_instruction_sets(tmp_path: Path) -> None:
    arguments = ("--model", "mnist_mlp,himax_cnn", "--target", "esp32s3,esp32c3", "--runtime", "tvm")
    run = run_pytest(tmp_path / "r", *arguments, "--samples", "12")
    assert run.code == 0, run.output
    assert "4 passed" in run.output
    for record in run.items().values():
        gap = record["runtime_gap"]
        assert (gap["max_lsb"], gap["elements"], gap["layer_samples"]) == (0, 120, 10)
        assert gap["layers"] == (9 if record["model"] == "himax_cnn" else 4)
        assert record["quantisation_gap"]["agreement"] >= 0.9


@dataclass(frozen=True)
class Tree:
    """What `harness generate` wrote, and the QDQ file it was made of."""

    qdq: Path
    directory: Path


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    directory = tmp_path_factory.mktemp("tree")
    qdq, project = directory / "himax.qdq.onnx", directory / "project"
    command = ["quantise", "himax_cnn", "--runtime", "tvm", "--calibration", "minmax", "--out", str(qdq)]
    assert main(command) == 0
    data = str(zoo_directory() / "mnist" / "test.npz")
    command = ["generate", str(qdq), "--runtime", "tvm", "--target", "esp32c3", "--out", str(project)]
    # The zoo's preprocessing belongs to its model.toml; a bare file takes real values.
    assert main([*command, "--data", _real(directory, data)]) == 0
    return Tree(qdq, project)


def _real(directory: Path, data: str) -> str:
    preprocess = load_model("himax_cnn").preprocess
    assert preprocess is not None
    path = directory / "real.npz"
    np.savez(path, x=preprocess.apply(np.load(data)["x"][:3]))
    return str(path)


def run_application(tree: Tree, out: Path) -> Path:
    """The generated program over a stand-in for ESP-IDF's timer; its console log."""
    component = tree.directory / "components" / "tvm_model"
    sources = [tree.directory / "main" / "app_main.c", STAND_IN / "main.c", *sorted(component.glob("*.c"))]
    includes = [f"-I{path}" for path in (STAND_IN, tree.directory / "main", component)]
    flags = [*WARNINGS, *SANITIZERS, "-D_POSIX_C_SOURCE=200809L"]
    program = out / "app"
    subprocess.run(["gcc", *flags, *includes, *sources, "-o", program], check=True)
    log = out / "monitor.log"
    log.write_bytes(subprocess.run([program], check=True, stdout=subprocess.PIPE).stdout)
    return log


def test_the_application_runs_and_its_log_is_read(
    tree: Tree, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = run_application(tree, tmp_path)
    capsys.readouterr()
    assert main(["parse", str(log), "--format", "json"]) == 0
    parsed = json.loads(capsys.readouterr().out)
    artifact = Tvm().load(tree.qdq)
    assert parsed["dialect"] == "tvm"
    assert len(parsed["latencies"]) + len(parsed["inferences"][0]["latencies"]) == 5
    assert [verdict["passed"] for verdict in parsed["verdicts"]] == [True]
    (row,) = parsed["memory"][0]["rows"]
    assert row["internal_kb"] * 1024 == artifact.plan.memory.peak_bytes
    scores = parsed["inferences"][0]["scores"]
    assert len(scores) == 10
    assert all(score % artifact.outputs[0].scale == 0 for score in scores)


def test_a_wrong_answer_is_said_and_fails_the_parser(
    tree: Tree, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = tmp_path / "wrong"
    shutil.copytree(tree.directory, wrong)
    kernels = wrong / "components" / "tvm_model" / "tvm_kernels.c"
    kernels.write_text(_broken(kernels.read_text()))
    log = run_application(Tree(tree.qdq, wrong), tmp_path)
    assert " of 10 elements differ" in log.read_text()
    assert main(["parse", str(log)]) == 1
    assert "failed" in capsys.readouterr().out


def test_the_project_is_whole(tree: Tree) -> None:
    names = {str(path.relative_to(tree.directory)) for path in tree.directory.rglob("*") if path.is_file()}
    assert {
        "CMakeLists.txt", "Makefile", "README.md", "components/tvm_model/CMakeLists.txt",
        "components/tvm_model/engine.h", "components/tvm_model/tvm_kernels.c", "main/CMakeLists.txt",
        "main/app_main.c", "main/input_data.h", "main/output_data.h", "partitions.csv",
        "sdkconfig.defaults", "sdkconfig.defaults.esp32s3", "sdkconfig.defaults.esp32c3",
    } <= names  # fmt: skip
    listed = (tree.directory / "components" / "tvm_model" / "CMakeLists.txt").read_text()
    sources = {path.name for path in (tree.directory / "components" / "tvm_model").glob("*.c")}
    assert all(f'"{name}"' in listed for name in sources)
    assert "generated, not built" in (tree.directory / "README.md").read_text()


def test_the_project_requires_the_component_of_every_header(tree: Tree, tmp_path: Path) -> None:
    """And, as CMake finds, has every source its lists name. The folders of the emulator are none of it."""
    project = tmp_path / "project"
    shutil.copytree(tree.directory, project, ignore=shutil.ignore_patterns("firmware"))
    assert not_required(project, tmp_path) == []
    lists = project / "main/CMakeLists.txt"
    lists.write_text(lists.read_text(encoding="utf-8").replace("tvm_model esp_timer", ""), encoding="utf-8")
    assert set(not_required(project, tmp_path / "less")) == {
        "main/app_main.c: engine.h is of tvm_model",
        "main/app_main.c: esp_timer.h is of esp_timer",
    }


def _broken(kernels: str) -> str:
    """The second convolution rounds down where it should round to nearest."""
    head, name, rest = kernels.partition("void tvm_layer_03_conv_relu(")
    broken = re.sub(r"\+ [0-9]+\) >>", "+ 0) >>", rest, count=1)
    assert broken != rest
    return head + name + broken


def test_debug_names_the_broken_kernel_of_an_image_built_by_hand(
    tree: Tree, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    copy = tmp_path / "copy"
    shutil.copytree(tree.directory, copy)
    kernels = copy / "components" / "tvm_model" / "tvm_kernels.c"
    good = kernels.read_text()
    data = str(tree.qdq.with_name("real.npz"))
    command = ["debug", str(tree.qdq), "--runtime", "tvm", "--target", "esp32c3", "--data", data]
    command += ["--sample", "1", "--elf", str(copy / "firmware.elf")]
    for text, code in ((good, 0), (_broken(good), 1)):
        kernels.write_text(text)
        subprocess.run(["make", "-s", "-C", copy], check=True)
        capsys.readouterr()
        assert main(command) == code
        shown = capsys.readouterr().out
        if code == 0:
            assert shown.endswith("All 9 layers are equal: 0 LSB\n")
    assert "First layer that differs: 3 Conv+Relu" in shown
    lines = shown.splitlines()
    (at,) = (index for index, line in enumerate(lines) if line.startswith("3 Conv+Relu"))
    assert "equal" in lines[at - 1]
    assert "max |Δ| 1 LSB" in lines[at + 2]


def test_debug_works_for_every_runtime_and_without_a_chip(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["debug", "mnist_mlp", "--runtime", "tflm", "--sample", "2"]) == 0
    shown = capsys.readouterr().out
    assert "fidelity host" in shown
    assert "All 4 layers are equal: 0 LSB" in shown
    assert main(["debug", "mnist_mlp", "--runtime", "espdl", "--target", "esp32s3"]) == 0
    assert "fidelity isa" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--runtime", "espdl"], "Add --target NAME"),
        (["--sample", "1000"], "--sample 1000: the data have 1000 samples, counted from 0"),
        (["--sample", "-1"], "--sample expects a number of at least 0"),
        (["--elf", "none.elf"], "Add --target NAME"),
        (["--elf", "none.elf", "--target", "esp32c3"], "none.elf: no such image"),
    ],
)
def test_debug_refuses_in_one_line(
    arguments: list[str],
    words: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["debug", "mnist_mlp", *arguments]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1


def test_a_sample_without_an_application(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert main(["generate", "mnist_mlp", "--target", "esp32", "--data", "x.npz", "--out", str(out)]) == 2
    assert "only the application of runtime tvm stores a sample" in capsys.readouterr().err
    assert not out.exists()
