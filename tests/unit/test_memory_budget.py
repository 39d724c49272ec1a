"""The target's memory as a budget, and how sizes are worded."""

from dataclasses import replace
from pathlib import Path

import pytest

from harness.items import Item
from harness.measure.gates import Declared
from harness.model.measurements import Scoped
from harness.model.spec import ModelSpec
from harness.records.schema import Measurement, Memory, TaskStack
from harness.report.figures import arena, least_free, memory_line
from harness.targets import get_target
from harness.verdicts import judged
from tests.fabricated_run import item, samples

FITS = Memory(112_345, 21_000, 88_000, 42_000, 9872, 55_000, 8192, 1312, 9872, 9872, 9000)
C3 = get_target("esp32c3")


def budgets(memory: Memory | None, *declared: Declared) -> dict[str, Measurement]:
    batch = samples(5)
    model = ModelSpec("mlp", artifacts={}, measurements=tuple(map(Scoped, declared)))
    record = item("esp32c3", "mlp", batch, memory=memory)
    found = judged(Item(C3, model, "tflm", "portable"), record, batch, Path("/nowhere"))
    return {one.name: one for one in found}


def test_what_fits_passes_and_what_does_not_fails() -> None:
    assert {name: one.verdict for name, one in budgets(FITS).items()} == {
        "RAM budget": "PASS", "flash budget": "PASS", "stack budget": "PASS"
    }  # fmt: skip
    for name, figure, size in (
        ("RAM budget", "ram_bytes", C3.sram_bytes - 8191),
        ("flash budget", "flash_bytes", C3.flash_bytes + 1),
        ("stack budget", "stack_used_bytes", 8193),
    ):
        found = budgets(replace(FITS, **{figure: size}))
        assert [key for key, one in found.items() if one.verdict == "FAIL"] == [name]


def test_a_models_own_limit_replaces_the_targets() -> None:
    own = Declared("flash", "memory_flash_bytes", "bytes", maximum=16e6)
    found = budgets(replace(FITS, flash_bytes=8_000_000), own)
    assert found["flash"].verdict == "PASS"
    assert "flash budget" not in found


@pytest.mark.parametrize("memory", [None, Memory(*[None] * 8)])
def test_unknown_sizes_say_nothing(memory: Memory | None) -> None:
    assert budgets(memory) == {}


def test_sizes_stand_beside_their_budgets() -> None:
    text = memory_line(replace(FITS, ram_budget_bytes=420_000, flash_budget_bytes=None)).replace(
        "\u00a0", " "
    )
    assert text == (
        "flash 109.7 KiB, static RAM 41.0 KiB of 410.2 KiB (10.00 %), arena 9.6 KiB, "
        "stack 1.3 KiB of 8.0 KiB (16.02 %)"
    )
    assert "8.8" in arena(FITS)
    assert "as little as its busiest layer needs" in arena(replace(FITS, arena_least_bytes=9872))
    assert arena(Memory(*[None] * 8)) == ""


CHIP = replace(
    FITS,
    heap_bytes=276_480,
    heap_low_bytes=100_352,
    tasks=(TaskStack("harness", 16384, 12288), TaskStack("IDLE", None, 700), TaskStack("ipc0", None, None)),
)


def test_the_least_that_was_free_of_heap_and_of_each_stack() -> None:
    assert least_free(FITS) == least_free(replace(FITS, tasks=(TaskStack("main", 8192, 6880),))) == ""
    said = " ".join(least_free(CHIP).split())  # its spaces do not break
    assert said.startswith("heap 98.0 KiB of 270.0 KiB (36")
    assert said.endswith("; stacks: harness 12.0 KiB, IDLE 700 B, ipc0 \N{EN DASH}")
    assert (CHIP.task_stack_low_bytes, FITS.task_stack_low_bytes) == (700, None)


@pytest.mark.parametrize(("least", "verdict"), [(512, "PASS"), (1024, "FAIL")])
def test_the_tightest_stack_can_be_a_measurement(least: int, verdict: str) -> None:
    declared = Declared("headroom", "memory_task_stack_low_bytes", minimum=least)
    assert budgets(CHIP, declared)["headroom"].verdict == verdict
    assert budgets(FITS, declared)["headroom"].verdict == "UNSET"
