"""A made-up run for the report's tests: every verdict, gaps and no gaps, and text that means harm.

No figure in here was measured on anything.
"""

import numpy as np
from numpy.typing import NDArray

from harness.records.schema import (
    Accuracy,
    CountStatistics,
    Divergence,
    InputRegion,
    ItemRecord,
    LayerRecord,
    LsbBin,
    Measurement,
    Memory,
    Night,
    QuantisationGap,
    RunRecord,
    RuntimeGap,
    Sample,
    Trend,
)

INJECTION = "</script><script>window.injected = true</script><img src=x onerror='window.injected = true'>"
INSTRUCTIONS = "instructions (emulated)"


DIVERGENCE = Divergence(
    sample=0,
    index=1,
    op="SOFTMAX",
    name=f"softmax {INJECTION}",
    shape=(1, 10),
    dtype="int8",
    max_lsb=5,
    mismatching_elements=3,
    elements=10,
    histogram=(LsbBin(-7, -4, 1), LsbBin(0, 0, 7), LsbBin(1, 1, 2)),
    worst_index=(0, 3),
    worst_device=-7.0,
    worst_oracle=-2.0,
    inputs=(InputRegion("dense", "[0, :]", 10, tuple(float(value) for value in range(10))),),
    later=0,
    reproducer="divergence.npz",
    command="harness diff-layers reports/made-up/divergence.npz",
)


MEASUREMENTS = (
    Measurement("arena", "memory_arena_bytes", "bytes", "room", "9000 or less", 9872.0, "FAIL", "9872"),
    Measurement(
        f"speed {INJECTION}", "count_median", INSTRUCTIONS, INJECTION, INJECTION, 5e5, "PASS", INJECTION, 5e5,
        INJECTION,
    ),
    Measurement("time", "latency_us_p99", "us", "", "10000 or less", None, "UNSET", "not measured"),
)  # fmt: skip


def trend(
    medians: tuple[float | None, ...], samples: int, baseline: int | None = None, **same: object
) -> Trend:
    """A night for each median, None one that broke; on the data of the item with so many samples."""
    fields = {"fidelity": "isa", "board": "made-up-esp32s3", "count_unit": INSTRUCTIONS, "data": "da7a"}
    nights = tuple(
        Night(
            run_id=f"night-{number}",
            started=f"2025-12-{number + 1:02d}T03:00:00+00:00",
            outcome="passed" if median else "error",
            commit=f"c0ffee{number}",
            samples=samples if median else None,
            max_lsb=0 if median else None,
            top1=0.951 if median else None,
            agreement=0.997,
            count_median=median,
            flash_bytes=112_345,
            arena_bytes=9872,
            **(fields | same),  # type: ignore[arg-type]
        )
        for number, median in enumerate(medians)
    )
    return Trend(nights, None if baseline is None else nights[baseline])


def samples(number: int, varying: bool = False, off: int = 0, seed: int = 1) -> list[Sample]:
    """`off`: how many samples, from the first on, differ from the oracle by 1/256 in one score."""
    rng = np.random.default_rng(seed)
    made = []
    for index in range(number):
        label = int(rng.integers(10))
        logits = rng.normal(0, 1, 10)
        logits[label] += 6 if rng.random() > 0.05 else -2
        reference = np.exp(logits) / np.exp(logits).sum()
        oracle = np.rint(reference * 256) / 256
        device = oracle.copy()
        if index < off:
            device[3] += 1 / 256
        made.append(
            Sample(
                index=index,
                label=label,
                device_class=int(device.argmax()),
                oracle_class=int(oracle.argmax()),
                reference_class=int(reference.argmax()),
                max_lsb=int(index < off),
                mismatching_elements=int(index < off),
                count=500_000 + (int(rng.integers(2000)) if varying else 0),
                time_us=77,
                retries=0,
                device_scores=tuple(device.tolist()),
                oracle_scores=tuple(oracle.tolist()),
                reference_scores=tuple(reference.tolist()),
            )
        )
    return made


def item(
    target: str, model: str, batch: list[Sample], outcome: str = "passed", **changes: object
) -> ItemRecord:
    """An emulated tflm item with all its figures."""
    number = len(batch)
    off = sum(sample.mismatching_elements for sample in batch)
    counts = [sample.count for sample in batch if sample.count is not None]
    fields: dict[str, object] = {
        "fidelity": "isa",
        "board": f"made-up-{target}",
        "runtime_gap": RuntimeGap(
            int(off > 0), off, number * 10, off, number, 10, 2, ("1 SOFTMAX",) if off else ()
        ),
        "quantisation_gap": QuantisationGap("onnxruntime", 0.997, 0.0625, 0.0003, 0.002, 0.9998, number),
        "accuracy": Accuracy(0.951, 0.951, 0.953, number),
        "counts": CountStatistics(INSTRUCTIONS, min(counts), float(np.median(counts)), max(counts), number),
        "memory": Memory(112_345, 21_000, 88_000, 42_000, 9872, 55_000, 8192, 1312),
        "layers": (
            LayerRecord(0, "FULLY_CONNECTED", "dense", (1, 10), 7840, 480_000, 0, 0),
            LayerRecord(1, "SOFTMAX", "softmax", (1, 10), 0, 20_000, int(off > 0), off),
        ),
        "wire": {"frames_sent": number + 3, "crc_errors": 0},
        "provenance": {"artifact": "ab" * 32, "compiler": "made-up 1.0", "data": "da7a"},
        "duration_s": 2.5,
        "log": "boot\nready\n",
    }
    named = {"runtime": "tflm", "kernels": "portable", "outcome": outcome}
    return ItemRecord(target, model, **(named | fields | changes))  # type: ignore[arg-type]


def fabricated(
    number: int = 40,
) -> tuple[RunRecord, dict[str, list[Sample]], dict[str, NDArray[np.uint8]]]:
    """Five items (exact, failed, hostile, on silicon, broken build), their samples and images."""
    batches = [
        samples(number),
        samples(number, varying=True, off=3, seed=2),
        samples(number, seed=3),
        samples(number, varying=True, seed=4),
    ]
    silicon_counts = CountStatistics("cycles", 500_000, 500_900.0, 501_999, number)
    items = (
        item(
            "esp32s3",
            "mlp",
            batches[0],
            trend=trend((490_000.0,) * 9 + (None, 495_000.0), number, baseline=0),
        ),
        item(
            "esp32s3",
            "cnn",
            batches[1],
            "failed",
            failures=("runtime gap: expected 0 LSB, found 1 LSB",),
            divergence=DIVERGENCE,
            measurements=MEASUREMENTS,
            trend=Trend(),
        ),
        item(
            "esp32c3",
            f"evil {INJECTION}",
            batches[2],
            board=INJECTION,
            log=INJECTION,
            trend=trend((5e5, 5e5), number, board=INJECTION),
        ),
        item(
            "esp32",
            "mlp",
            batches[3],
            fidelity="silicon",
            counts=silicon_counts,
            latency=CountStatistics("us", 77, 77.0, 77, number),
            trend=trend((5e5, 5.01e5), number, fidelity="silicon", board="another", count_unit="cycles"),
        ),
        ItemRecord(
            "esp32p4",
            "mlp",
            "espdl",
            "vendor",
            "error",
            error=f"expected a build; {INJECTION}",
            log="ninja: failed",
        ),
    )
    run = RunRecord(
        "20260102-030405-abcd",
        "2026-01-02T03:04:05+00:00",
        f"pytest {INJECTION}",
        {"name": "made-up"},
        items,
        21.5,
    )
    keyed = {made.key: batch for made, batch in zip(items, batches, strict=False)}
    images = np.random.default_rng(5).integers(0, 256, (number, 28, 28), dtype=np.uint8)
    return run, keyed, dict.fromkeys(keyed, images)
