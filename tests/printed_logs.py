"""What the firmware of each dialect prints, made here in its published formats (docs/dialects.md)."""

from __future__ import annotations

from collections.abc import Sequence

END_MARK = "====================="


def tutorial0(scores: Sequence[float], latency_us: int = 487156, elapsed: bool = True) -> list[str]:
    lines = ["", f"SIGN::forward: {latency_us} us", "input : 63"]
    lines += [f"score[{index}] : {score:.7f}" for index, score in enumerate(scores)]
    lines.append(END_MARK)
    return [*lines, f"Elapsed time : {latency_us / 1000:.3f} miliseconds"] if elapsed else lines


def latency_print(label: str, value: int, unit: str = "us") -> str:
    return f"{label}: {value:15d} {unit}"


def espdl_v1_tutorial(scores: Sequence[int], latency_us: int) -> list[str]:
    prediction = scores.index(max(scores))
    shown = "".join(f"{score}, " for score in scores)
    return [f"MNIST::forward: {latency_us} us", shown, f"Prediction Result: {prediction}"]


def esp_log(text: str, tag: str = "dl::Model", level: str = "I", colour: int = 32) -> str:
    return f"\x1b[0;{colour}m{level} (1234) {tag}: {text}\x1b[0m"


def espdl_test(outputs: Sequence[str], mismatch: str | None = None) -> list[str]:
    lines = [esp_log(f"Testing output {name}.") for name in outputs]
    if mismatch:
        return [*lines, esp_log(f"Test output {mismatch} does not match", level="E", colour=31), ""]
    return [*lines, esp_log("Test Pass!")]


def _espdl_table(title: str, rows: Sequence[Sequence[str]], separate: Sequence[int]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    rule = "+-" + "-+-".join("-" * width for width in widths) + "-+"
    body = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    lines = [rule, f"|{title.center(len(rule) - 2)}|", rule]
    for index, row in enumerate(body):
        lines += [row, rule] if index in separate else [row]
    return [esp_log(line) for line in lines]


def espdl_profile(modules: Sequence[tuple[str, str, int]], unit: str = "us") -> list[str]:
    memory = [
        ("", "internal RAM", "PSRAM", "FLASH"),
        ("fbs_model", "1.52KB", "", "61.95KB"),
        (" -- parameter", "", "", " -- 54.13KB"),
        ("parameter_copy", "54.13KB", "", ""),
        ("variable", "12.27KB", "", ""),
        ("others", "3.01KB", "0.51KB", ""),
        ("total", "70.93KB", "0.51KB", "61.95KB"),
    ]
    total = sum(latency for _, _, latency in modules)
    rows = [(name, kind, f"{latency}{unit}") for name, kind, latency in [*modules, ("total", "", total)]]
    table = [("name", "type", "latency"), *rows]
    return [
        "",
        esp_log("model:mnist, version:1, description:int8, per tensor"),
        esp_log("MODEL LOCATION IN FLASH RODATA"),
        *_espdl_table("memory summary", memory, (0, 2, 3, 4, 5, 6)),
        "",
        *_espdl_table("module summary", table, range(len(table))),
        "",
    ]


EVENTS = [("CONV_2D", 4210), ("MAX_POOL_2D", 97), ("CONV_2D", 1630), ("FULLY_CONNECTED", 55), ("SOFTMAX", 8)]


def tflm_log(events: Sequence[tuple[str, int]] = EVENTS) -> list[str]:
    return [f"{tag} took {ticks} ticks ({ticks // 1000} ms)." for tag, ticks in events]


def tflm_csv(events: Sequence[tuple[str, int]] = EVENTS) -> list[str]:
    return ['"Event","Tag","Ticks"', *(f"{i},{tag},{ticks}" for i, (tag, ticks) in enumerate(events))]


def tflm_tags(events: Sequence[tuple[str, int]] = EVENTS) -> list[str]:
    sums: dict[str, int] = {}
    for tag, ticks in events:
        sums[tag] = sums.get(tag, 0) + ticks
    return [
        '"Unique Tag","Total ticks across all events with that tag."',
        *(f"{tag}, {ticks}" for tag, ticks in sums.items()),
        f'"total number of ticks", {sum(sums.values())}',
    ]


def person_detection(person: int, milliseconds: int, parts: bool = False) -> list[str]:
    score = f"person score:{person}%, no person score {100 - person}%"
    required = esp_log(f"Time required for the inference is {milliseconds} ms", tag="[esp_cli]")
    counted = ["Total time = 54", "FC time = 0", "conv time = 29"] if parts else []
    return [*counted, score, required]


def himax(scores: Sequence[int], one_line: bool = False) -> list[str]:
    best = max(scores)
    result = scores.index(best) if best > 0 else "unknown"
    pieces = ["number", *(f"[{index}]:{score}," for index, score in enumerate(scores)), f"result:{result}"]
    return ["".join(pieces)] if one_line else pieces


def captured(lines: Sequence[str], line_end: str = "\r\n") -> bytes:
    return "".join(line + line_end for line in lines).encode()
