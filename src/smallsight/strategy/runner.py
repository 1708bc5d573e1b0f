"""The one place where a strategy acts: it asks for a decision, writes it down, carries it out, writes the outcome down.

It is started again after any interruption with the same call: the journal says where it stands.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from smallsight.attempts.jobs import Job
from smallsight.attempts.messages import Caution, Fact, Note, kind_and_content
from smallsight.attempts.spec import AttemptResult, AttemptSpec
from smallsight.config.load import Config, with_settings
from smallsight.config.yaml_files import to_yaml
from smallsight.errors import TrainingError
from smallsight.files import copy_atomically, write_text_atomically
from smallsight.records import Decision, EpochRecord, Verdict, to_json
from smallsight.run.checkpoints import (
    attempt_folder,
    champion_checkpoint,
    champion_contenders,
    contenders,
    start_checkpoint,
)
from smallsight.run.fold import fold
from smallsight.run.folder import RunFolder
from smallsight.run.foreign_files import refuse_lost_journal, set_foreign_aside
from smallsight.run.given import Origin
from smallsight.run.journal import Journal
from smallsight.run.state import PhaseAttempt, PhaseRun, State
from smallsight.strategy.means import Means
from smallsight.strategy.plan import Plan, remaining_share
from smallsight.strategy.relief import in_words, next_try, remembered
from smallsight.strategy.same_run import refuse_other_settings, refuse_other_start
from smallsight.strategy.tree import (
    against_erosion,
    best_epoch,
    continues,
    decide,
    end_phase_early,
    epoch_seconds,
    must_halt,
    verdict_in_words,
    without_burden,
)


class Runner:
    """One run folder, held by this process."""

    def __init__(self, folder: Path, journal: Journal, means: Means) -> None:
        self.folder, self.journal, self.means = folder, journal, means
        self.state = fold(journal.events())

    def write(self, kind: str, **content: Any) -> None:
        """Append to the journal and bring the state up to date."""
        self.state = fold([self.journal.append(kind, **content)], self.state)

    def write_of(self, at: PhaseAttempt, kind: str, **content: Any) -> PhaseAttempt:
        """`write` what concerns an attempt; the attempt as it is then."""
        self.write(kind, **at.address, **content)
        return self.state.at(at.address)

    def write_decision(self, decision: Decision, **content: Any) -> None:
        """`write` a decision; one to run a phase begins it."""
        begun = {"phase": len(self.state.runs) + 1} if decision.action == "run" else {}
        self.write("decided", **begun, decision=to_json(decision), **content)

    def begin(self, config: Config, plan: Plan, run_kind: str, origin: Origin, resume: str = "") -> None:
        """Write down what this run is, or make sure that it still is what it was.

        Args:
            resume: what the first phase starts from, where the run as a whole has no origin.
        Raises:
            RunFolderError: the folder holds a run with other settings, or one whose journal is lost.
        """
        if self.state.created:
            if run_kind == "optimize" or self.state.kind != run_kind:
                refuse_other_settings(self.folder, self.state, config, plan, run_kind)
                refuse_other_start(self.folder, self.state, origin.resume)
                self._set_goal(plan)
            return
        refuse_lost_journal(self.folder)
        files = RunFolder(self.folder)
        texts = {files.config.name: to_yaml(config.to_dict()), files.strategy.name: to_yaml(plan.to_dict())}
        for line in set_foreign_aside(self.folder, texts, origin.resume or resume):
            self.means.watcher.note(line)
        for name, text in texts.items():
            write_text_atomically(self.folder / name, text)
        self.write(
            "created",
            config=config.to_dict(),
            plan=plan.to_dict(),
            run_id=uuid.uuid4().hex,
            run_kind=run_kind,
            resume=origin.resume,
            resumed_epoch=origin.resumed_epoch,
            annotations=dict(origin.annotations),
        )

    def _set_goal(self, plan: Plan) -> None:
        """Take over another level to stop at; a run that has ended at the one before goes on to it."""
        before, now = self.state.plan["target"]["stop_at"], plan.target.stop_at
        if now != before:
            self.write("goal", stop_at=now)
            write_text_atomically(RunFolder(self.folder).strategy, to_yaml(plan.to_dict()))
            self.means.watcher.note(f"target.stop_at is now {now}; it was {before}.")

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
            open_run = self.state.open_run
            decision = None if open_run else decide(self.state, plan, self._champion_config(config))
            trains = decision.action == "run" if decision else open_run is not None and not _has_something(open_run)
            if trains and self._budget_used_up():
                if open_run is not None and open_run.current is not None and open_run.records:
                    at = PhaseAttempt(open_run, open_run.current)
                    self.write_of(at, "ended_early", reason="the budget was used up after a failure")
                    self.write_of(at, "attempt_ended", status="completed", failure="", message="")
                    continue
                self.means.watcher.note(f"The budget of {budget_s:.0f} s is used up; the champion stays as it is.")
                break
            if decision is not None:
                self.write_decision(decision)
                self.means.watcher.decided(decision)
            elif open_run is not None:
                self._carry_out(open_run, config, plan)
                self.means.publish(self.state)
        self.means.publish(self.state)
        if self.state.champion is None:
            too_small = f"The budget of {budget_s or 0:.0f} s ended before anything could be judged. Raise --budget."
            raise TrainingError(self.state.finished or too_small)
        return self.state

    def _champion_config(self, config: Config) -> Config:
        settings = self.state.champion.settings if self.state.champion else {}
        return with_settings(config, settings, "champion")

    def _budget_used_up(self) -> bool:
        """Whether there is no time left for another epoch like the latest ones."""
        left = self._seconds_left()
        return left is not None and (left <= 0 or left < epoch_seconds(self.state.records))

    def _seconds_left(self) -> float | None:
        budget = self.state.budget_s
        return None if budget is None else budget - self.journal.elapsed_s

    def _carry_out(self, run: PhaseRun, config: Config, plan: Plan) -> None:
        attempt = run.current
        if attempt is None:
            at = self._start_attempt(run, {**self._inherited(), **run.decision.settings}, config)
        else:
            at = PhaseAttempt(run, attempt)
        if at.attempt.status == "failed":
            again = next_try(at, with_settings(config, at.attempt.settings, run.name))
            if again is None:
                self._give_up(at)
                return
            self.means.watcher.note(f"Phase {run.name} failed ({at.attempt.failure}): {self._told(at)}")
            self.means.watcher.note(f"Phase {run.name} goes on {in_words(at.attempt.settings, again)}.")
            at = self.write_of(at, "attempt_continued", settings=dict(again))
        elif at.run.awaits_verdict:
            self._judge(at, plan)
            return
        self._train(at, config, plan)

    def _give_up(self, at: PhaseAttempt) -> None:
        """Close a phase that failed, or end the run without using the phase up where that would help nobody.

        Raises:
            TrainingError: a person has to look.
        """
        run = at.run
        if self.state.kind == "optimize" and must_halt(self.state):
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
        begins = len(self.state.runs) == 1
        return first_epoch(config, self.state.resumed_epoch) if begins else self.state.last_epoch + 1

    def _start_attempt(self, run: PhaseRun, settings: Mapping[str, Any], config: Config) -> PhaseAttempt:
        first = self._first_epoch(run, config)
        # Over all phases of this name, because a checkpoint of the same phase and attempt is continued.
        number = 1 + sum(len(r.attempts) for r in self.state.runs if r.name == run.name)
        last = first + run.decision.epochs - 1
        address = {"phase": run.number, "attempt": number}
        self.write("attempt_started", **address, settings=dict(settings), first_epoch=first, last_epoch=last)
        return self.state.at(address)

    def _train(self, at: PhaseAttempt, config: Config, plan: Plan) -> None:
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
        )
        deadline = self._deadline(at, plan)
        job = Job(
            spec,
            lambda record: self._on_epoch(self.state.at(at.address), record, plan, deadline),
            lambda fact: self._on_fact(self.state.at(at.address), fact),
            lambda result: self._on_end(at, result),
        )
        self.means.train([job])

    def _on_end(self, at: PhaseAttempt, result: AttemptResult) -> None:
        """Write down how an attempt ended."""
        self.write_of(
            at,
            "attempt_ended",
            status="failed" if result.failure else "completed",
            failure=result.failure,
            message=result.message,
        )

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
        done = [r.name for r in self.state.runs if r.closed]
        left = self.state.budget_s - at.attempt.began_s
        return at.attempt.began_s + left * remaining_share(plan, done, at.run.name)

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
        if record.epoch >= at.attempt.last_epoch or at.attempt.ended_early:
            return False
        flat_ends = plan.ends_on_plateau(at.run.name)
        left = None if deadline is None else deadline - self.journal.elapsed_s
        reason = end_phase_early(at.attempt.records, plan, end_on_plateau=flat_ends, seconds_left=left)
        if reason is None:
            return True
        self.write_of(at, "ended_early", reason=reason)
        self.means.watcher.note(f"Phase {at.run.name} ends after epoch {record.epoch}: {reason}.")
        return False

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
        run, attempt = at.run, at.attempt
        best = best_epoch(attempt.records, plan.target.metric)
        if best is None:
            self._close(run, None)
            return
        folder = attempt_folder(self.folder, run, attempt.number)
        verdict = None
        champion = self.state.champion
        if champion is not None:
            verdict = self.means.compare(
                contenders(folder, best, attempt.records), champion_contenders(self.folder, self.state, champion)
            )
            verdict = without_burden(verdict, changes=not self._continues(run))
            verdict = against_erosion(verdict, best, self.state.baseline, plan)
        crowned = None
        if verdict is None or verdict.accepted:
            sha256 = copy_atomically(folder.best, RunFolder(self.folder).champion)
            crowned = {"attempt": attempt.number, "epoch": best.epoch, "sha256": sha256}
        self._tell_outcome(self._close(run, verdict, crowned))

    def _continues(self, run: PhaseRun) -> bool:
        """Whether a phase changes no setting of the champion's."""
        return continues(run, self.state)

    def _tell_outcome(self, run: PhaseRun) -> None:
        """Say the verdict of a closed phase."""
        if run.verdict is not None:
            self.means.watcher.note(f"Phase {run.name}: {verdict_in_words(run.verdict)}")

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
