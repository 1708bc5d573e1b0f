"""Disk space of a run: report what it will need, delete files that nothing needs, report what it used."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from smallsight.attempts.jobs import Job, Trainer
from smallsight.attempts.messages import CheckpointSizes, Fact
from smallsight.attempts.spec import FORMAT, AttemptSpec
from smallsight.config.load import Config
from smallsight.errors import TrainingError
from smallsight.files import says
from smallsight.run.folder import RunFolder
from smallsight.run.state import State
from smallsight.strategy.keeping import keep_of, superfluous
from smallsight.strategy.plan import Plan
from smallsight.strategy.room import Need, Sizes, in_bytes, need_of_phase, need_of_run


@dataclass(frozen=True)
class Taken:
    """Disk space that a run uses, bytes.

    Attributes:
        lightweight, full: the size of each checkpoint of that kind.
        rest: detections, logs and the journal together.
    """

    lightweight: tuple[int, ...]
    full: tuple[int, ...]
    rest: int

    def in_words(self) -> str:
        """One line."""
        light, full = sum(self.lightweight), sum(self.full)
        return (
            f"Disk: the run takes {in_bytes(light + full + self.rest)}: {in_bytes(light)} in "
            f"{len(self.lightweight)} lightweight checkpoints, {in_bytes(full)} in {len(self.full)} full ones, "
            f"{in_bytes(self.rest)} in detections, logs and the journal."
        )


def taken(folder: Path, state: State) -> Taken:
    """Measure the files of a run in its folder; files in it that the run did not write are not counted."""
    epochs = {record.epoch for run in state.runs for attempt in run.attempts for record in attempt.records}
    files = RunFolder(folder)
    own = [path for part in (files.phases, files.measurements) for path in part.rglob("*") if path.is_file()]
    full = [*files.own_checkpoints, *(path for path in own if path.suffix == ".pth")]
    rest = [files.journal, files.log, *(path for path in own if path.suffix != ".pth")]
    lightweight = (files.lightweight(epoch) for epoch in sorted(epochs))
    return Taken(tuple(_sizes(lightweight)), tuple(_sizes(full)), sum(_sizes(rest)))


def _sizes(paths: Sequence[Path] | Iterator[Path]) -> Iterator[int]:
    return (path.stat().st_size for path in paths if path.is_file())


def _is_of(state: State, lightweight: Path) -> bool:
    """Whether this run wrote a lightweight checkpoint, rather than another run or tool under the same name.

    Files of earlier versions don't name their run; they count as this run's.
    """
    return says(lightweight, FORMAT) and (says(lightweight, state.run_id) or not says(lightweight, "trained_in"))


class Disk:
    """Watches the disk space of one run while this process works on it.

    Args:
        folder: the run folder.
        config: the configuration of this call.
        plan: of the strategy; None for a phase by hand.
        state: returns the current state of the run.
        say: called with a line for the user.
    """

    def __init__(
        self, folder: Path, config: Config, plan: Plan | None, state: Callable[[], State], say: Callable[[str], None]
    ) -> None:
        self._folder, self._config, self._plan, self._state, self._say = folder, config, plan, state, say
        self._told_all = self._told_undeletable = False

    def watched(self, train: Trainer) -> Trainer:
        """Wrap a trainer: check the disk space as soon as an attempt reports the sizes of its checkpoints."""

        def watching(job: Job) -> Job:
            def look(fact: Fact) -> None:
                job.on_fact(fact)
                if isinstance(fact, CheckpointSizes):
                    self.look(job.spec, fact.lightweight_bytes, fact.full_bytes)

            return replace(job, on_fact=look)

        return lambda jobs: train([watching(job) for job in jobs])

    def look(self, spec: AttemptSpec, lightweight: int, full: int) -> None:
        """Report the space that the run will need; warn where the disk has no room for the rest of the phase.

        Args:
            spec: of the attempt that begins.
            lightweight, full: size of one checkpoint of that kind, bytes.
        Raises:
            TrainingError: not even the first checkpoint fits.
        """
        state, free = self._state(), shutil.disk_usage(self._folder).free
        if free < full:
            raise TrainingError(
                f"{self._folder}: the disk has no room for the first checkpoint of phase {spec.phase}; got "
                f"{in_bytes(free)} free, expected {in_bytes(full)}. Make room, then run the same command again."
            )
        there, keep = taken(self._folder, state), keep_of(state, self._config)
        run = state.open_run
        done = len(run.records) if run else 0
        epochs = sum(len(attempt.records) for each in state.runs for attempt in each.attempts)
        sizes = Sizes(lightweight, full, there.rest // epochs if epochs else 0)
        run_files = sum(path.is_file() for path in RunFolder(self._folder).own_checkpoints)
        epochs_left = max(0, spec.last_epoch - spec.first_epoch + 1 - done)
        phase = need_of_phase(epochs_left, keep, run_files)
        if not self._told_all and (self._plan is not None or epochs_left):
            self._told_all = True
            self._say(self._all_in_words(phase, sizes, free))
        if free < phase.bytes_of(sizes):
            self._say(
                f"Warning: {self._folder}: the disk is nearly full. Phase {spec.phase} may add "
                f"{phase.in_words(sizes)}; {in_bytes(free)} are free. Make room, or lower checkpoint.keep (now {keep})."
            )

    def _all_in_words(self, phase: Need, sizes: Sizes, free: int) -> str:
        keep = keep_of(self._state(), self._config)
        if self._plan is None:
            what, need = "this phase adds", phase
        else:
            resumes = bool(self._state().resume)
            epochs = [0 if resumes else self._plan.baseline_epochs(self._config)]
            what, need = "the whole run takes", need_of_run([*epochs, *(p.epochs for p in self._plan.phases)], keep)
        return f"Disk: {what} {need.in_words(sizes)} with checkpoint.keep {keep}; {in_bytes(free)} are free."

    def prune(self, state: State) -> None:
        """Delete files that this run wrote and that nothing needs any more; files of others under such names stay."""
        for path in superfluous(state, keep_of(state, self._config)):
            file = self._folder / path
            if not file.is_file() or not (path.is_relative_to(RunFolder(Path()).phases) or _is_of(state, file)):
                continue
            try:
                file.unlink(missing_ok=True)
            except OSError as error:  # no reason to end the run
                if not self._told_undeletable:
                    self._told_undeletable = True
                    self._say(f"{file}: no longer needed, but it can't be deleted ({error.strerror}).")
