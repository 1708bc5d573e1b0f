"""What can be reported on: the epochs of a run or of a recorded file, and the story around them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from smallsight.records import Decision, EpochRecord, Verdict
from smallsight.run.exam import ExamLook, ExamSet
from smallsight.run.given import Call
from smallsight.strategy.plan import Plan, PlateauRule

PhaseOutcome = (
    Literal["baseline", "measured", "improved", "kept", "no_evidence", "regressed"]
    | Literal["failed", "halted", "interrupted", "running", "pending", "skipped"]
)
Stopped = Literal["", "interrupted", "failed", "out of budget"]

RECORDED_PHASE = "recorded"


@dataclass(frozen=True)
class TargetAndGuard:
    """What the run is to reach.

    Attributes:
        metric: the metric that decides.
        minimum, success, optimal: its three levels.
        guard_metric: the metric that must not suffer.
        guard_floor: what the baseline leaves it to drop to, None where no baseline is known.
        guard_absolute_floor: its lowest value allowed whatever the baseline was, None for no such value.
        rate_per_epoch: the improvement per elapsed epoch that the strategy asks for.
        unknown_metric: the metric that was asked for and that the file lacks, so that `metric` stands in for it; empty
            where nothing stands in.
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
    """What training took, MB; NaN where not known.

    Attributes:
        probe_mb: what was expected, after a try of the hardest steps before the first one.
        peak_mb: the highest in any epoch.
        limit_mb: what there may be.
    """

    probe_mb: float = math.nan
    peak_mb: float = math.nan
    limit_mb: float = math.nan


@dataclass(frozen=True)
class PhaseStory:
    """One phase as it went.

    Attributes:
        name, title: its key in the strategy, and its words.
        start_epoch, end_epoch: first and last epoch trained in it; both 0 where it was not begun, the last before the
            first where none is done.
        outcome: the verdict's, or why there is none: `baseline` is what later phases are compared with, `measured` a
            checkpoint that a phase by hand starts from, `halted` is to be tried again by whoever starts the run again,
            `interrupted` has not ended and nobody works on it, `pending` may still be run, `skipped` was not before the
            run ended.
        expected_gain: lowest and highest gain of the target metric that the strategy expects.
        verdict: against the champion on the same images; of a phase by hand, against what it started from.
        reason: one sentence or more.
        seconds: wall time, NaN where not known.
        settings: dotted keys in effect that differ from the run's configuration.
        memory: what it took.
        notes: what the training had to say beside its epochs.
        only_measures: whether it trains nothing and measures the checkpoint that a phase by hand starts from.
        plays: the phase of the strategy that it is, where it goes by another name.
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

    @property
    def part(self) -> str:
        """The phase of the strategy that it is."""
        return self.plays or self.name

    @property
    def begun(self) -> bool:
        """Whether the phase was begun."""
        return self.outcome not in ("pending", "skipped")

    @property
    def epochs(self) -> str:
        """Its epochs in words; empty where it was not begun."""
        if not self.begun:
            return ""
        if self.end_epoch < self.start_epoch:
            return "none"
        return f"{self.end_epoch}" if self.end_epoch == self.start_epoch else f"{self.start_epoch}-{self.end_epoch}"


@dataclass(frozen=True)
class NextCommand:
    """A command that can be pasted into a shell, and what it does."""

    title: str
    line: str


@dataclass(frozen=True)
class History:
    """All that a report is made from.

    Attributes:
        source: where it was read from.
        records: one per recorded epoch and attempt, in the order in which they were written.
        phases, decisions: in order; empty for a recorded file.
        baseline: the checkpoint as it came; champion: the best one that was accepted.
        config: the run's configuration, sections as in its file.
        plateau: when the strategy counts the target metric as flat.
        plan: the strategy that leads the run, or by which recorded epochs are looked at; None for none.
        champion_path: the champion's checkpoint file.
        finished: whether the strategy has come to its end.
        stopped: why nobody works on a run that is not finished; empty where somebody does.
        commands: to go on with, where the next step is a command that is known.
        start_doubts: what seems wrong with the checkpoint that the run started from.
        record_doubts: why epochs recorded before the run can't be compared with its own.
        by_hand: whether its phases are by hand; each is then compared with what it started from.
        call: the command line that others to go on with are like; None where a strategy leads the run by itself.
        start_path: the checkpoint to go on from, for such commands.
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
    exam: ExamSet | None = None
    exam_look: ExamLook | None = None
    exam_looks: int = 0


def latest_per_epoch(records: Iterable[EpochRecord]) -> tuple[EpochRecord, ...]:
    """One record per epoch, by epoch; where attempts repeated an epoch, the one written last."""
    by_epoch = {record.epoch: record for record in records}
    return tuple(by_epoch[epoch] for epoch in sorted(by_epoch))
