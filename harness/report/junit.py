"""A run as JUnit XML, for CI servers: failures (a measurement is wrong) apart from errors (the run broke).

One test suite per target, one test case per item, each figure a property of its test case.
"""

from __future__ import annotations

import re
from itertools import groupby
from xml.etree import ElementTree as ET

from harness.records.schema import ItemRecord, RunRecord
from harness.report.figures import flat_figures

_ILLEGAL = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
LOG_TAIL_CHARACTERS = 20_000


def legal_xml(text: str) -> str:
    """Characters that XML 1.0 cannot hold, even escaped, as "#x1B": XML 1.0 production 2."""
    return _ILLEGAL.sub(lambda match: f"#x{ord(match.group()):02X}", text)


def junit_xml(run: RunRecord) -> str:
    """testsuites / testsuite / testcase with properties, as Jenkins, GitLab and GitHub actions read it."""
    root = ET.Element("testsuites", {"name": "harness", **_totals(run.items)})
    by_target = sorted(run.items, key=lambda item: item.target)
    for target, group in groupby(by_target, key=lambda item: item.target):
        items = tuple(group)
        suite = ET.SubElement(
            root,
            "testsuite",
            {
                "name": legal_xml(target),
                **_totals(items),
                "skipped": "0",
                "timestamp": _iso_seconds(run.started),
                "hostname": legal_xml(run.host.get("name", "localhost")),
            },
        )
        _properties(suite, {"run_id": run.run_id, "command": run.command})
        for item in items:
            _testcase(suite, item)
    ET.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _testcase(suite: ET.Element, item: ItemRecord) -> None:
    case = ET.SubElement(
        suite,
        "testcase",
        {
            "classname": legal_xml(f"harness.{item.target}"),
            "name": legal_xml(item.key),
            "time": f"{item.duration_s:.3f}",
        },
    )
    figures = {name: str(value) for name, value in flat_figures(item).items() if value is not None}
    verdicts = {f"measurement_{one.name}": one.verdict for one in item.measurements}
    provenance = {f"provenance_{name}": value for name, value in item.provenance.items()}
    _properties(case, figures | verdicts | provenance)
    if item.outcome == "failed":
        reason = item.failures[0] if item.failures else "failed"
        failure = ET.SubElement(case, "failure", {"message": legal_xml(reason), "type": "measurement"})
        failure.text = legal_xml("\n".join(item.failures))
    elif item.outcome == "error":
        reason = item.error or "the run broke"
        error = ET.SubElement(case, "error", {"message": legal_xml(reason.split("\n")[0]), "type": "harness"})
        error.text = legal_xml(reason)
    if item.log:
        ET.SubElement(case, "system-out").text = legal_xml(item.log[-LOG_TAIL_CHARACTERS:])


def _totals(items: tuple[ItemRecord, ...]) -> dict[str, str]:
    return {
        "tests": str(len(items)),
        "failures": str(sum(item.outcome == "failed" for item in items)),
        "errors": str(sum(item.outcome == "error" for item in items)),
        "time": f"{sum(item.duration_s for item in items):.3f}",
    }


def _properties(parent: ET.Element, values: dict[str, str]) -> None:
    properties = ET.SubElement(parent, "properties")
    for name, value in values.items():
        ET.SubElement(properties, "property", {"name": legal_xml(name), "value": legal_xml(value)})


def _iso_seconds(started: str) -> str:
    """The schema's timestamp has neither a fraction nor a zone."""
    match = re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", started)
    return match.group() if match else "1970-01-01T00:00:00"
