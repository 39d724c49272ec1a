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
from dataclasses import dataclass
from typing import Any, Protocol

import jinja2
import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from harness.records.schema import ItemRecord, RunRecord, Sample
from harness.records.serialise import SCHEMA, to_plain
from harness.report import figures, plots
from harness.report.comparison import Comparison, comparisons, label
from harness.report.png import data_uri
from harness.targets import TARGETS

MAX_IMAGES = 48
MAX_CLASSES = 32
LOG_TAIL_LINES = 200


class Images(Protocol):
    """uint8 images (H, W) or (H, W, 3) by sample index: an array, a list or a dict."""

    def __getitem__(self, index: int, /) -> NDArray[np.uint8]: ...


@dataclass(frozen=True)
class LayerRow:
    """`share` of the layers' summed count and `per_mac` are None where there is nothing to divide."""

    index: int
    op: str
    name: str
    shape: str
    macs: int
    mac_share: float
    count: int | None
    share: float | None
    per_mac: float | None
    max_lsb: int | None
    mismatching_elements: int | None


@dataclass(frozen=True)
class Picture:
    """One wrongly classified sample; `uri` is None when its image is not at hand."""

    sample: Sample
    uri: str | None


@dataclass(frozen=True)
class ItemView:
    """One item as the template shows it."""

    anchor: str
    item: ItemRecord
    unit: str | None
    layers: list[LayerRow]
    scatters: list[Markup]
    counts: list[int]
    histogram: Markup
    confusion: list[list[int]]
    pictures: list[Picture]
    wrong: int
    labelled: int
    flash: list[tuple[str, int]]
    ram: list[tuple[str, int]]
    sram_bytes: int
    log_tail: str


@dataclass(frozen=True)
class ComparisonRow:
    anchor: str
    label: str
    item: ItemRecord
    quality: float | None
    count: float | None
    unbeaten: bool


@dataclass(frozen=True)
class ComparisonView:
    """One comparison as the template shows it."""

    comparison: Comparison
    rows: list[ComparisonRow]
    plots: list[Markup]


def render_html(run: RunRecord, samples: Mapping[str, Sequence[Sample]], images: Mapping[str, Images]) -> str:
    """The whole page. `samples` and `images` go by `ItemRecord.key`; both may lack items."""
    templates = importlib.resources.files("harness.report") / "templates"
    style = Markup((templates / "style.css").read_text(encoding="utf-8"))
    script = Markup((templates / "report.js").read_text(encoding="utf-8"))
    views = [
        _view(
            f"item-{number}",
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
            comparisons=[_compared(one, views) for one in comparisons(run)],
            f=figures,
            tally=figures.tally(run),
            fidelities=sorted({item.fidelity for item in run.items if item.fidelity}),
            record=_embedded({"schema": SCHEMA, "kind": "run", **to_plain(run)}),
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


def _csp_digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _view(
    anchor: str, item: ItemRecord, samples: Sequence[Sample], images: Images | None, sram_bytes: int
) -> ItemView:
    unit = figures.count_unit(item)
    counts = [sample.count for sample in samples if sample.count is not None] if unit else []
    labelled = [sample for sample in samples if sample.label is not None and sample.device_class is not None]
    wrong = [sample for sample in labelled if sample.device_class != sample.label]
    wrong.sort(key=lambda sample: (sample.device_class == sample.oracle_class, sample.index))
    flash, ram = figures.memory_parts(item.memory) if item.memory else ([], [])
    return ItemView(
        anchor=anchor,
        item=item,
        unit=unit,
        layers=_layer_rows(item, unit),
        scatters=_scatters(samples),
        counts=counts,
        histogram=plots.histogram(counts, unit or ""),
        confusion=_confusion(labelled),
        pictures=[Picture(sample, _picture(images, sample.index)) for sample in wrong[:MAX_IMAGES]],
        wrong=len(wrong),
        labelled=len(labelled),
        flash=flash,
        ram=ram,
        sram_bytes=sram_bytes,
        log_tail="\n".join((item.log or "").splitlines()[-LOG_TAIL_LINES:]),
    )


def _compared(comparison: Comparison, views: Sequence[ItemView]) -> ComparisonView:
    anchors = {view.item.key: view.anchor for view in views}
    rows = [
        ComparisonRow(
            anchors[item.key],
            label(item),
            item,
            comparison.quality_of(item),
            comparison.count_of(item),
            comparison.unbeaten(item),
        )
        for item in comparison.items
    ]
    drawn = []
    for cost, name in ((comparison.count_of, comparison.unit or ""), (comparison.flash_of, "flash, bytes")):
        choices = [
            plots.Choice(row.label, known, row.quality, row.unbeaten)
            for row in rows
            if row.quality is not None and (known := cost(row.item)) is not None
        ]
        drawn.append(plots.trade_off(choices, name, f"{comparison.quality}, %", comparison.reference))
    return ComparisonView(comparison, rows, [plot for plot in drawn if plot])


def _layer_rows(item: ItemRecord, unit: str | None) -> list[LayerRow]:
    counts = [layer.count if unit else None for layer in item.layers]
    all_counts, all_macs = sum(filter(None, counts)), sum(layer.macs for layer in item.layers)
    return [
        LayerRow(
            layer.index,
            layer.op,
            layer.name,
            " × ".join(map(str, layer.shape)),  # noqa: RUF001
            layer.macs,
            layer.macs / all_macs if all_macs else 0.0,
            count,
            count / all_counts if count is not None and all_counts else None,
            count / layer.macs if count is not None and layer.macs else None,
            layer.max_lsb,
            layer.mismatching_elements,
        )
        for layer, count in zip(item.layers, counts, strict=True)
    ]


def _scatters(samples: Sequence[Sample]) -> list[Markup]:
    if not samples:
        return []
    oracle = np.array([score for sample in samples for score in sample.oracle_scores])
    device = np.array([score for sample in samples for score in sample.device_scores])
    drawn = []
    if oracle.size == device.size:
        drawn.append(plots.scatter(oracle, device, "oracle score", "device score", "device"))
    pairs = [
        pair
        for sample in samples
        if sample.reference_scores is not None
        for pair in zip(sample.reference_scores, sample.oracle_scores, strict=False)
    ]
    if pairs:
        both = np.array(pairs)
        drawn.append(plots.scatter(both[:, 0], both[:, 1], "float reference score", "oracle score", "oracle"))
    return [plot for plot in drawn if plot]


def _confusion(labelled: Sequence[Sample]) -> list[list[int]]:
    """Rows are labels, columns the device's answers; [] with no labels or more than `MAX_CLASSES`."""
    pairs = [
        (sample.label, sample.device_class)
        for sample in labelled
        if sample.label is not None and sample.device_class is not None
    ]
    classes = 1 + max((max(pair) for pair in pairs), default=-1)
    if not 0 < classes <= MAX_CLASSES or min(min(pair) for pair in pairs) < 0:
        return []
    matrix = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(matrix, tuple(np.array(pairs).T), 1)
    return [[int(cell) for cell in row] for row in matrix]


def _picture(images: Images | None, index: int) -> str | None:
    if images is None:
        return None
    try:
        image = images[index]
    except (IndexError, KeyError):
        return None
    return data_uri(np.asarray(image))
