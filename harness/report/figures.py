"""How figures are worded and which ones there are: once, for every kind of report.

None becomes a dash and never 0; an emulated count is called so wherever it stands. This
module formats what the records hold and computes no measurement.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence

from harness.records.schema import (
    CountStatistics,
    ItemRecord,
    Measurement,
    Memory,
    QuantisationGap,
    Reconstruction,
    RunRecord,
)

DASH = "–"  # noqa: RUF001 - the typographic dash that stands for "not known"
VERDICTS = {"passed": "PASSED", "failed": "FAILED", "error": "ERROR"}
FIDELITIES = {
    "silicon": "the chip itself",
    "soc": "an emulator of the whole chip, running the flash image",
    "isa": "an emulator of the same instruction set on another machine, not of the chip",
    "host": "this computer, not the target's instruction set",
}
ISA_NOTICE = (
    "Fidelity isa: the firmware ran on an emulator of the target's instruction set, not on the chip. "
    "Its integer arithmetic is the target's own, so results compare integer for integer. Counts are "
    "instructions (emulated): they are no cycles and no time, and no latency gate acted on them."
)

Figure = int | float | str | None


def grouped(value: float | None, digits: int = 0) -> str:
    """1234567 as "1 234 567" with no-break spaces."""
    return DASH if value is None else f"{value:,.{digits}f}".replace(",", "\u00a0")


def grouped_in(text: str) -> str:
    """A sentence with its long whole numbers grouped; what stands in names, hashes and fractions is left."""
    return re.sub(r"(?<![\w.])\d{4,}(?![\w.]|-)", lambda found: grouped(int(found[0])), text)


def percent(share: float | None) -> str:
    """0.9453 as "94.53 %"; shares run 0..1."""
    return DASH if share is None else f"{share * 100:.2f}\u00a0%"


def decibels(ratio_db: float | None) -> str:
    """41.25 as "41.25 dB"."""
    if ratio_db is None:
        return DASH
    return (
        f"{ratio_db:.2f}\u00a0dB" if math.isfinite(ratio_db) else f"{'∞' if ratio_db > 0 else '-∞'}\u00a0dB"
    )


def closeness(gap: QuantisationGap | None) -> str:
    """How near the oracle is to the float model: the share of equal classes, or where there are none the
    signal-to-noise ratio.
    """
    if gap is None or gap.agreement is not None:
        return percent(gap.agreement if gap else None)
    return decibels(gap.snr_db)


def closeness_value(gap: QuantisationGap | None) -> float | None:
    """What `closeness` says, as a number."""
    if gap is None:
        return None
    return gap.snr_db if gap.agreement is None else gap.agreement


def small(value: float | None) -> str:
    """Four significant digits."""
    return DASH if value is None else f"{value:.4g}"


def byte_size(size_bytes: int | None) -> str:
    """Bytes below 1 KiB as they are, above in KiB."""
    if size_bytes is None:
        return DASH
    return f"{size_bytes}\u00a0B" if abs(size_bytes) < 1024 else f"{grouped(size_bytes / 1024, 1)}\u00a0KiB"


def duration(seconds: float) -> str:
    minutes, rest = divmod(seconds, 60)
    return f"{minutes:.0f} min {rest:.0f} s" if minutes else f"{rest:.1f}\u00a0s"


def many(count: int, noun: str) -> str:
    """ "1 layer", "12 layers"."""
    return f"{grouped(count)}\u00a0{noun}{'' if count == 1 else 's'}"


def count_unit(item: ItemRecord) -> str | None:
    """What this item's counts are, or None where they mean nothing.

    On fidelity isa only instructions mean something: cycles and microseconds of an
    emulator are the host's and are withheld.
    """
    if item.counts is None:
        return None
    unit = item.counts.unit
    if item.fidelity == "isa":
        return "instructions (emulated)" if unit.startswith("instructions") else None
    return unit_name(unit)


def unit_name(unit: str) -> str:
    """As people write it: "us" is µs."""
    return {"us": "µs"}.get(unit, unit)


def count_range(item: ItemRecord) -> str:
    """Median and range with the unit: "412 345 [412 000 … 413 000] instructions (emulated)"."""
    unit = count_unit(item)
    if item.counts is None or unit is None:
        return DASH
    counts = item.counts
    spread = f"[{grouped(counts.minimum)} … {grouped(counts.maximum)}]"
    return f"{grouped(counts.median)} {spread} {unit}"


def micros(item: ItemRecord) -> str:
    """Median and range of the times, where the device has a clock that means something."""
    latency = item.latency
    if latency is None:
        return DASH
    spread = f"[{grouped(latency.minimum)} … {grouped(latency.maximum)}]"
    return f"{grouped(latency.median)} {spread} µs{' of this computer' if item.fidelity == 'host' else ''}"


def spread(counts: CountStatistics) -> list[str]:
    """Interval, tail, outliers, drift and cold start, a phrase each; what is not known is left out."""
    if counts.minimum == counts.maximum and counts.cold in (None, counts.minimum):
        return [f"the same in all {grouped(counts.samples)}"]
    found = []
    if len(counts.median_interval) == 2:
        low, high = counts.median_interval
        found.append(f"95\u00a0% interval of the median {grouped(low)} … {grouped(high)}")
    if counts.deviation is not None:
        found.append(f"p90 {grouped(counts.p90)}, p99 {grouped(counts.p99)}, MAD {grouped(counts.deviation)}")
    if counts.outliers:
        shown = ", ".join(map(str, counts.outlier_samples[:5]))
        more = ", …" if counts.outliers > len(counts.outlier_samples[:5]) else ""
        found.append(f"{many(counts.outliers, 'outlier')}, kept: samples {shown}{more}")
    if counts.drift is not None:
        found.append(f"drift {counts.drift.change:+.2%} (p {counts.drift.p:.2g})")
    if counts.cold is not None:
        found.append(f"cold start {grouped(counts.cold)}")
    return found


def answer(number: int | None, scores: Sequence[float] | None) -> str:
    """A class with its score: "7 (0.93)"."""
    if number is None:
        return DASH
    return f"{number} ({scores[number]:.3g})" if scores and 0 <= number < len(scores) else str(number)


TROUBLE = (
    ("crc_errors", "CRC error"),
    ("device_bad_frames", "bad frame at the device"),
    ("retries", "repeated request"),
    ("restarts", "restart"),
)


def wire_health(wire: Mapping[str, int]) -> list[tuple[str, bool]]:
    """The wire in a few phrases, each with whether it is trouble; [] of a board that speaks no protocol."""
    if "frames_sent" not in wire:
        return []
    phrases = [
        (f"{grouped(wire['frames_sent'])} frames out, {grouped(wire.get('frames_received'))} in", False)
    ]
    trouble = [(many(wire[name], noun), True) for name, noun in TROUBLE if wire.get(name)]
    return phrases + (trouble or [("no damage, no repeats", False)])


def measurement(one: Measurement) -> str:
    """ "PASS 19 KiB of the ...": the verdict, what was found, what was declared."""
    doc = f" ({one.doc})" if one.doc else ""
    unit = f" {one.unit}" if one.unit else ""
    return f"{one.verdict}: {one.reason or DASH}; declared: {one.limits}{unit}{doc}"


def runtime_label(item: ItemRecord) -> str:
    unit = f" on {item.unit}" if item.unit else ""
    return f"{item.runtime}/{item.kernels}{unit}"


def runtime_gap(item: ItemRecord) -> str:
    gap = item.runtime_gap
    if gap is None:
        return DASH
    return f"{gap.max_lsb} LSB, {grouped(gap.mismatching_elements)} of {grouped(gap.elements)} differ"


def layers_checked(item: ItemRecord) -> str:
    gap = item.runtime_gap
    if gap is None or not gap.layer_samples:
        return DASH
    return f"{many(gap.layers, 'layer')} × {many(gap.layer_samples, 'sample')}"  # noqa: RUF001


def tally(run: RunRecord) -> dict[str, int]:
    """Items by outcome, in the order passed, failed, error."""
    return {outcome: sum(item.outcome == outcome for item in run.items) for outcome in VERDICTS}


def verdict_sentence(run: RunRecord) -> str:
    """ "3 passed, 1 error of 4 items"."""
    counts = [f"{count} {outcome}" for outcome, count in tally(run).items() if count]
    return f"{', '.join(counts) or 'nothing ran'} of {many(len(run.items), 'item')}"


def own_time(run: RunRecord) -> str:
    """The harness's own time, without the device; "" where nothing ran to its end."""
    ran = [item for item in run.items if item.harness_s is not None and item.runtime_gap is not None]
    images = sum(item.runtime_gap.samples for item in ran if item.runtime_gap)
    if not images:
        return ""
    own_ms = 1000 * sum(item.harness_s or 0.0 for item in ran) / images
    return f"the harness's own processor time: {own_ms:.2f} ms per image, of {many(images, 'image')}"


def runtime_gap_explained(item: ItemRecord) -> str:
    """One sentence: what was found and who is to blame."""
    gap = item.runtime_gap
    if gap is None:
        return "Not measured: the run did not get so far."
    if gap.exact:
        layers = (
            f", and in all {many(gap.layers, 'layer')} of {grouped(gap.layer_samples)} of them"
            if gap.layer_samples
            else ""
        )
        return (
            f"The device returned exactly the oracle's integers in all {grouped(gap.elements)} output "
            f"elements of {many(gap.samples, 'sample')}{layers}: kernels, build and transport are right."
        )
    where = f" The first layer that differs is {gap.mismatching_layers[0]}." if gap.mismatching_layers else ""
    return (
        f"{grouped(gap.mismatching_elements)} of {grouped(gap.elements)} output elements, in "
        f"{grouped(gap.mismatching_samples)} of {many(gap.samples, 'sample')}, differ by up to "
        f"{gap.max_lsb} LSB. The same integers went in: kernels, build or transport are to blame, "
        f"not quantisation.{where}"
    )


def quantisation_gap_explained(item: ItemRecord) -> str:
    """One sentence: what was found and who is to blame."""
    gap = item.quantisation_gap
    if gap is None:
        return "Not measured: there was no float reference, or the run did not get so far."
    found = "differs: its scores"
    if gap.agreement is not None:
        found = f"picks the same class in {percent(gap.agreement)} of them; its scores"
    elif gap.snr_db is not None:
        found = f"has a signal-to-noise ratio of {decibels(gap.snr_db)}; its values"
    return (
        f"Against {gap.reference} over {many(gap.samples, 'sample')} the oracle {found} "
        f"are off by at most {small(gap.max_abs)}. That is the price of quantisation, "
        "the same on any hardware: the firmware has no part in it."
    )


def memory_line(memory: Memory) -> str:
    """Each size with what it may be: "flash 31 KiB of 4 096 KiB, ..."."""
    flash = of(memory.flash_bytes, memory.flash_budget_bytes)
    ram = of(memory.ram_bytes, memory.ram_budget_bytes)
    return (
        f"flash {flash}, static RAM {ram}, arena {byte_size(memory.arena_bytes)}, "
        f"stack {of(memory.stack_used_bytes, memory.stack_bytes)}"
    )


def least_free(memory: Memory) -> str:
    """What heap and stacks came down to: "heap 98.0 KiB of 270.0 KiB (36 %); stacks: main 9 KiB, IDLE 700 B";
    "" on a device that has neither a heap nor several tasks.
    """
    parts = []
    if memory.heap_bytes:
        parts.append(f"heap {of(memory.heap_low_bytes, memory.heap_bytes)}")
    if stacks := task_stacks(memory):
        parts.append(f"stacks: {stacks}")
    return "; ".join(parts)


def task_stacks(memory: Memory) -> str:
    """Every task with the least that was ever free of its stack; "" of a device that has but one."""
    if len(memory.tasks) < 2:
        return ""
    return ", ".join(f"{task.name} {byte_size(task.low_bytes)}" for task in memory.tasks)


def of(used: int | None, budget: int | None) -> str:
    """ "96 KiB of 512.0 KiB (19 %)"; without the budget where it is not known."""
    if used is None or not budget:
        return byte_size(used)
    return f"{byte_size(used)} of {byte_size(budget)} ({percent(used / budget)})"


def arena(memory: Memory) -> str:
    """What the activations need, planned and used; "" where it is not known."""
    if memory.arena_planned_bytes is None:
        return ""
    least = ""
    if memory.arena_least_bytes not in (None, memory.arena_planned_bytes):
        least = f"; {byte_size(memory.arena_least_bytes)} are alive at the busiest layer"
    elif memory.arena_least_bytes is not None:
        least = ", which is as little as its busiest layer needs"
    used = f", the device used {byte_size(memory.arena_used_bytes)}" if memory.arena_used_bytes else ""
    return f"Activations are planned into {byte_size(memory.arena_planned_bytes)}{least}{used}."


def memory_parts(memory: Memory) -> tuple[list[tuple[str, int]], list[tuple[str, int]]]:
    """Flash and RAM as (name, bytes) parts, empty ones left out; [] where the whole is unknown."""
    text, rodata, arena = memory.text_bytes or 0, memory.rodata_bytes or 0, memory.arena_bytes or 0
    flash = [
        ("code", text),
        ("constants", rodata),
        ("initial data", (memory.flash_bytes or 0) - text - rodata),
    ]
    ram = [
        ("arena", arena),
        ("other static", (memory.ram_bytes or 0) - arena),
        ("stack", memory.stack_bytes or 0),
    ]
    return (
        [] if memory.flash_bytes is None else [part for part in flash if part[1] > 0],
        [] if memory.ram_bytes is None else [part for part in ram if part[1] > 0],
    )


def flat_figures(item: ItemRecord) -> dict[str, Figure]:
    """Every figure of an item under one plain name: CSV columns and JUnit properties.

    Shares run 0..1; `count_*` are in `count_unit` and None where the unit means nothing.
    """
    figures: dict[str, Figure] = {
        "item": item.key,
        "target": item.target,
        "model": item.model,
        "runtime": item.runtime,
        "scheme": item.scheme,
        "task": item.task,
        "kernels": item.kernels,
        "board": item.board,
        "fidelity": item.fidelity,
        "outcome": item.outcome,
        "duration_s": item.duration_s,
    }
    unit = count_unit(item)
    groups: list[tuple[str, object, str]] = [
        (
            "runtime_gap",
            item.runtime_gap,
            "max_lsb mismatching_elements elements mismatching_samples samples layers layer_samples",
        ),
        (
            "quantisation_gap",
            item.quantisation_gap,
            "reference agreement max_abs mean_abs rmse cosine samples snr_db",
        ),
        ("top1", item.accuracy, "device oracle reference samples"),
        (
            "reconstruction",
            item.reconstruction,
            "mse_device mse_oracle mse_reference auc_device auc_oracle auc_reference recordings",
        ),
        ("count", item.counts if unit else None, "minimum median maximum samples p90 p99 deviation cold"),
        ("latency_us", item.latency, "minimum median maximum p90 p99 deviation cold"),
        (
            "memory",
            item.memory,
            "flash_bytes text_bytes rodata_bytes ram_bytes arena_bytes model_bytes stack_bytes "
            "stack_used_bytes arena_used_bytes arena_planned_bytes arena_least_bytes heap_bytes "
            "heap_low_bytes ram_budget_bytes flash_budget_bytes task_stack_low_bytes",
        ),
    ]
    for prefix, group, names in groups:
        figures |= {f"{prefix}_{name}": getattr(group, name, None) for name in names.split()}
    gap = item.runtime_gap
    figures["runtime_gap_mismatching_layers"] = " ".join(gap.mismatching_layers) if gap else None
    figures["count_unit"] = unit
    figures["measurements_failed"] = sum(one.verdict == "FAIL" for one in item.measurements)
    figures["measurements_unset"] = sum(one.verdict == "UNSET" for one in item.measurements)
    figures |= {f"wire_{name}": value for name, value in item.wire.items()}
    return figures


def reconstruction_lines(found: Reconstruction) -> Iterator[tuple[str, str]]:
    """Names and texts: the error of an autoencoder, and what it tells apart where there are labels."""
    errors = (found.mse_device, found.mse_oracle, found.mse_reference)
    yield "reconstruction", "mean squared error: device {}, oracle {}, float {}".format(*map(small, errors))
    if found.auc_device is not None:
        areas = (small(area) for area in (found.auc_device, found.auc_oracle, found.auc_reference))
        of = many(found.recordings, "recording")
        yield "AUC", "device {}, oracle {}, float {}, over ".format(*areas) + of
