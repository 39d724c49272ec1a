"""What the page shows of each item and comparison, worked out of records and samples for the templates.

Numbers and drawings only: no markup but the plots', no file, no escaping.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from harness.records.schema import ItemRecord, Night, RunRecord, Sample
from harness.report import figures, pictures, plots, series, trend
from harness.report.comparison import SNR, Comparison, label
from harness.report.pictures import Images
from harness.report.png import data_uri

MAX_IMAGE_BYTES = 2_000_000
"""Of all pictures of a page, as it holds them; each item gets its part, and no less than `LEAST_IMAGES`."""
LEAST_IMAGES = 4
MAX_POINTS = 120_000
"""Of all scatters of a page."""
MAX_CLASSES = 32
LOG_TAIL_LINES = 200
DRAWN = ("per inference", "top-1", "flash")
"""Figures of `report.trend` that have a plot; the others are in its table."""


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
class TrendRow:
    """One run of an item; `worse`: in some figure than comparable ones before it."""

    night: Night
    worse: bool
    present: bool


@dataclass(frozen=True)
class TrendView:
    """An item over its runs. `left_out` of the earlier ones compare in no figure that is drawn."""

    changes: trend.Changes | None
    plots: list[Markup]
    rows: list[TrendRow]
    left_out: int


@dataclass(frozen=True)
class ItemView:
    """One item as the template shows it."""

    anchor: str
    item: ItemRecord
    unit: str | None
    layers: list[LayerRow]
    scatters: list[Markup]
    counts: list[int]
    distributions: list[Markup]
    trend: TrendView | None
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


def view_of(
    anchor: str,
    run: RunRecord,
    item: ItemRecord,
    samples: Sequence[Sample],
    images: Images | None,
    sram_bytes: int,
) -> ItemView:
    unit = figures.count_unit(item)
    counts = [sample.count for sample in samples if sample.count is not None] if unit else []
    labelled, wrong = pictures.labelled(samples), pictures.wrong(samples)
    flash, ram = figures.memory_parts(item.memory) if item.memory else ([], [])
    return ItemView(
        anchor=anchor,
        item=item,
        unit=unit,
        layers=_layer_rows(item, unit),
        scatters=_scatters(samples, MAX_POINTS // (2 * len(run.items))),
        counts=counts,
        distributions=_distributions(item, counts, unit, samples),
        trend=_trend(run, item),
        confusion=_confusion(labelled),
        pictures=_pictures(wrong, images, MAX_IMAGE_BYTES // len(run.items)),
        wrong=len(wrong),
        labelled=len(labelled),
        flash=flash,
        ram=ram,
        sram_bytes=sram_bytes,
        log_tail="\n".join((item.log or "").splitlines()[-LOG_TAIL_LINES:]),
    )


def _distributions(
    item: ItemRecord, counts: Sequence[int], unit: str | None, samples: Sequence[Sample]
) -> list[Markup]:
    """Counts, and times where the device has a clock: how often each came, and in what order."""
    times = [sample.time_us for sample in samples if sample.time_us is not None] if item.latency else []
    kinds = [(counts, unit)] if unit else []
    kinds += [(times, "µs")] if unit != "µs" else []
    drawn = [plot(values, name) for values, name in kinds for plot in (plots.histogram, series.in_order)]
    return [plot for plot in drawn if plot]


def _trend(run: RunRecord, item: ItemRecord) -> TrendView | None:
    if item.trend is None:
        return None
    now, earlier = trend.present(run, item), item.trend.nights
    drawn, shown, worse = [], set(), set()
    for figure in trend.FIGURES:
        followed = list(trend.followed(figure, earlier, now))
        shown |= {night.run_id for night, _ in followed}
        worse |= {night.run_id for night, kind in followed if kind == "worse"}
        if figure.name in DRAWN:
            drawn.append(_drawn(figure, followed, item.trend.baseline, now))
    rows = [TrendRow(night, night.run_id in worse, night is now) for night in reversed((*earlier, now))]
    left_out = sum(night.run_id not in shown for night in earlier)
    return TrendView(trend.changes(run, item), [plot for plot in drawn if plot], rows, left_out)


def _drawn(
    figure: trend.Figure, followed: Sequence[tuple[Night, str]], baseline: Night | None, now: Night
) -> Markup:
    points = [
        series.Point(value, kind, _told(figure, night, kind))
        for night, kind in followed
        if (value := figure.value(night)) is not None
    ]
    if not points:
        return Markup("")
    unit = figures.unit_name(now.count_unit or "") if figure.counted else ""
    level = figure.value(baseline) if baseline and trend.comparable(figure, baseline, now) else None
    ends = followed[0][0].started[:10], followed[-1][0].started[:10]
    return series.trend(points, level, unit or figure.name, ends, figure.show)


def _told(figure: trend.Figure, night: Night, kind: str) -> str:
    about = [night.started[:16].replace("T", " "), night.run_id, night.commit or "", night.board or ""]
    return f"{figure.show(figure.value(night))}, {kind}: {', '.join(part for part in about if part)}"


def compared(comparison: Comparison, views: Sequence[ItemView]) -> ComparisonView:
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
    # The plot's scale is that of shares.
    costs = ((comparison.count_of, comparison.unit or ""), (comparison.flash_of, "flash, bytes"))
    for cost, name in costs if comparison.quality != SNR else ():
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


def _scatters(samples: Sequence[Sample], most: int) -> list[Markup]:
    """Device against oracle, and oracle against float; at most `most` points in each."""
    if not samples:
        return []
    oracle = _together(sample.oracle_scores for sample in samples)
    device = _together(sample.device_scores for sample in samples)
    drawn = []
    if oracle.size == device.size:
        drawn.append(plots.scatter(oracle, device, "oracle score", "device score", "device", most))
    known = [sample for sample in samples if sample.reference_scores is not None]
    reference = _together(sample.reference_scores or () for sample in known)
    beside = _together(sample.oracle_scores for sample in known)
    if reference.size == beside.size:
        drawn.append(
            plots.scatter(reference, beside, "float reference score", "oracle score", "oracle", most)
        )
    return [plot for plot in drawn if plot]


def _together(scores: Iterable[Sequence[float]]) -> NDArray[np.float64]:
    return np.fromiter(itertools.chain.from_iterable(scores), np.float64)


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


def _pictures(wrong: Sequence[Sample], images: Images | None, most_bytes: int) -> list[Picture]:
    """The first of them; as many as fit into `most_bytes`, but some in any case."""
    shown: list[Picture] = []
    used_bytes = 0
    for sample in wrong[: pictures.MOST]:
        image = pictures.image_of(images, sample)
        uri = None if image is None else data_uri(image)
        used_bytes += len(uri or "")
        if used_bytes > most_bytes and len(shown) >= LEAST_IMAGES:
            break
        shown.append(Picture(sample, uri))
    return shown
