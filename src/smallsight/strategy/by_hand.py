"""Phases by hand: `smallsight train` in one folder, again and again. Each may start from any checkpoint.

The start of a phase is measured before it, as a step of its own, unless its figures are known: so each phase is judged
against the checkpoint that it started from, and against the champion of the folder.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from smallsight.config.load import Config
from smallsight.errors import ConfigError, TrainingError
from smallsight.records import Decision, EpochRecord, Verdict, to_json
from smallsight.run.checkpoints import attempt_folder, contenders, kept_start
from smallsight.run.given import Call, GivenFile, Origin, Place
from smallsight.run.state import PhaseAttempt, PhaseRun, State
from smallsight.strategy.counterpart import continues_champion
from smallsight.strategy.lineage import (
    START,
    attempt_at,
    judged_against,
    measured,
    place_of,
    record_at,
    run_at,
    was_guarded,
    wrote,
)
from smallsight.strategy.outcomes import outcome_in_words
from smallsight.strategy.plan import Plan
from smallsight.strategy.runner import Runner, first_epoch
from smallsight.strategy.same_run import phase_settings
from smallsight.strategy.shipped import shipped_plan
from smallsight.strategy.tree import best_epoch, without_burden


class ByHand(Runner):
    """A run folder of phases by hand, held by this process."""

    def train_as_configured(
        self, name: str, config: Config, plan: Plan, origin: Origin, call: Call | None = None
    ) -> State:
        """Run one phase as `config` says, or go on with it; its epochs follow those of the checkpoint it starts from.

        It is the same phase where name, settings, start and data are. One that failed is tried anew; one that was
        interrupted and then passed over for another one, too.

        Args:
            call: the command, to be written down with the phase.
        Raises:
            ConfigError: no epoch is left to train.
            TrainingError: the phase failed, or its start could not be measured.
            Interrupted: see `Trainer`.
        """
        settings, data = phase_settings(config, origin.resume), dict(origin.annotations)
        asked = (name, settings, data)
        same = [r for r in self.state.runs if r.trains and (r.name, r.decision.settings, r.annotations) == asked]
        if same and same[-1].status == "completed":
            self.means.watcher.note(f"{name}: these epochs are done already.")
            self.means.publish(self.state)
            return self.state
        if not same or same[-1].status == "failed":
            decision = _as_configured(name, config, settings, origin)
            start = self._place_of_start(origin, same, settings, config, plan, call)
            if self.state.open_run is not None:
                self._pass_over(self.state.open_run, plan)
            self._decide(decision, origin, start, call)
        run = self._work_off(config, plan)
        if run.status == "failed" and run.current is not None:
            told = self._told(PhaseAttempt(run, run.current))
            raise TrainingError(f"{name} failed ({run.current.failure}): {told}")
        return self.state

    def _decide(self, decision: Decision, origin: Origin, start: Place | None, call: Call | None) -> None:
        self.write_decision(
            decision,
            annotations=dict(origin.annotations),
            given=to_json(origin.given),
            start=to_json(start),
            call=to_json(call),
        )
        self.means.watcher.note(f"Next: {decision.reason}")

    def _work_off(self, config: Config, plan: Plan) -> PhaseRun:
        """Carry the open phase out to its end."""
        while (run := self.state.open_run) is not None:
            self._carry_out([run], config, plan)
            self.means.publish(self.state)
        return self.state.runs[-1]

    def _place_of_start(
        self,
        origin: Origin,
        tried: list[PhaseRun],
        settings: Mapping[str, Any],
        config: Config,
        plan: Plan,
        call: Call | None,
    ) -> Place | None:
        """Where the figures of the given checkpoint stand; they are measured where they stand nowhere yet."""
        given = origin.given
        if given is None:
            return None
        if tried and wrote(self.state, tried[-1], given):
            return tried[-1].start  # a failed try left the file: the phase is still judged against what it began with
        place = measured(self.state, given, settings, origin.annotations)
        if place is not None and self._detections(place).is_file():
            return judged_against(self.state, place)
        if not self._measures(given, settings, origin.annotations):
            if self.state.open_run is not None:
                self._pass_over(self.state.open_run, plan)
            reason = f"Measure the checkpoint that the phase starts from ({given.path}) at {_px(config)}."
            known = place_of(self.state, given)
            # Measured again for a set that guards only since now, the start is that new measurement.
            guarded = known is not None and was_guarded(run_at(self.state, known), origin.annotations)
            before = known if known is not None and guarded and self._detections(known).is_file() else None
            self._decide(Decision("run", reason, START, settings), origin, before, call)
        run = self._work_off(config, plan)
        attempt = run.current
        if attempt is None or run.status == "failed" or not run.records:
            told = f" ({attempt.failure}): {self._told(PhaseAttempt(run, attempt))}" if attempt else "."
            raise TrainingError(f"The start could not be measured{told}")
        return judged_against(self.state, Place(run.number, attempt.number, run.records[-1].epoch))

    def _measures(self, given: GivenFile, settings: Mapping[str, Any], annotations: Mapping[str, str]) -> bool:
        """Whether the open phase measures this very file in this way."""
        run = self.state.open_run
        if run is None or run.trains or run.given is None:
            return False
        return (run.given.sha256, run.decision.settings, run.annotations) == (given.sha256, settings, annotations)

    def _pass_over(self, run: PhaseRun, plan: Plan) -> None:
        """Close a phase that was interrupted and gives way to another one; the epochs that it has are judged."""
        attempt = run.current
        if attempt is None or attempt.status == "failed":
            self._close(run, None)
            return
        at = PhaseAttempt(run, attempt)
        if attempt.status == "running":
            message = "it was interrupted, and another phase was begun"
            at = self.write_of(at, "attempt_ended", status="failed", failure="interrupted", message=message)
        self._judge(at, plan)

    def _inherited(self) -> Mapping[str, Any]:
        return {}  # a phase by hand has its whole configuration

    def _first_epoch(self, run: PhaseRun, config: Config) -> int:
        if run.trains:
            return config.training.epochs - run.decision.epochs + 1
        return first_epoch(config, run.given.epoch if run.given else 0)

    def _start_path(self, run: PhaseRun, config: Config) -> Path | None:
        if run.given is None:
            # A phase that was begun before the given file was written down.
            before = config.checkpoint.resume_from
            return self._copy_of_start(run, Path(before)) if before else None
        kept = kept_start(self.folder, self.state, run)
        return kept or self._copy_of_start(run, Path(run.given.path))

    def _over_start(self, run: PhaseRun) -> Verdict | None:
        """The verdict on a phase's best epoch against the epoch that the phase started from."""
        start, attempt = run.start, run.current
        known = record_at(self.state, start)
        best = best_epoch(run.records, self.state.plan["target"]["metric"])
        if start is None or known is None or attempt is None or best is None or not self._detections(start).is_file():
            return None
        verdict = self.means.judge.phase(
            contenders(attempt_folder(self.folder, run, attempt.number), best, attempt.records),
            self._start_contenders(start, known),
            float(self.state.plan["verdict"]["confidence"]),
        )
        return without_burden(verdict, changes=not self._continues(run))

    def _continues(self, run: PhaseRun) -> bool:
        return continues_champion(self.state, run, shipped_plan())

    def _start_contenders(self, start: Place, record: EpochRecord) -> list[Path]:
        """Detections of the start; also those of its attempt's other epochs, where it is the best of them.

        Then it may have been chosen as the best, which the comparison corrects for.
        """
        metric = self.state.plan["target"]["metric"]
        run, attempt = run_at(self.state, start), attempt_at(self.state, start)
        chosen = best_epoch(attempt.records, metric) == record
        folder = attempt_folder(self.folder, run, attempt.number)
        first, *others = contenders(folder, record, attempt.records if chosen else [record])
        return [first, *filter(Path.is_file, others)]

    def _detections(self, place: Place) -> Path:
        return attempt_folder(self.folder, run_at(self.state, place), place.attempt).detections(place.epoch)

    def _tell_outcome(self, run: PhaseRun) -> None:
        if run.trains or run.verdict is not None:
            self.means.watcher.note(f"{'Phase ' if run.trains else ''}{run.name}: {outcome_in_words(self.state, run)}")


def _as_configured(name: str, config: Config, settings: Mapping[str, Any], origin: Origin) -> Decision:
    first, last = first_epoch(config, origin.resumed_epoch), config.training.epochs
    if last < first:
        said = config.checkpoint.start_epoch or 0
        by_key = f" by checkpoint.start_epoch={said}" if said > origin.resumed_epoch + 1 else ""
        remedy = "Raise training.epochs" + (", or lower checkpoint.start_epoch." if by_key else ".")
        raise ConfigError(
            f"training.epochs: the last epoch is {last}, but {first - 1} are done already{by_key}. {remedy}"
        )
    start = f"from {origin.resume}" if origin.resume else "from scratch"
    return Decision("run", f"{name}: epochs {first} to {last}, {start}.", name, settings, last - first + 1)


def _px(config: Config) -> str:
    return f"{config.training.resolution} px"
