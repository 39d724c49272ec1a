"""A run as one self-contained HTML page: it loads nothing, and nothing in a record can act in it.

Every text goes through Jinja's escaping, and the page's own Content-Security-Policy admits
only the two inline blocks whose digests it names. Layout is the templates' business.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import importlib.resources
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import jinja2
from markupsafe import Markup

from harness.records.schema import RunRecord, Sample
from harness.records.serialise import SCHEMA, to_plain
from harness.report import divergence, figures, trend
from harness.report.comparison import comparisons
from harness.report.pictures import Images
from harness.report.views import MAX_CLASSES, compared, view_of
from harness.targets import TARGETS


def render_html(run: RunRecord, samples: Mapping[str, Sequence[Sample]], images: Mapping[str, Images]) -> str:
    """The whole page. `samples` and `images` go by `ItemRecord.key`; both may lack items."""
    templates = importlib.resources.files("harness.report") / "templates"
    style = Markup((templates / "style.css").read_text(encoding="utf-8"))
    script = Markup((templates / "report.js").read_text(encoding="utf-8"))
    views = [
        view_of(
            f"item-{number}",
            run,
            item,
            samples.get(item.key, ()),
            images.get(item.key),
            TARGETS[item.target].sram_bytes if item.target in TARGETS else 0,
        )
        for number, item in enumerate(run.items, start=1)
    ]
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            run=run,
            views=views,
            comparisons=[compared(one, views) for one in comparisons(run)],
            f=figures,
            d=divergence,
            followed=trend.FIGURES,
            tally=figures.tally(run),
            fidelities=sorted({item.fidelity for item in run.items if item.fidelity}),
            record=_embedded({"schema": SCHEMA, "kind": "run", **to_plain(_alone(run))}),
            style=style,
            script=script,
            style_digest=_csp_digest(style),
            script_digest=_csp_digest(script),
            many_classes=MAX_CLASSES,
        )
    )


@functools.cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("harness.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _embedded(data: dict[str, Any]) -> Markup:
    """JSON that can stand in a script element: nothing in it can close or open a tag."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False)
    return Markup(text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"))


def _alone(run: RunRecord) -> RunRecord:
    """Without the earlier runs, which have records of their own."""
    return replace(run, items=tuple(replace(item, trend=None) for item in run.items))


def _csp_digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
