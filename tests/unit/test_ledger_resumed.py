"""The books of a run that was killed more than once: what stands in them is not written over."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from harness.items import Item
from harness.ledger import Ledger
from harness.model.spec import ModelSpec
from harness.records.journal import Journal, read_journal
from harness.records.schema import Part, RunRecord, Sample
from harness.resume import JOURNAL, load_killed_run
from harness.targets import get_target

ITEM = Item(get_target("esp32c3"), ModelSpec("mlp", artifacts={}), "tflm", "portable")


def killed(run: Path, first: int, samples: int) -> str:
    """One more try of the item, killed when it had so many samples; the name of its wire log."""
    ledger = Ledger(run.parent, run, "test", resumed=load_killed_run(run.parent, str(run)))
    log = ledger.wire_log(ITEM)
    log.close()
    wire = ledger.entry(ITEM).wire
    assert wire is not None
    part = Part(str(wire.relative_to(run)), "uart.log", 0, 9, "a", "e", {}, 0, 1.0, 3, 10)
    ledger._journal.write_start(ITEM.key, dataclasses.replace(part, first=first))
    if samples:
        batch = [
            Sample(index, None, 1, 1, None, 0, 0, 7, None, 0, (1.0,), (1.0,), None)
            for index in range(first, first + samples)
        ]
        ledger._journal.write_samples(ITEM.key, batch, bytes(samples))
    ledger._journal.close()
    return wire.name


def test_the_wire_log_of_kept_samples_is_kept(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    with Journal(run / JOURNAL) as journal:
        journal.write_run(RunRecord("r", "now", "test", {}, ()), {})
    assert killed(run, 0, 0) == "wire.bin"
    assert killed(run, 0, 2) == "wire-2.bin"
    assert killed(run, 2, 1) == "wire-3.bin"
    assert killed(run, 3, 0) == "wire-4.bin"
    assert killed(run, 3, 1) not in {"wire-2.bin", "wire-3.bin"}
    progress = read_journal(run / JOURNAL).progress[ITEM.key]
    names = [Path(part.wire).name for part in progress.parts]
    assert len(progress.samples) == 4
    assert len(set(names)) == len(names) >= 3
