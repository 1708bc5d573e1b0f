"""The state of a run: a fold over its journal. Nothing else is remembered anywhere."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from smallsight.errors import RunFolderError
from smallsight.records import (
    Decision,
    EpochRecord,
    Verdict,
    decision_from_json,
    epoch_record_from_json,
    verdict_from_json,
)
from smallsight.run.given import Call, GivenFile, Place, call_from_json, given_from_json, place_from_json
from smallsight.run.journal import Event

Status = Literal["running", "completed", "failed"]


@dataclass(frozen=True)
class Setback:
    """A failure after which an attempt went on, from its last checkpoint.

    `settings` are those it failed with; `epochs` is how many it had done by then.
    """

    failure: str
    message: str
    settings: Mapping[str, Any]
    epochs: int = 0


@dataclass(frozen=True)
class Attempt:
    """One try at a phase: settings, epochs planned, epochs done; `began_s` is on the journal's clock.

    `facts` are what the training process told beside its epochs, in order: kind and content.
    """

    number: int
    settings: Mapping[str, Any]
    first_epoch: int
    last_epoch: int
    records: tuple[EpochRecord, ...] = ()
    status: Status = "running"
    failure: str = ""
    message: str = ""
    ended_early: str = ""
    began_s: float = 0.0
    seconds: float = 0.0
    setbacks: tuple[Setback, ...] = ()
    facts: tuple[tuple[str, Mapping[str, Any]], ...] = ()

    @property
    def failures(self) -> tuple[str, ...]:
        """All failures in order, that which ended it included."""
        return (*(setback.failure for setback in self.setbacks), *([self.failure] if self.failure else []))


@dataclass(frozen=True)
class PhaseRun:
    """A phase that was begun: its attempts, and what came of it.

    Attributes:
        name, number: in the strategy, and the place among the phases that were begun.
        decision: why it was begun, and with which settings.
        attempts: in order.
        forgiven: so many failures came before a person was called, and don't count as tries.
        closed: whether it has ended.
        verdict: against the champion before it; None where nothing was compared.
        crowned: the epoch that became the champion, None where none did.
        annotations: SHA-256 of the annotation files that it trains and is evaluated on, by split.
        given: of a phase by hand, the checkpoint that the user gave; None for none.
        start: of a phase by hand, the epoch of this run that it starts from, or where its start was measured.
        over_start: of a phase by hand, the verdict against `start`.
        call: of a phase by hand, the command.
    """

    name: str
    number: int
    decision: Decision
    attempts: tuple[Attempt, ...] = ()
    closed: bool = False
    verdict: Verdict | None = None
    forgiven: int = 0
    annotations: Mapping[str, str] = field(default_factory=dict)
    crowned: int | None = None
    given: GivenFile | None = None
    start: Place | None = None
    over_start: Verdict | None = None
    call: Call | None = None

    @property
    def trains(self) -> bool:
        """Whether it is to train; one of no epochs only measures the checkpoint that it starts from."""
        return self.decision.epochs > 0

    @property
    def interrupted(self) -> bool:
        """Whether it was interrupted and another phase was begun."""
        return self.closed and self.current is not None and self.current.failure == "interrupted"

    @property
    def current(self) -> Attempt | None:
        """The latest attempt."""
        return self.attempts[-1] if self.attempts else None

    @property
    def status(self) -> Status:
        """Of the latest attempt; running while nothing is decided."""
        if not self.closed:
            return "running"
        return self.current.status if self.current else "failed"

    @property
    def awaits_verdict(self) -> bool:
        """Whether its training is done, but not judged."""
        return not self.closed and self.current is not None and self.current.status == "completed"

    @property
    def failures(self) -> tuple[str, ...]:
        """Of all attempts, in order."""
        return tuple(failure for attempt in self.attempts for failure in attempt.failures)

    def count(self, failure: str) -> int:
        """How often it failed in this way, as far as that counts."""
        return self.failures[self.forgiven :].count(failure)

    @property
    def crashes_in_place(self) -> int:
        """How often it crashed since its latest epoch, as far as that counts."""
        if self.current is None:
            return 0
        done = len(self.current.records)
        places = [*((s.failure, s.epochs) for s in self.current.setbacks), (self.current.failure, done)]
        return places[self.forgiven :].count(("crashed", done))

    @property
    def records(self) -> tuple[EpochRecord, ...]:
        """The epochs of the latest attempt."""
        return self.current.records if self.current else ()

    @property
    def seconds(self) -> float:
        """Wall clock over all attempts."""
        return sum(attempt.seconds for attempt in self.attempts)


@dataclass(frozen=True)
class Champion:
    """The best checkpoint so far, with the settings that it was trained with."""

    phase: str
    phase_number: int
    attempt: int
    record: EpochRecord
    settings: Mapping[str, Any]
    sha256: str = ""


@dataclass(frozen=True)
class State:
    """Everything that is known of a run."""

    config: Mapping[str, Any] = field(default_factory=dict)
    plan: Mapping[str, Any] = field(default_factory=dict)
    run_id: str = ""
    kind: str = ""
    resume: str = ""
    resumed_epoch: int = 0
    annotations: Mapping[str, str] = field(default_factory=dict)
    runs: tuple[PhaseRun, ...] = ()
    champion: Champion | None = None
    baseline: EpochRecord | None = None
    stops: tuple[Decision, ...] = ()
    finished: str = ""
    elapsed_s: float = 0.0
    budget_s: float | None = None

    @property
    def created(self) -> bool:
        """Whether the journal holds a run at all."""
        return bool(self.config)

    @property
    def open_run(self) -> PhaseRun | None:
        """The phase that was begun and is not closed."""
        return self.runs[-1] if self.runs and not self.runs[-1].closed else None

    @property
    def records(self) -> tuple[EpochRecord, ...]:
        """All epochs in order: of each phase its latest attempt's; the later phase's where two did the same one.

        What was trained here goes before what was only measured.
        """
        runs = sorted(self.runs, key=lambda run: run.trains)
        by_epoch = {record.epoch: record for run in runs for record in run.records}
        return tuple(by_epoch[epoch] for epoch in sorted(by_epoch))

    @property
    def last_epoch(self) -> int:
        """Number of the last epoch that any attempt has trained, or that came with the checkpoint."""
        attempts = (attempt for run in self.runs for attempt in run.attempts)
        return max((record.epoch for attempt in attempts for record in attempt.records), default=self.resumed_epoch)

    @property
    def champion_run(self) -> PhaseRun | None:
        """The phase that the champion comes from."""
        return self.runs[self.champion.phase_number - 1] if self.champion else None

    @property
    def done(self) -> bool:
        """Whether nothing is left to do: the strategy has come to its end, or the phase by hand has."""
        last = self.runs[-1] if self.runs else None
        single = self.kind == "train" and last is not None and last.trains and last.status == "completed"
        return bool(self.finished) or single

    def run(self, name: str) -> PhaseRun | None:
        """The phase of that name, if it was begun."""
        return next((run for run in self.runs if run.name == name), None)

    def target_value(self, metric: str) -> float:
        """The champion's value, NaN while there is none."""
        return self.champion.record.value(metric) if self.champion else math.nan


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
    annotations = content.get("annotations", state.annotations)
    run = PhaseRun(
        decision.phase,
        len(state.runs) + 1,
        decision,
        annotations=annotations,
        given=given_from_json(content.get("given")),
        start=place_from_json(content.get("start")),
        call=call_from_json(content.get("call")),
    )
    return replace(state, runs=(*state.runs, run), finished="")


def _goal(state: State, content: Mapping[str, Any]) -> State:
    """Another level ends the run: one that has ended is not at its end any more."""
    target = {**state.plan["target"], "stop_at": content["stop_at"]}
    return replace(state, plan={**state.plan, "target": target}, finished="")


def _with_run(state: State, **changes: Any) -> State:
    return replace(state, runs=(*state.runs[:-1], replace(state.runs[-1], **changes)))


def _with_attempt(state: State, **changes: Any) -> State:
    *earlier, last = state.runs[-1].attempts
    return _with_run(state, attempts=(*earlier, replace(last, **changes)))


def _attempt_started(state: State, content: Mapping[str, Any]) -> State:
    first, last = int(content["first_epoch"]), int(content["last_epoch"])
    attempt = Attempt(int(content["attempt"]), dict(content["settings"]), first, last, began_s=state.elapsed_s)
    return _with_run(state, attempts=(*state.runs[-1].attempts, attempt))


def _epoch(state: State, content: Mapping[str, Any]) -> State:
    """Add an epoch; one that is reported again after a crash takes the place of the first."""
    record = epoch_record_from_json(content["record"])
    kept = [r for r in state.runs[-1].attempts[-1].records if r.epoch != record.epoch]
    return _with_attempt(state, records=tuple(sorted([*kept, record], key=lambda r: r.epoch)))


def _ended_early(state: State, content: Mapping[str, Any]) -> State:
    return _with_attempt(state, ended_early=content["reason"])


def _attempt_ended(state: State, content: Mapping[str, Any]) -> State:
    return _with_attempt(
        state,
        status=content["status"],
        failure=content["failure"],
        message=content["message"],
        seconds=state.elapsed_s - state.runs[-1].attempts[-1].began_s,
    )


def _halted(state: State, content: Mapping[str, Any]) -> State:
    """Nothing more was tried with the open phase: whoever starts the run again wants it tried anew."""
    return _with_run(state, forgiven=len(state.runs[-1].failures))


def _attempt_continued(state: State, content: Mapping[str, Any]) -> State:
    failed = state.runs[-1].attempts[-1]
    setback = Setback(failed.failure, failed.message, failed.settings, len(failed.records))
    return _with_attempt(
        state,
        status="running",
        failure="",
        message="",
        settings=dict(content["settings"]),
        setbacks=(*failed.setbacks, setback),
    )


def _fact(state: State, content: Mapping[str, Any]) -> State:
    facts = state.runs[-1].attempts[-1].facts
    return _with_attempt(state, facts=(*facts, (str(content["fact"]), dict(content["content"]))))


def _phase_closed(state: State, content: Mapping[str, Any]) -> State:
    """End a phase, and crown it where it is the better one: a single event, so that no crash falls between the two."""
    verdict, over_start = (verdict_from_json(v) if v else None for v in (content["verdict"], content.get("over_start")))
    crowned = content["crowned"]["epoch"] if content["crowned"] else None
    state = _with_run(state, closed=True, verdict=verdict, over_start=over_start, crowned=crowned)
    return _crowned(state, **content["crowned"]) if content["crowned"] else state


def _crowned(state: State, epoch: int, sha256: str) -> State:
    run = state.runs[-1]
    attempt = run.attempts[-1]
    record = next(r for r in attempt.records if r.epoch == epoch)
    champion = Champion(run.name, run.number, attempt.number, record, attempt.settings, sha256)
    return replace(state, champion=champion, baseline=state.baseline or record)


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
    "halted": _halted,
    "phase_closed": _phase_closed,
}
