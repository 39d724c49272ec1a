"""CSV, JSON lines, JUnit, Markdown: every figure arrives, unknown is empty, hostile text stays text."""

import io
import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import OutputError
from harness.records import ItemRecord, RunRecord, from_json
from harness.report import write_reports
from harness.report.junit import junit_xml, legal_xml
from harness.report.markdown import escape, summary_md
from harness.report.tables import MAX_SCORE_COLUMNS, items_csv, items_jsonl, samples_csv, samples_jsonl
from tests.fabricated_run import INJECTION, fabricated, item, samples

RUN, SAMPLES, IMAGES = fabricated()
EXACT, FAILED, HOSTILE, SILICON, BROKEN = RUN.items

# The JUnit format as Jenkins and GitLab read it: required attributes, further attributes, children.
JUNIT = {
    "testsuites": ({"name", "tests", "failures", "errors", "time"}, set(), {"testsuite"}),
    "testsuite": (
        {"name", "tests", "failures", "errors", "skipped", "time", "timestamp", "hostname"},
        set(),
        {"properties", "testcase"},
    ),
    "testcase": ({"classname", "name", "time"}, set(), {"properties", "failure", "error", "system-out"}),
    "properties": (set(), set(), {"property"}),
    "property": ({"name", "value"}, set(), set()),
    "failure": ({"message", "type"}, set(), set()),
    "error": ({"message", "type"}, set(), set()),
    "system-out": (set(), set(), set()),
}


def csv_lines(lines: Iterable[str]) -> io.StringIO:
    return io.StringIO("".join(lines))


def check_junit(element: ET.Element) -> None:
    required, further, children = JUNIT[element.tag]
    assert required <= element.attrib.keys() <= required | further
    for child in element:
        assert child.tag in children, f"{child.tag} in {element.tag}"
        check_junit(child)


def properties(case: ET.Element) -> dict[str, str]:
    return {found.attrib["name"]: found.attrib["value"] for found in case.findall("properties/property")}


def test_items_csv_has_every_figure_and_leaves_unknown_empty() -> None:
    frame = pd.read_csv(io.StringIO(items_csv(RUN)), index_col="item")
    exact, broken = frame.loc[EXACT.key], frame.loc[BROKEN.key]
    assert exact["runtime_gap_max_lsb"] == 0
    assert exact["top1_device"] == 0.951
    assert exact["count_median"] == 500_000
    assert exact["count_unit"] == "instructions (emulated)"
    assert exact["memory_stack_used_bytes"] == 1312
    assert exact["wire_frames_sent"] == 43
    assert exact["provenance_compiler"] == "made-up 1.0"
    unknown = [name for name in frame.columns if name.startswith(("runtime_gap", "top1", "count", "memory"))]
    assert broken[unknown].isna().all()
    assert broken["outcome"] == "error"


def test_whole_numbers_stay_whole_beside_gaps() -> None:
    row = next(line for line in items_csv(RUN).splitlines() if line.startswith(EXACT.key))
    assert ",112345," in row


def test_samples_csv_has_a_row_per_inference_with_its_fidelity() -> None:
    frame = pd.read_csv(csv_lines(samples_csv(RUN, SAMPLES)))
    assert len(frame) == 160
    first = frame.iloc[0]
    assert first["item"] == EXACT.key
    assert first["fidelity"] == "isa"
    assert first["device_score_9"] == SAMPLES[EXACT.key][0].device_scores[9]
    assert first["reference_score_0"] == pytest.approx(SAMPLES[EXACT.key][0].reference_scores[0])  # type: ignore[index]


def test_time_of_an_emulator_is_withheld_and_of_silicon_kept() -> None:
    frame = pd.read_csv(csv_lines(samples_csv(RUN, SAMPLES)))
    assert frame[frame["fidelity"] == "isa"]["time_us"].isna().all()
    assert (frame[frame["fidelity"] == "silicon"]["time_us"] == 77).all()


def test_emulated_cycles_are_withheld_everywhere() -> None:
    batch = samples(5)
    odd = item("esp32", "mlp", batch, counts=SILICON.counts, fidelity="isa")
    run = RunRecord("r", "", "", {}, (odd,))
    assert pd.read_csv(csv_lines(samples_csv(run, {odd.key: batch})))["count"].isna().all()
    for text in (items_csv(run), summary_md(run), junit_xml(run)):
        assert "cycles" not in text.replace("no cycles", "")


def test_wide_models_keep_their_scores_out_of_the_csv() -> None:
    batch = samples(1)
    wide = (0.0,) * (MAX_SCORE_COLUMNS + 1)
    batch = [type(batch[0])(**(vars(batch[0]) | {"device_scores": wide}))]
    assert "score" not in "".join(samples_csv(RUN, {EXACT.key: batch}))


def test_models_with_fewer_classes_keep_their_columns() -> None:
    few = replace(samples(1)[0], device_scores=(0.25,), oracle_scores=(0.5,), reference_scores=None)
    frame = pd.read_csv(csv_lines(samples_csv(RUN, {EXACT.key: [few], FAILED.key: samples(1)})))
    assert frame.loc[0, ["device_score_0", "oracle_score_0"]].tolist() == [0.25, 0.5]
    assert frame.loc[0].filter(like="_score_").count() == 2
    assert frame.loc[1].filter(like="_score_").count() == 30


def test_json_lines_are_one_object_each() -> None:
    assert tuple(from_json(line) for line in items_jsonl(RUN).splitlines()) == RUN.items
    lines = [json.loads(line) for line in samples_jsonl(SAMPLES)]
    assert len(lines) == 160
    assert lines[0]["item"] == EXACT.key


def test_junit_is_well_formed_and_keeps_failures_and_errors_apart() -> None:
    root = ET.fromstring(junit_xml(RUN))
    check_junit(root)
    assert (root.get("tests"), root.get("failures"), root.get("errors")) == ("5", "1", "1")
    cases = {case.get("name"): case for case in root.iter("testcase")}
    assert [found.tag for found in cases[FAILED.key] if found.tag in ("failure", "error")] == ["failure"]
    assert [found.tag for found in cases[BROKEN.key] if found.tag in ("failure", "error")] == ["error"]
    assert [found.tag for found in cases[EXACT.key] if found.tag in ("failure", "error")] == []
    assert properties(cases[EXACT.key])["runtime_gap_max_lsb"] == "0"
    assert properties(cases[EXACT.key])["count_unit"] == "instructions (emulated)"
    assert "runtime_gap_max_lsb" not in properties(cases[BROKEN.key])


def test_junit_suites_add_up_per_target() -> None:
    suites = ET.fromstring(junit_xml(RUN)).findall("testsuite")
    assert {suite.get("name"): suite.get("tests") for suite in suites} == {
        "esp32": "1",
        "esp32c3": "1",
        "esp32p4": "1",
        "esp32s3": "2",
    }
    assert all(len(suite.findall("testcase")) == int(suite.attrib["tests"]) for suite in suites)


@settings(deadline=None)
@given(st.text(st.characters()))
def test_any_text_survives_as_xml(text: str) -> None:
    broken = ItemRecord("esp32", text, "tflm", "portable", "error", error=text, log=text)
    root = ET.fromstring(junit_xml(RunRecord(text, text, text, {}, (broken,))))
    check_junit(root)
    log = root.findtext("testsuite/testcase/system-out") or ""
    assert log == legal_xml(text).replace("\r\n", "\n").replace("\r", "\n")


def test_characters_that_xml_forbids_are_named() -> None:
    assert legal_xml("\x1b[31mred\x00\ud800\uffff\t") == "#x1B[31mred#x00#xD800#xFFFF\t"


def test_markdown_takes_hostile_text_literally() -> None:
    text = summary_md(RUN)
    assert "<script" not in text.replace("\\<script", "")
    assert escape("a|b\n`c`") == "a\\|b \\`c\\`"
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert len(table) == 2 + len(RUN.items)
    assert len({line.replace("\\|", "").count("|") for line in table}) == 1


def test_write_reports_writes_everything_whole(tmp_path: Path) -> None:
    paths = write_reports(RUN, SAMPLES, tmp_path, IMAGES)
    assert set(paths) == {
        "report.html",
        "junit.xml",
        "items.csv",
        "samples.csv",
        "items.jsonl",
        "samples.jsonl",
        "summary.md",
        "pictures.npz",
    }
    assert sorted(tmp_path.iterdir()) == sorted(paths.values())
    assert INJECTION in json.loads(paths["items.jsonl"].read_text().splitlines()[2])["log"]


def test_a_directory_that_is_gone_is_an_output_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="--report-dir"):
        write_reports(RUN, SAMPLES, tmp_path / "gone")


def test_a_run_of_nothing_still_reports(tmp_path: Path) -> None:
    empty = RunRecord("r", "", "", {}, ())
    paths = write_reports(empty, {}, tmp_path)
    assert "nothing ran" in paths["report.html"].read_text()
    assert ET.parse(paths["junit.xml"]).getroot().get("tests") == "0"
