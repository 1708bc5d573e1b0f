"""The disk under a run: what it will take is said first, what nothing needs is deleted, what it took is said last."""

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
from smallsight.run.checkpoints import attempt_folder
from smallsight.run.folder import RunFolder, epoch_of_lightweight
from smallsight.run.state import State
from smallsight.strategy.keeping import keep_of, superfluous
from smallsight.strategy.plan import Plan
from smallsight.strategy.room import Need, Sizes, in_bytes, need_of_phase, need_of_run


@dataclass(frozen=True)
class Taken:
    """What a run has on the disk: sizes of its checkpoints, bytes of its detections, logs and journal."""

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
    """What the run of this state has in its folder; files of others there don't count."""
    epochs = {record.epoch for run in state.runs for attempt in run.attempts for record in attempt.records}
    files = RunFolder(folder)
    own = [path for part in (files.phases, files.measurements) for path in part.rglob("*") if path.is_file()]
    light_own = [path for path in own if epoch_of_lightweight(path) is not None]  # of arms of a round
    full = [*files.own_checkpoints, *(path for path in own if path.suffix == ".pth" and path not in light_own)]
    rest = [files.journal, files.log, *(path for path in own if path.suffix != ".pth")]
    lightweight = [*(files.lightweight(epoch) for epoch in sorted(epochs)), *light_own]
    return Taken(tuple(_sizes(lightweight)), tuple(_sizes(full)), sum(_sizes(rest)))


def _sizes(paths: Sequence[Path] | Iterator[Path]) -> Iterator[int]:
    return (path.stat().st_size for path in paths if path.is_file())


def _is_of(state: State, lightweight: Path) -> bool:
    """Whether a file was written by this run, and is not another's that has taken its place.

    Earlier versions did not write into a lightweight file which run it is of.
    """
    return says(lightweight, FORMAT) and (says(lightweight, state.run_id) or not says(lightweight, "trained_in"))


class Disk:
    """The disk under one run, while this process works on it.

    Args:
        folder: of the run.
        config: as this start has it.
        plan: of the strategy; None for a phase by hand.
        state: what is known of the run now.
        say: gets a line for the user.
    """

    def __init__(
        self, folder: Path, config: Config, plan: Plan | None, state: Callable[[], State], say: Callable[[str], None]
    ) -> None:
        self._folder, self._config, self._plan, self._state, self._say = folder, config, plan, state, say
        self._told_all = self._told_undeletable = False

    def watched(self, train: Trainer) -> Trainer:
        """A trainer that looks at the disk as soon as an attempt knows how large its checkpoints are."""

        def watching(job: Job, jobs: Sequence[Job]) -> Job:
            def look(fact: Fact) -> None:
                job.on_fact(fact)
                if isinstance(fact, CheckpointSizes):
                    self.look(job.spec, fact.lightweight_bytes, fact.full_bytes, len(jobs))

            return replace(job, on_fact=look)

        return lambda jobs: train([watching(job, jobs) for job in jobs])

    def look(self, spec: AttemptSpec, lightweight: int, full: int, attempts: int = 1) -> None:
        """Say what the run will take, and whether the disk has room for the attempt.

        Args:
            spec: of the attempt.
            lightweight, full: bytes of its checkpoints.
            attempts: how many like it are carried out.
        Raises:
            TrainingError: not even its first checkpoint fits.
        """
        state, free = self._state(), shutil.disk_usage(self._folder).free
        if free < full:
            raise TrainingError(
                f"{self._folder}: the disk has no room for the first checkpoint of phase {spec.phase}; got "
                f"{in_bytes(free)} free, expected {in_bytes(full)}. Make room, then run the same command again."
            )
        there, keep = taken(self._folder, state), keep_of(state, self._config)
        done = self._epochs_done(state, spec)
        epochs = sum(len(attempt.records) for each in state.runs for attempt in each.attempts)
        sizes = Sizes(lightweight, full, there.rest // epochs if epochs else 0)
        run_files = sum(path.is_file() for path in RunFolder(spec.state_folder).own_checkpoints)
        epochs_left = max(0, spec.last_epoch - spec.first_epoch + 1 - done)
        phase = need_of_phase(epochs_left, keep, run_files).times(attempts)
        if not self._told_all and (self._plan is not None or epochs_left):
            self._told_all = True
            self._say(self._all_in_words(phase, sizes, free))
        if free < phase.bytes_of(sizes):
            self._say(
                f"Warning: {self._folder}: the disk is nearly full. Phase {spec.phase} may add "
                f"{phase.in_words(sizes)}; {in_bytes(free)} are free. Make room, or lower checkpoint.keep (now {keep})."
            )

    def _epochs_done(self, state: State, spec: AttemptSpec) -> int:
        """How many epochs of an attempt are done."""
        folder = Path(spec.folder)
        attempts = ((run, attempt) for run in state.runs for attempt in run.attempts)
        own = (each for run, each in attempts if attempt_folder(self._folder, run, each.number).path == folder)
        return sum(len(attempt.records) for attempt in own)

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
        """Delete what the run wrote and nothing needs any more; a file of another's under such a name stays."""
        for path in superfluous(state, keep_of(state, self._config)):
            file = self._folder / path
            if not file.is_file() or not (path.is_relative_to(RunFolder(Path()).phases) or _is_of(state, file)):
                continue
            try:
                file.unlink(missing_ok=True)
            except OSError as error:  # the run goes on without
                if not self._told_undeletable:
                    self._told_undeletable = True
                    self._say(f"{file}: no longer needed, but it can't be deleted ({error.strerror}).")
