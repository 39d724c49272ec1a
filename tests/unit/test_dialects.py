"""Every published form is read, a value is never guessed, and noise changes nothing."""

from __future__ import annotations

import math

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from harness.dialects import DIALECTS, parse_log, whole_inferences
from harness.dialects.log import read_log
from harness.dialects.records import Inference, Latency, MemoryRow, ParsedLog, ProfileRow, Verdict
from harness.errors import DataError, HarnessError, UsageError
from tests import printed_logs as printed

SCORES = (0.0278382, 0.9721618)
MODULES = [("/conv1/Conv", "Conv", 5230), ("/pool/MaxPool | fused", "MaxPool", 311), ("Gemm", "Gemm", 77)]
DIGITS = [-128, -128, 12, 127, -128, -100, -128, -1, 0, -128]
# The output of ESP-DL's quantization_tool_example on ESP32-S3, as its app_main.cpp states it.
PUBLISHED = [-5523, 5300, 756, -4854, -4545, -3133, -1132, -1813, -2432, -7306]
SAMPLES: dict[str, list[str]] = {
    "tutorial0": [*printed.tutorial0(SCORES), *printed.tutorial0(SCORES[::-1], 200182)],
    "espdl-v1": [
        printed.latency_print("latency", 7243),
        printed.latency_print("MNIST forward", 4294967295, "cycle"),
        "l1::conv2d: 512 us",
        *printed.espdl_v1_tutorial(PUBLISHED, 7243),
        "l2::conv2d: 513 us",
    ],
    "espdl": [
        *printed.espdl_test(["/pool/out", "logits"]),
        *printed.espdl_profile(MODULES),
        printed.esp_log("detect: 33100 us", tag="face"),
        "run:54 ms",
    ],
    "tflm": [
        *printed.person_detection(95, 56, parts=True),
        *printed.tflm_log(),
        *printed.tflm_csv(),
        *printed.tflm_tags(),
        *printed.person_detection(35, 57),
    ],
    "tvm": ["", "time: 7243 us", "0.027838, -0.972162, ", "", "time: 7251 us"],
    "himax": [*printed.himax(DIGITS), *printed.himax(DIGITS[::-1], one_line=True)],
}


def parsed(lines: list[str], dialect: str | None = None) -> ParsedLog:
    return parse_log(printed.captured(lines), dialect)


def us(label: str, value: float, unit: str | None = "us") -> Latency:
    return Latency(label, value, unit, line=0)


def texts(found: ParsedLog) -> list[str]:
    return [note.text for note in found.notes]


def test_there_is_a_sample_of_every_dialect() -> None:
    assert SAMPLES.keys() == DIALECTS.keys()


@pytest.mark.parametrize("dialect", SAMPLES)
def test_a_dialect_is_recognised_and_read_without_a_note(dialect: str) -> None:
    found = parsed(SAMPLES[dialect])
    assert (found.dialect, found.notes) == (dialect, ())
    assert found == parsed(SAMPLES[dialect], dialect)


# tutorial0


def test_tutorial0_scores_with_both_latencies() -> None:
    first, second = parsed(SAMPLES["tutorial0"]).inferences
    assert first.scores == SCORES
    assert second.scores == SCORES[::-1]
    assert first.input == 63
    assert first.latencies == (us("SIGN::forward", 487156), us("Elapsed time", 487.156, "ms"))
    assert second.latencies == (us("SIGN::forward", 200182), us("Elapsed time", 200.182, "ms"))
    assert first.line == 3


@pytest.mark.parametrize(
    ("lines", "scores", "latencies"),
    [
        (["SIGN::forward: 9 us", "score : 0.731059"], (0.731059,), (us("SIGN::forward", 9),)),
        (["input : 0", "score : -0.500000", printed.END_MARK], (-0.5,), ()),
        (
            ["score[0] : nan", "score[1] : inf", printed.END_MARK, "time : 0000000000000488"],
            (math.nan, math.inf),
            (us("time", 488, None),),
        ),
    ],
)
def test_tutorial0_other_published_forms(
    lines: list[str], scores: tuple[float, ...], latencies: tuple[Latency, ...]
) -> None:
    (inference,) = parsed(lines).inferences
    assert inference.scores == pytest.approx(scores, abs=0, nan_ok=True)
    assert (inference.latencies, inference.complete) == (latencies, True)


def test_tutorial0_a_missing_score_is_none_and_said() -> None:
    lines = printed.tutorial0([0.1, 0.2, 0.7])
    lines.remove("score[1] : 0.2000000")
    found = parsed(lines)
    assert found.inferences[0].scores == (0.1, None, 0.7)
    assert not found.inferences[0].complete
    assert texts(found) == ["inference 0 is not whole: lines are missing"]


def test_tutorial0_a_reset_in_the_middle_begins_another_inference() -> None:
    found = parsed([*printed.tutorial0(SCORES)[:4], "rst:0x1 (POWERON_RESET)", *printed.tutorial0(SCORES)])
    assert [inference.complete for inference in found.inferences] == [False, True]
    assert found.inferences[0].scores == SCORES[:1]
    assert found.inferences[1].scores == SCORES


def test_a_last_line_without_its_end_is_no_value() -> None:
    data = printed.captured(printed.tutorial0(SCORES)[:4]) + b"score[1] : 0.972161"
    found = parse_log(data)
    assert found.inferences[0].scores == SCORES[:1]
    assert "the last line has no line end and may be cut short: it is not read" in texts(found)


def test_a_prompt_without_a_line_end_is_no_matter() -> None:
    assert not parse_log(printed.captured(printed.tutorial0(SCORES)) + b"esp> ").notes


def test_tutorial0_odd_orders() -> None:
    found = parsed(["input : 3", "input : 5", "score[0] : 0.5000000", "Elapsed time : 1.000 miliseconds"])
    assert texts(found) == ["an input line without scores", "inference 0 is not whole: lines are missing"]
    assert (found.inferences[0].input, len(found.inferences[0].latencies)) == (5, 1)
    twice = parsed([*printed.tutorial0(SCORES), "Elapsed time : 9.000 miliseconds"])
    assert twice.latencies == (us("Elapsed time", 9.0, "ms"),)
    again = parsed([*printed.tutorial0(SCORES)[:4], *printed.tutorial0(SCORES)[3:]])
    assert [inference.scores for inference in again.inferences] == [SCORES[:1], SCORES]
    reset = parsed([*printed.tutorial0(SCORES)[:4], "input : 7", "score[0] : 0.1000000", printed.END_MARK])
    assert [(inference.input, inference.complete) for inference in reset.inferences] == [
        (63, False),
        (7, True),
    ]


# ESP-DL


def test_espdl_v1_latencies_and_the_tutorials_scores() -> None:
    found = parsed(SAMPLES["espdl-v1"])
    (inference,) = found.inferences
    assert (inference.scores, inference.score_unit, inference.result) == (tuple(PUBLISHED), "integer", "1")
    assert inference.latencies == (
        us("latency", 7243),
        us("MNIST forward", 4294967295, "cycle"),
        us("l1::conv2d", 512),
        us("MNIST::forward", 7243),
    )
    assert found.latencies == (us("l2::conv2d", 513),)


def test_espdl_v1_damage_is_said() -> None:
    time, scores, result = printed.espdl_v1_tutorial(PUBLISHED, 7243)
    wrong = parsed([time, scores.replace("5300", "-530"), result])
    assert texts(wrong) == ["the scores predict 2, not 1: a line is damaged"]
    for lines, note in (
        ([time, scores, time], "a list of numbers without its Prediction Result: not read"),
        ([time, scores], "a list of numbers without its Prediction Result: not read"),
        ([time, result], "Prediction Result 1 without scores"),
    ):
        found = parsed(lines)
        assert (found.inferences, texts(found)) == ((), [note])


def test_espdl_v1_takes_no_other_line_that_ends_in_a_time() -> None:
    with pytest.raises(DataError, match="came none"):
        parsed(["wifi: woke after: 512 us", "I (30) boot: done: 7 us"])


def test_espdl_profile() -> None:
    found = parsed(SAMPLES["espdl"])
    (profile,) = found.profiles
    assert (profile.kind, profile.unit, profile.total, profile.model) == ("modules", "us", 5618, "mnist")
    assert profile.rows == tuple(ProfileRow(*module) for module in MODULES)
    (memory,) = found.memory
    assert (memory.model, memory.location) == ("mnist", "IN FLASH RODATA")
    assert memory.rows[:2] == (
        MemoryRow("fbs_model", 1.52, None, 61.95),
        MemoryRow("parameter", None, None, 54.13),
    )
    assert memory.rows[-1] == MemoryRow("total", 70.93, 0.51, 61.95)
    assert found.latencies == (us("face::detect", 33100), us("run", 54, "ms"))


def test_espdl_cycles_stay_cycles_even_where_the_total_is_printed_negative() -> None:
    lines = printed.espdl_profile([("a", "Conv", 2**31 - 1), ("b", "Conv", 5)], "cycle")
    found = parsed([line.replace("2147483652cycle", "-2147483644cycle") for line in lines])
    assert (found.profiles[0].unit, found.profiles[0].total, found.notes) == ("cycle", -2147483644, ())


def test_espdl_a_lost_row_shows_in_the_total() -> None:
    lines = [
        line for line in printed.espdl_profile(MODULES) if "311us" not in line and "variable" not in line
    ]
    assert texts(parsed(lines)) == [
        "memory summary without its rows variable",
        "module rows add up to 5307, the total says 5618: rows are missing",
    ]


def test_espdl_a_table_cut_off_has_no_total() -> None:
    lines = printed.espdl_profile(MODULES)
    found = parsed(lines[: next(i for i, line in enumerate(lines) if "311us" in line)])
    assert found.profiles[0].rows == (ProfileRow(*MODULES[0]),)
    assert found.profiles[0].total is None
    assert texts(found) == ["module summary without its total: cut off"]


@pytest.mark.parametrize(
    ("lines", "verdict"),
    [
        (printed.espdl_test(["a", "b"]), Verdict(True, ("a", "b"), 1)),
        (printed.espdl_test(["a", "b"], "b"), Verdict(False, ("a", "b"), 1, "output b does not match")),
        (printed.espdl_test(["a", "b"])[:1], Verdict(None, ("a",), 1, "the log ends before the verdict")),
    ],
)
def test_espdl_test_verdicts(lines: list[str], verdict: Verdict) -> None:
    assert parsed(lines).verdicts == (verdict,)


def test_espdl_a_test_that_never_ended_is_not_given_the_verdict_of_the_next() -> None:
    found = parsed([*printed.espdl_test(["a", "b"])[:2], "Rebooting...", *printed.espdl_test(["a", "b"])])
    assert [verdict.passed for verdict in found.verdicts] == [None, True]


# TFLite Micro


def test_tflm_profiler_in_its_three_forms() -> None:
    took, events, tags = parsed(SAMPLES["tflm"]).profiles
    rows = tuple(ProfileRow(tag, None, ticks) for tag, ticks in printed.EVENTS)
    assert (took.rows, took.kind, took.total, took.unit) == (rows, "events", None, "ticks")
    assert events == took
    assert (tags.kind, tags.total) == ("tags", 6000)
    assert tags.rows[0] == ProfileRow("CONV_2D", None, 5840)


def test_tflm_lost_lines_are_said() -> None:
    lines = [*printed.tflm_csv(), *printed.tflm_tags()]
    found = parsed([line for line in lines if "MAX_POOL" not in line])
    assert texts(found) == [
        "profile without its events 1 to 1",
        "ticks by tag add up to 5903, the total says 6000: lines are missing",
    ]


def test_tflm_cut_tags_and_an_index_that_runs_backwards() -> None:
    found = parsed([*printed.tflm_csv(), "0,stray,9", *printed.tflm_tags()[:2]])
    assert len(found.profiles[0].rows) == len(printed.EVENTS)
    assert (found.profiles[1].total, texts(found)) == (None, ["ticks by tag without their total: cut off"])


def test_person_detection() -> None:
    first, second = parsed(SAMPLES["tflm"]).inferences
    assert (first.scores, first.score_unit, first.score_names) == (
        (95, 5),
        "percent",
        ("person", "no person"),
    )
    required = "Time required for the inference"
    assert first.latencies == (
        us("Total time", 54, None),
        us("FC time", 0, None),
        us("conv time", 29, None),
        us(required, 56, "ms"),
    )
    assert second.latencies == (us(required, 57, "ms"),)


def test_person_detection_a_time_without_its_score_goes_to_no_other_inference() -> None:
    found = parsed([*printed.person_detection(95, 56), printed.person_detection(35, 57)[1]])
    assert [latency.value for latency in found.inferences[0].latencies] == [56]
    assert [latency.value for latency in found.latencies] == [57]


def test_person_detection_a_damaged_score_is_said() -> None:
    assert texts(parsed(["person score:9%, no person score 5%"])) == [
        "scores of 9 % and 5 %: the line is damaged"
    ]


# TVM, Himax


def test_himax_a_result_without_scores_and_scores_that_begin_again() -> None:
    found = parsed(["result:3", "[0]:5,", "[0]:7,", "[1]:-7,", "result:0"])
    assert [inference.complete for inference in found.inferences] == [False, True]
    assert texts(found) == ["result:3 without scores", "inference 0 is not whole: lines are missing"]


def test_tvm_time_and_scores() -> None:
    found = parsed(SAMPLES["tvm"])
    scores = (0.027838, -0.972162)
    assert found.inferences == (Inference(scores, "real", True, 3, latencies=(us("time", 7243),)),)
    assert found.latencies == (us("time", 7251),)


@pytest.mark.parametrize("one_line", [False, True])
def test_himax_what_invoke_took_is_printed_by_generated_firmware(one_line: bool) -> None:
    lines = printed.himax(DIGITS)
    lines.insert(-1, "invoke:1234567 ticks,")
    log = parsed(["".join(lines)] if one_line else lines)
    (inference,) = log.inferences
    assert (inference.scores, inference.complete) == (tuple(DIGITS), True)
    (latency,) = inference.latencies
    assert (latency.label, latency.value, latency.unit) == ("invoke", 1234567, "ticks")
    assert parsed(lines + printed.himax(DIGITS)).inferences[1].latencies == ()


def test_whole_inferences_leave_out_what_is_cut_at_the_edges() -> None:
    lines = [*printed.himax(DIGITS)[4:], *printed.himax(DIGITS) * 2, *printed.himax(DIGITS)[:5]]
    whole = whole_inferences(parsed(lines))
    assert [inference.complete for inference in whole.inferences] == [True, True]
    assert texts(whole).count("an inference that is cut off is left out") == 2
    assert len(whole_inferences(parsed(lines), 1).inferences) == 1
    broken = [line for at, line in enumerate(printed.himax(DIGITS) * 3) if at != 16]
    assert [i.complete for i in whole_inferences(parsed(broken)).inferences] == [True, False, True]


def test_himax_on_many_lines_and_on_one() -> None:
    first, second = parsed(SAMPLES["himax"]).inferences
    assert (first.scores, first.result, first.score_unit) == (tuple(DIGITS), "3", "int8")
    assert (second.scores, second.result) == (tuple(DIGITS[::-1]), "6")
    assert parsed(printed.himax([-128, 0])).inferences[0].result == "unknown"
    assert parsed(["person score:-3 no person score 3"]).inferences[0].scores == (-3, 3)


@pytest.mark.parametrize(
    ("damage", "note"),
    [
        (("[3]:127,", "[3]:1,"), "inference 0 announces 3, its scores 2: a line is damaged"),
        (("[3]:127,", "[3]:927,"), "a score is outside int8: a line is damaged"),
        (("[3]:127,", ""), "inference 0 is not whole: lines are missing"),
        (("result:3", ""), "inference 0 is not whole: lines are missing"),
    ],
)
def test_himax_damage_is_said(damage: tuple[str, str], note: str) -> None:
    assert texts(parsed([line.replace(*damage) for line in printed.himax(DIGITS)])) == [note]


# Choosing


def test_nothing_known_names_the_dialects() -> None:
    with pytest.raises(DataError) as raised:
        parsed(["hello", "world"])
    assert all(name in str(raised.value) for name in DIALECTS)


def test_two_firmwares_in_one_log_are_not_guessed_at() -> None:
    both = [*SAMPLES["himax"], *SAMPLES["tvm"]]
    with pytest.raises(DataError, match=r"tvm \(3 lines\), himax"):
        parsed(both)
    assert parsed(both, "tvm") == parsed(SAMPLES["tvm"])


def test_latency_lines_beside_a_profile_are_the_same_firmware() -> None:
    found = parsed([*SAMPLES["espdl"], *SAMPLES["espdl-v1"][:3]])
    assert (found.dialect, len(found.latencies)) == ("espdl", 5)


def test_an_unknown_dialect_and_one_that_does_not_fit() -> None:
    with pytest.raises(UsageError, match="unknown dialect 'x'"):
        parsed(SAMPLES["tvm"], "x")
    with pytest.raises(DataError, match="expected lines of dialect himax"):
        parsed(SAMPLES["tvm"], "himax")


# Noise

BOOT = [
    "ets Jul 29 2019 12:21:46",
    "rst:0x1 (POWERON_RESET),boot:0x13 (SPI_FAST_FLASH_BOOT)",
    "I (31) boot: ESP-IDF v5.0 2nd stage bootloader",
    "\x1b[0;32mI (00:00:12.345) cpu_start: Pro cpu up.\x1b[0m",
    "\x1b[0;33mW (412) spi_flash: Detected size(4096k) larger than in the header(2048k).\x1b[0m",
    "Guru Meditation Error: Core  0 panic'ed (LoadProhibited). Exception was unhandled.",
    "score[0] :",
    "+---------+-----+",
    "| 1 |",
]
# Every form that carries a value has a digit in it. The forms without one have these words, which
# Hypothesis, reading them in the sources, does try.
WORDS = ("number", "result:", "Test", "output", "Model", "MODEL", "summary", "Event", "Tag", "|")
NOISE = st.one_of(
    st.sampled_from(BOOT),
    st.text(st.characters(exclude_categories=["N", "Cs"], exclude_characters="\n=")).filter(
        lambda text: not any(word in text for word in WORDS)
    ),
)


@pytest.mark.parametrize("dialect", SAMPLES)
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r\r\n", "\r"])
@settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_noise_lines_change_nothing(dialect: str, line_end: str, data: st.DataObject) -> None:
    noisy: list[str] = []
    for line in SAMPLES[dialect]:
        noisy += data.draw(st.lists(NOISE, max_size=2))
        noisy.append(line)
    noisy += data.draw(st.lists(NOISE, max_size=2))
    assert parse_log(printed.captured(noisy, line_end)) == parsed(SAMPLES[dialect])


PIECES = [piece for sample in SAMPLES.values() for line in sample for piece in (line, line[: len(line) // 2])]
FRAGMENTS = st.one_of(
    st.sampled_from(PIECES), st.sampled_from(["\n", "\r\n", "\x1b[", "9" * 5000]), st.text()
)


@settings(deadline=None, max_examples=300)
@given(st.lists(FRAGMENTS, max_size=30), st.sampled_from([None, *DIALECTS]))
@example(["score[0] : " + "9" * 5000 + ".0", "\n"], "tutorial0")
@example(["time: " + "9" * 5000 + " us", "\n"], "tvm")
@example(
    ["| 1 | total | 1us |", "\n", "|  module summary  |", "\n", "|  |  |", "\n", "| |\n", "| ||||| |\n"],
    "espdl",
)
def test_any_splice_of_real_lines_is_read_or_refused(fragments: list[str], dialect: str | None) -> None:
    try:
        found = parse_log("".join(fragments).encode("utf-8", errors="surrogatepass"), dialect)
    except HarnessError:
        return
    assert not found.empty


@settings(deadline=None)
@given(st.binary(), st.sampled_from([None, *DIALECTS]))
def test_any_bytes_are_read_or_refused(data: bytes, dialect: str | None) -> None:
    try:
        parse_log(data, dialect)
    except HarnessError:
        return


def test_lines_are_numbered_as_an_editor_does_and_freed_of_their_head() -> None:
    log = read_log(b"\x1b[0;31mE (1) dl::Model: a: b\x1b[0m\r\nplain\n\xff\r\ncut")
    assert [(line.number, line.tag, line.text) for line in log.lines] == [
        (1, "dl::Model", "a: b"),
        (2, None, "plain"),
        (3, None, "\N{REPLACEMENT CHARACTER}"),
    ]
    assert log.cut is not None
    assert (log.cut.number, log.cut.text) == (4, "cut")
