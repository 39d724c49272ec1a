"""How well a board has done lately, and whether it is in quarantine: a small file per board, beside its lock.

Written only by who holds the board's lease, so that no two write at once. It judges nothing but boards:
a wrong number of a network is no fault of the board.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, replace

from harness.farm.leases import Leases, clock, replace_json

QUARANTINE_S = 3600.0
_KEPT = 20
_JUDGED_FROM = 3
_SICK_BELOW = 0.8
_SICK_DAMAGE = 1e-2


@dataclass(frozen=True)
class Outcome:
    """One item on the board. `frames` went both ways, `damaged` of them by the wire; `failure` is empty
    for a board that did its part."""

    when: float
    frames: int = 0
    damaged: int = 0
    recoveries: int = 0
    failure: str = ""


@dataclass(frozen=True)
class Health:
    """The last items of a board, oldest first, and its quarantine: until then it is given to nobody."""

    recent: tuple[Outcome, ...] = ()
    quarantined_until: float = 0.0
    reason: str = ""

    @property
    def quarantined(self) -> bool:
        return time.time() < self.quarantined_until

    @property
    def score(self) -> float:
        """Share of the last items that went without a failure and without a recovery, 0..1; 1 for none."""
        return self._good / len(self.recent) if self.recent else 1.0

    @property
    def _good(self) -> int:
        return sum(not outcome.failure and not outcome.recoveries for outcome in self.recent)

    @property
    def damage(self) -> float:
        """Damaged frames per frame."""
        return sum(each.damaged for each in self.recent) / max(1, sum(each.frames for each in self.recent))

    @property
    def sick(self) -> bool:
        """Enough is known, and it is bad: figures of this board want a second look."""
        bad = self.score < _SICK_BELOW or self.damage > _SICK_DAMAGE
        return self.quarantined or (len(self.recent) >= _JUDGED_FROM and bad)

    @property
    def last_failure(self) -> Outcome | None:
        return next((outcome for outcome in reversed(self.recent) if outcome.failure), None)

    def after(self, outcome: Outcome) -> Health:
        return replace(self, recent=(*self.recent, outcome)[-_KEPT:])

    def quarantine(self, reason: str, seconds: float = QUARANTINE_S) -> Health:
        return replace(self, quarantined_until=time.time() + seconds, reason=reason)

    def __str__(self) -> str:
        if not self.recent:
            return "no runs yet"
        said = f"{self._good} of the last {len(self.recent)} runs without a fault"
        said += f", {self.damage:.1e} of frames damaged" if self.damage else ""
        if (failure := self.last_failure) and not self.quarantined:
            said += f", last failure {clock(failure.when)}: {failure.failure}"
        return ("sick: " if self.sick else "") + said


def load_health(leases: Leases, key: str) -> Health:
    """What is known; nothing, where the file is not there or damaged."""
    try:
        found = json.loads(leases.file(key, "health.json").read_bytes())
        recent = tuple(Outcome(**outcome) for outcome in found.pop("recent"))
        health = Health(recent=recent, **found)
        str(health)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, OverflowError):
        return Health()
    return health


def save_health(leases: Leases, key: str, health: Health) -> None:
    """Raises OutputError. To be called by the board's holder."""
    replace_json(leases.file(key, "health.json"), asdict(health))
