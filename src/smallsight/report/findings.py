"""The values that an analysis gives.

Rates are per ELAPSED epoch, intervals are 95 % intervals.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from smallsight.records import Estimate
from smallsight.report.issues import Issue
from smallsight.strategy.trends import Overfitting, Plateau, Standing

LevelName = Literal["none", "minimum", "success", "optimal"]
Agreement = Literal["above", "compatible", "below", "not measured"]
Pace = Literal["above", "undecided", "below"]
Range = tuple[float, float]
StandingWord = Literal["good", "bad", "undecided", "not known"]


@dataclass(frozen=True)
class Mark:
    """The target metric at one epoch."""

    epoch: int
    value: Estimate


@dataclass(frozen=True)
class Level:
    """One level of the target, and the distance to it.

    Attributes:
        name, value: of the level.
        reached: whether the current value is at the level or above it.
        certain: whether the lower end of its interval is, too.
        gap: level minus current value, with the 95 % interval of the current value; negative above the level.
        epochs_to_reach: at the measured rate; infinite where the rate is not a rise.
    """

    name: LevelName
    value: float
    reached: bool
    certain: bool
    gap: Estimate
    epochs_to_reach: Estimate


@dataclass(frozen=True)
class Guard:
    """The guard metric and its floors.

    Attributes:
        metric, value: of the same epoch as the current value of the target metric.
        floor: the baseline's value minus the allowed drop; None where no baseline is known.
        kept: whether `value` is at `floor` or above; None where one of them is not known.
        absolute_floor: the lowest value that the strategy allows for any champion; None for none.
        above_absolute: whether `value` is at `absolute_floor` or above; None where one of them is not known.
        absolute_binds: whether a champion below `absolute_floor` is refused. Not so where the baseline was below it;
            where no baseline is known, not so where all epochs were below it.
    """

    metric: str
    value: Estimate
    floor: float | None
    kept: bool | None
    absolute_floor: float | None = None
    above_absolute: bool | None = None
    absolute_binds: bool = True


@dataclass(frozen=True)
class PhaseReview:
    """The gain that was expected of a phase, and the gain that was measured.

    Attributes:
        expected: lowest and highest gain expected, None where the strategy names none.
        actual: paired difference to the champion before it, from the phase's verdict; NaN where there is none.
        agreement: whether the interval of `actual` lies above, below or on the expected range.
    """

    phase: str
    expected: tuple[float, float] | None
    actual: Estimate
    agreement: Agreement


@dataclass(frozen=True)
class TimelineRow:
    """A phase of the strategy: what is expected of it, and what happened.

    Attributes:
        phase, title: of the strategy.
        planned_epochs: how many it is to have.
        first_epoch, last_epoch: their numbers if all phases before it run in full; 0 where it may not be taken.
        expected_gain: in the target metric, over the phases before it; None where the strategy names none.
        expected: value after it; None where the start is not known, or where it may not be taken.
        expected_total: gain since the start, likewise.
        conditional: whether it is taken only where training is flat, or where another phase failed or did not help.
        epochs, outcome: what happened, in words; empty where it was not begun.
        reached: its best value.
        total: the champion's value after it less the start's.
    """

    phase: str
    title: str
    planned_epochs: int
    first_epoch: int
    last_epoch: int
    expected_gain: Range | None
    expected: Range | None
    expected_total: Range | None
    conditional: bool
    epochs: str = ""
    outcome: str = ""
    reached: float = math.nan
    total: float = math.nan


@dataclass(frozen=True)
class Timeline:
    """What a strategy expects, phase by phase, beside what happened.

    Attributes:
        metric: the target metric.
        start: the mark that it begins from; None where it is not measured yet.
        rows: one for each phase, in the strategy's order; without those whose settings were in force from the start.
        note: how to read it.
        goal: minimum and success level; `goal_total` the gain to each since the start, None where that is not known.
    """

    metric: str
    start: Mark | None
    rows: tuple[TimelineRow, ...]
    note: str
    goal: Range
    goal_total: Range | None

    @property
    def expects_something(self) -> bool:
        """Whether the strategy says of any phase what it expects."""
        return any(row.expected_gain is not None for row in self.rows)


@dataclass(frozen=True)
class Risk:
    """What may go wrong in a phase, what is done about it, and how the phase went (empty where it was not begun)."""

    phase: str
    title: str
    level: str
    mitigation: str
    outcome: str


@dataclass(frozen=True)
class KeyMetric:
    """A figure to watch: its value now, the value wanted, and whether the one meets the other."""

    name: str
    now: str
    wanted: str
    state: str
    standing: StandingWord


@dataclass(frozen=True)
class Insight:
    """What a reader should know first: a sentence or two, and the command that follows from it (empty for none)."""

    topic: str
    text: str
    command: str = ""


@dataclass(frozen=True)
class Opportunity:
    """A phase of the strategy that has not run and whose settings are not in force.

    Attributes:
        phase, title: of the strategy.
        what: what stands in the way now, in words.
        settings: dotted keys that it would change.
        expected_gain: in the target metric; None where the strategy names none.
        risk: low, medium or high.
        command: what would do it; empty where a strategy leads the run and does so by itself.
    """

    phase: str
    title: str
    what: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    expected_gain: Range | None = None
    risk: str = "low"
    command: str = ""


@dataclass(frozen=True)
class Analysis:
    """The analysis of a history.

    Attributes:
        metric: the target metric; all values are in its unit.
        recorded, elapsed: epochs that have its value, and epochs from the first to the last of them.
        first, latest, best: by epoch and by value; None in an empty history.
        current: the champion, or the latest epoch where no champion is known; gaps are measured from it.
        total_improvement: latest minus first; `per_recorded_step` divides by the steps between recorded epochs,
            `per_elapsed_epoch` by the epochs that passed (two single epochs each: the rate below is the one to trust).
        rate_per_epoch: least-squares slope over the whole history; `theil_sen` the robust one.
        residual_sd: epoch noise around that line.
        pace: whether the rate is above or below the rate that the target asks for, or neither can be shown.
        momentum: the last value minus the first among the last five recorded epochs.
        best_inflation: the expected upward bias of the best of the recorded epochs, if the series is flat.
        standing: what the latest epochs of the last phase show, and how many more epochs are needed to decide.
        plateau, overfitting: over the last window of the last phase.
        guard: the guard metric, of the same epoch as `current`.
        levels: each level of the target; level_reached the highest reached by `current`.
        gap_to_target: to the minimum level, 0 where it is reached.
        phases: expected against actual.
        issues: of the configuration, without settings that a phase has already changed.
        recommendations: sentences, what to do next first.
        warnings: what not to conclude from the figures.
        opportunities: what the strategy would change and has not tried, in its order of preference.
        insights: what a reader should know first.
        key_metrics: figures to watch.
        progress: what was gained over which epochs, and whether that is fast enough; empty where unknown.
        timeline: expected against actual, phase by phase; None where no strategy is known.
        risks: of each phase of the strategy.
    """

    metric: str
    recorded: int
    elapsed: int
    first: Mark | None
    latest: Mark | None
    best: Mark | None
    current: Mark | None
    total_improvement: float
    per_recorded_step: float
    per_elapsed_epoch: float
    rate_per_epoch: Estimate
    theil_sen: Estimate
    residual_sd: float
    pace: Pace
    momentum: Estimate
    best_inflation: float
    standing: Standing
    plateau: Plateau
    overfitting: Overfitting
    guard: Guard
    levels: tuple[Level, ...]
    level_reached: LevelName
    gap_to_target: float
    phases: tuple[PhaseReview, ...]
    issues: tuple[Issue, ...]
    recommendations: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    opportunities: tuple[Opportunity, ...] = ()
    insights: tuple[Insight, ...] = ()
    key_metrics: tuple[KeyMetric, ...] = ()
    progress: str = ""
    timeline: Timeline | None = None
    risks: tuple[Risk, ...] = ()

    @property
    def overfits(self) -> Literal["yes", "no", "can't be told"]:
        """Whether the last phase overfits; "can't be told" where too few epochs have both losses."""
        if math.isnan(self.overfitting.val_slope.low):
            return "can't be told"
        return "yes" if self.overfitting.detected else "no"

    @property
    def open_issues(self) -> tuple[Issue, ...]:
        """The issues whose setting no opportunity changes."""
        spoken_of = {key for opportunity in self.opportunities for key in opportunity.settings}
        return tuple(issue for issue in self.issues if issue.key not in spoken_of)
