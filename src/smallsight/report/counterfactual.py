"""What a phase would have gained by more training alone, where no control was trained beside it: an extrapolation.

Source: the slope of the epochs before the phase, as in `strategy.trends`, times as many epochs as the phase has.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from smallsight.records import EpochRecord, Estimate
from smallsight.report.history import Extrapolation
from smallsight.run.state import PhaseRun, State
from smallsight.strategy.counterpart import same_training
from smallsight.strategy.outcomes import champion_before
from smallsight.strategy.trends import trend

_WINDOW = 8
"""The latest so many epochs before the phase give the trend."""
_FEWEST = 3
"""A slope has an interval from so many epochs on; earlier phases with the same settings are added up to there."""


def changes_settings(state: State, run: PhaseRun) -> bool:
    """Whether a phase trained with other settings than the checkpoint that it started from."""
    if state.kind != "train":
        return bool(run.decision.settings)
    start = _start_of(state, run)
    return start is None or not _same(start, run)


def extrapolated(state: State, run: PhaseRun, metric: str, names: Mapping[int, str]) -> Extrapolation | None:
    """What as many epochs with the settings before would have gained; None where there was a control, or no trend.

    Args:
        run: a phase that is closed.
        names: of the phases, by their numbers.
    """
    start = _start_of(state, run)
    verdict = run.over_start or run.verdict
    judged = verdict is not None and verdict.difference.known and verdict.over_control is None
    if start is None or not judged or run.control or not run.records:
        return None
    before = list(_epochs_before(state, start))[-_WINDOW:]
    slope = trend([r.epoch for r in before], [r.value(metric) for r in before]).slope
    if math.isnan(slope.low):
        return None
    epochs = len(run.records)
    gain = Estimate(slope.value * epochs, slope.low * epochs, slope.high * epochs, slope.n)
    return Extrapolation(gain, names[start.number], slope.n, epochs)


def _start_of(state: State, run: PhaseRun) -> PhaseRun | None:
    """The phase that trained the checkpoint that a phase started from; None where it was not trained in this run."""
    if state.kind == "train":
        found = state.runs[run.start.phase_number - 1] if run.start else None
        if found is not None and not found.trains and found.start is not None:
            found = state.runs[found.start.phase_number - 1]
    elif run.round:
        number = state.rounds[run.round - 1].champion_phase
        found = state.runs[number - 1] if number else None
    else:
        before = champion_before(state, run)
        found = before[0] if before else None
    return found if found is not None and found.trains else None


def _epochs_before(state: State, start: PhaseRun) -> tuple[EpochRecord, ...]:
    """The epochs of the phase that a phase started from; where they are few, those before with the same settings."""
    found = start.records
    for earlier in _lineage(state, start):
        if len(found) >= _FEWEST or not _same(earlier, start):
            break
        found = (*earlier.records, *found)
    return found


def _lineage(state: State, run: PhaseRun) -> Iterator[PhaseRun]:
    """The phases from which a phase comes, the latest first."""
    before = _start_of(state, run)
    while before is not None and before.number < run.number:
        yield before
        run, before = before, _start_of(state, before)


def _same(one: PhaseRun, other: PhaseRun) -> bool:
    """Whether two phases trained with the same settings."""
    if one.current is None or other.current is None:
        return False
    return same_training(one.current.settings, other.current.settings)
