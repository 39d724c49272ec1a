"""`harness report`: the same report again from journal and pictures, and one line where that fails."""

from pathlib import Path

import pytest

from harness import cli
from harness.commands import report
from harness.records.journal import Journal
from harness.report import write_reports
from harness.report.pictures import FILE
from tests.fabricated_run import fabricated

RUN, SAMPLES, IMAGES = fabricated()


def left_behind(directory: Path, ended: bool = True) -> dict[str, Path]:
    """What a run leaves in its directory."""
    directory.mkdir(parents=True)
    with Journal(directory / "journal.jsonl") as journal:
        journal.write_run(RUN)
        for item in RUN.items:
            journal.write_samples(item.key, SAMPLES.get(item.key, ()))
            journal.write_item(item)
        if ended:
            journal.write_end(RUN.duration_s)
    return write_reports(RUN, SAMPLES, directory, IMAGES)


def test_a_report_made_again_is_the_same_to_the_byte(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = left_behind(tmp_path / "run")
    before = {name: path.read_bytes() for name, path in paths.items()}
    for path in paths.values():
        if path.name != FILE:
            path.unlink()
    assert cli.main(["report", str(tmp_path / "run")]) == 0
    assert {name: path.read_bytes() for name, path in paths.items()} == before
    assert before["report.html"].count(b"<img src=") > 5
    assert capsys.readouterr().out.splitlines()[-1].endswith("run/report.html")


def test_a_run_that_was_killed_says_so_everywhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = left_behind(tmp_path / "run", ended=False)
    assert cli.main(["report", str(tmp_path / "run")]) == 0
    assert "did not come to its end; finished items: 5" in capsys.readouterr().out
    assert "Broken off" in paths["report.html"].read_text()
    assert "Broken off" in paths["summary.md"].read_text()


def test_without_its_pictures_a_report_still_lists_the_samples(tmp_path: Path) -> None:
    paths = left_behind(tmp_path / "run")
    paths[FILE].unlink()
    assert cli.main(["report", str(tmp_path / "run")]) == 0
    page = paths["report.html"].read_text()
    assert "<img src=" not in page
    assert "labelled samples" in page


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 not a zip", b"text"])
def test_damaged_pictures_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: bytes
) -> None:
    left_behind(tmp_path / "run")[FILE].write_bytes(damage)
    assert cli.main(["report", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert FILE in error


def test_a_run_is_found_by_its_name_the_beginning_of_it_or_latest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("20260101-aa", "20260102-bb"):
        left_behind(Path("reports") / name)
    Path("reports/latest").symlink_to("20260102-bb")
    for given, found in ((["20260101-aa"], "aa"), (["20260102"], "bb"), ([], "bb")):
        assert cli.main(["report", *given]) == 0
        assert f"-{found}/report.html" in capsys.readouterr().out
    assert cli.main(["report", "2026"]) == 2
    assert "several runs begin with '2026': 20260101-aa, 20260102-bb" in capsys.readouterr().err
    assert cli.main(["report", "1999"]) == 2
    assert "came '1999'" in capsys.readouterr().err


def test_no_run_yet_names_the_command_to_start_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["report"]) == 2
    assert "harness run" in capsys.readouterr().err


def test_open_hands_the_page_to_the_browser_or_says_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    left_behind(tmp_path / "run")
    seen = tmp_path / "seen"
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > {seen}\n')
    browser.chmod(0o755)
    monkeypatch.setattr(report.webbrowser, "_tryorder", None)
    monkeypatch.setattr(report.webbrowser, "_browsers", {})
    monkeypatch.setenv("BROWSER", f"{browser} %s")
    assert cli.main(["report", str(tmp_path / "run"), "--open"]) == 0
    assert seen.read_text().strip() == (tmp_path / "run" / "report.html").as_uri()
    monkeypatch.setattr(report.webbrowser, "_tryorder", [])
    assert cli.main(["report", str(tmp_path / "run"), "--open"]) == 0
    assert "No browser was found" in capsys.readouterr().out
