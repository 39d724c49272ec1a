"""The report's plots of one run: scores, counts and what accuracy costs, as inline SVG.

Runs one after another, and inferences in their order, are drawn by `report.series`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from harness.report.figures import grouped, small
from harness.report.svg import (
    BOTTOM,
    LEFT,
    NOTE,
    RIGHT,
    SIZE,
    TOP,
    WIDE,
    frame,
    labels,
    note,
    short,
    svg,
    tick_x,
    tick_y,
    ticks,
)

MAX_POINTS = 4000
HISTOGRAM_BINS = 24

Array = NDArray[np.float64]


def scatter(x: Array, y: Array, x_label: str, y_label: str, series: str, most: int = MAX_POINTS) -> Markup:
    """Points (x, y) against the diagonal, both axes on one scale; "" when none is finite.

    `series` (device, oracle) chooses the colour.

    Points of one half pixel are drawn once, and at most `most` of the rest, and no more than `MAX_POINTS`,
    at even strides, so that the file stays small and the same run gives the same file. The plot says how
    many it draws where that is not all.
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
    taken = np.zeros((2 * extent + 1, 2 * extent + 1), bool)
    taken[tuple(np.rint((values - low) * scale * 2).astype(np.int64) for values in (x, y))] = True
    cells = np.argwhere(taken)
    cells = cells[:: math.ceil(len(cells) / min(most, MAX_POINTS))]
    points = "".join(f"M{LEFT + column / 2:g} {TOP + extent - row / 2:g}h0" for column, row in cells.tolist())
    title = f"{y_label} against {x_label}, {grouped(x.size)} points"
    marks = [
        Markup('<path class="grid" d="M{0} {1}L{2} {3}"/>').format(LEFT, TOP + extent, LEFT + extent, TOP)
    ]
    for value in ticks(low, high):
        offset = (value - low) * scale
        marks.append(tick_x(LEFT + offset, TOP + extent, small(value)))
        marks.append(tick_y(LEFT, TOP + extent - offset, small(value)))
    drawn = Markup('<path class="points {}" d="{}"/>').format(series, points)
    said = labels(x_label, y_label, extent, extent)
    if len(cells) < x.size:
        said += note(f"{grouped(len(cells))} of {grouped(x.size)} points drawn", extent)
    body = Markup("").join([*marks, frame(extent, extent), drawn, said])
    return svg(SIZE, TOP + extent + BOTTOM + NOTE, title, body)


@dataclass(frozen=True)
class Choice:
    """One way to run a model: what it costs, how good it is (0..1), whether nothing beats it."""

    label: str
    cost: float
    quality: float
    unbeaten: bool


def trade_off(choices: Sequence[Choice], x_label: str, y_label: str, reference: float | None) -> Markup:
    """Quality against cost with their Pareto front as steps; "" for fewer than two choices.

    `reference` is the float model's quality, a dashed line. Names keep clear of points and of each other.
    """
    if len(choices) < 2:
        return Markup("")
    qualities = [choice.quality for choice in choices] + ([] if reference is None else [reference])
    low, high = min(qualities), max(qualities)
    margin = max((high - low) * 0.15, 0.002)
    # Above 100 % there is nothing but room for the names of those that reach it.
    low, high = max(0.0, low - margin), high + margin
    most = max(choice.cost for choice in choices) * 1.05
    width, extent = WIDE - LEFT - RIGHT, SIZE - LEFT - RIGHT

    def place(choice: Choice) -> tuple[float, float]:
        return LEFT + choice.cost / most * width, TOP + (high - choice.quality) / (high - low) * extent

    parts = [tick_x(LEFT + value / most * width, TOP + extent, short(value)) for value in ticks(0, most)]
    parts += [
        tick_y(LEFT, TOP + (high - value) / (high - low) * extent, f"{value * 100:g}")
        for value in ticks(low, high)
        if value <= 1
    ]
    parts.append(frame(width, extent))
    if reference is not None:
        y = TOP + (high - reference) / (high - low) * extent
        parts.append(Markup('<path class="reference" d="M{} {:.2f}h{}"/>').format(LEFT, y, width))
        parts.append(Markup('<text class="quiet" x="{}" y="{:.2f}">float</text>').format(LEFT + 4, y - 3))
    corners = [place(choice) for choice in _front(choices)]
    line = f"M{corners[0][0]:.2f} {TOP + extent}" + "".join(f"H{x:.2f}V{y:.2f}" for x, y in corners)
    parts.append(Markup('<path class="front" d="{}H{}"/>').format(line, LEFT + width))
    parts += _marked(choices, [place(choice) for choice in choices])
    title = f"{y_label} against {x_label} of {len(choices)} ways to run the model"
    body = Markup("").join(parts)
    return svg(WIDE, TOP + extent + BOTTOM, title, body + labels(x_label, y_label, width, extent))


def _front(choices: Sequence[Choice]) -> list[Choice]:
    """Those that no cheaper one equals, the cheapest first; `unbeaten` may be more, by other costs."""
    front: list[Choice] = []
    for choice in sorted(choices, key=lambda each: (each.cost, -each.quality)):
        if not front or choice.quality > front[-1].quality:
            front.append(choice)
    return front


def _marked(choices: Sequence[Choice], places: Sequence[tuple[float, float]]) -> Iterator[Markup]:
    """A point for each choice and its name beside it, moved down while something is in the way, on a line to
    its point where it had to go far.
    """
    taken = [(x - 5, x + 5, y + 3.5) for x, y in places]
    for choice, (x, y) in sorted(zip(choices, places, strict=True), key=lambda pair: pair[1]):
        text_width = 6.2 * len(choice.label)
        left = x + 7 if x + 7 + text_width < WIDE else x - 7 - text_width
        text_y, right = max(y - 6, TOP), left + text_width
        while any(abs(text_y - at) < 10 and left < end and start < right for start, end, at in taken):
            text_y += 10
        taken.append((left, right, text_y))
        if text_y - y > 10:
            near = left - 2 if left > x else right + 2
            yield Markup('<path class="leader" d="M{:.2f} {:.2f}L{:.2f} {:.2f}"/>').format(
                x, y, near, text_y - 3
            )
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
    marks = [
        tick_x(LEFT, TOP + extent, grouped(low), "start"),
        tick_x(LEFT + width, TOP + extent, grouped(high), "end"),
        *(
            tick_y(LEFT, TOP + extent * (1 - value / heights.max()), small(value))
            for value in ticks(0, float(heights.max()))
            if value == round(value)
        ),
    ]
    title = f"Distribution of {unit} over {grouped(values.size)} inferences"
    body = Markup("").join([*marks, *bars, frame(width, extent)])
    return svg(SIZE, TOP + extent + BOTTOM, title, body + labels(unit, "inferences", width, extent))
