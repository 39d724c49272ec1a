"""A report again from its wire log: byte for byte, over a faulty wire and with a wrong layer too."""

import json
import shutil
from pathlib import Path

import pytest

from harness.bench import Bench
from harness.cli import main
from harness.link.wirelog import MAGIC, Direction, read_wire_log
from harness.portable.ops.fully_connected import FullyConnected
from harness.records.schema import ItemRecord
from harness.settings import settings_from

FILES = {
    "items.jsonl", "samples.jsonl", "items.csv", "samples.csv", "junit.xml", "summary.md", "report.html",
}  # fmt: skip


def run(directory: Path, build_root: Path, **given: str) -> ItemRecord:
    given = {"model": "mnist_mlp", "runtime": "tflm", "reference": "none", "samples": "40", **given}
    given["report_dir"] = str(directory)
    settings = settings_from(
        lambda option: given.get(option.field, option.default),
        target="esp32c3", port=None, baud=None, root=build_root,
    )  # fmt: skip
    bench = Bench(settings, reports_root=directory.parent, command="test")
    (item,) = bench.items()
    record = bench.run_item(item)
    bench.finish()
    return record


@pytest.fixture(autouse=True)
def _own_history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_HISTORY_URL", f"sqlite:///{tmp_path}/history.sqlite")


def test_a_run_over_a_faulty_wire_comes_out_byte_for_byte(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "run"
    record = run(report, tmp_path, chaos="drop=1e-4,flip=1e-4,dup=1e-4,garbage=1e-4,reset=1e-5,seed=3")
    assert record.outcome == "passed"
    assert record.wire["retries"], "a clean wire shows nothing"
    # Nothing of the model, the build or the journal's samples is needed.
    moved = tmp_path / "elsewhere"
    shutil.move(report, moved)
    lines = [json.loads(line) for line in (moved / "journal.jsonl").read_text().splitlines()]
    for line in lines:
        for sample in line.get("samples", []):
            sample.update(device_scores=[0.0], max_lsb=99, device_class=None)
    (moved / "journal.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert main(["replay", str(moved)]) == 0
    said = capsys.readouterr().out
    assert "9 of 9 files identical" in said
    for name in FILES:
        assert (moved / "replayed" / name).read_bytes() == (moved / name).read_bytes(), name

    (moved / "items.csv").write_text("tampered with\n")
    assert main(["replay", str(moved)]) == 1
    assert "items.csv                              DIFFERS" in capsys.readouterr().out


def test_a_wrong_layer_is_found_again_in_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right = FullyConnected.body
    monkeypatch.setattr(FullyConnected, "body", lambda step: [*right(step), "output[3] ^= 1;"])
    report = tmp_path / "run"
    record = run(report, tmp_path, board="host")
    assert record.divergence is not None
    assert main(["replay", str(report), "--out", str(tmp_path / "again")]) == 0
    assert list((tmp_path / "again").glob("items/*/divergence.npz"))


def test_what_is_missing_or_damaged_is_one_line_and_nothing_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report, out = tmp_path / "run", tmp_path / "again"
    run(report, tmp_path, board="host", samples="5")
    (wire,) = report.glob("items/*/wire.bin")
    (evidence,) = report.glob("evidence/*.npz")
    whole, records = wire.read_bytes(), list(read_wire_log(wire))

    def refused() -> str:
        assert main(["replay", str(report), "--out", str(out)]) == 2
        assert not out.exists()
        assert not list(tmp_path.glob(".replay-*"))
        (line,) = capsys.readouterr().err.splitlines()
        return line

    wire.write_bytes(whole[: len(whole) * 2 // 3])
    assert "ends after" in refused()
    wire.write_bytes(MAGIC + b"\0" * 8 + whole[len(MAGIC) + 8 :])
    assert "is of another conversation: at" in refused()
    answers = [one.data for one in records if one.direction is Direction.FROM_DEVICE]
    at = whole.index(answers[-3]) + len(answers[-3]) // 2
    wire.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
    assert "is of another conversation: at" in refused()
    wire.write_bytes(b"something else")
    assert "is not a wire log" in refused()
    wire.unlink()
    assert "cannot read the wire log" in refused()
    wire.write_bytes(whole)
    evidence.write_bytes(evidence.read_bytes()[:-1])
    assert "is damaged: its digest is" in refused()
    evidence.unlink()
    assert "cannot read" in refused()
    assert main(["replay", str(tmp_path)]) == 2
    assert "no journal.jsonl in" in capsys.readouterr().err
