"""What a report is made from: the epochs of a run or of a recorded file, with phases, decisions and target."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from smallsight.records import Decision, EpochRecord, Estimate, Verdict
from smallsight.run.exam import ExamLook, ExamSet
from smallsight.run.given import Call
from smallsight.strategy.plan import Plan, PlateauRule

PhaseOutcome = (
    Literal["baseline", "measured", "improved", "kept", "no_evidence", "regressed"]
    | Literal["failed", "halted", "interrupted", "running", "waiting", "pending", "skipped"]
)
Stopped = Literal["", "interrupted", "failed", "out of budget"]

RECORDED_PHASE = "recorded"


@dataclass(frozen=True)
class TargetAndGuard:
    """The target of a run, and the guard metric with its floors.

    Attributes:
        metric: the target metric, by which champions are chosen.
        minimum, success, optimal: its three levels.
        guard_metric: the metric that must not drop by more than the strategy allows.
        guard_floor: the baseline's guard metric minus the allowed drop; None where no baseline is known.
        guard_absolute_floor: its lowest allowed value whatever the baseline was; None for no such value.
        rate_per_epoch: the improvement per elapsed epoch that the strategy asks for.
        unknown_metric: the target metric that was asked for, where the file lacks it and `metric` is used instead;
            empty otherwise.
    """

    metric: str = "map_small"
    minimum: float = 0.65
    success: float = 0.70
    optimal: float = 0.75
    guard_metric: str = "map_50_95"
    guard_floor: float | None = None
    guard_absolute_floor: float | None = None
    rate_per_epoch: float = 0.003
    unknown_metric: str = ""


@dataclass(frozen=True)
class PhaseMemory:
    """Memory of a phase, MB; NaN where not known.

    Attributes:
        probe_mb: the peak that was predicted, by a trial of the largest steps before the first one.
        peak_mb: the measured peak of all its epochs.
        limit_mb: the memory that training may use.
    """

    probe_mb: float = math.nan
    peak_mb: float = math.nan
    limit_mb: float = math.nan


@dataclass(frozen=True)
class Extrapolation:
    """What more training alone would have gained, if the trend before a phase had gone on in a straight line.

    Attributes:
        gain: of the target metric; its interval is that of the slope.
        phase: name of the phase whose trend it is.
        seen: how many epochs the trend rests on.
        epochs: over how many epochs it is extrapolated.
    """

    gain: Estimate
    phase: str
    seen: int
    epochs: int


@dataclass(frozen=True)
class PhaseStory:
    """One phase and what happened in it.

    Attributes:
        name, title: its key and its title in the strategy.
        start_epoch, end_epoch: first and last epoch trained in it; both 0 where it was not begun. Where no epoch is
            done, `end_epoch` is below `start_epoch`.
        outcome: the verdict's, or why there is none. `baseline`: later phases are compared with it. `measured`: a
            checkpoint that a phase by hand starts from. `halted`: it failed, and is tried again when the run is started
            again. `interrupted`: it has not ended, and no process works on it. `waiting`: an arm that waits for the
            others of its round. `pending`: it may still be run. `skipped`: the run ended without it.
        expected_gain: lowest and highest gain of the target metric that the strategy expects.
        verdict: against the champion on the same images; for a phase by hand, against the checkpoint that it started
            from.
        reason: one sentence or more.
        seconds: wall time, NaN where not known.
        settings: dotted keys in effect that differ from the run's configuration.
        memory: predicted and measured.
        notes: messages of the training process.
        only_measures: whether it trains nothing and measures the checkpoint that a phase by hand starts from.
        plays: the phase of the strategy that it corresponds to, where its name is another one.
        records: its epochs.
        round: number of the round that it is an arm of; 0 for none.
        control: whether it is the arm that goes on with the champion's settings.
        crowned: its epoch that became the champion; None where none did.
        changes: whether it trained with other settings than the checkpoint that it started from.
        extrapolated: what more training alone would have gained, where no control was trained and a trend is known.
    """

    name: str
    title: str
    start_epoch: int
    end_epoch: int
    outcome: PhaseOutcome
    expected_gain: tuple[float, float] | None = None
    verdict: Verdict | None = None
    reason: str = ""
    seconds: float = math.nan
    settings: Mapping[str, Any] = field(default_factory=dict)
    memory: PhaseMemory = field(default_factory=PhaseMemory)
    notes: tuple[str, ...] = ()
    only_measures: bool = False
    plays: str = ""
    records: tuple[EpochRecord, ...] = ()
    round: int = 0
    control: bool = False
    crowned: int | None = None
    changes: bool = False
    extrapolated: Extrapolation | None = None

    @property
    def over_control(self) -> Estimate | None:
        """The paired difference of the target metric to the control of its round; None where there was none."""
        return self.verdict.over_control if self.verdict else None

    @property
    def part(self) -> str:
        """The name of the phase of the strategy that it corresponds to."""
        return self.plays or self.name

    @property
    def begun(self) -> bool:
        """Whether the phase was begun."""
        return self.outcome not in ("pending", "skipped")

    @property
    def epochs(self) -> str:
        """Its epochs as text, such as `3-7`, `3` or `none`; empty where it was not begun."""
        if not self.begun:
            return ""
        if self.end_epoch < self.start_epoch:
            return "none"
        return f"{self.end_epoch}" if self.end_epoch == self.start_epoch else f"{self.start_epoch}-{self.end_epoch}"


@dataclass(frozen=True)
class StoppedArm:
    """An arm that was stopped because it was demonstrably behind the leading one: after which epoch, and why."""

    arm: str
    epoch: int
    reason: str


@dataclass(frozen=True)
class RoundStory:
    """A round and what happened in it.

    Attributes:
        name, title: its key and its title in the strategy.
        number: from 1, among the rounds that were begun.
        first_epoch, last_epoch: that each arm trains, if it is not stopped.
        arms: the names of its phases, in order.
        before: the record of the champion that all arms started from; None where it is not known.
        stopped: the arms that were stopped, in order.
        champion: the arm that became the champion; empty for none.
        closed: whether its arms are judged.
    """

    name: str
    title: str
    number: int
    first_epoch: int
    last_epoch: int
    arms: tuple[str, ...]
    before: EpochRecord | None = None
    stopped: tuple[StoppedArm, ...] = ()
    champion: str = ""
    closed: bool = True


@dataclass(frozen=True)
class NextCommand:
    """A command that can be pasted into a shell, and what it does."""

    title: str
    line: str


@dataclass(frozen=True)
class History:
    """Everything that a report is made from, except the detections.

    Attributes:
        source: the run folder, the recorded file or the configuration.
        records: one per recorded epoch and attempt, in the order in which they were written. Of a round those of the
            arm that became the champion, else of the control.
        phases, decisions: in order; empty for a recorded file.
        rounds: in order; their arms are among `phases`.
        baseline, champion: the record of the start, and of the best accepted checkpoint.
        config: the run's configuration, sections as in its file.
        plateau: when the strategy counts the target metric as flat.
        plan: the strategy of the run, or the one by which recorded epochs are judged; None for none.
        champion_path: the champion's checkpoint file.
        finished: whether the strategy has ended.
        stopped: why no process works on a run that is not finished; empty where one does.
        commands: to continue with, where the next step is a command that is known.
        start_doubts: what seems wrong with the checkpoint that the run started from.
        record_doubts: why epochs recorded before the run can't be compared with its own.
        by_hand: whether its phases are by hand; each is then compared with the checkpoint that it started from.
        call: the command line from which suggested commands are made; None where a strategy decides what to run.
        start_path: the checkpoint that suggested commands start from.
        error_rate: how likely the run is to have taken a phase without effect for a gain, in a sentence.
        exam: the images that no decision sees, where there are such.
        exam_look: what baseline and champion reached there; None where they were not measured yet.
        exam_looks: how often the exam was looked at.
    """

    source: str
    records: tuple[EpochRecord, ...]
    phases: tuple[PhaseStory, ...] = ()
    decisions: tuple[Decision, ...] = ()
    baseline: EpochRecord | None = None
    champion: EpochRecord | None = None
    config: Mapping[str, Any] | None = None
    target: TargetAndGuard = field(default_factory=TargetAndGuard)
    plateau: PlateauRule = field(default_factory=PlateauRule)
    plan: Plan | None = None
    champion_path: str = ""
    finished: bool = False
    stopped: Stopped = ""
    commands: tuple[NextCommand, ...] = ()
    start_doubts: tuple[str, ...] = ()
    record_doubts: tuple[str, ...] = ()
    by_hand: bool = False
    call: Call | None = None
    start_path: str = ""
    rounds: tuple[RoundStory, ...] = ()
    error_rate: str = ""
    exam: ExamSet | None = None
    exam_look: ExamLook | None = None
    exam_looks: int = 0

    def phase(self, name: str) -> PhaseStory:
        """The phase of that name; raises StopIteration where there is none."""
        return next(phase for phase in self.phases if phase.name == name)


def latest_per_epoch(records: Iterable[EpochRecord]) -> tuple[EpochRecord, ...]:
    """One record per epoch, by epoch; where attempts repeated an epoch, the one written last."""
    by_epoch = {record.epoch: record for record in records}
    return tuple(by_epoch[epoch] for epoch in sorted(by_epoch))
