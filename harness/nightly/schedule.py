"""What runs next, and whether it still fits: order, budget, and who must wait for whom.

Plain arithmetic on jobs and a clock; it starts nothing and knows no processes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from harness.nightly.config import Job


@dataclass(frozen=True)
class Past:
    """When an item ran last, an ISO time, and how long that took."""

    started: str
    duration_s: float


NEVER = Past("", 0.0)


class Schedule:
    """The jobs that wait. The longest not run go first, of those equally long ago the longest."""

    def __init__(
        self,
        jobs: Sequence[Job],
        past: Mapping[str, Past],
        budget_s: float | None,
        clock: Callable[[], float],
    ) -> None:
        self._past = past
        self._clock = clock
        self._began = clock()
        self.ends = self._began + budget_s if budget_s is not None else None
        self.waiting = sorted(jobs, key=self._order)
        self.out_of_time: list[Job] = []

    def _order(self, job: Job) -> tuple[str, float]:
        past = self._past.get(job.key, NEVER)
        return past.started, -past.duration_s

    def estimate_s(self, job: Job) -> float:
        """How long it took last time; 0 for one that never ran."""
        return self._past.get(job.key, NEVER).duration_s

    def next(self, running: Collection[Job]) -> Job | None:
        """Takes the job to start now; None when all that wait must wait for one of `running`.

        What does not fit into the rest of the budget goes to `out_of_time`. One whose artifact is being
        prepared by another process is put off while there is other work.
        """
        self._drop_what_does_not_fit()
        ports = {job.port for job in running if job.port}
        free = [job for job in self.waiting if job.port not in ports]
        prepared = {(job.model, job.runtime) for job in running}
        apart = (job for job in free if (job.model, job.runtime) not in prepared)
        chosen = next(apart, free[0] if free else None)
        if chosen is not None:
            self.waiting.remove(chosen)
        return chosen

    def again(self, job: Job) -> None:
        """Puts a job back, ahead of all others."""
        self.waiting.insert(0, job)

    def stop(self, running: Collection[Job] = ()) -> None:
        """Nothing starts any more; what waits and what was `running` is out of time."""
        self.out_of_time += [*running, *self.waiting]
        self.waiting.clear()

    def left_s(self) -> float | None:
        """Seconds of the budget that are left; None without a budget."""
        return None if self.ends is None else self.ends - self._clock()

    def rest_s(self, running: Mapping[Job, float], jobs: int) -> float | None:
        """About how long the night still takes on `jobs` processes; `running` since when. None: not known."""
        now, known = self._clock(), [past.duration_s for past in self._past.values() if past.duration_s]
        if not known:
            return None
        usual = sum(known) / len(known)
        waiting = sum(self.estimate_s(job) or usual for job in self.waiting)
        open_s = [max(0.0, (self.estimate_s(job) or usual) - (now - since)) for job, since in running.items()]
        longest = max([*open_s, *(self.estimate_s(job) for job in self.waiting)], default=0.0)
        return max(longest, (waiting + sum(open_s)) / jobs)

    def took(self, job: Job, duration_s: float) -> None:
        """What an item that never ran before took, for the estimate of the rest."""
        if job.key not in self._past:
            self._past = {**self._past, job.key: Past("", duration_s)}

    def _drop_what_does_not_fit(self) -> None:
        left = self.left_s()
        if left is None:
            return
        late = [job for job in self.waiting if left <= 0 or self.estimate_s(job) > left]
        self.out_of_time += late
        self.waiting = [job for job in self.waiting if job not in late]
