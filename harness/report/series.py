"""The report's plots over time, as inline SVG: an item's runs night after night, and the inferences of
one run in the order they came. What counts as worse is `report.trend`'s to say.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from harness.report.figures import grouped
from harness.report.svg import RIGHT, TOP, note, svg, tick_x, tick_y, ticks

WIDE = 370
LEFT = 72
"""Whole counts stand beside the axis."""
WIDTH = WIDE - LEFT - RIGHT
HEIGHT = 130
BELOW = 24
INSET = 8


@dataclass(frozen=True)
class Point:
    """One run in a trend. `kind` is passed, failed, worse or elsewhere (on another board); `text` what a
    pointer shows."""

    value: float
    kind: str
    text: str


@dataclass(frozen=True)
class _Axis:
    """Values from `low` at the foot of a plot to `high` at its top."""

    low: float
    high: float

    def y(self, value: float) -> float:
        return TOP + (self.high - value) / (self.high - self.low) * HEIGHT

    def drawn(self, show: Callable[[float], str], label: str, ends: tuple[str, str]) -> Iterator[Markup]:
        """Both axes; ticks that would read alike are one."""
        texts = {show(value): value for value in ticks(self.low, self.high)}
        yield from (tick_y(LEFT, self.y(value), text) for text, value in texts.items())
        yield tick_x(LEFT + INSET, TOP + HEIGHT, ends[0], "start")
        yield tick_x(LEFT + WIDTH - INSET, TOP + HEIGHT, ends[1], "end")
        yield Markup('<path class="axis" d="M{0} {1}v{2}h{3}"/>').format(LEFT, TOP, HEIGHT, WIDTH)
        yield Markup(
            '<text class="label" transform="translate(11 {}) rotate(-90)" text-anchor="middle">{}</text>'
        ).format(TOP + HEIGHT / 2, label)


def trend(
    points: Sequence[Point],
    baseline: float | None,
    label: str,
    ends: tuple[str, str],
    show: Callable[[float], str] = grouped,
) -> Markup:
    """Runs as steps from one to the next, the last the present one; "" for fewer than two.

    `baseline` is a dashed line; `ends` name the first run and the last. Points on other boards stand beside
    the steps.
    """
    if len(points) < 2:
        return Markup("")
    values = [point.value for point in points] + ([] if baseline is None else [baseline])
    margin = (max(values) - min(values)) * 0.2 or max(abs(values[0]) * 0.001, 1e-9)
    axis = _Axis(min(values) - margin, max(values) + margin)
    step = (WIDTH - 2 * INSET) / (len(points) - 1)
    places = [(LEFT + INSET + number * step, axis.y(point.value)) for number, point in enumerate(points)]
    parts = list(axis.drawn(show, label, ends))
    if baseline is not None:
        y = axis.y(baseline)
        parts.append(
            Markup(
                '<path class="reference" d="M{} {:.2f}h{}"/>'
                '<text class="quiet" x="{}" y="{:.2f}">baseline</text>'
            ).format(LEFT, y, WIDTH, LEFT + INSET, y - 4)
        )
    own = [at for at, point in zip(places, points, strict=True) if point.kind != "elsewhere"]
    if len(own) > 1:
        line = f"M{own[0][0]:.2f} {own[0][1]:.2f}" + "".join(f"H{x:.2f}V{y:.2f}" for x, y in own[1:])
        parts.append(Markup('<path class="steps" d="{}"/>').format(line))
    parts += [_mark(point, *at) for point, at in zip(points, places, strict=True)]
    title = f"{label} over {len(points)} runs, from {ends[0]} to {ends[1]}"
    return svg(WIDE, TOP + HEIGHT + BELOW, title, Markup("").join(parts))


def _mark(point: Point, x: float, y: float) -> Markup:
    """A dot; a triangle where it got worse, a cross where the run failed."""
    shapes = {
        "worse": f"M{x:.2f} {y - 6:.2f}l5.5 10h-11z",
        "failed": f"M{x - 4:.2f} {y - 4:.2f}l8 8m0 -8l-8 8",
    }
    shape = shapes.get(point.kind, f"M{x - 3:.2f} {y:.2f}a3 3 0 1 0 6 0a3 3 0 1 0 -6 0z")
    return Markup('<path class="mark {}" d="{}"><title>{}</title></path>').format(
        point.kind, shape, point.text
    )


def in_order(counts: Sequence[int], unit: str) -> Markup:
    """Every inference's count in the order they ran; "" when all are equal.

    Where there are too many for a stroke each, a stroke spans the least to the most of several, so that no
    outlier is lost, and the plot says so.
    """
    values = np.asarray(counts, dtype=np.int64)
    if not values.size or values.min() == values.max():
        return Markup("")
    axis = _Axis(float(values.min()), float(values.max()))
    columns = min(values.size, WIDTH)
    strokes = "".join(
        f"M{LEFT + (number + 0.5) * WIDTH / columns:.2f} {axis.y(part.max()):.1f}V{axis.y(part.min()):.1f}"
        for number, part in enumerate(np.array_split(values, columns))
    )
    parts = [*axis.drawn(grouped, unit, ("first", f"last of {grouped(values.size)}"))]
    parts.append(Markup('<path class="points device" d="{}"/>').format(strokes))
    if columns < values.size:
        each = math.ceil(values.size / columns)
        parts.append(note(f"a stroke spans the least to the most of {grouped(each)} inferences", HEIGHT))
    title = f"{unit}, {grouped(values.size)} inferences in their order"
    return svg(WIDE, TOP + HEIGHT + BELOW * 2, title, Markup("").join(parts))
