"""The risk of each phase of a strategy, its mitigation, and the outcome of the phase."""

from __future__ import annotations

from collections.abc import Iterable

from smallsight.report.findings import Risk
from smallsight.report.history import History

HEAD = ("phase", "risk", "mitigation", "outcome")


def risks(history: History) -> tuple[Risk, ...]:
    """One for each phase of the strategy, in its order; none where no strategy is known."""
    if history.plan is None:
        return ()
    outcomes = {story.part: story.outcome.replace("_", " ") for story in history.phases if story.begun}
    return tuple(
        Risk(phase.name, phase.title or phase.name, phase.risk, phase.mitigation, outcomes.get(phase.name, ""))
        for phase in history.plan.phases
    )


def cells(found: Iterable[Risk]) -> tuple[tuple[str, ...], ...]:
    """The risks as rows of words under `HEAD`."""
    return tuple((risk.phase, risk.level, risk.mitigation, risk.outcome) for risk in found)
