"""The report's few plots, drawn here as inline SVG; colours come from the page's style sheet.

No plotting library: four shapes do not warrant one, and the page has to stay one small
file that loads nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup, escape
from numpy.typing import NDArray

from harness.report.figures import grouped, small

SIZE = 260
WIDE = 430
LEFT, BOTTOM, TOP, RIGHT = 46, 40, 10, 14
MAX_POINTS = 4000
HISTOGRAM_BINS = 24

Array = NDArray[np.float64]


def scatter(x: Array, y: Array, x_label: str, y_label: str, series: str) -> Markup:
    """Points (x, y) against the diagonal, both axes on one scale; "" when none is finite.

    `series` (device, oracle) chooses the colour.

    Points of one half pixel are drawn once, and at most `MAX_POINTS` of the rest, at even
    strides, so that the file stays small and the same run gives the same file.
    """
    finite = np.isfinite(x) & np.isfinite(y)
    x, y = x[finite], y[finite]
    if not x.size:
        return Markup("")
    low, high = float(min(x.min(), y.min())), float(max(x.max(), y.max()))
    if low == high:
        low, high = low - 0.5, high + 0.5
    extent = SIZE - LEFT - RIGHT
    scale = extent / (high - low)
    cells = np.unique(np.rint(np.stack([(x - low), (y - low)], axis=1) * scale * 2).astype(np.int64), axis=0)
    cells = cells[:: math.ceil(len(cells) / MAX_POINTS)]
    points = "".join(f"M{LEFT + column / 2:g} {TOP + extent - row / 2:g}h0" for column, row in cells.tolist())
    title = f"{y_label} against {x_label}, {grouped(x.size)} points"
    ticks = [
        Markup('<path class="grid" d="M{0} {1}L{2} {3}"/>').format(LEFT, TOP + extent, LEFT + extent, TOP)
    ]
    for value in _ticks(low, high):
        offset = (value - low) * scale
        ticks.append(_tick_x(LEFT + offset, TOP + extent, small(value)))
        ticks.append(_tick_y(LEFT, TOP + extent - offset, small(value)))
    frame = Markup('<path class="axis" d="M{0} {1}V{2}H{3}"/>').format(LEFT, TOP, TOP + extent, LEFT + extent)
    body = Markup("").join([*ticks, frame, Markup('<path class="points {}" d="{}"/>').format(series, points)])
    return _svg(SIZE, TOP + extent + BOTTOM, title, body + _labels(x_label, y_label, extent, extent))


@dataclass(frozen=True)
class Choice:
    """One way to run a model: what it costs, how good it is (0..1), whether nothing beats it."""

    label: str
    cost: float
    quality: float
    unbeaten: bool


def trade_off(choices: Sequence[Choice], x_label: str, y_label: str, reference: float | None) -> Markup:
    """Quality against cost with the Pareto front as a line; "" for fewer than two choices.

    `reference` is the float model's quality, a dashed line. Labels keep clear of points and of each other.
    """
    if len(choices) < 2:
        return Markup("")
    qualities = [choice.quality for choice in choices] + ([] if reference is None else [reference])
    low, high = min(qualities), max(qualities)
    margin = max((high - low) * 0.15, 0.002)
    low, high = max(0.0, low - margin), min(1.0, high + margin)
    most = max(choice.cost for choice in choices) * 1.05
    width, extent = WIDE - LEFT - RIGHT, SIZE - LEFT - RIGHT

    def place(choice: Choice) -> tuple[float, float]:
        return LEFT + choice.cost / most * width, TOP + (high - choice.quality) / (high - low) * extent

    parts = [_tick_x(LEFT + value / most * width, TOP + extent, _short(value)) for value in _ticks(0, most)]
    parts += [
        _tick_y(LEFT, TOP + (high - value) / (high - low) * extent, f"{value * 100:g}")
        for value in _ticks(low, high)
    ]
    parts.append(
        Markup('<path class="axis" d="M{0} {1}V{2}H{3}"/>').format(LEFT, TOP, TOP + extent, LEFT + width)
    )
    if reference is not None:
        y = TOP + (high - reference) / (high - low) * extent
        parts.append(Markup('<path class="reference" d="M{} {:.2f}h{}"/>').format(LEFT, y, width))
        parts.append(Markup('<text class="quiet" x="{}" y="{:.2f}">float</text>').format(LEFT + 4, y - 3))
    front = sorted((place(choice) for choice in choices if choice.unbeaten), key=lambda at: (at[0], -at[1]))
    if len(front) > 1:
        line = "L".join(f"{x:.2f} {y:.2f}" for x, y in front)
        parts.append(Markup('<path class="front" d="M{}"/>').format(Markup(line)))
    parts += _marked(choices, [place(choice) for choice in choices])
    title = f"{y_label} against {x_label} of {len(choices)} ways to run the model"
    body = Markup("").join(parts)
    return _svg(WIDE, TOP + extent + BOTTOM, title, body + _labels(x_label, y_label, width, extent))


def _marked(choices: Sequence[Choice], places: Sequence[tuple[float, float]]) -> Iterator[Markup]:
    """A point for each choice and its label beside it, moved down while something is in the way."""
    taken = [(x - 5, x + 5, y + 3.5) for x, y in places]
    for choice, (x, y) in sorted(zip(choices, places, strict=True), key=lambda pair: pair[1]):
        text_width = 5.6 * len(choice.label)
        left = x + 7 if x + 7 + text_width < WIDE else x - 7 - text_width
        text_y, right = y - 6, left + text_width
        while any(abs(text_y - at) < 10 and left < end and start < right for start, end, at in taken):
            text_y += 10
        taken.append((left, right, text_y))
        yield Markup(
            '<circle class="{}" cx="{:.2f}" cy="{:.2f}" r="4"><title>{}: {}, {}</title></circle>'
            '<text class="name" x="{:.2f}" y="{:.2f}">{}</text>'
        ).format(
            "device" if choice.unbeaten else "beaten",
            x,
            y,
            choice.label,
            f"{choice.quality * 100:.2f} %",
            grouped(choice.cost),
            left,
            text_y,
            choice.label,
        )


def _short(value: float) -> str:
    """1500000 as "1.5 M"."""
    for power, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= power:
            return f"{value / power:g}\u00a0{suffix}"
    return f"{value:g}"


def histogram(counts: Sequence[int], unit: str) -> Markup:
    """How often each count came, in up to `HISTOGRAM_BINS` bins of whole counts; "" when all are equal."""
    values = np.asarray(counts, dtype=np.int64)
    if not values.size or values.min() == values.max():
        return Markup("")
    low, high = int(values.min()), int(values.max())
    step = math.ceil((high - low + 1) / HISTOGRAM_BINS)
    heights = np.bincount((values - low) // step)
    width, extent = SIZE - LEFT - RIGHT, SIZE - LEFT - RIGHT
    bar = width / len(heights)
    bars = [
        Markup(
            '<rect class="device" x="{:.2f}" y="{:.2f}" width="{:.2f}" height="{:.2f}">'
            "<title>{}</title></rect>"
        ).format(
            LEFT + number * bar,
            TOP + extent * (1 - height / heights.max()),
            max(bar - 1, 0.5),
            extent * height / heights.max(),
            f"{grouped(low + number * step)} … {grouped(low + (number + 1) * step - 1)}: {height}",
        )
        for number, height in enumerate(heights.tolist())
        if height
    ]
    ticks = [
        _tick_x(LEFT, TOP + extent, grouped(low), "start"),
        _tick_x(LEFT + width, TOP + extent, grouped(high), "end"),
        *(
            _tick_y(LEFT, TOP + extent * (1 - value / heights.max()), small(value))
            for value in _ticks(0, float(heights.max()))
            if value == round(value)
        ),
    ]
    frame = Markup('<path class="axis" d="M{0} {1}V{2}H{3}"/>').format(LEFT, TOP, TOP + extent, LEFT + width)
    title = f"Distribution of {unit} over {grouped(values.size)} inferences"
    body = Markup("").join([*ticks, *bars, frame])
    return _svg(SIZE, TOP + extent + BOTTOM, title, body + _labels(unit, "inferences", width, extent))


def _ticks(low: float, high: float) -> Iterator[float]:
    """Three to six round values within low..high."""
    raw = (high - low) / 4
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= raw * 0.999)
    for number in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1):
        yield number * step


def _tick_x(x: float, y: float, text: str, anchor: str = "middle") -> Markup:
    mark = Markup('<path class="axis" d="M{0:.2f} {1}v4"/>').format(x, y)
    return mark + Markup('<text x="{:.2f}" y="{}" text-anchor="{}">{}</text>').format(x, y + 16, anchor, text)


def _tick_y(x: float, y: float, text: str) -> Markup:
    mark = Markup('<path class="axis" d="M{0} {1:.2f}h-4"/>').format(x, y)
    return mark + Markup('<text x="{}" y="{:.2f}" text-anchor="end">{}</text>').format(x - 7, y + 3.5, text)


def _labels(x_label: str, y_label: str, width: float, height: float) -> Markup:
    bottom = Markup('<text class="label" x="{}" y="{}" text-anchor="middle">{}</text>').format(
        LEFT + width / 2, TOP + height + 34, x_label
    )
    side = Markup(
        '<text class="label" transform="translate(11 {}) rotate(-90)" text-anchor="middle">{}</text>'
    )
    return bottom + side.format(TOP + height / 2, y_label)


def _svg(width: float, height: float, title: str, body: Markup) -> Markup:
    opening = Markup('<svg class="plot" viewBox="0 0 {} {}" role="img" aria-label="{}">').format(
        width, height, title
    )
    return opening + Markup("<title>{}</title>").format(escape(title)) + body + Markup("</svg>")
