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
from pathlib import Path
from typing import Any

import pytest

from harness.report import write_reports
from tests.fabricated_run import INJECTION, fabricated

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


def test_page_renders_without_a_console_error(page: Page) -> None:
    assert page.evaluate("document.querySelectorAll('section.item').length") == 5
    assert page.evaluate("document.querySelectorAll('svg.plot').length") == 10
    assert page.named("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded") == []


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
    assert column(page, 6) == ["99.70\u00a0%"] * 4 + ["–"]  # noqa: RUF001
    click_heading(page, "Runtime gap")
    assert column(page, 4) == ["0 LSB", "0 LSB", "0 LSB", "1 LSB", "–"]  # noqa: RUF001
    click_heading(page, "Runtime gap")
    assert column(page, 4) == ["1 LSB", "0 LSB", "0 LSB", "0 LSB", "–"]  # noqa: RUF001
    sorts = page.evaluate("[...document.querySelectorAll('#items th[aria-sort]')].map(th => th.ariaSort)")
    assert sorts == ["descending"]


def test_headings_sort_by_keyboard(page: Page) -> None:
    page.evaluate("document.querySelector('#items thead button').focus()")
    page.call("Input.dispatchKeyEvent", type="keyDown", key="Enter", code="Enter", text="\r")
    page.call("Input.dispatchKeyEvent", type="keyUp", key="Enter", code="Enter")
    assert column(page, 0)[0] == "cnn"


def test_filter_hides_rows_and_their_sections(page: Page) -> None:
    page.evaluate("document.getElementById('filter').focus()")
    page.call("Input.insertText", text="ESP32S3 mlp")
    assert column(page, 0) == ["mlp"]
    assert page.evaluate("[...document.querySelectorAll('section.item')].map(s => s.hidden)") == [
        False,
        True,
        True,
        True,
        True,
    ]
    assert page.evaluate("document.getElementById('shown').textContent") == "1 of 5"


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


def test_theme_button_overrides_the_system(page: Page) -> None:
    page.screen(1280, "light")
    page.evaluate("document.getElementById('theme').click(); document.getElementById('theme').click()")
    assert page.evaluate("document.getElementById('theme').textContent") == "Theme: dark"
    assert page.evaluate("getComputedStyle(document.documentElement).colorScheme") == "dark"
