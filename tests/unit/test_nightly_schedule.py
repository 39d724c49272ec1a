"""The order of a night, its budget, and who waits for whom, with a clock that the test moves."""

from __future__ import annotations

from collections.abc import Mapping

from harness.nightly.config import Job
from harness.nightly.schedule import Past, Schedule


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def job(key: str, model: str = "", port: str = "") -> Job:
    model = model or key
    return Job(0, key, "esp32c3", model, model, "tflm", "portable", "", port, 1)


def schedule(past: Mapping[str, Past], *jobs: Job, budget_s: float | None = None) -> tuple[Schedule, Clock]:
    clock = Clock()
    return Schedule(jobs, past, budget_s, clock), clock


def taken(made: Schedule) -> list[str]:
    keys = []
    while (found := made.next(())) is not None:
        keys.append(found.key)
    return keys


def test_the_longest_not_run_goes_first_and_of_the_rest_the_longest() -> None:
    past = {"a": Past("2026-11-02", 5), "b": Past("2026-11-01", 1), "c": Past("2026-11-02", 9)}
    made, _ = schedule(past, job("a"), job("b"), job("c"), job("new"))
    assert taken(made) == ["new", "b", "c", "a"]


def test_what_does_not_fit_is_out_of_time_and_shorter_ones_still_run() -> None:
    past = {"long": Past("1", 50), "middle": Past("2", 20), "short": Past("3", 5)}
    made, clock = schedule(past, *map(job, past), budget_s=60)
    first = made.next(())
    assert first is not None
    assert first.key == "long"
    clock.now += 45
    assert taken(made) == ["short"]
    assert [late.key for late in made.out_of_time] == ["middle"]
    assert made.left_s() == 15


def test_what_was_left_out_is_first_the_next_night() -> None:
    tonight = {"a": Past("1", 40), "b": Past("1", 30), "c": Past("1", 30)}
    made, clock = schedule(tonight, *map(job, tonight), budget_s=60)
    ran = made.next(())
    clock.now += 40
    assert made.next(()) is None
    assert ran is not None
    left = [late.key for late in made.out_of_time]
    tomorrow = {**tonight, ran.key: Past("2", 40)}
    again, _ = schedule(tomorrow, *map(job, tonight), budget_s=60)
    assert taken(again)[:2] == left == ["b", "c"]


def test_one_that_never_ran_starts_as_long_as_there_is_any_time() -> None:
    made, clock = schedule({}, job("a"), job("b"), budget_s=10)
    clock.now += 9.9
    assert made.next(()) is not None
    clock.now += 0.2
    assert made.next(()) is None
    assert [late.key for late in made.out_of_time] == ["b"]


def test_two_items_never_share_a_port() -> None:
    one, two, other = job("a", port="/dev/ttyUSB0"), job("b", port="/dev/ttyUSB0"), job("c")
    made, _ = schedule({}, one, two, other)
    assert made.next([]) == one
    assert made.next([one]) == other
    assert made.next([one, other]) is None
    assert made.next([other]) == two


def test_the_same_model_is_not_prepared_twice_at_once_while_there_is_other_work() -> None:
    first, same, other = job("a", "m"), job("b", "m"), job("c", "n")
    made, _ = schedule({}, first, same, other)
    assert made.next([]) == first
    assert made.next([first]) == other
    assert made.next([first]) == same


def test_a_job_that_is_tried_again_goes_first() -> None:
    made, _ = schedule({}, job("a"), job("b"))
    first = made.next(())
    assert first is not None
    made.again(first)
    assert taken(made) == ["a", "b"]


def test_a_stopped_night_counts_what_ran_as_not_run() -> None:
    made, _ = schedule({}, job("a"), job("b"))
    running = made.next(())
    assert running is not None
    made.stop([running])
    assert [late.key for late in made.out_of_time] == ["a", "b"]
    assert made.next(()) is None


def test_the_rest_is_estimated_from_what_is_known() -> None:
    past = {"a": Past("1", 10), "b": Past("1", 30)}
    made, clock = schedule(past, job("a"), job("b"), job("new"))
    assert made.rest_s({}, 2) == 30  # b alone takes 30; a, b and one of the usual 20 take 60 on two
    new = made.next(())
    assert new is not None
    clock.now += 5
    assert made.rest_s({new: 100.0}, 1) == 10 + 30 + 15
    assert schedule({}, job("a"))[0].rest_s({}, 1) is None
