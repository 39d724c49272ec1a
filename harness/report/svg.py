"""What every plot of the report is put together from: frame, ticks, labels. Colours are the style sheet's.

No plotting library: a handful of shapes does not warrant one, and the page has to stay one small file that
loads nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from markupsafe import Markup, escape

SIZE = 260
WIDE = 430
LEFT, BOTTOM, TOP, RIGHT = 46, 40, 10, 14
NOTE = 16


def ticks(low: float, high: float) -> Iterator[float]:
    """Three to six round values within low..high."""
    raw = (high - low) / 4
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= raw * 0.999)
    for number in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1):
        yield number * step


def short(value: float) -> str:
    """1500000 as "1.5 M"."""
    for power, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= power:
            return f"{value / power:g}\u00a0{suffix}"
    return f"{value:g}"


def tick_x(x: float, y: float, text: str, anchor: str = "middle") -> Markup:
    mark = Markup('<path class="axis" d="M{0:.2f} {1}v4"/>').format(x, y)
    return mark + Markup('<text x="{:.2f}" y="{}" text-anchor="{}">{}</text>').format(x, y + 16, anchor, text)


def tick_y(x: float, y: float, text: str) -> Markup:
    mark = Markup('<path class="axis" d="M{0} {1:.2f}h-4"/>').format(x, y)
    return mark + Markup('<text x="{}" y="{:.2f}" text-anchor="end">{}</text>').format(x - 7, y + 3.5, text)


def labels(x_label: str, y_label: str, width: float, height: float) -> Markup:
    bottom = Markup('<text class="label" x="{}" y="{}" text-anchor="middle">{}</text>').format(
        LEFT + width / 2, TOP + height + 34, x_label
    )
    side = Markup(
        '<text class="label" transform="translate(11 {}) rotate(-90)" text-anchor="middle">{}</text>'
    )
    return bottom + side.format(TOP + height / 2, y_label)


def frame(width: float, height: float) -> Markup:
    """The two axes of an area of that size."""
    return Markup('<path class="axis" d="M{0} {1}V{2}H{3}"/>').format(LEFT, TOP, TOP + height, LEFT + width)


def note(text: str, height: float) -> Markup:
    """A line below the labels; a plot that has one is `NOTE` higher."""
    return Markup('<text class="quiet" x="{}" y="{}">{}</text>').format(LEFT, TOP + height + BOTTOM + 8, text)


def svg(width: float, height: float, title: str, body: Markup) -> Markup:
    """`title` is what a screen reader says and a pointer shows."""
    opening = Markup('<svg class="plot" viewBox="0 0 {} {}" role="img" aria-label="{}">').format(
        width, height, title
    )
    return opening + Markup("<title>{}</title>").format(escape(title)) + body + Markup("</svg>")
