"""The fold: from the events of a journal to the state of a run. Each event changes what its address names, and no more.

So the events of two attempts may come in any order among each other.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from smallsight.errors import RunFolderError
from smallsight.records import Decision, decision_from_json, epoch_record_from_json, verdict_from_json
from smallsight.run.events import Event
from smallsight.run.exam import exam_look_from_json, exam_set_from_json
from smallsight.run.folder import RunFolder
from smallsight.run.given import call_from_json, given_from_json, place_from_json
from smallsight.run.journal import Journal
from smallsight.run.state import Attempt, Champion, PhaseAttempt, PhaseRun, Round, Rung, Setback, State

_UNFIT = (TypeError, ValueError, AttributeError, IndexError, StopIteration, OverflowError)
"""What reading an event of another shape, or out of its order, raises."""


def fold(events: Iterable[Event], state: State | None = None) -> State:
    """The state after these events, from `state` on (from nothing by default).

    Raises:
        RunFolderError: an event lacks something that this version writes, or holds something else.
    """
    state = state or State()
    for event in events:
        state = replace(state, elapsed_s=event.elapsed_s)
        change = _CHANGES.get(event.kind)
        try:
            state = change(state, event.content) if change else state
        except KeyError as error:
            raise RunFolderError(
                f"journal: event {event.number} ({event.kind}) has no {error}; it was written by another version. "
                "Use another --output-dir."
            ) from error
        except _UNFIT as error:
            raise RunFolderError(
                f"journal: event {event.number} ({event.kind}) does not fit what came before it, or holds other values "
                f"than this version writes ({error}). Use another --output-dir."
            ) from error
    return state


def _created(state: State, content: Mapping[str, Any]) -> State:
    return replace(
        state,
        config=dict(content["config"]),
        plan=dict(content["plan"]),
        run_id=content["run_id"],
        kind=content["run_kind"],
        resume=content["resume"],
        resumed_epoch=content["resumed_epoch"],
        annotations=dict(content["annotations"]),
    )


def _budget(state: State, content: Mapping[str, Any]) -> State:
    return replace(state, budget_s=content["budget_s"])


def _decided(state: State, content: Mapping[str, Any]) -> State:
    decision = decision_from_json(content["decision"])
    if decision.action == "stop":
        return replace(state, finished=decision.reason, stops=(*state.stops, decision))
    number = content["phase"]
    if type(number) is not int or number != len(state.runs) + 1:
        raise ValueError(f"phase {number!r} comes after phase {len(state.runs)}")
    if decision.action == "round":
        return _round_begun(state, decision)
    run = PhaseRun(
        decision.phase,
        number,
        decision,
        annotations=content.get("annotations", state.annotations),
        given=given_from_json(content.get("given")),
        start=place_from_json(content.get("start")),
        call=call_from_json(content.get("call")),
    )
    return replace(state, runs=(*state.runs, run), finished="")


def _round_begun(state: State, decision: Decision) -> State:
    """Begin all arms of a round: a single event, so that no crash leaves some of them out."""
    first, number = len(state.runs) + 1, len(state.rounds) + 1
    arms = tuple(
        PhaseRun(arm.phase, first + place, arm, annotations=state.annotations, round=number)
        for place, arm in enumerate(decision.arms)
    )
    begun = Round(
        decision.phase,
        number,
        decision,
        tuple(arm.number for arm in arms),
        began_s=state.elapsed_s,
        champion_phase=state.champion.phase_number if state.champion else 0,
    )
    return replace(state, runs=(*state.runs, *arms), rounds=(*state.rounds, begun), finished="")


def _goal(state: State, content: Mapping[str, Any]) -> State:
    """Another level ends the run: one that has ended is not at its end any more."""
    target = {**state.plan["target"], "stop_at": content["stop_at"]}
    return replace(state, plan={**state.plan, "target": target}, finished="")


def _with_run(state: State, run: PhaseRun, **changes: Any) -> State:
    """The state with a phase of it changed."""
    place = run.number - 1
    return replace(state, runs=(*state.runs[:place], replace(run, **changes), *state.runs[place + 1 :]))


def _with_attempt(state: State, at: PhaseAttempt, **changes: Any) -> State:
    """The state with an attempt of it changed."""
    changed = replace(at.attempt, **changes)
    return _with_run(state, at.run, attempts=tuple(changed if a is at.attempt else a for a in at.run.attempts))


def _attempt_started(state: State, content: Mapping[str, Any]) -> State:
    run, number = state.run_at(content), content["attempt"]
    if type(number) is not int or number < 1 or run.attempt(number):
        raise ValueError(f"attempt {number!r} of phase {run.number} is no new one")
    first, last = int(content["first_epoch"]), int(content["last_epoch"])
    attempt = Attempt(number, dict(content["settings"]), first, last, began_s=state.elapsed_s)
    return _with_run(state, run, attempts=tuple(sorted([*run.attempts, attempt], key=lambda a: a.number)))


def _epoch(state: State, content: Mapping[str, Any]) -> State:
    """Add an epoch; one that is reported again after a crash takes the place of the first."""
    at, record = state.at(content), epoch_record_from_json(content["record"])
    kept = [r for r in at.attempt.records if r.epoch != record.epoch]
    return _with_attempt(state, at, records=tuple(sorted([*kept, record], key=lambda r: r.epoch)))


def _ended_early(state: State, content: Mapping[str, Any]) -> State:
    return _with_attempt(state, state.at(content), ended_early=content["reason"])


def _attempt_ended(state: State, content: Mapping[str, Any]) -> State:
    at = state.at(content)
    return _with_attempt(
        state,
        at,
        status=content["status"],
        failure=content["failure"],
        message=content["message"],
        seconds=_trained_s(at) if at.run.round else state.elapsed_s - at.attempt.began_s,
    )


def _trained_s(at: PhaseAttempt) -> float:
    """Seconds of an arm's epochs: others train between its first and its last one."""
    return sum(record.seconds for record in at.attempt.records if not math.isnan(record.seconds))


def _attempt_paused(state: State, content: Mapping[str, Any]) -> State:
    return _with_attempt(state, state.at(content), status="paused")


def _rung(state: State, content: Mapping[str, Any]) -> State:
    """Stop the arms that are behind, and let the others of the round train on."""
    begun = state.rounds[_round_at(state, content) - 1]
    stopped = {int(number): str(reason) for number, reason in content["stopped"].items()}
    for arm in state.arms(begun):
        attempt = arm.current
        if arm.closed or attempt is None or attempt.status != "paused":
            continue
        at, reason = PhaseAttempt(arm, attempt), stopped.get(arm.number)
        if reason is None:
            state = _with_attempt(state, at, status="running")
        else:
            state = _with_attempt(state, at, status="completed", ended_early=reason, seconds=_trained_s(at))
    rungs = (*begun.rungs, Rung(int(content["epoch"]), stopped))
    return replace(state, rounds=tuple(replace(r, rungs=rungs) if r is begun else r for r in state.rounds))


def _round_at(state: State, content: Mapping[str, Any]) -> int:
    number = content["round"]
    if type(number) is not int or not 1 <= number <= len(state.rounds):
        raise ValueError(f"round {number!r} was never begun")
    return number


def _round_closed(state: State, content: Mapping[str, Any]) -> State:
    """End all arms of a round that have not failed, and crown the best where one is better: a single event."""
    begun, verdicts, crowned = state.rounds[_round_at(state, content) - 1], content["verdicts"], content["crowned"]
    for arm in state.arms(begun):
        if arm.closed:
            continue
        verdict = verdicts.get(str(arm.number))
        epoch = crowned["epoch"] if crowned and crowned["phase"] == arm.number else None
        state = _with_run(
            state, arm, closed=True, verdict=verdict_from_json(verdict) if verdict else None, crowned=epoch
        )
    return _crowned(state, state.at(crowned), crowned) if crowned else state


def _halted(state: State, content: Mapping[str, Any]) -> State:
    """Nothing more was tried with a phase: whoever starts the run again wants it tried anew."""
    run = state.run_at(content)
    return _with_run(state, run, forgiven=len(run.failures))


def _attempt_continued(state: State, content: Mapping[str, Any]) -> State:
    at = state.at(content)
    failed = at.attempt
    setback = Setback(failed.failure, failed.message, failed.settings, len(failed.records))
    return _with_attempt(
        state,
        at,
        status="running",
        failure="",
        message="",
        settings=dict(content["settings"]),
        setbacks=(*failed.setbacks, setback),
    )


def _fact(state: State, content: Mapping[str, Any]) -> State:
    at = state.at(content)
    return _with_attempt(state, at, facts=(*at.attempt.facts, (str(content["fact"]), dict(content["content"]))))


def _phase_closed(state: State, content: Mapping[str, Any]) -> State:
    """End a phase, and crown it where it is the better one: a single event, so that no crash falls between the two."""
    verdict, over_start = (verdict_from_json(v) if v else None for v in (content["verdict"], content.get("over_start")))
    crowned = content["crowned"]
    state = _with_run(
        state,
        state.run_at(content),
        closed=True,
        verdict=verdict,
        over_start=over_start,
        crowned=crowned["epoch"] if crowned else None,
    )
    return _crowned(state, state.at({**content, "attempt": crowned["attempt"]}), crowned) if crowned else state


def _crowned(state: State, at: PhaseAttempt, crowned: Mapping[str, Any]) -> State:
    record = next(r for r in at.attempt.records if r.epoch == crowned["epoch"])
    champion = Champion(at.run.name, at.run.number, at.attempt.number, record, at.attempt.settings, crowned["sha256"])
    return replace(state, champion=champion, baseline=state.baseline or record, first=state.first or champion)


def _exam_named(state: State, content: Mapping[str, Any]) -> State:
    return replace(state, exam=exam_set_from_json(content["exam"]))


def _exam(state: State, content: Mapping[str, Any]) -> State:
    return replace(state, exams=(*state.exams, exam_look_from_json(content)))


_CHANGES = {
    "created": _created,
    "budget": _budget,
    "goal": _goal,
    "decided": _decided,
    "attempt_started": _attempt_started,
    "epoch": _epoch,
    "ended_early": _ended_early,
    "fact": _fact,
    "attempt_ended": _attempt_ended,
    "attempt_continued": _attempt_continued,
    "attempt_paused": _attempt_paused,
    "rung": _rung,
    "round_closed": _round_closed,
    "halted": _halted,
    "phase_closed": _phase_closed,
    "exam_named": _exam_named,
    "exam": _exam,
}


def read_state(folder: Path) -> State:
    """The state of a run from its journal.

    Raises:
        RunFolderError: no journal there, or a damaged one.
    """
    with Journal(RunFolder(folder).journal, read_only=True) as journal:
        return fold(journal.events())
