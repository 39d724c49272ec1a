"""When the items of a night ran last, and how long that took: what its order is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import HarnessError
from harness.nightly.config import Job
from harness.nightly.schedule import Past

LOOKED_BACK = 20
"""How many of a model's earlier runs are searched for one of the item."""


@dataclass(frozen=True)
class Earlier:
    """By item key what the history knows; `trouble` says why nothing is known."""

    past: Mapping[str, Past]
    trouble: str = ""


def recall(jobs: Sequence[Job], reports_root: Path) -> Earlier:
    """Reads the history; one that is out of order costs no night."""
    from harness.history.store import History, default_url  # a third of a second

    past: dict[str, Past] = {}
    try:
        with History(default_url(reports_root)) as history:
            for job in jobs:
                entries = history.entries(job.model, target=job.target, runtime=job.runtime, last=LOOKED_BACK)
                own = [entry for entry in entries if entry.key == job.key]
                if own:
                    past[job.key] = Past(own[-1].started, history.record(own[-1]).duration_s)
    except HarnessError as error:
        return Earlier({}, f"nothing is known of earlier nights: {error}")
    return Earlier(past)
