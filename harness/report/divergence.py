"""The first wrong layer in words: the same sentences on the terminal, in Markdown and in HTML."""

from __future__ import annotations

from collections.abc import Iterator

from harness.records.schema import Divergence, InputRegion, LsbBin
from harness.report.figures import grouped, many

SHOWN = 24


def title(found: Divergence) -> str:
    """ "layer 2 CONV_2D (conv2d_1/Relu), 1x11x11x16 int8, in sample 3"."""
    shape = "x".join(map(str, found.shape)) or "scalar"
    tensor = f"{short(found.name)}), {shape} {found.dtype}"
    return f"layer {found.index} {found.op} ({tensor}, in sample {found.sample}"


def short(name: str) -> str:
    """Converters join the names of all they fused with semicolons."""
    return name.split(";")[0]


def lines(found: Divergence) -> Iterator[tuple[str, str]]:
    """(what, text) of everything that is known, for a reader with the code at hand."""
    yield "first wrong layer", title(found)
    later = "" if found.later is None else f"; {many(found.later, 'later layer')} wrong too"
    yield (
        "its elements",
        f"{grouped(found.mismatching_elements)} of {grouped(found.elements)} differ, "
        f"by up to {found.max_lsb} LSB{later}",
    )
    off = [part for part in found.histogram if part.low or part.high]
    yield "device - oracle", ", ".join(f"{bin_label(part)}: {grouped(part.elements)}" for part in off)
    yield "worst element", worst(found)
    for part in found.inputs:
        yield "computed from", region(part)
    if found.command:
        yield "replay this layer", found.command


def worst(found: Divergence) -> str:
    at = ", ".join(map(str, found.worst_index))
    return f"[{at}]: device {found.worst_device:g}, oracle {found.worst_oracle:g}"


def bin_label(part: LsbBin) -> str:
    """ "+1", "-7…-4"; "0" for those that are right."""
    if part.low == part.high:
        return f"{part.low:+d}" if part.low else "0"
    return f"{part.low:+d}…{part.high:+d}"


def region(part: InputRegion) -> str:
    """The region and its first values."""
    if not part.elements:
        return f"{short(part.name)} {part.region}: no tap gives it"
    values = " ".join(f"{value:g}" for value in part.values[:SHOWN])
    more = f" … of {grouped(part.elements)}" if part.elements > min(SHOWN, len(part.values)) else ""
    return f"{short(part.name)} {part.region} = {values}{more}"
