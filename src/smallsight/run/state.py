"""The state of a run, as it is folded from its journal. Nothing else is remembered anywhere."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from smallsight.records import Decision, EpochRecord, Verdict
from smallsight.run.exam import ExamLook, ExamSet
from smallsight.run.given import Call, GivenFile, Place

Status = Literal["running", "paused", "completed", "failed"]
"""Of an attempt; `paused` at the end of a segment, until the other arms of its round have come as far."""


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
    """A phase that was begun: its attempts, its verdicts and its outcome.

    Attributes:
        name, number: in the strategy, and the place among the phases that were begun.
        decision: why it was begun, and with which settings.
        attempts: by their numbers.
        forgiven: so many failures came before a person was called, and don't count as tries.
        closed: whether it has ended.
        verdict: against the champion before it; None where nothing was compared.
        crowned: the epoch that became the champion, None where none did.
        annotations: SHA-256 of the annotation files that it trains and is evaluated on, by split.
        given: of a phase by hand, the checkpoint that the user gave; None for none.
        start: of a phase by hand, the epoch of this run that it starts from, or where its start was measured.
        over_start: of a phase by hand, the verdict against `start`.
        call: of a phase by hand, the command.
        round: the number of the round that it is an arm of; 0 for none.
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
    round: int = 0

    @property
    def control(self) -> bool:
        """Whether it is the arm that only goes on with the champion's settings."""
        return self.decision.control

    @property
    def trains(self) -> bool:
        """Whether it is to train; one of no epochs only measures the checkpoint that it starts from."""
        return self.decision.epochs > 0

    @property
    def interrupted(self) -> bool:
        """Whether it was interrupted and another phase was begun."""
        return self.closed and self.current is not None and self.current.failure == "interrupted"

    @property
    def given_up(self) -> bool:
        """Whether it failed and is not tried again before a person has looked."""
        failed = self.current is not None and self.current.status == "failed"
        return failed and not self.closed and self.forgiven == len(self.failures)

    @property
    def current(self) -> Attempt | None:
        """The latest attempt."""
        return self.attempts[-1] if self.attempts else None

    def attempt(self, number: int) -> Attempt | None:
        """The attempt of that number, if it was begun."""
        return next((attempt for attempt in self.attempts if attempt.number == number), None)

    @property
    def status(self) -> Status:
        """Of the latest attempt; running while nothing is decided."""
        if not self.closed:
            return "running"
        return self.current.status if self.current else "failed"

    @property
    def awaits_verdict(self) -> bool:
        """Whether the training of the phase is done, and its verdict is still to come."""
        ended = all(attempt.status in ("completed", "failed") for attempt in self.attempts)
        return not self.closed and ended and self.current is not None and self.current.status == "completed"

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
class PhaseAttempt:
    """An attempt with the phase that it belongs to."""

    run: PhaseRun
    attempt: Attempt

    @property
    def address(self) -> Mapping[str, int]:
        """What an event says that concerns it."""
        return {"phase": self.run.number, "attempt": self.attempt.number}


@dataclass(frozen=True)
class Rung:
    """A look at the arms of a round that still train, after the same epoch of each.

    Attributes:
        epoch: the last one that they had trained.
        stopped: by the number of the arm's phase, why it was stopped.
    """

    epoch: int
    stopped: Mapping[int, str]


@dataclass(frozen=True)
class Round:
    """Arms that were begun from the same champion.

    Attributes:
        name, number: in the strategy, and the place among the rounds that were begun, from 1.
        decision: what its arms are, and how they are compared.
        phases: the numbers of its arms' phases.
        rungs: the looks so far.
        began_s: on the journal's clock.
        champion_phase: number of the phase that the champion was of when it began; 0 for none.
    """

    name: str
    number: int
    decision: Decision
    phases: tuple[int, ...]
    rungs: tuple[Rung, ...] = ()
    began_s: float = 0.0
    champion_phase: int = 0


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
    """Everything that is known of a run.

    `baseline` is the record of `first`, the first champion. `exam` is the one that the latest start named, None for
    none; `exams` are the looks at exams, in order.
    """

    config: Mapping[str, Any] = field(default_factory=dict)
    plan: Mapping[str, Any] = field(default_factory=dict)
    run_id: str = ""
    kind: str = ""
    resume: str = ""
    resumed_epoch: int = 0
    annotations: Mapping[str, str] = field(default_factory=dict)
    runs: tuple[PhaseRun, ...] = ()
    rounds: tuple[Round, ...] = ()
    champion: Champion | None = None
    baseline: EpochRecord | None = None
    stops: tuple[Decision, ...] = ()
    finished: str = ""
    elapsed_s: float = 0.0
    budget_s: float | None = None
    first: Champion | None = None
    exam: ExamSet | None = None
    exams: tuple[ExamLook, ...] = ()

    @property
    def created(self) -> bool:
        """Whether the journal holds a run at all."""
        return bool(self.config)

    @property
    def open_run(self) -> PhaseRun | None:
        """The latest phase that was begun and is not closed."""
        return next((run for run in reversed(self.runs) if not run.closed), None)

    @property
    def open_runs(self) -> tuple[PhaseRun, ...]:
        """All phases that were begun and are not closed; several only as the arms of one round."""
        return tuple(run for run in self.runs if not run.closed)

    def arms(self, of: Round) -> tuple[PhaseRun, ...]:
        """The arms of a round."""
        return tuple(self.runs[number - 1] for number in of.phases)

    def round_of(self, run: PhaseRun) -> Round | None:
        """The round that a phase is an arm of."""
        return self.rounds[run.round - 1] if run.round else None

    @property
    def line(self) -> tuple[PhaseRun, ...]:
        """The phases that followed each other: of each round the arm that gave the champion, else the control.

        Where the control has no epoch, the first arm that has one stands for it.
        """
        left_out = {arm.number for each in self.rounds for arm in _beside(self.arms(each))}
        return tuple(run for run in self.runs if run.number not in left_out)

    @property
    def open_attempts(self) -> tuple[PhaseAttempt, ...]:
        """The attempts that were begun and have not ended, by phase and number."""
        return tuple(
            PhaseAttempt(run, attempt)
            for run in self.runs
            for attempt in run.attempts
            if not run.closed and attempt.status == "running"
        )

    def at(self, address: Mapping[str, Any]) -> PhaseAttempt:
        """The phase and the attempt that an event or a `PhaseAttempt.address` names.

        Raises:
            KeyError: it names none.
            ValueError: one that was never begun.
        """
        run = self.run_at(address)
        number = address["attempt"]
        attempt = run.attempt(number) if type(number) is int else None
        if attempt is None:
            raise ValueError(f"attempt {number!r} of phase {run.number} was never begun")
        return PhaseAttempt(run, attempt)

    def run_at(self, address: Mapping[str, Any]) -> PhaseRun:
        """The phase that an event names; raises as `at` does."""
        number = address["phase"]
        if type(number) is not int or not 1 <= number <= len(self.runs):
            raise ValueError(f"phase {number!r} was never begun")
        return self.runs[number - 1]

    @property
    def records(self) -> tuple[EpochRecord, ...]:
        """All epochs in order: of each phase its latest attempt's; the later phase's where two did the same one.

        What was trained here goes before what was only measured. Of a round it is the arm in `line`.
        """
        runs = sorted(self.line, key=lambda run: run.trains)
        by_epoch = {record.epoch: record for run in runs for record in run.records}
        return tuple(by_epoch[epoch] for epoch in sorted(by_epoch))

    @property
    def last_epoch(self) -> int:
        """Number of the last epoch that any attempt has trained, or that came with the checkpoint."""
        return self.last_epoch_before(len(self.runs) + 1)

    def last_epoch_before(self, number: int) -> int:
        """As `last_epoch`, over the phases before the one of that number."""
        attempts = (attempt for run in self.runs[: number - 1] for attempt in run.attempts)
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

    @property
    def exam_look(self) -> ExamLook | None:
        """The latest look at an exam with today's champion and baseline; None where they were not measured there."""
        files = [each.sha256 for each in (self.first, self.champion) if each is not None]
        same = (look for look in reversed(self.exams) if [look.baseline.sha256, look.champion.sha256] == files)
        return next(same, None)

    def target_value(self, metric: str) -> float:
        """The champion's value, NaN while there is none."""
        return self.champion.record.value(metric) if self.champion else math.nan


def _beside(arms: tuple[PhaseRun, ...]) -> Iterator[PhaseRun]:
    """The arms of a round but the one that stands for it among the phases that followed each other."""
    chosen = sorted(arms, key=lambda run: (run.crowned is None, not run.records, not run.control, run.number))[0]
    return (arm for arm in arms if arm is not chosen)
