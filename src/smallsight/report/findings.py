"""What an analysis finds: values only.

Rates are per ELAPSED epoch, intervals are 95 % intervals.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from smallsight.records import Estimate
from smallsight.report.issues import Issue
from smallsight.strategy.trends import Overfitting, Plateau, Standing

LevelName = Literal["none", "minimum", "success", "optimal"]
Agreement = Literal["above", "compatible", "below", "not measured"]
Pace = Literal["above", "undecided", "below"]


@dataclass(frozen=True)
class Mark:
    """What the target metric was at one epoch."""

    epoch: int
    value: Estimate


@dataclass(frozen=True)
class Level:
    """How far one level of the target is.

    Attributes:
        name, value: of the level.
        reached: whether the current value is there; `certain` whether the whole of its interval is.
        gap: level minus current value, 95 % interval of the current value; negative above the level.
        epochs_to_reach: at the measured rate, infinite where that may be no rise.
    """

    name: LevelName
    value: float
    reached: bool
    certain: bool
    gap: Estimate
    epochs_to_reach: Estimate


@dataclass(frozen=True)
class Guard:
    """Where the guard metric stands; `kept` is None where no floor is set or its value is not known."""

    metric: str
    value: Estimate
    floor: float | None
    kept: bool | None


@dataclass(frozen=True)
class PhaseReview:
    """What a phase was expected to bring and what it brought.

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
class Analysis:
    """What a history says about its target metric.

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
        best_inflation: how much the best of so many epochs gains from noise alone, at most.
        standing: what the latest epochs of the last phase show, and how many more would tell.
        plateau, overfitting: over the last window of the last phase.
        guard: the guard metric, of the same epoch as `current`.
        levels: each level of the target; level_reached the highest reached by `current`.
        gap_to_target: to the minimum level, 0 where it is reached.
        phases: expected against actual.
        issues: of the configuration, less what a phase has already changed.
        recommendations: sentences, what to do next first.
        warnings: what not to conclude.
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
