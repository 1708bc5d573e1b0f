"""The one place where a strategy acts: it asks for a decision, writes it down, carries it out, writes the outcome down.

It is started again after any interruption with the same call: the journal says where it stands.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from smallsight.attempts.jobs import Job
from smallsight.attempts.messages import Caution, Fact, Note, kind_and_content
from smallsight.attempts.spec import AttemptResult, AttemptSpec
from smallsight.config.load import Config, with_settings
from smallsight.errors import TrainingError
from smallsight.files import copy_atomically
from smallsight.records import Decision, EpochRecord, Verdict, to_json
from smallsight.run.checkpoints import attempt_folder, champion_checkpoint, start_checkpoint
from smallsight.run.folder import RunFolder
from smallsight.run.state import PhaseAttempt, PhaseRun, Round, State
from smallsight.strategy.budget import done_names, remaining_share, seconds_of_epoch, time_is_up
from smallsight.strategy.judging import Judgement, Judging
from smallsight.strategy.outcomes import closed_in_words
from smallsight.strategy.plan import Plan
from smallsight.strategy.recording import Recording
from smallsight.strategy.relief import in_words, next_try, remembered
from smallsight.strategy.rounds import pauses_after
from smallsight.strategy.tree import continues, decide, end_phase_early, must_halt


class Runner(Recording):
    """One run folder, held by this process."""

    def optimize(self, config: Config, plan: Plan, budget_s: float | None) -> State:
        """Run the strategy to its end.

        Raises:
            TrainingError: the baseline failed, phase after phase crashed, or the budget was too small for anything.
            RunFolderError: the champion's file is not what it was.
            Interrupted: see `Trainer`.
        """
        if budget_s != self.state.budget_s:
            self.write("budget", budget_s=budget_s)
        while not self.state.finished:
            runs = self.state.open_runs
            decision = None if runs else decide(self.state, plan, self._champion_config(config))
            trains = decision.action != "stop" if decision else not all(_has_something(run) for run in runs)
            if trains and self._budget_used_up(decision):
                if self._ends_for_want_of_time(runs):
                    continue
                self.means.watcher.note(f"The budget of {budget_s:.0f} s is used up; the champion stays as it is.")
                break
            if decision is not None:
                self.write_decision(decision)
                self.means.watcher.decided(decision)
            else:
                self._carry_out(runs, config, plan)
                self.means.publish(self.state)
        self.means.publish(self.state)
        if self.state.champion is None:
            too_small = f"The budget of {budget_s or 0:.0f} s ended before anything could be judged. Raise --budget."
            raise TrainingError(self.state.finished or too_small)
        return self.state

    def _champion_config(self, config: Config) -> Config:
        settings = self.state.champion.settings if self.state.champion else {}
        return with_settings(config, settings, "champion")

    def _budget_used_up(self, decision: Decision | None) -> bool:
        """Whether there is no time left for another epoch like the latest ones, of every arm of a new round."""
        left, arms = self._seconds_left(), len(decision.arms) if decision else 0
        return left is not None and (left <= 0 or left < max(1, arms) * seconds_of_epoch(self.state.records))

    def _ends_for_want_of_time(self, runs: Sequence[PhaseRun]) -> bool:
        """End attempts that wait and have epochs to judge, and arms of a round that have none; whether any ended."""
        before = self.state
        for run in runs:
            attempt = run.current
            if attempt is not None and run.records and attempt.status in ("failed", "paused"):
                at = PhaseAttempt(run, attempt)
                after = " after a failure" if attempt.status == "failed" else ""
                self.write_of(at, "ended_early", reason=f"the budget was used up{after}")
                self.write_of(at, "attempt_ended", status="completed", failure="", message="")
            elif run.round and not run.records:
                if attempt is not None and attempt.status == "running":
                    words = {"status": "failed", "failure": "interrupted", "message": "no time was left for it"}
                    self.write_of(PhaseAttempt(run, attempt), "attempt_ended", **words)
                self._close(run, None)
        return self.state is not before

    def _seconds_left(self) -> float | None:
        budget = self.state.budget_s
        return None if budget is None else budget - self.journal.elapsed_s

    def _carry_out(self, runs: Sequence[PhaseRun], config: Config, plan: Plan) -> None:
        """Train what is to be trained of a phase, or of the arms of a round; where nothing is, judge.

        Args:
            runs: all that are open.
        """
        for run in runs:
            self._make_ready(run, config)
        to_train = [at for at in self.state.open_attempts if self._may_train(at)]
        if to_train:
            self.means.train([self._job(at, config, plan) for at in to_train])
            return
        still_open = self.state.open_runs
        begun = self.state.round_of(still_open[0]) if still_open else None
        waiting = [run.records[-1].epoch for run in still_open if run.current and run.current.status == "paused"]
        if begun is not None and waiting:
            self._look_at_arms(begun, max(waiting), plan)
        elif begun is not None:
            self._judge_round(begun, plan)
        elif still_open:
            run = still_open[0]
            if run.current is not None:
                self._judge(PhaseAttempt(run, run.current), plan)

    def _make_ready(self, run: PhaseRun, config: Config) -> None:
        """Begin a phase's attempt where there is none; after a failure go on with it, or give it up."""
        if run.current is None:
            self._start_attempt(run, {**self._inherited(), **run.decision.settings}, config)
            return
        at = PhaseAttempt(run, run.current)
        if at.attempt.status != "failed":
            return
        again = next_try(at, with_settings(config, at.attempt.settings, run.name))
        if again is None:
            self._give_up(at)
            return
        self.means.watcher.note(f"Phase {run.name} failed ({at.attempt.failure}): {self._told(at)}")
        self.means.watcher.note(f"Phase {run.name} goes on {in_words(at.attempt.settings, again)}.")
        self.write_of(at, "attempt_continued", settings=dict(again))

    def _may_train(self, at: PhaseAttempt) -> bool:
        """Whether an attempt trains now: where all arms get the time that the control took, the control goes first."""
        begun = self.state.round_of(at.run)
        if begun is None or begun.decision.equal != "seconds" or at.run.control:
            return True
        control = next((arm for arm in self.state.arms(begun) if arm.control), None)
        return control is None or control.current is None or control.current.status != "running"

    def _look_at_arms(self, begun: Round, epoch: int, plan: Plan) -> None:
        """Stop the arms of a round that are demonstrably behind; the others go on."""
        stopped = self._judging(plan).behind(begun, epoch)
        self.write("rung", round=begun.number, epoch=epoch, stopped={str(n): why for n, why in stopped.items()})
        for number, why in stopped.items():
            self.means.watcher.note(f"Arm {self.state.runs[number - 1].name} is stopped after epoch {epoch}: {why}.")

    def _judge_round(self, begun: Round, plan: Plan) -> None:
        """Compare the arms with champion and control, and crown the best where one is accepted."""
        found = self._judging(plan).round(begun)
        verdicts = {str(number): to_json(verdict) for number, verdict in found.verdicts.items()}
        crowned = self._kept(found)
        if crowned is not None and found.crowned is not None:
            crowned = {**crowned, "phase": found.crowned[0].run.number}
        self.write("round_closed", round=begun.number, verdicts=verdicts, crowned=crowned)
        for number in found.verdicts:
            self._tell_outcome(self.state.runs[number - 1])

    def _judging(self, plan: Plan) -> Judging:
        return Judging(self.folder, self.state, plan, self.means.judge)

    def _kept(self, found: Judgement) -> dict[str, Any] | None:
        """Store the checkpoint of the epoch that becomes the champion, and describe it for the journal."""
        if found.crowned is None:
            return None
        at, record = found.crowned
        folder = attempt_folder(self.folder, at.run, at.attempt.number)
        sha256 = copy_atomically(folder.best, RunFolder(self.folder).champion)
        return {"attempt": at.attempt.number, "epoch": record.epoch, "sha256": sha256}

    def _give_up(self, at: PhaseAttempt) -> None:
        """Close a phase that failed, or end the run without using the phase up where that would help nobody.

        Raises:
            TrainingError: a person has to look.
        """
        run = at.run
        if self.state.kind == "optimize" and must_halt(self.state, run):
            self.write("halted", phase=run.number)
            self.means.publish(self.state)
            raise TrainingError(
                f"Phase {run.name} crashed again: {self._told(at)}. Mend the cause, then run the same command again."
            )
        self._close(run, None)
        self.means.watcher.note(f"Phase {run.name} failed ({at.attempt.failure}): {self._told(at)}")

    def _told(self, at: PhaseAttempt) -> str:
        """What is known of a failure, and where to read more."""
        log, message = str(attempt_folder(self.folder, at.run, at.attempt.number).log), at.attempt.message
        return message if log in message else f"{message}; see {log}"

    def _inherited(self) -> Mapping[str, Any]:
        """What a phase begins with: the champion's settings, and the rungs that memory asked for since."""
        settings = self.state.champion.settings if self.state.champion else {}
        return {**settings, **remembered(self.state)}

    def _first_epoch(self, run: PhaseRun, config: Config) -> int:
        """The number of a phase's first epoch."""
        if run.number == 1:
            return first_epoch(config, self.state.resumed_epoch)
        begun = self.state.round_of(run)
        return self.state.last_epoch_before(begun.phases[0] if begun else run.number) + 1

    def _start_attempt(self, run: PhaseRun, settings: Mapping[str, Any], config: Config) -> PhaseAttempt:
        first = self._first_epoch(run, config)
        # Over all phases of this name, because a checkpoint of the same phase and attempt is continued.
        number = 1 + sum(len(r.attempts) for r in self.state.runs if r.name == run.name)
        last = first + run.decision.epochs - 1
        address = {"phase": run.number, "attempt": number}
        self.write("attempt_started", **address, settings=dict(settings), first_epoch=first, last_epoch=last)
        return self.state.at(address)

    def _job(self, at: PhaseAttempt, config: Config, plan: Plan) -> Job:
        run, attempt = at.run, at.attempt
        resolved = with_settings(config, attempt.settings, f"phase {run.name}")
        start = self._start_path(run, resolved)
        spec = AttemptSpec(
            run_id=self.state.run_id,
            run_folder=str(self.folder),
            folder=str(attempt_folder(self.folder, run, attempt.number).path),
            phase=run.name,
            attempt=attempt.number,
            config=resolved.for_training(),
            first_epoch=attempt.first_epoch,
            last_epoch=attempt.last_epoch,
            start="warm" if start else "scratch",
            start_path=str(start or ""),
            target_metric=plan.target.metric,
            setbacks=len(attempt.setbacks),
            beside_others=run.round > 0,
        )
        deadline = self._deadline(at, plan)
        return Job(
            spec,
            lambda record: self._on_epoch(self.state.at(at.address), record, plan, deadline),
            lambda fact: self._on_fact(self.state.at(at.address), fact),
            lambda result: self._on_end(self.state.at(at.address), result),
            lambda: run.round == 0 or not self._budget_used_up(None),
        )

    def _on_end(self, at: PhaseAttempt, result: AttemptResult) -> None:
        """Write down how an attempt ended; one that waits for the other arms of its round has not ended."""
        done, pause = at.attempt.records[-1].epoch if at.attempt.records else 0, self._pauses_after(at)
        if not result.failure and not at.attempt.ended_early and done == pause:
            self.write_of(at, "attempt_paused")
            return
        self.write_of(
            at,
            "attempt_ended",
            status="failed" if result.failure else "completed",
            failure=result.failure,
            message=result.message,
        )

    def _pauses_after(self, at: PhaseAttempt) -> int | None:
        """The epoch after which an attempt waits for the other arms of its round."""
        begun = self.state.round_of(at.run)
        return pauses_after(begun, at.attempt.first_epoch) if begun else None

    def _start_path(self, run: PhaseRun, config: Config) -> Path | None:
        """The checkpoint that an attempt starts from: the champion, or a copy of what the user gave."""
        if self.state.champion is not None:
            return champion_checkpoint(self.folder, self.state.champion)
        return self._copy_of_start(run, Path(self.state.resume)) if self.state.resume else None

    def _copy_of_start(self, run: PhaseRun, given: Path) -> Path:
        """The phase's own copy of a file that the user gave; said where the run will overwrite the file itself."""
        copy, is_new = start_checkpoint(self.folder, run, given)
        wrote = run.given.trained_in if run.given else None
        taken = RunFolder(self.folder).overwrites(given)
        if is_new and taken and (wrote is None or wrote.run_id != self.state.run_id):
            self.means.watcher.note(f"{given} is kept as {copy}; the run's own {given.name} takes its place.")
        return copy

    def _deadline(self, at: PhaseAttempt, plan: Plan) -> float | None:
        """When this phase's share of the budget ends, on the journal's clock; a restart does not move it."""
        if self.state.budget_s is None:
            return None
        if at.run.round:  # its number of epochs was chosen to fit; all arms shall have the same
            return self.state.budget_s
        left = self.state.budget_s - at.attempt.began_s
        return at.attempt.began_s + left * remaining_share(plan, done_names(self.state), at.run.name)

    def _on_epoch(self, at: PhaseAttempt, record: EpochRecord, plan: Plan, deadline: float | None) -> bool:
        """Write an epoch down; whether to train another one."""
        metric = plan.target.metric
        seen = any(r.epoch == record.epoch for r in at.attempt.records)
        at = self.write_of(at, "epoch", record=to_json(record))
        if not seen:
            values = [r.value(metric) for r in self.state.records if r.epoch != record.epoch]
            best = max((v for v in values if v == v), default=float("nan"))
            self.means.watcher.epoch(record, best)
        self.means.publish(self.state)
        if record.epoch >= at.attempt.last_epoch or at.attempt.ended_early or record.epoch == self._pauses_after(at):
            return False
        flat_ends = plan.ends_on_plateau(at.run.name) and not at.run.round
        left = None if deadline is None else deadline - self.journal.elapsed_s
        reason = end_phase_early(at.attempt.records, plan, end_on_plateau=flat_ends, seconds_left=left)
        reason = reason or self._time_is_up(at)
        if reason is None:
            return True
        self.write_of(at, "ended_early", reason=reason)
        self.means.watcher.note(f"Phase {at.run.name} ends after epoch {record.epoch}: {reason}.")
        return False

    def _time_is_up(self, at: PhaseAttempt) -> str | None:
        begun = self.state.round_of(at.run)
        if begun is None or begun.decision.equal != "seconds":
            return None
        return time_is_up(at.run, next((arm for arm in self.state.arms(begun) if arm.control), None))

    def _on_fact(self, at: PhaseAttempt, fact: Fact) -> None:
        """Write down what the training told, once per attempt; a note is shown the first time only."""
        kind, content = kind_and_content(fact)
        new = not any((kind, content) in a.facts for run in self.state.runs for a in run.attempts)
        if isinstance(fact, (Note, Caution)) and new:
            self.means.watcher.note(f"{'WARNING: ' if isinstance(fact, Caution) else ''}{fact.text}")
        if (kind, content) not in at.attempt.facts:
            self.write_of(at, "fact", fact=kind, content=content)

    def _judge(self, at: PhaseAttempt, plan: Plan) -> None:
        """Compare the phase's best epoch with the champion, and crown it where the verdict accepts it."""
        found = self._judging(plan).phase(at, changes=not self._continues(at.run))
        self._tell_outcome(self._close(at.run, found.verdicts.get(at.run.number), self._kept(found)))

    def _continues(self, run: PhaseRun) -> bool:
        """Whether a phase changes no setting of the champion's."""
        return continues(run, self.state)

    def _tell_outcome(self, run: PhaseRun) -> None:
        """Say the verdict of a closed phase."""
        if run.verdict is not None:
            self.means.watcher.note(f"Phase {run.name}: {closed_in_words(run)}")

    def _close(self, run: PhaseRun, verdict: Verdict | None, crowned: Mapping[str, Any] | None = None) -> PhaseRun:
        """End a phase; the phase as it is then."""
        over_start = to_json(self._over_start(run))
        self.write("phase_closed", phase=run.number, verdict=to_json(verdict), crowned=crowned, over_start=over_start)
        return self.state.runs[run.number - 1]

    def _over_start(self, run: PhaseRun) -> Verdict | None:
        """The verdict against what the phase started from, where that need not be the champion."""
        return None


def _has_something(run: PhaseRun) -> bool:
    """Whether an open phase has epochs to judge: it then ends at once, and does so also when the time is over."""
    return run.awaits_verdict or (run.current is not None and run.current.status == "running" and bool(run.records))


def first_epoch(config: Config, resumed_epoch: int) -> int:
    """The number of the first epoch to train: `start_epoch`, or the one after those that are done."""
    return max(config.checkpoint.start_epoch or 1, resumed_epoch + 1)
