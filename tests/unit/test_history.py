"""The history database: what goes in comes out, by model, run and baseline; and what changed since."""

import sqlite3
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from harness.cli import main
from harness.errors import DataError, OutputError, UsageError
from harness.history.blame import board_or_commit
from harness.history.changes import difference
from harness.history.show import differences, nights, sparkline
from harness.history.store import History
from harness.records import ItemRecord, RunRecord
from harness.records.schema import CountStatistics
from tests.fabricated_run import INSTRUCTIONS, item, samples


def night(number: int, *items: ItemRecord, commit: str = "c0ffee") -> RunRecord:
    started = f"2026-10-{number:02}T02:00:00+00:00"
    return RunRecord(f"run-{number:02}", started, "harness run", {"commit": commit, "name": "farm"}, items)


def counted(median: int, **changes: object) -> ItemRecord:
    made = item("esp32c3", "mlp", samples(5))
    counts = CountStatistics(INSTRUCTIONS, median, float(median), median, 5)
    return replace(made, counts=counts, **changes)  # type: ignore[arg-type]


def as_version_1(path: Path) -> None:
    """As the version before wrote it: without units and times, and with the older indices."""
    later = ("unit", "count_p90", "count_p99", "time_us_median", "time_us_p90", "time_us_p99")
    with sqlite3.connect(path) as raw:
        for index in ("items_by_key", "items_by_model", "runs_by_start"):
            raw.execute(f"DROP INDEX {index}")
        for column in later:
            raw.execute(f"ALTER TABLE items DROP COLUMN {column}")
        raw.execute("CREATE INDEX items_by_model ON items (model, started)")
        raw.execute("UPDATE schema SET version = 1")


@pytest.fixture
def history(tmp_path: Path) -> History:
    return History(f"sqlite:///{tmp_path}/new/history.sqlite")


def test_a_run_comes_out_as_it_went_in(history: History) -> None:
    run, batch = night(1, counted(1000), counted(2000, target="esp32s3")), samples(5, varying=True)
    history.add(run, {run.items[0].key: batch})
    first, second = history.run_entries("run-01")
    assert (history.record(first), history.record(second)) == run.items
    assert history.run("run-01") == replace(run, items=())
    assert history.counts(first).tolist() == [sample.count for sample in batch]
    assert history.counts(second).tolist() == []
    assert (first.commit_id, first.count_median, first.top1) == ("c0ffee", 1000.0, 0.951)


def test_a_run_added_twice_is_there_once(history: History) -> None:
    for median in (1000, 1200):
        history.add(night(1, counted(median)))
    assert [entry.count_median for entry in history.entries("mlp")] == [1200.0]


def test_entries_are_found_by_model_target_runtime_board_oldest_first(history: History) -> None:
    for number in (3, 1, 2):
        history.add(night(number, counted(number), counted(number * 10, runtime="espdl", board="unit-7")))
    assert [entry.count_median for entry in history.entries("mlp", runtime="tflm")] == [1, 2, 3]
    assert [entry.count_median for entry in history.entries("mlp", board="unit-7", last=2)] == [20, 30]
    assert history.entries("mlp", target="esp32") == []
    assert history.models() == ["mlp"]
    assert [(run.run_id, run.items) for run in history.runs(2)] == [("run-02", 2), ("run-03", 2)]


def test_runs_are_named_by_id_beginning_or_age(history: History) -> None:
    for number in (1, 2, 12):
        history.add(night(number, counted(number)))
    assert history.run_entries("latest")[0].run_id == "run-12"
    assert history.run_entries("latest~2")[0].run_id == "run-01"
    assert history.run_entries("run-1")[0].run_id == "run-12"
    with pytest.raises(DataError, match="several runs begin with 'run-'"):
        history.run_entries("run-")
    for none in ("run-3", "latest~3", "%"):
        with pytest.raises(DataError, match="no run"):
            history.run_entries(none)


def test_a_baseline_is_replaced_and_goes_with_its_run(history: History) -> None:
    for number in (1, 2):
        history.add(night(number, counted(number)))
        history.set_baseline(history.run_entries(f"run-0{number}"), "released")
    key = counted(1).key
    found = history.baseline(key)
    assert found is not None
    assert found.run_id == "run-02"
    history.add(night(2, counted(5)))
    assert history.baseline(key) is None
    before = history.previous(key, "run-02")
    assert before is not None
    assert before.run_id == "run-01"
    assert history.previous(key, "run-01") is None


def test_several_writers_lose_nothing(history: History, tmp_path: Path) -> None:
    def write(first: int) -> None:
        with History(f"sqlite:///{tmp_path}/new/history.sqlite") as own:
            for number in range(first, first + 7):
                own.add(night(number, counted(number)))

    writers = [threading.Thread(target=write, args=(1 + 7 * i,)) for i in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [entry.count_median for entry in history.entries("mlp")] == list(range(1, 29))


@pytest.mark.parametrize("version", [None, 1])
def test_all_who_come_first_get_in(version: int | None, tmp_path: Path) -> None:
    """A night's workers on a new machine, or after an update: each finds no table, or old ones."""
    url = f"sqlite:///{tmp_path}/history.sqlite"
    if version is not None:
        with History(url):
            pass
        as_version_1(tmp_path / "history.sqlite")
    together = threading.Barrier(6)
    said: list[str] = []

    def write(number: int) -> None:
        together.wait()
        try:
            with History(url) as own:
                own.add(night(number, counted(number)))
        except OutputError as error:
            said.append(str(error))

    writers = [threading.Thread(target=write, args=(1 + i,)) for i in range(6)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert said == []
    with History(url) as history:
        assert [entry.count_median for entry in history.entries("mlp")] == list(range(1, 7))


def test_tables_that_a_killed_process_had_begun_are_made_whole(tmp_path: Path) -> None:
    """As the versions before left them: each table came by itself."""
    with sqlite3.connect(tmp_path / "h.sqlite") as raw:
        raw.execute("CREATE TABLE schema (version INTEGER NOT NULL)")
    with History(f"sqlite:///{tmp_path}/h.sqlite") as history:
        history.add(night(1, counted(1000)))
        assert [run.run_id for run in history.runs(5)] == ["run-01"]


def test_a_later_version_and_no_database_are_refused(history: History, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "new" / "history.sqlite") as raw:
        raw.execute("UPDATE schema SET version = 99")
    with pytest.raises(DataError, match="version 99; this harness reads up to 2"):
        History(history.url)
    (tmp_path / "text").write_text("not a database, but long enough to be taken for the header of one" * 9)
    with pytest.raises(OutputError, match="not a database"):
        History(f"sqlite:///{tmp_path}/text")
    with pytest.raises(UsageError, match="expected the URL of a database, came 'nonsense'"):
        History("nonsense")


def test_what_changed_and_what_it_could_come_from() -> None:
    old = counted(1000, provenance={"compiler": "gcc 12", "artifact": "aa"})
    new = counted(1030, provenance={"compiler": "gcc 13", "artifact": "aa"})
    new = replace(new, layers=(replace(new.layers[0], count=480_030), *new.layers[1:]))
    found = difference(old, new, {"commit": "1"}, {"commit": "2"})
    (figure,) = found.figures
    assert (figure.name, figure.ratio) == ("median per inference", pytest.approx(0.03))
    assert [layer.name for layer in found.layers] == ["layer 0 FULLY_CONNECTED"]
    assert [(cause.name, cause.before, cause.after) for cause in found.causes] == [
        ("commit", "1", "2"),
        ("compiler", "gcc 12", "gcc 13"),
    ]
    text = "\n".join(differences([found, difference(old, old)]))
    assert "+3.00%" in text
    assert "since: compiler gcc 12 -> gcc 13" in text
    assert "unchanged: esp32c3-mlp-tflm" in text


def test_a_change_without_a_cause_is_said_to_be_one() -> None:
    (found,) = [difference(counted(1000), counted(1001))]
    assert "nothing that the records hold" in "\n".join(differences([found]))


def test_nights_show_the_trend(history: History) -> None:
    for number, median in enumerate((100, 100, 130), start=1):
        history.add(night(number, counted(median)))
    head, *lines = nights(history.entries("mlp"))
    assert head.endswith("▁▁█")
    assert ["%)" in line for line in lines] == [False, False, True]
    assert "(+30.00%)" in lines[2]
    assert sparkline([5]) == ""


def test_the_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HARNESS_HISTORY_URL", raising=False)
    assert main(["history", "mlp"]) == 2
    assert "no such item of 'mlp'. It has: nothing yet" in capsys.readouterr().err
    with History(f"sqlite:///{tmp_path}/reports/history.sqlite") as history:
        history.add(night(1, counted(1000)))
        history.add(night(2, counted(1030, outcome="failed")))
    assert main(["history"]) == 0
    assert main(["history", "mlp", "--target", "esp32c3"]) == 0
    assert main(["compare", "latest~1"]) == 1
    output = capsys.readouterr().out
    assert "esp32c3-mlp-tflm: passed -> failed" in output
    assert main(["baseline", "set", "run-01"]) == 0
    assert main(["compare", "baseline", "run-01"]) == 0
    assert main(["baseline", "set"]) == 2
    assert "run latest has no passed item" in capsys.readouterr().err
    assert main(["export", "--out", "items.csv"]) == 0
    assert len(Path("items.csv").read_text().splitlines()) == 3
    assert main(["export", "--out", "items.xls"]) == 2
    assert "expected a name that ends in .csv or .parquet" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["items.csv", "reports"]


def test_a_history_of_version_1_becomes_one_of_version_2(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/old.sqlite"
    with History(url) as new:
        new.add(night(1, counted(1000)))
    as_version_1(tmp_path / "old.sqlite")
    with History(url) as history:
        history.add(night(2, counted(1100)))
        first, second = history.key_entries(counted(1).key, last=5)
    assert (first.unit, first.count_median, second.count_median) == ("made-up-esp32c3", 1000.0, 1100.0)
    with sqlite3.connect(tmp_path / "old.sqlite") as raw:
        assert raw.execute("SELECT version FROM schema").fetchone() == (2,)
        found = {name for (name,) in raw.execute("SELECT name FROM sqlite_master WHERE type = 'index'")}
    assert {"items_by_key", "items_by_model", "items_by_run", "runs_by_start"} <= found


def test_times_and_units_are_kept(history: History) -> None:
    time = CountStatistics("us", 10, 20.0, 99, 5, p90=30.0, p99=90.0)
    timed = counted(1000, fidelity="silicon", latency=time, provenance={"board_mac": "7c:df:a1:00:11:22"})
    history.add(night(1, timed))
    (entry,) = history.entries("mlp", board="7c:df:a1:00:11:22")
    assert (entry.time_us_median, entry.time_us_p90, entry.time_us_p99) == (20.0, 30.0, 90.0)
    assert "p50 p90 p99 20 30 90 us" in "\n".join(nights([entry]))


def test_time_is_compared_on_silicon_and_its_noise_is_no_change() -> None:
    def timed(median: float, fidelity: str) -> ItemRecord:
        return counted(1000, fidelity=fidelity, latency=CountStatistics("us", 1, median, 99, 5))

    for before, after, fidelity, changes in (
        (1000, 1005, "silicon", 0),
        (1000, 1030, "silicon", 1),
        (1000, 2000, "host", 0),
    ):
        found = difference(timed(before, fidelity), timed(after, fidelity))
        assert len(found.figures) == changes, (before, after, fidelity)


# Nights by unit, commit and median cycles, the newest last; what is then said.
BLAMED = {
    "the commit": ("A1 100, B1 100, B2 110, A2 110", "this commit: +10.0%"),
    "the board": ("A1 100, B1 100, B2 100, A2 110", "this board: +10.0%"),
    "alone": ("A1 100, B1 100, A2 110", "no other board has run 2"),
    "some": ("A1 100, B1 100, C1 100, B2 110, C2 100, A2 110", "on 1 of 2 others"),
    "always was": ("A1 110, B2 100, A2 110", "as it was before"),
    "noise": ("A1 1000, B2 1003, A2 1005", None),
    "first": ("A1 100", None),
}


@pytest.mark.parametrize("case", BLAMED)
def test_is_it_this_board_or_this_commit(history: History, case: str) -> None:
    rows, said = BLAMED[case]
    for number, row in enumerate(rows.split(", "), start=1):
        (unit, commit), median = row.split()[0], int(row.split()[1])
        history.add(night(number, counted(median, fidelity="silicon", board=unit), commit=commit))
    verdict = board_or_commit(history.key_entries(counted(1).key, last=20))
    assert verdict is None if said is None else said in (verdict or ""), verdict


def test_a_failure_of_one_board_is_not_the_commits(history: History) -> None:
    history.add(night(1, counted(100, fidelity="silicon", board="A")))
    history.add(night(2, counted(100, fidelity="silicon", board="B"), commit="2"))
    history.add(night(3, counted(100, fidelity="silicon", board="A", outcome="failed"), commit="2"))
    verdict = board_or_commit(history.key_entries(counted(1).key, last=20))
    assert verdict is not None
    assert verdict.startswith("this board: failed, passed with c0ffee on this board")
