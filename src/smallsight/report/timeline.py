"""The expected timeline: epochs, target metric and gain after each phase of a strategy, beside what happened.

As in the strategy document, expected gains are added up, and stop at the success level. After a phase that changes no
setting, which completes a training, later phases start from the upper end of what is expected so far. Conditional
phases, which run only where training is flat or where another phase failed or did not help, are not added.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TypedDict

from smallsight.config.load import build_config
from smallsight.report.findings import Mark, Range, Timeline, TimelineRow
from smallsight.report.history import History, PhaseStory
from smallsight.report.words import ends_of, written
from smallsight.strategy.plan import Plan, When
from smallsight.strategy.repeats import changes_nothing
from smallsight.strategy.tree import best_epoch

HEAD = ("phase", "planned", "expected", "gain so far", "epochs", "best", "gain so far", "outcome")
DECIMALS = ".2f"
"""Expected values are rough; more digits would suggest a precision that they don't have."""


def timeline(history: History, start: Mark | None) -> Timeline | None:
    """What the strategy expects of each phase, from `start` on, and what was measured.

    Args:
        history: with its plan; a phase whose settings are in force from the start, and that was not run, is left out.
        start: the mark that the first phase begins from; None where it is not known.
    Returns:
        None where no plan is known, or none with a phase, or where the history lacks the plan's target metric.
    """
    plan = history.plan
    if plan is None or not plan.phases or plan.target.metric != history.target.metric:
        return None
    level = (plan.target.minimum, plan.target.success)
    value = start.value.value if start is not None else math.nan
    known = not math.isnan(value)
    rows = tuple(_rows(history, plan, value, _start_epoch(history, start)))
    return Timeline(
        plan.target.metric,
        start if known else None,
        rows,
        _note(plan, rolls_back=not history.by_hand, measured=any(row.epochs for row in rows)),
        level,
        (level[0] - value, level[1] - value) if known else None,
    )


def _start_epoch(history: History, start: Mark | None) -> int:
    """The last epoch before the first phase of the strategy."""
    planned = {phase.name for phase in history.plan.phases} if history.plan is not None else set()
    begun = [story for story in history.phases if story.begun]
    first = next((story.start_epoch - 1 for story in begun if story.part in planned), None)
    if first is not None:
        return first
    return max([start.epoch if start is not None else 0, *(story.end_epoch for story in begun)])


def _rows(history: History, plan: Plan, start: float, epoch: int) -> Iterator[TimelineRow]:
    config = build_config(history.config, history.source) if history.config is not None else None
    begun = [story for story in history.phases if story.begun]
    taken_if = conditional_phases(plan)
    so_far: Range = (0.0, 0.0)
    most = max(plan.target.success - start, 0.0) if not math.isnan(start) else math.inf
    for phase in plan.phases:
        stories = [story for story in begun if story.part == phase.name]
        if not stories and config is not None and changes_nothing(phase, config):
            continue
        conditional = phase.name in taken_if
        total = None
        if not conditional:
            if phase.expected_gain is not None:
                so_far = (so_far[0] + phase.expected_gain[0], so_far[1] + phase.expected_gain[1])
                total = (min(so_far[0], most), min(so_far[1], most))
                if not (phase.set or phase.scale):
                    so_far = (so_far[1], so_far[1])
            epoch += phase.epochs
        yield TimelineRow(
            phase=phase.name,
            title=phase.title or phase.name,
            planned_epochs=phase.epochs,
            first_epoch=0 if conditional else epoch - phase.epochs + 1,
            last_epoch=0 if conditional else epoch,
            expected_gain=phase.expected_gain,
            expected=None if total is None or math.isnan(start) else (start + total[0], start + total[1]),
            expected_total=total,
            conditional=conditional,
            **_happened(history, stories, plan.target.metric, start),
        )


class _Happened(TypedDict):
    epochs: str
    outcome: str
    reached: float
    total: float


def _happened(history: History, stories: Sequence[PhaseStory], metric: str, start: float) -> _Happened:
    """Epochs, outcome, best value and gain since the start of a phase that was begun once or several times."""
    if not stories:
        return {"epochs": "", "outcome": "", "reached": math.nan, "total": math.nan}
    last = stories[-1]
    closed = last.outcome not in ("running", "halted", "interrupted")
    after = _best(history, last, metric) if history.by_hand else _champion_after(history, last, metric)
    return {
        "epochs": ", ".join(story.epochs for story in stories),
        "outcome": last.outcome.replace("_", " "),
        "reached": max((_best(history, story, metric) for story in stories), key=lambda v: -math.inf if v != v else v),
        "total": after - start if closed else math.nan,
    }


def _best(history: History, story: PhaseStory, metric: str) -> float:
    """The highest value in a phase; NaN where none is known."""
    best = best_epoch([r for r in history.records if story.start_epoch <= r.epoch <= story.end_epoch], metric)
    return best.value(metric) if best is not None else math.nan


def _champion_after(history: History, last: PhaseStory, metric: str) -> float:
    """The champion's value once `last` was closed: the best of the latest phase that was kept until then."""
    value = history.baseline.value(metric) if history.baseline is not None else math.nan
    for story in history.phases[: history.phases.index(last) + 1]:
        value = _best(history, story, metric) if story.outcome in ("improved", "kept") else value
    return value


def conditional_phases(plan: Plan) -> set[str]:
    """The phases that are taken only where training is flat, or where another phase failed or did not help."""
    found: set[str] = set()
    for phase in plan.phases:
        if _needs_a_setback(phase.when, found):
            found.add(phase.name)
    return found


def _needs_a_setback(when: When, conditional: set[str]) -> bool:
    if when.plateau or when.failed or when.rolled_back or {when.completed, when.ran} & conditional:
        return True
    return bool(when.any_of) and all(_needs_a_setback(each, conditional) for each in when.any_of)


def cells(found: Timeline) -> tuple[tuple[str, ...], ...]:
    """The timeline as rows of words under `HEAD`: start, phases, goal."""
    start = found.start
    rows: list[tuple[str, ...]] = []
    if start is not None:
        rows.append(("start", f"{start.epoch}", written(start.value.value), "baseline", "", "", "", ""))
    rows += [_row_cells(row) for row in found.rows]
    total = "" if found.goal_total is None else _gain(found.goal_total)
    rows.append(("target", "", _range(found.goal), total, "", "", "", ""))
    return tuple(rows)


def _note(plan: Plan, *, rolls_back: bool, measured: bool) -> str:
    """How to read it."""
    added = "Expected gains are added up, as if every phase gained what is expected, up to the success level."
    if measured:
        added += (
            " The best values and the gains so far are those of the best epoch, not corrected for choosing it; the "
            "verdicts and the lift are."
        )
    if not rolls_back:
        return added
    stop = plan.target.stop_at
    ends = (
        ""
        if stop == "never"
        else f" The run ends as soon as {plan.target.metric} reaches {getattr(plan.target, stop):g}."
    )
    return f"{added} A phase that does not help is rolled back.{ends}"


def _row_cells(row: TimelineRow) -> tuple[str, ...]:
    planned = f"{row.first_epoch}-{row.last_epoch}" if row.last_epoch else f"{row.planned_epochs}, if needed"
    if row.first_epoch == row.last_epoch != 0:
        planned = f"{row.last_epoch}"
    gain = "" if row.expected_total is None else _gain(row.expected_total)
    if row.conditional and row.expected_gain is not None:
        gain = f"{_gain(row.expected_gain)} more"
    return (
        row.phase,
        planned,
        "" if row.expected is None else _range(row.expected),
        gain,
        row.epochs,
        "" if math.isnan(row.reached) else written(row.reached),
        "" if math.isnan(row.total) else written(row.total, "+.3f"),
        row.outcome,
    )


def _range(values: Range) -> str:
    return ends_of(values, DECIMALS)


def _gain(values: Range) -> str:
    return ends_of(values, f"+{DECIMALS}")
