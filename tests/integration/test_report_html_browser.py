"""report.html in headless Chromium over the DevTools pipe: it renders, sorts, filters and loads nothing."""

import base64
import fcntl
import itertools
import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.records.schema import Accuracy, LayerRecord
from harness.report import write_reports
from tests.fabricated_run import INJECTION, fabricated, item
from tests.fabricated_run import samples as made_up

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-pipe",
)
# Chromium talks on the fixed descriptors 3 and 4.
LAUNCH = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.dup2(int(sys.argv[2]), 4)
os.execv(sys.argv[3], sys.argv[3:])
"""
DEADLINE_S = 60


def pipe_above_4() -> list[int]:
    """Read end and write end of a pipe, clear of the descriptors Chromium wants."""
    moved = []
    for end in os.pipe():
        moved.append(fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 5))
        os.close(end)
    return moved


class Page:
    """One page of a Chromium that dies with its pipe; keeps the events the browser sent."""

    def __init__(self, chromium: str, profile: Path) -> None:
        ours_in, theirs_out = pipe_above_4()
        theirs_in, ours_out = pipe_above_4()
        launch = [sys.executable, "-c", LAUNCH, str(theirs_in), str(theirs_out)]
        self._process = subprocess.Popen(
            [*launch, chromium, *FLAGS, f"--user-data-dir={profile}", "about:blank"],
            pass_fds=(theirs_in, theirs_out),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self._input, self._output, self._buffer = ours_in, ours_out, b""
        self._numbers = itertools.count(1)
        self._session: str | None = None
        self.events: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._output, json.dumps(message).encode() + b"\0")
        answer = self._receive(lambda came: came.get("id") == number)
        assert "error" not in answer, answer
        return answer["result"]

    def _receive(self, wanted: Any) -> dict[str, Any]:
        deadline = time.monotonic() + DEADLINE_S
        while True:
            while b"\0" not in self._buffer:
                ready, _, _ = select.select([self._input], [], [], max(0, deadline - time.monotonic()))
                data = os.read(self._input, 1 << 20) if ready else b""
                assert data, f"Chromium is silent; exit code {self._process.poll()}"
                self._buffer += data
            raw, self._buffer = self._buffer.split(b"\0", 1)
            came: dict[str, Any] = json.loads(raw)
            if "method" in came:
                self.events.append(came)
            if wanted(came):
                return came

    def open(self, path: Path) -> None:
        self.events.clear()
        self.call("Page.navigate", url=path.as_uri())
        if not self.named("Page.loadEventFired"):
            self._receive(lambda came: came.get("method") == "Page.loadEventFired")

    def named(self, *methods: str) -> list[dict[str, Any]]:
        return [event["params"] for event in self.events if event["method"] in methods]

    def evaluate(self, expression: str) -> Any:
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def screen(self, width: int, scheme: str) -> None:
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=900,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def screenshot(self, path: Path) -> None:
        image = self.call("Page.captureScreenshot", captureBeyondViewport=True)["data"]
        path.write_bytes(base64.b64decode(image))

    def close(self) -> None:
        self._session = None
        self.call("Browser.close")
        try:
            self._process.wait(DEADLINE_S)
        finally:
            self._process.kill()
            os.close(self._input)
            os.close(self._output)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.fail(
            "expected Chromium to look at the report with; none is installed. apt-get install chromium"
        )
    page = Page(chromium, tmp_path_factory.mktemp("profile"))
    yield page
    page.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run, samples, images = fabricated()
    batch = made_up(40, varying=True, seed=6)
    layers = tuple(LayerRecord(n, "CONV_2D", f"conv{n}", (1, 8), 100 * n, 100 * n, 0, 0) for n in range(12))
    other_way = item(
        "esp32",
        "mlp",
        batch,
        runtime="espdl",
        scheme="int16",
        accuracy=Accuracy(1.0, 1.0, 1.0, 40),
        fidelity="silicon",
        counts=replace(run.items[3].counts, median=600_000.0),
        layers=layers,
    )
    run, samples = replace(run, items=(*run.items, other_way)), {**samples, other_way.key: batch}
    return write_reports(run, samples, tmp_path_factory.mktemp("report"), images)["report.html"]


@pytest.fixture
def page(browser: Page, report: Path) -> Page:
    browser.open(report)
    return browser


def column(page: Page, index: int) -> list[str]:
    shown = "[...document.querySelectorAll('#items tbody tr')].filter(row => !row.hidden)"
    return page.evaluate(f"{shown}.map(row => row.cells[{index}].firstChild.textContent.trim())")


def click_heading(page: Page, text: str) -> None:
    page.evaluate(
        f"[...document.querySelectorAll('#items thead button')].find(b => b.textContent === {text!r}).click()"
    )


def press(page: Page, key: str, text: str = "") -> None:
    code = {" ": "Space"}.get(key, key)
    number = {"Enter": 13, "Escape": 27, "Tab": 9, " ": 32}[key]
    about = {"key": key, "code": code, "windowsVirtualKeyCode": number}
    page.call("Input.dispatchKeyEvent", type="keyDown", text=text, **about)
    page.call("Input.dispatchKeyEvent", type="keyUp", **about)


def test_page_renders_without_a_console_error(page: Page) -> None:
    assert page.evaluate("document.querySelectorAll('section.item:not(.comparison)').length") == 6
    assert page.named("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded") == []


PLOTS = (
    "device score against oracle score",
    "oracle score against float reference score",
    "Distribution of instructions (emulated)",
    "Distribution of cycles",
    "40 inferences in their order",
    "instructions (emulated) over 11 runs",
    "cycles over 3 runs",
    "top-1 over 11 runs",
    "flash over 12 runs",
    "top-1, % against cycles of 2 ways",
    "top-1, % against flash, bytes of 2 ways",
)


@pytest.mark.parametrize("width", [1280, 400])
def test_every_plot_is_there_and_nothing_of_it_is_cut(page: Page, width: int) -> None:
    page.screen(width, "light")
    drawn = page.evaluate(
        """[...document.querySelectorAll('svg.plot')].map(plot => {
            const edge = plot.getBoundingClientRect();
            const cut = [...plot.querySelectorAll('text, .mark, circle, rect')].filter(part => {
                const box = part.getBoundingClientRect();
                return box.left < edge.left - 1 || box.right > edge.right + 1
                    || box.top < edge.top - 1 || box.bottom > edge.bottom + 1;
            }).map(part => part.textContent);
            return [plot.getAttribute('aria-label'), edge.width > 200 && edge.height > 70, cut];
        })"""
    )
    for name in PLOTS:
        assert any(name in label for label, _, _ in drawn), name
    assert [label for label, visible, _ in drawn if not visible] == []
    assert [(label, cut) for label, _, cut in drawn if cut] == []


def test_every_other_part_of_an_item_is_shown(page: Page) -> None:
    shown = "part => [...document.querySelectorAll(part)].filter(one => one.getClientRects().length).length"
    for part, least in (
        ("table.confusion", 5),
        (".pictures img", 4),
        (".divergence", 1),
        (".memory", 8),
        (".health", 5),
        (".changes .worse", 1),
        (".layers .barcell svg", 20),
        ("h3", 20),
    ):
        assert page.evaluate(f"({shown})({part!r})") >= least, part


def test_page_requests_nothing_but_itself(page: Page, report: Path) -> None:
    requests = [event["request"]["url"] for event in page.named("Network.requestWillBeSent")]
    assert [url for url in requests if not url.startswith("data:")] == [report.as_uri()]


def test_injected_markup_is_text(page: Page) -> None:
    assert page.evaluate("typeof window.injected") == "undefined"
    assert page.evaluate("document.scripts.length") == 2
    assert page.evaluate("document.querySelectorAll('img:not([src^=\"data:image/png\"])').length") == 0
    assert page.evaluate("document.querySelector('#item-3 h2').textContent").startswith(f"evil {INJECTION}")


def test_even_markup_that_got_in_could_not_act(page: Page) -> None:
    page.evaluate(
        """new Promise(done => {
            const script = document.createElement('script');
            script.textContent = 'window.injected = true';
            document.body.append(script);
            const image = new Image();
            image.onload = image.onerror = done;
            image.src = 'http://127.0.0.1:9/x.png';
        }).then(() => null)"""
    )
    assert page.evaluate("typeof window.injected") == "undefined"
    blocked = [event["blockedReason"] for event in page.named("Network.loadingFailed")]
    assert blocked == ["csp"]


def test_record_can_be_read_back_from_the_page(page: Page) -> None:
    record = json.loads(page.evaluate("document.getElementById('record').textContent"))
    assert record["command"] == f"pytest {INJECTION}"


def test_headings_sort_numbers_as_numbers_and_unknown_last(page: Page) -> None:
    assert column(page, 6) == ["99.70\u00a0%"] * 4 + ["–", "99.70\u00a0%"]  # noqa: RUF001
    click_heading(page, "Runtime gap")
    assert column(page, 4) == ["0 LSB", "0 LSB", "0 LSB", "0 LSB", "1 LSB", "–"]  # noqa: RUF001
    click_heading(page, "Runtime gap")
    assert column(page, 4) == ["1 LSB", "0 LSB", "0 LSB", "0 LSB", "0 LSB", "–"]  # noqa: RUF001
    sorts = page.evaluate("[...document.querySelectorAll('#items th[aria-sort]')].map(th => th.ariaSort)")
    assert sorts == ["descending"]


def test_headings_sort_by_keyboard(page: Page) -> None:
    page.evaluate("document.querySelector('#items thead button').focus()")
    press(page, "Enter", "\r")
    assert column(page, 0)[0] == "cnn"
    press(page, " ", " ")
    assert column(page, 0)[-1] == "cnn"
    page.evaluate("[...document.querySelectorAll('.layers thead button')].at(-10).focus()")
    press(page, "Enter", "\r")
    press(page, "Enter", "\r")
    first = "[...document.querySelectorAll('.layers')].at(-1).tBodies[0].rows[0].cells[0].textContent"
    assert page.evaluate(first) == "11"


def test_filter_hides_rows_and_their_sections(page: Page) -> None:
    page.evaluate("document.getElementById('filter').focus()")
    page.call("Input.insertText", text="ESP32S3 mlp")
    assert column(page, 0) == ["mlp"]
    hidden = "(s => [...document.querySelectorAll(s)].map(section => section.hidden))"
    assert page.evaluate(f"{hidden}('section.item:not(.comparison)')") == [False] + 5 * [True]
    assert page.evaluate(f"{hidden}('section.comparison')") == [True]
    assert page.evaluate("document.getElementById('shown').textContent") == "1 of 6"
    press(page, "Escape")
    assert page.evaluate("document.getElementById('filter').value") == ""
    assert len(column(page, 0)) == 6


def test_tables_of_an_item_filter_their_own_rows(page: Page) -> None:
    page.evaluate("[...document.querySelectorAll('label.filter input')].at(-1).focus()")
    page.call("Input.insertText", text="CONV1")
    rows = (
        "[...document.querySelectorAll('.layers')].at(-1).querySelectorAll('tbody tr:not([hidden])').length"
    )
    assert page.evaluate(rows) == 3
    said = "[...document.querySelectorAll('label.filter output')].at(-1).textContent"
    assert page.evaluate(said) == "3 of 12"
    press(page, "Escape")
    assert page.evaluate(rows) == 12
    assert len(column(page, 0)) == 6


def test_keys_reach_everything_in_the_order_it_stands(page: Page) -> None:
    press(page, "Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    reached = []
    for _ in range(12):
        press(page, "Tab")
        reached.append(page.evaluate("document.activeElement.id || document.activeElement.textContent"))
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none", reached
    assert reached[:3] == ["theme", "filter", "verdict"]
    assert reached[4:6] == ["Model, target", "Verdict"]
    page.evaluate("document.querySelector('#item-1 details summary').focus()")
    press(page, "Enter", "\r")
    assert page.evaluate("document.querySelector('#item-1 details').open")


CONTRASTS = """(() => {
    const parse = colour => {
        const probe = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
        probe.fillStyle = colour;
        probe.fillRect(0, 0, 1, 1);
        return [...probe.getImageData(0, 0, 1, 1).data];
    };
    const luminance = ([r, g, b]) => {
        const linear = [r, g, b].map(c => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
    };
    const backOf = element => {
        for (let at = element; at; at = at.parentElement) {
            const [r, g, b, a] = parse(getComputedStyle(at).backgroundColor);
            if (a === 255) return [r, g, b];
        }
        return parse(getComputedStyle(document.body).backgroundColor);
    };
    const seen = {};
    for (const element of document.querySelectorAll('body *')) {
        const own = [...element.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
        if (!own || !element.getClientRects().length || element.closest('script, .sr, .skip')) continue;
        const style = getComputedStyle(element);
        const ink = parse(element instanceof SVGElement ? style.fill : style.color);
        const [high, low] = [luminance(ink), luminance(backOf(element))].sort((a, b) => b - a);
        const name = element.tagName + '.' + (element.getAttribute('class') || '');
        seen[name] = Math.min(seen[name] ?? 99, (high + 0.05) / (low + 0.05));
    }
    return seen;
})()"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground(page: Page, scheme: str) -> None:
    """At least 4.5 : 1, as WCAG 2.1 AA asks of text."""
    page.screen(1280, scheme)
    contrasts = page.evaluate(CONTRASTS)
    assert len(contrasts) > 20
    assert {name: round(ratio, 2) for name, ratio in contrasts.items() if ratio < 4.5} == {}


def test_verdict_filter(page: Page) -> None:
    page.evaluate("verdict.value = 'error'; verdict.dispatchEvent(new Event('change'))")
    assert column(page, 0) == ["mlp"]
    assert page.evaluate("document.querySelectorAll('section.item:not([hidden])').length") == 1


@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_fits_the_screen_in_both_themes(page: Page, tmp_path: Path, width: int, scheme: str) -> None:
    page.screen(width, scheme)
    page.screenshot(tmp_path / "report.png")
    assert page.evaluate("document.documentElement.scrollWidth") == width
    red = int(page.evaluate("getComputedStyle(document.body).backgroundColor").split("(")[1].split(",")[0])
    assert (red > 127) == (scheme == "light")
    if width == 1280:
        assert page.evaluate(
            "document.querySelector('#items').scrollWidth <= document.querySelector('.scroll').clientWidth"
        )


def test_paper_has_every_column(page: Page) -> None:
    """The width of an A4 page that lies, less the margins the style sheet asks for."""
    page.screen(1032, "light")
    page.call("Emulation.setEmulatedMedia", media="print")
    cut = """[...document.querySelectorAll('.scroll > table')].filter(
        table => table.offsetWidth > table.parentElement.clientWidth).map(table => table.className)"""
    try:
        assert page.evaluate(cut) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= 1032
    finally:
        page.call("Emulation.setEmulatedMedia", media="")


def test_theme_button_overrides_the_system(page: Page) -> None:
    page.screen(1280, "light")
    page.evaluate("document.getElementById('theme').click(); document.getElementById('theme').click()")
    assert page.evaluate("document.getElementById('theme').textContent") == "Theme: dark"
    assert page.evaluate("getComputedStyle(document.documentElement).colorScheme") == "dark"
