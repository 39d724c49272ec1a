"""The HTML page as text: what it must say, and what it must never let through."""

import hashlib
import json
import re
import struct
import zlib
from base64 import b64decode, b64encode
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from harness.errors import DataError
from harness.records import ItemRecord, RunRecord
from harness.records.schema import CountStatistics, Memory
from harness.report import plots
from harness.report.figures import (
    DASH,
    ISA_NOTICE,
    count_range,
    grouped_in,
    memory_parts,
    runtime_gap_explained,
)
from harness.report.html import render_html
from harness.report.png import data_uri, png
from tests.fabricated_run import INJECTION, fabricated, item, samples

RUN, SAMPLES, IMAGES = fabricated()
PAGE = render_html(RUN, SAMPLES, IMAGES)


class Outline(HTMLParser):
    """Every tag with its attributes, and the text of style and script blocks."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.blocks: list[tuple[str, str]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1][0] in ("style", "script") and data.strip():
            self.blocks.append((self.tags[-1][0], data))


def page_of(*items: ItemRecord) -> str:
    return render_html(RunRecord("r", "", "", {}, items), {}, {})


@pytest.mark.parametrize(
    "field", ["model", "target", "runtime", "kernels", "outcome", "fidelity", "board", "error", "log"]
)
def test_markup_in_any_text_is_escaped(field: str) -> None:
    page = page_of(replace(item("esp32", "mlp", samples(3)), **{field: INJECTION}))
    tags = [tag for tag, _ in Outline(page).tags]
    assert tags.count("script") == 2
    assert "img" not in tags


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_no_text_adds_a_tag_or_an_attribute(text: str) -> None:
    def broken_item(said: str, log: str) -> ItemRecord:
        return ItemRecord(
            *[said] * 4, "error", *[said] * 4, error=said, error_kind=said, failures=(said,), log=log
        )

    broken, plain = broken_item(text, "x" + text), broken_item("x", "x")

    def shape(page: str) -> list[tuple[str, list[str]]]:
        return [(tag, sorted(attributes)) for tag, attributes in Outline(page).tags]

    assert shape(page_of(broken)) == shape(page_of(plain))


def test_page_names_no_source_outside_itself() -> None:
    for tag, attributes in Outline(PAGE).tags:
        for name in ("src", "href", "action", "poster", "srcset"):
            assert (attributes.get(name) or "#").startswith(("#", "data:")), (tag, attributes)
        assert not any(name.startswith("on") or name == "style" for name in attributes), (tag, attributes)
    assert "@import" not in PAGE
    assert "url(" not in PAGE


def test_policy_admits_exactly_the_two_inline_blocks() -> None:
    outline = Outline(PAGE)
    policy = next(a["content"] for t, a in outline.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert policy.startswith("default-src 'none'")
    digests = [
        "sha256-" + b64encode(hashlib.sha256(text.encode()).digest()).decode()
        for tag, text in outline.blocks
        if not text.startswith("{")
    ]
    assert digests == re.findall(r"'(sha256-[^']+)'", policy)
    assert "unsafe" not in policy


def test_embedded_record_holds_no_markup_at_all() -> None:
    record = next(text for tag, text in Outline(PAGE).blocks if text.startswith("{"))
    assert not re.search("[<>&]", record)
    assert json.loads(record)["items"][2]["log"] == INJECTION


def test_same_run_gives_the_same_page() -> None:
    assert render_html(RUN, SAMPLES, IMAGES) == PAGE


def test_page_says_what_isa_means_only_when_an_item_ran_on_it() -> None:
    sentence = "not on the chip"
    assert sentence in ISA_NOTICE
    assert sentence in PAGE
    assert sentence not in page_of(RUN.items[3])


def test_emulated_counts_carry_their_unit_and_never_another() -> None:
    odd = item("esp32", "mlp", samples(3), counts=CountStatistics("us", 1, 1, 1, 3))
    assert count_range(odd) == DASH
    assert "instructions (emulated)" in page_of(RUN.items[0])
    assert "instructions (emulated)" in count_range(
        replace(odd, counts=CountStatistics("instructions", 1, 1, 1, 3))
    )


def test_identical_counts_are_said_to_be_identical() -> None:
    assert "identical in all 40\u00a0inferences" in PAGE
    assert plots.histogram([7, 7, 7], "cycles") == ""


def test_histogram_counts_every_inference_once() -> None:
    counts = [100 + number % 97 for number in range(1000)]
    heights = re.findall(r"<title>[^<]*: (\d+)</title>", plots.histogram(counts, "cycles"))
    assert sum(map(int, heights)) == 1000
    assert len(heights) <= plots.HISTOGRAM_BINS


def test_scatter_is_bounded_and_skips_what_is_not_finite() -> None:
    rng = np.random.default_rng(0)
    drawn = plots.scatter(rng.random(200_000), rng.random(200_000), "x", "y", "device")
    assert 1000 < drawn.count("h0") <= plots.MAX_POINTS
    assert plots.scatter(np.array([np.nan]), np.array([1.0]), "x", "y", "device") == ""
    assert "nan" not in plots.scatter(np.array([np.nan, 2.0]), np.array([1.0, 2.0]), "x", "y", "device")


def test_wrong_samples_show_their_image_and_the_doubtful_ones_come_first() -> None:
    key = RUN.items[0].key
    batch = [replace(sample, label=1, device_class=1, oracle_class=1) for sample in SAMPLES[key]]
    batch[5] = replace(batch[5], device_class=2, oracle_class=2)
    batch[9] = replace(batch[9], device_class=3)
    page = render_html(RunRecord("r", "", "", {}, RUN.items[:1]), {key: batch}, IMAGES)
    assert re.findall(r'alt="sample (\d+)"', page) == ["9", "5"]
    assert data_uri(IMAGES[key][9]).replace("+", "&#43;") in page.replace("+", "&#43;")


def test_a_sample_without_its_image_is_still_listed() -> None:
    key = RUN.items[0].key
    batch = [replace(sample, label=1, device_class=2) for sample in SAMPLES[key]]
    page = render_html(RunRecord("r", "", "", {}, RUN.items[:1]), {key: batch}, {key: {3: IMAGES[key][3]}})
    assert page.count("<img") == 1
    assert "40 of 40\u00a0labelled samples" in page


def test_blame_is_named_with_the_gap() -> None:
    assert "kernels, build and transport are right" in runtime_gap_explained(RUN.items[0])
    assert "1 SOFTMAX" in runtime_gap_explained(RUN.items[1])
    assert "did not get so far" in runtime_gap_explained(RUN.items[4])


def test_memory_parts_add_up() -> None:
    memory = RUN.items[0].memory
    assert memory is not None
    flash, ram = memory_parts(memory)
    assert sum(size for _, size in flash) == memory.flash_bytes
    assert memory.stack_bytes is not None
    assert sum(size for _, size in ram) == memory.ram_bytes + memory.stack_bytes


def test_what_an_attached_board_cannot_tell_is_left_out() -> None:
    unbuilt = item("esp32", "mlp", samples(3), memory=Memory(None, None, None, None, None, None, None, 512))
    page = page_of(unbuilt)
    assert memory_parts(Memory(None, None, None, None, None, None, 4096, None)) == ([], [])
    assert "Deepest stack 512\u00a0B." in page
    assert "<figure" not in page


def test_ram_is_shown_against_the_chips_own_where_the_chip_is_known() -> None:
    assert "of the chip&#39;s on-chip RAM (400.0\u00a0KiB)" in page_of(item("esp32c3", "mlp", samples(3)))
    assert "on-chip RAM" not in page_of(item("esp64", "mlp", samples(3)))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("376832 or less", "376\u00a0832 or less"),
        ("14948, +0.00% against 14947", "14\u00a0948, +0.00% against 14\u00a0947"),
        ("the baseline 20261121-210303-42f8: 752", "the baseline 20261121-210303-42f8: 752"),
        ("0.123456 of 12345.5", "0.123456 of 12345.5"),
        ("commit 12345ab", "commit 12345ab"),
    ],
)
def test_long_whole_numbers_are_grouped_in_a_sentence(text: str, shown: str) -> None:
    assert grouped_in(text) == shown


def test_a_single_output_has_no_classes() -> None:
    regression = [replace(s, device_class=None, oracle_class=None, reference_class=None) for s in samples(5)]
    one = item("esp32", "mlp", regression, accuracy=None)
    page = render_html(RunRecord("r", "", "", {}, (one,)), {one.key: regression}, {})
    assert "confusion" not in re.sub(r"<style>.*?</style>", "", page, flags=re.DOTALL)
    assert "oracle score" in page


@settings(deadline=None)
@given(
    st.one_of(
        arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=40)),
        arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=20).map(lambda shape: (*shape, 3))),
    )
)
def test_png_holds_the_image(image: np.ndarray) -> None:
    data = png(image)
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    chunks, at = {}, 8
    while at < len(data):
        (length,) = struct.unpack_from(">I", data, at)
        kind, body = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        assert struct.unpack_from(">I", data, at + 8 + length) == (zlib.crc32(kind + body),)
        chunks[kind] = body
        at += 12 + length
    width, height, depth, colour = struct.unpack(">IIBB", chunks[b"IHDR"][:10])
    assert (height, width, depth, colour) == (*image.shape[:2], 8, 2 if image.ndim == 3 else 0)
    rows = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(height, -1)
    assert not rows[:, 0].any()
    assert (rows[:, 1:].reshape(image.shape) == image).all()
    assert b64decode(data_uri(image).split(",")[1]) == data


@pytest.mark.parametrize(
    "image",
    [np.zeros((2, 2)), np.zeros((2, 2, 4), np.uint8), np.zeros(4, np.uint8), np.zeros((0, 2), np.uint8)],
)
def test_other_images_are_refused(image: np.ndarray) -> None:
    with pytest.raises(DataError, match="uint8"):
        png(image)
