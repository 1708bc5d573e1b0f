"""From which checkpoint a phase by hand starts, and where in this run its figures stand. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from smallsight.records import EpochRecord
from smallsight.run.given import GivenFile, Place
from smallsight.run.state import Attempt, PhaseRun, State

GUARDING = "set "
"""How the fingerprints of evaluation sets that guard are named: `set real`, `set real images`."""
START = "start"
"""Name of what only measures a checkpoint before a phase by hand goes on with it."""
_MEASURED_WITH = ("model.", "dataset.", "evaluation.", "training.resolution")
_WITHOUT_INFLUENCE = (
    *("dataset.cache_", "dataset.exam_path", "evaluation.batch_size", "evaluation.sets", "evaluation.replicates"),
)


def alike(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether figures under the first settings and under the others can be compared: same resolution, same evaluation.

    Args:
        one, other: dotted keys of whole configurations.
    """
    keys = {key for key in {*one, *other} if key.startswith(_MEASURED_WITH) and not key.startswith(_WITHOUT_INFLUENCE)}
    return all(one.get(key) == other.get(key) for key in keys)


def place_of(state: State, given: GivenFile) -> Place | None:
    """The epoch of this run whose weights a file holds; None where it holds others."""
    wrote = given.trained_in
    if wrote is None or wrote.run_id != state.run_id or given.in_mid_epoch:
        return None
    for run in state.runs:
        place = Place(run.number, wrote.attempt, given.epoch)
        if run.name == wrote.phase and record_at(state, place) is not None:
            return place
    return None


def wrote(state: State, run: PhaseRun, given: GivenFile) -> bool:
    """Whether a phase of this run left a file behind, also in the middle of an epoch."""
    by = given.trained_in
    numbers = [attempt.number for attempt in run.attempts]
    return by is not None and (by.run_id, by.phase) == (state.run_id, run.name) and by.attempt in numbers


def measured(
    state: State, given: GivenFile, settings: Mapping[str, Any], annotations: Mapping[str, str]
) -> Place | None:
    """Where the figures of a file stand that were made with these settings on these images; None where nowhere.

    It may be an epoch of this run, or a file that was measured before.
    """
    place = place_of(state, given)
    places = [place] if place is not None else []
    for run in state.runs:
        same = run.given is not None and run.given.sha256 == given.sha256 != ""
        if run.closed and not run.trains and same and run.current is not None and run.records:
            places.append(Place(run.number, run.current.number, run.records[-1].epoch))
    fits = (p for p in places if _fits(state, p, settings, annotations))
    return next(fits, None)


def _fits(state: State, place: Place, settings: Mapping[str, Any], annotations: Mapping[str, str]) -> bool:
    run, attempt = run_at(state, place), attempt_at(state, place)
    same_images = all(run.annotations.get(key) == annotations.get(key) for key in ("valid", "valid images"))
    return same_images and was_guarded(run, annotations) and alike(attempt.settings, settings)


def was_guarded(run: PhaseRun, annotations: Mapping[str, str]) -> bool:
    """Whether a phase was measured on each of the evaluation sets that guard now."""
    guards = (key for key in annotations if key.startswith(GUARDING))
    return all(run.annotations.get(key) == annotations[key] for key in guards)


def record_at(state: State, place: Place | None) -> EpochRecord | None:
    """The figures at a place; None where it is none or has no record."""
    if place is None or place.phase_number > len(state.runs):
        return None
    attempts = state.runs[place.phase_number - 1].attempts
    records = (r for attempt in attempts if attempt.number == place.attempt for r in attempt.records)
    return next((record for record in records if record.epoch == place.epoch), None)


def run_at(state: State, place: Place) -> PhaseRun:
    """The phase of a place that has a record."""
    return state.runs[place.phase_number - 1]


def attempt_at(state: State, place: Place) -> Attempt:
    """The attempt of a place that has a record."""
    return next(attempt for attempt in run_at(state, place).attempts if attempt.number == place.attempt)


def judged_against(state: State, place: Place) -> Place:
    """What a phase is judged against that starts at this place.

    Where an epoch of this run was measured again, at another resolution for example, that is the epoch as it was: what
    the other resolution does belongs to the phase.
    """
    run = run_at(state, place)
    return run.start if not run.trains and run.start is not None else place


def settings_before(state: State, run: PhaseRun) -> Mapping[str, Any] | None:
    """The settings that the start of a phase by hand was trained with; None where it was not trained in this run."""
    if run.start is None or record_at(state, run.start) is None or not run_at(state, run.start).trains:
        return None
    return attempt_at(state, run.start).settings


def followers(state: State, run: PhaseRun) -> list[tuple[PhaseRun, int]]:
    """The phases by hand that start from an epoch of this one, each with that epoch."""
    return [
        (other, other.start.epoch)
        for other in state.runs
        if other.trains and other.start is not None and other.start.phase_number == run.number
    ]
