"""The night in a few lines, the same on the terminal and in Markdown: what is wrong first, then changes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from harness.nightly.config import Night
from harness.nightly.verdicts import (
    BROKEN,
    EXPIRED,
    KNOWN,
    MENDED,
    NOT_RUN,
    PASSED,
    STOPPED,
    WRONG,
    Exit,
    Verdict,
)
from harness.records.schema import RunRecord
from harness.report.figures import duration, many, own_time
from harness.report.markdown import escape
from harness.report.terminal import plain
from harness.report.trend import Changes

MEANING = {
    Exit.EXPECTED: "all as expected",
    Exit.WRONG: "something is newly wrong, or a known failure has expired",
    Exit.CONFIGURATION: "nightly.toml or an option is wrong; nothing ran",
    Exit.INFRASTRUCTURE: "nothing is newly wrong, but an item broke on a board, a link or this machine",
    Exit.OUT_OF_TIME: "all that ran is as expected, but not everything fitted into the budget",
    Exit.INTERRUPTED: "interrupted; the rest did not run",
}
ORDER = (WRONG, EXPIRED, BROKEN, MENDED, KNOWN, NOT_RUN, STOPPED, PASSED)


@dataclass(frozen=True)
class Summary:
    """What there is to say about a night."""

    night: Night
    run: RunRecord
    jobs: int
    verdicts: Sequence[Verdict]
    changes: Sequence[Changes]
    warnings: Sequence[str]
    code: Exit

    @property
    def title(self) -> str:
        tally = {kind: sum(verdict.kind == kind for verdict in self.verdicts) for kind in ORDER}
        counts = ", ".join(f"{number} {kind}" for kind, number in tally.items() if number)
        budget = f" of {self.night.budget_s / 60:g} min" if self.night.budget_s else ""
        took = f"{duration(self.run.duration_s)}{budget}"
        return f"{many(len(self.verdicts), 'item')} in {took}, {self.jobs} at once: {counts}"

    def sections(self) -> Iterator[tuple[str, list[str]]]:
        """(title, lines) of everything worth a look; nothing of what passed as expected."""
        for kind in ORDER[:-1]:
            if found := [verdict for verdict in self.verdicts if verdict.kind == kind]:
                yield kind, [_line(self.night, verdict) for verdict in found]
        against = "the baseline" if self.night.against == "baseline" else "the last run of the item"
        for title, worse in (("worse", True), ("better", False)):
            if lines := [line for found in self.changes for line in _changed(found, worse)]:
                yield f"{title} than {against}", lines
        if self.warnings:
            yield "warnings", list(self.warnings)

    def text(self) -> str:
        """For the terminal."""
        lines = [self.title]
        for title, found in self.sections():
            lines += [f"  {title}", *(f"    {plain(line)}" for line in found)]
        lines += [f"  {said}"] if (said := own_time(self.run)) else []
        return "\n".join([*lines, f"Exit code {self.code:d}: {MEANING[self.code]}"])

    def markdown(self) -> str:
        """For a CI job's page."""
        lines = [f"# {escape(self.night.path.name)}: {MEANING[self.code]}", "", escape(self.title), ""]
        for title, found in self.sections():
            lines += [f"## {title.capitalize()}", "", *(f"- {escape(line)}" for line in found), ""]
        lines += [said.capitalize(), ""] if (said := own_time(self.run)) else []
        return "\n".join(lines)


def _line(night: Night, verdict: Verdict) -> str:
    known = verdict.known
    if known is None:
        return f"{verdict.key}: {verdict.why}" if verdict.why else verdict.key
    about = f"{known.reason} ({known.owner}, until {known.until}, {night.path}:{known.line})"
    if verdict.kind == MENDED:
        return f"{verdict.key}: {about}: drop it"
    return f"{verdict.key}: {about}: {verdict.why}"


def _changed(changes: Changes, worse: bool) -> Iterator[str]:
    texts = [change.text for change in changes.found if change.worse == worse]
    if texts:
        yield f"{changes.item.key}: {', '.join(texts)}; since {changes.before.run_id}"
