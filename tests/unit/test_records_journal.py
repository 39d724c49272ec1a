"""The journal survives a killed writer; the run directory fails before work starts, not after."""

import dataclasses
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from harness.errors import DataError, OutputError
from harness.ledger import Ledger
from harness.records import ItemRecord, Journal, RunDirectory, RunRecord, Sample, read_journal
from harness.records.directory import write_whole
from harness.records.journal import ItemProgress
from harness.records.schema import Part

ITEM = ItemRecord("esp32c3", "mnist_mlp", "tflm", "portable", "passed", fidelity="isa")
RUN = RunRecord("20260102-030405-abcd", "2026-01-02T03:04:05+00:00", "pytest", {"os": "Debian 12"}, ())

WRITER = """
import sys
from pathlib import Path
from harness.records import Journal, RunRecord, Sample
journal = Journal(Path(sys.argv[1]))
journal.write_run(RunRecord("r", "now", "pytest", {}, ()))
journal.write_samples("a", [Sample(0, None, 1, 1, None, 0, 0, 7, None, 0, (1.0,), (1.0,), None)])
print("written", flush=True)
sys.stdin.read()
"""


def sample(index: int, count: int = 7) -> Sample:
    return Sample(index, 3, 3, 3, None, 0, 0, count, None, 0, (0.5, 0.25), (0.5, 0.25), None)


def written(path: Path) -> Path:
    with Journal(path) as journal:
        journal.write_run(dataclasses.replace(RUN, items=(ITEM,)))
        journal.write_samples(ITEM.key, [sample(0), sample(1)])
        journal.write_samples(ITEM.key, [sample(2)])
        journal.write_item(ITEM)
        journal.write_end(12.5)
    return path


def test_journal_gives_back_the_run(tmp_path: Path) -> None:
    contents = read_journal(written(tmp_path / "journal.jsonl"))
    assert contents.run == dataclasses.replace(RUN, items=(ITEM,), duration_s=12.5)
    assert contents.samples == {ITEM.key: (sample(0), sample(1), sample(2))}
    assert contents.ended


def test_any_torn_end_costs_only_the_last_line(tmp_path: Path) -> None:
    path = written(tmp_path / "journal.jsonl")
    whole = path.read_bytes()
    header = whole.index(b"\n") + 1
    for cut in range(header, len(whole), 7):
        path.write_bytes(whole[:cut])
        contents = read_journal(path)
        assert len(contents.run.items) == (whole[:cut].count(b"\n") >= 4)
        assert not contents.ended


def test_a_torn_journal_is_continued_on_a_new_line(tmp_path: Path) -> None:
    path = written(tmp_path / "journal.jsonl")
    path.write_bytes(path.read_bytes()[:-5])
    with Journal(path) as journal:
        journal.write_end(1.0)
    assert read_journal(path).ended


PART = Part("wire.bin", "uart.log", 0, 3, "a", "e", {"data": "d"}, 0, 1.0, 3, 10)


def test_an_item_goes_on_where_it_was_killed_or_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    with Journal(path) as journal:
        journal.write_run(RUN, {"target": "esp32c3"})
        journal.write_start(ITEM.key, PART)
        journal.write_samples(ITEM.key, [sample(0), sample(1)], b"aabb")
        journal.write_item(ITEM)
        second = dataclasses.replace(PART, first=1, wire="wire-2.bin")
        journal.write_start(ITEM.key, second)
        journal.write_samples(ITEM.key, [sample(1, count=9)], b"cc")
    contents = read_journal(path)
    assert contents.settings == {"target": "esp32c3"}
    assert contents.run.items == (), "begun anew, it is no longer finished"
    progress = contents.progress[ITEM.key]
    assert ([s.count for s in progress.samples], progress.outputs) == ([7, 9], b"aacc")
    assert progress.parts == (PART, second)
    with Journal(path) as journal:
        journal.write_start(ITEM.key, PART)
    assert read_journal(path).progress[ITEM.key] == ItemProgress(parts=(PART,))


def test_samples_out_of_order_are_damage(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    with Journal(path) as journal:
        journal.write_run(RUN)
        journal.write_samples(ITEM.key, [sample(0)])
        journal.write_samples(ITEM.key, [sample(2)])
    with pytest.raises(DataError, match=r"line 3 is damaged: .*sample 2 follows 1 samples"):
        read_journal(path)


def test_a_journal_has_one_writer(tmp_path: Path) -> None:
    with Journal(tmp_path / "journal.jsonl"), pytest.raises(OutputError, match="still going on"):
        Journal(tmp_path / "journal.jsonl")
    Journal(tmp_path / "journal.jsonl").close()


def test_a_run_into_the_directory_of_one_that_goes_on_is_refused_and_takes_nothing(tmp_path: Path) -> None:
    with Journal(tmp_path / "journal.jsonl") as journal:
        journal.write_run(RUN)
        with pytest.raises(OutputError, match="still going on"):
            Ledger(tmp_path, tmp_path, "test")
    assert read_journal(tmp_path / "journal.jsonl").run.run_id == RUN.run_id
    ended = Ledger(tmp_path, tmp_path, "test")
    ended.finish({})
    assert read_journal(tmp_path / "journal.jsonl").run.run_id == ended.directory.run_id != RUN.run_id


def test_a_killed_writer_loses_nothing_it_had_written(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"written\n"
        os.kill(writer.pid, signal.SIGKILL)
    contents = read_journal(path)
    assert contents.run.run_id == "r"
    assert [s.count for s in contents.samples["a"]] == [7]


def test_damage_before_the_last_line_is_reported_with_its_line(tmp_path: Path) -> None:
    path = written(tmp_path / "journal.jsonl")
    lines = path.read_bytes().split(b"\n")
    lines[2] = lines[2][:-3]
    path.write_bytes(b"\n".join(lines))
    with pytest.raises(DataError, match="line 3 is damaged"):
        read_journal(path)


@pytest.mark.parametrize("content", [b"", b'{"schema":1,"kind":"end","duration_s":1}\n', None])
def test_no_journal_is_a_data_error(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "journal.jsonl"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError):
        read_journal(path)


def test_journal_in_a_missing_directory_is_an_output_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="--report-dir"):
        Journal(tmp_path / "gone" / "journal.jsonl")


def test_run_directory_is_new_each_time_and_latest_follows(tmp_path: Path) -> None:
    first = RunDirectory.create(tmp_path / "reports")
    second = RunDirectory.create(tmp_path / "reports")
    assert first.path != second.path
    assert (tmp_path / "reports" / "latest").resolve() == second.path
    assert not list(second.path.iterdir())


def test_latest_never_replaces_what_is_no_link(tmp_path: Path) -> None:
    keep = tmp_path / "latest" / "keep"
    keep.mkdir(parents=True)
    RunDirectory.create(tmp_path)
    assert keep.is_dir()


def test_explicit_directory_is_used_as_it_is(tmp_path: Path) -> None:
    explicit = tmp_path / "a" / "b"
    run = RunDirectory.create(tmp_path / "reports", explicit=explicit)
    assert run.path == explicit
    assert not (tmp_path / "reports").exists()


def test_a_file_in_the_way_is_an_output_error_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(OutputError, match=r"is a file.*--report-dir"):
            RunDirectory.create(explicit=path)


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a file system nobody may write")
@pytest.mark.parametrize("path", ["/proc/self", "/proc/harness-report"])
def test_an_unwritable_directory_is_an_output_error_even_for_root(path: str) -> None:
    with pytest.raises(OutputError, match=r"write the report to /proc.*--report-dir"):
        RunDirectory.create(explicit=Path(path))


def test_a_failed_write_leaves_the_old_file_and_no_rest(tmp_path: Path) -> None:
    (tmp_path / "report.html").mkdir()
    (tmp_path / "report.html" / "old").touch()
    with pytest.raises(OutputError):
        write_whole(tmp_path / "report.html", "new")
    assert [path.name for path in tmp_path.rglob("*")] == ["report.html", "old"]


def test_text_that_utf8_cannot_hold_is_written_all_the_same(tmp_path: Path) -> None:
    assert write_whole(tmp_path / "log", "a\udcffb").read_text() == "a?b"
