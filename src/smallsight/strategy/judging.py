"""What an attempt's detections say: verdicts on a phase and on the arms of a round. Reads files, writes nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from smallsight.records import EpochRecord, Verdict
from smallsight.run.checkpoints import attempt_folder, champion_contenders, contenders
from smallsight.run.state import PhaseAttempt, Round, State
from smallsight.strategy.error_rate import rise_confidence
from smallsight.strategy.means import Judge
from smallsight.strategy.plan import Plan
from smallsight.strategy.rounds import winner
from smallsight.strategy.tree import against_erosion, best_epoch, without_burden


@dataclass(frozen=True)
class Judgement:
    """Verdicts by the number of the phase, and the epoch that becomes the champion; None for none."""

    verdicts: Mapping[int, Verdict]
    crowned: tuple[PhaseAttempt, EpochRecord] | None


@dataclass(frozen=True)
class Judging:
    """A run as it is judged.

    Attributes:
        folder: of the run.
        state: as it is now.
        plan: the strategy.
        judge: compares detections.
    """

    folder: Path
    state: State
    plan: Plan
    judge: Judge

    def phase(self, at: PhaseAttempt, *, changes: bool) -> Judgement:
        """The verdict on a phase's best epoch; the first phase of a run has nothing to be compared with.

        Args:
            changes: whether it trained with other settings than the champion.
        """
        best = self._best(at.attempt.records)
        if best is None:
            return Judgement({}, None)
        if self.state.champion is None:
            return Judgement({}, (at, best))
        verdict = self.judge.phase(
            self._files(at, at.attempt.records), self._champions(), rise_confidence(self.plan, self.state, at.run)
        )
        verdict = self._settled(verdict, best, changes=changes)
        return Judgement({at.run.number: verdict}, (at, best) if verdict.accepted else None)

    def round(self, begun: Round) -> Judgement:
        """The verdicts on the arms of a round that trained, and the best of those that are accepted."""
        arms = self._arms(begun)
        control = next((at for at in arms if at.run.control), None)
        treatments = [at for at in arms if not at.run.control]
        verdicts: dict[int, Verdict] = {}
        if treatments:
            verdicts |= self.judge.arms(
                {at.run.number: self._files(at, at.attempt.records) for at in treatments},
                {at.run.number: self._as_long(control, at) for at in treatments} if control else {},
                self._champions(),
                rise_confidence(self.plan, self.state, treatments[0].run),
            )
        if control is not None:
            verdicts[control.run.number] = self.judge.phase(
                self._files(control, control.attempt.records), self._champions(), self.plan.verdict.confidence
            )
        stopped = {number: reason for rung in begun.rungs for number, reason in rung.stopped.items()}
        best = {at.run.number: self._best(at.attempt.records) for at in arms}
        for at in arms:
            number, chosen = at.run.number, best[at.run.number]
            if chosen is not None:
                verdict = self._settled(verdicts[number], chosen, changes=not at.run.control)
                verdicts[number] = _without_stopped(verdict, stopped.get(number, ""))
        first = winner(arms, verdicts)
        record = best[first.run.number] if first else None
        return Judgement(verdicts, (first, record) if first and record else None)

    def behind(self, begun: Round, epoch: int) -> Mapping[int, str]:
        """The arms of a round, but the control, that wait after an epoch demonstrably behind the leading one."""
        waiting = [at for at in self._arms(begun) if at.attempt.status == "paused"]
        files = {at.run.number: self._files(at, _until(at.attempt.records, epoch)) for at in waiting}
        found = self.judge.behind(files) if len(files) > 1 else {}
        return {at.run.number: found[at.run.number] for at in waiting if at.run.number in found and not at.run.control}

    def _arms(self, begun: Round) -> list[PhaseAttempt]:
        """The arms of a round that trained and are not closed, each with its latest attempt."""
        open_arms = [arm for arm in self.state.arms(begun) if not arm.closed]
        return [PhaseAttempt(arm, arm.current) for arm in open_arms if arm.current is not None and arm.records]

    def _settled(self, verdict: Verdict, best: EpochRecord, *, changes: bool) -> Verdict:
        return against_erosion(without_burden(verdict, changes=changes), best, self.state.baseline, self.plan)

    def _best(self, records: Sequence[EpochRecord]) -> EpochRecord | None:
        return best_epoch(records, self.plan.target.metric)

    def _files(self, at: PhaseAttempt, records: Sequence[EpochRecord]) -> list[Path]:
        """Detections of these epochs, those of the best first."""
        best = self._best(records)
        if best is None:
            return []
        return contenders(attempt_folder(self.folder, at.run, at.attempt.number), best, records)

    def _as_long(self, control: PhaseAttempt, arm: PhaseAttempt) -> list[Path]:
        """The control's detections over as many epochs as an arm has, where it was stopped or ran out of time."""
        return self._files(control, _until(control.attempt.records, arm.attempt.records[-1].epoch))

    def _champions(self) -> list[Path]:
        champion = self.state.champion
        return champion_contenders(self.folder, self.state, champion) if champion else []


def _until(records: Sequence[EpochRecord], epoch: int) -> Sequence[EpochRecord]:
    """The epochs up to this one; the first where none is."""
    return [record for record in records if record.epoch <= epoch] or records[:1]


def _without_stopped(verdict: Verdict, stopped: str) -> Verdict:
    """An arm that was stopped behind the others does not become the champion."""
    if not stopped:
        return verdict
    outcome = "no_evidence" if verdict.accepted else verdict.outcome
    return replace(verdict, outcome=outcome, reason=f"{verdict.reason}; {stopped}")
