"""`harness lint-v1`: silent on what the exporter writes, and each fault put in by hand is found."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from harness.cli import main
from harness.errors import DataError
from harness.model.spec import load_model
from harness.runtimes.espdl_v1 import oracle
from harness.runtimes.espdl_v1.calibrate import Scheme
from harness.runtimes.espdl_v1.export import Export, export_v1
from harness.runtimes.espdl_v1.lint import lint_v1
from tests.espdl_v1_host import run_on_host

MODEL = "model/model_define.hpp"
SOURCE = "model/himax_cnn_coefficient.cpp"


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Export:
    return _export(tmp_path_factory.mktemp("v1") / "out", "esp32", Scheme(16))


@pytest.fixture
def project(exported: Export, tmp_path: Path) -> Path:
    return Path(shutil.copytree(exported.directory, tmp_path / "project"))


def _export(directory: Path, chip: str, scheme: Scheme) -> Export:
    spec = load_model("himax_cnn")
    assert spec.calibration is not None
    return export_v1(
        spec.artifacts["onnx"],
        spec.calibration,
        directory,
        chip=chip,
        scheme=scheme,
        name="himax_cnn",
        preprocess=spec.preprocess,
    )


def spoil(project: Path, name: str, pattern: str, replacement: str) -> None:
    text = (project / name).read_text()
    changed = re.sub(pattern, replacement, text, count=1)
    assert changed != text
    (project / name).write_text(changed)


@pytest.mark.parametrize("chip", ["esp32", "esp32s3"])
@pytest.mark.parametrize("scheme", [Scheme(16), Scheme(8), Scheme(8, "per-channel")])
def test_what_the_exporter_writes_is_clean(chip: str, scheme: Scheme, tmp_path: Path) -> None:
    assert lint_v1(_export(tmp_path / "out", chip, scheme).directory) == []


def test_a_wrong_exponent_is_found_and_would_change_the_result(
    exported: Export, project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil(project, MODEL, r"l3\(Conv2D<int16_t>\(-8", "l3(Conv2D<int16_t>(-7")
    assert main(["lint-v1", str(project)]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "l3: output exponent -7, but sequential_1_conv2d_1_2_biasadd_bias has -8: they must be the same"
    ]
    image = np.random.RandomState(0).randint(0, 32768, (1, 28, 28, 1)).astype(np.int16)
    wrong = Export(project, exported.name, exported.files, exported.log, exported.network)
    right = oracle.run(exported.network, image[0])[-1].reshape(1, -1)
    assert np.array_equal(run_on_host(exported, "esp32", image, tmp_path), right)
    assert not np.array_equal(run_on_host(wrong, "esp32", image, tmp_path), right)


@pytest.mark.parametrize(
    ("name", "pattern", "replacement", "finding"),
    [
        (SOURCE, r"(conv2d_1_biasadd_bias_element, )-?\d+", r"\g<1>-3", "l1: output exponent -7, but"),
        (SOURCE, r"\{3, 3, 8, 16\}", "{3, 3, 8, 8}", r"l3: bias has shape \(16,\), the filter 8 channels"),
        (SOURCE, r"\{3, 3, 8, 16\}", "{3, 3, 8, 12}", "needs 864 elements, the array has 1152"),
        (SOURCE, r"\{3, 3, 1, 8\}", "{3, 3, 1, 9}", "l3: takes 8 channels, l2 before it gives 9"),
        (MODEL, r"this->l3\.call\([^;]*;", "", r"l3: never in call\(\)"),
        (MODEL, r"this->l2\.build\([^;]*;", "", r"l2: never in build\(\)"),
        (MODEL, r"\n *l2\([^\n]*", "", "l2: declared as MaxPool2D, but not in the constructor's list"),
        (
            MODEL,
            r"get_\w+_conv2d_1_biasadd_activation\(\)",
            "NULL",
            r"activation\(\) exists but is not given",
        ),
        (MODEL, r"get_(\w+_conv2d_1_biasadd_bias)\(\)", r"get_my_bias()", r"get_my_bias\(\) is in no coeff"),
        (MODEL, r"get_\w+_conv2d_1_2_biasadd_filter", "get_sequential_1_conv2d_1_biasadd_filter", "no layer"),
        (MODEL, r"Conv2D<int16_t> l5;", "// Conv2D<int16_t> l5;", "l5: called, but not declared"),
    ],
)
def test_each_fault_is_found(name: str, pattern: str, replacement: str, finding: str, project: Path) -> None:
    assert lint_v1(project) == []
    spoil(project, name, pattern, replacement)
    found = lint_v1(project)
    assert any(re.search(finding, line) for line in found), found


def test_exponents_that_only_the_table_states(tmp_path: Path) -> None:
    project = _export(tmp_path / "out", "esp32", Scheme(8, "per-channel")).directory
    spoil(project, MODEL, r"(l3\(Conv2D<int8_t, int16_t>\()-?\d+", r"\g<1>5")
    spoil(project, "main/app_main.cpp", r"input_exponent = -?\d+", "input_exponent = -7")
    assert lint_v1(project) == [
        "input: exponent -7, but quantization_table.json has 0: they must be the same",
        "l3: output exponent 5, but quantization_table.json has 0: they must be the same",
    ]
    (project / "quantization_table.json").write_text("{}")
    assert lint_v1(project) == [
        "quantization_table.json: 0 exponents for the input and 5 layers with weights"
    ]


def test_a_clean_project_ends_with_zero(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lint-v1", str(project)]) == 0
    assert capsys.readouterr().out == f"{project}: nothing found\n"


def test_directories_without_a_project(project: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="came 0 and 0"):
        lint_v1(tmp_path / "empty")
    (project / SOURCE).write_text("int main;")
    with pytest.raises(DataError, match="found none"):
        lint_v1(project)
    assert main(["lint-v1", str(project)]) == 2
