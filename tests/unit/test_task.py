"""What a network is for: declared or inferred, and what is then compared and shown."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from harness.cli import main
from harness.errors import ModelError
from harness.measure.gaps import quantisation_gap
from harness.measure.gates import Declared, Measured, judge
from harness.measure.reconstruction import reconstruction
from harness.model.dataset import load_dataset
from harness.model.spec import read_spec, spec_text
from harness.model.task import task_of
from harness.records import RunRecord
from harness.records.schema import Accuracy
from harness.records.serialise import from_json, from_plain, to_json, to_plain
from harness.report import render_table
from harness.report.comparison import comparisons
from harness.report.figures import flat_figures
from harness.report.html import render_html
from harness.report.markdown import summary_md
from harness.tensors import TensorInfo
from tests.branched_net import net_with_branches
from tests.fabricated_run import item, samples


def tensor(*shape: int) -> TensorInfo:
    return TensorInfo("t", shape, "int8", 0.5, 0)


@pytest.mark.parametrize(
    ("declared", "classes", "labels", "output", "task", "said"),
    [
        ("regression", ("a", "b"), [0, 1], (1, 10), "regression", ""),
        ("", ("a", "b"), None, (1, 8), "classification", ""),
        ("", (), [0, 7], (1, 8), "classification", ""),
        ("", (), None, (1, 1), "regression", ""),
        ("", (), [0, 1], (1, 8), "reconstruction", "the output has the input's shape"),
        ("", (), None, (1, 8, 1), "reconstruction", "--task, or task in model.toml"),
        ("", (), None, (1, 4, 4, 2), "regression", "the output is no vector but 4 x 4 x 2"),
        ("", (), None, (1, 10), "classification", "a vector of 10; if it is regression or reconstruction"),
    ],
)
def test_a_task_is_declared_or_inferred(
    declared: str,
    classes: tuple[str, ...],
    labels: list[int] | None,
    output: tuple[int, ...],
    task: str,
    said: str,
) -> None:
    known = None if labels is None else np.array(labels)
    found = task_of(declared, classes, known, tensor(1, 8), tensor(*output))
    assert found.name == task
    assert said in found.note
    assert bool(found.note) == bool(said)


def test_model_toml_declares_it(tmp_path: Path) -> None:
    text = 'name = "net"\ntask = "{}"\n[input]\nshape = [1, 4]\n[artifacts]\nonnx = "net.onnx"\n'
    (tmp_path / "model.toml").write_text(text.format("reconstruction"))
    spec = read_spec(tmp_path, check_files=False)
    assert spec.task == "reconstruction"
    assert 'task = "reconstruction"\n' in spec_text(spec, tmp_path)
    assert "task" not in spec_text(dataclasses.replace(spec, task=""), tmp_path)
    (tmp_path / "model.toml").write_text(text.format("regresion"))
    with pytest.raises(ModelError, match="2: task: expected classification or regression or reconstruction"):
        read_spec(tmp_path, check_files=False)


def test_a_regression_begins_with_its_data_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    x = np.random.RandomState(0).normal(0, 1, (4, 5, 4, 3)).astype(np.float32)
    np.savez("d.npz", x=x, y=x.mean((1, 2, 3)))
    Path("net.tflite").write_bytes(net_with_branches())
    asked = ["net.tflite", "--data", "d.npz"]
    assert main(["inspect", *asked]) == 2
    assert "or, if they are no classes: --task regression" in capsys.readouterr().err
    assert main(["inspect", *asked, "--task", "regression"]) == 0
    assert main(["inspect", *asked, "--task", "guess"]) == 2
    assert "--task takes classification, regression, reconstruction, not 'guess'" in capsys.readouterr().err
    assert main(["init", "mine", "--model", *asked, "--task", "regression"]) == 0
    assert read_spec(Path("mine")).task == "regression"


def test_the_ratio_is_of_powers_in_decibels() -> None:
    reference = np.array([[3.0, 4.0], [0.0, 5.0]])
    gap = quantisation_gap(reference + np.diag([0.05, -0.05]), reference, "onnx", classifies=False)
    assert gap.agreement is None
    assert gap.snr_db == pytest.approx(10 * math.log10(50 / 0.005))
    assert quantisation_gap(reference, reference, "onnx").snr_db == math.inf
    assert quantisation_gap(reference, 0 * reference, "onnx").snr_db == -math.inf


def test_errors_of_windows_are_averaged_before_they_are_ranked() -> None:
    real = np.zeros((6, 2))
    device = np.array([1.0, 5, 2, 2, 0, 9])[:, np.newaxis] * np.ones(2)
    # Mean squared errors: recording 4 has 13, 7 has 4, 9 has 40.5; window by window 7 is above part of 4.
    recordings = np.array([[4, 1], [4, 1], [7, 0], [7, 0], [9, 1], [9, 1]])
    found = reconstruction(real, device, 0 * device, None, None, recordings)
    assert (found.mse_device, found.auc_device, found.recordings) == (pytest.approx(115 / 6), 1.0, 3)
    assert (found.mse_oracle, found.auc_oracle) == (0.0, 0.5)  # all equal: ties
    assert (found.mse_reference, found.auc_reference) == (None, None)
    alone = reconstruction(real, device, device, device, np.array([1, 1, 0, 0, 1, 1]), None)
    assert (alone.auc_device, alone.recordings) == (0.5, 6)
    assert reconstruction(real, device, device, device, None, None).auc_device is None


def test_a_data_set_of_recordings_knows_their_classes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.bin").write_bytes(np.arange(10, dtype="<f4").tobytes())
    (tmp_path / "y_labels.csv").write_text("a.bin,2,1,24,8\nb.bin,2,0,24,16\n")
    data = load_dataset(tmp_path, TensorInfo("x", (1, 6), "int8", 0.5, 0))
    assert data.recordings is not None
    assert data.recordings.tolist() == [[0, 1], [0, 1], [0, 1], [1, 0], [1, 0]]
    fewer = data.take(4).recordings
    assert fewer is not None
    assert len(fewer) == 4


def test_values_in_y_are_no_labels_of_a_regression(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x=np.zeros((2, 4), np.float32), y=np.array([0.5, 1.5]))
    assert load_dataset(tmp_path / "d.npz", tensor(1, 4), labelled=False).labels is None


def judged(now: float, before: float, regression: float) -> tuple[str, str]:
    declared = Declared("close", "quantisation_gap_snr_db", regression=regression)
    nights = [Measured({"quantisation_gap_snr_db": each}, "isa", "d", run_id="r") for each in (now, before)]
    found = judge(declared, nights[0], nights[1])
    return found.verdict, found.limits


def test_decibels_are_compared_by_difference() -> None:
    assert judged(39.6, 40.0, 0.5) == ("PASS", "at most 0.5 dB worse than the baseline")
    assert judged(39.4, 40.0, 0.5)[0] == "FAIL"
    assert judged(-6.0, -3.0, 0.5)[0] == "FAIL"
    assert judged(math.inf, math.inf, 0.0)[0] == "PASS"


def autoencoder() -> RunRecord:
    one = item("esp32c3", "ad01", samples(3))
    assert one.quantisation_gap is not None
    gap = dataclasses.replace(one.quantisation_gap, agreement=None, snr_db=41.25)
    found = reconstruction(
        np.zeros((2, 2)), np.array([[1.0, 1], [2, 2]]), np.zeros((2, 2)), None, np.array([0, 1]), None
    )
    fields = {"quantisation_gap": gap, "accuracy": Accuracy(None, None, None, 2), "reconstruction": found}
    one = dataclasses.replace(one, task="reconstruction", **fields)  # type: ignore[arg-type]
    other = dataclasses.replace(one, runtime="espdl", scheme="int16")
    return RunRecord("r", "", "", {}, (one, other))


def test_reports_show_the_ratio_and_no_arg_max() -> None:
    run = autoencoder()
    console = Console(record=True, width=80, file=None, force_terminal=False)
    with console.capture() as caught:
        render_table(run, console)
    shown = caught.get().replace("\u00a0", " ")
    assert "quantisation gap  SNR 41.25 dB, max |Δ|" in shown
    assert "AUC               device 1, oracle 0.5, float –, over 2 recordings" in shown  # noqa: RUF001
    assert "agreement" not in shown
    assert [found.quality for found in comparisons(run)] == ["SNR"]
    page = render_html(run, {one.key: samples(3) for one in run.items}, {}).replace("\u00a0", " ")
    assert "41.25 dB <small>SNR</small>" in page
    assert "Top-1 accuracy" not in page
    assert "41.25 dB" in summary_md(run).replace("\u00a0", " ")
    figures = flat_figures(run.items[0])
    assert (figures["quantisation_gap_snr_db"], figures["reconstruction_auc_device"]) == (41.25, 1.0)
    assert figures["task"] == "reconstruction"


def test_records_of_before_are_read() -> None:
    run = autoencoder()
    assert from_json(to_json(run)) == run
    plain = to_plain(run)
    for old in plain["items"]:
        del old["task"], old["reconstruction"], old["quantisation_gap"]["snr_db"]
    before = from_plain(RunRecord, plain).items[0]
    assert (before.task, before.reconstruction) == (None, None)
    assert "max |Δ|" in render_html(RunRecord("r", "", "", {}, (before,)), {}, {})
