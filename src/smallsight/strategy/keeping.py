"""Which checkpoints of a run are still needed. A pure function of its state; `commands.disk` deletes.

A file is only named here where the journal says that the run wrote it, and where everything that the run may need in
its place is on the disk already. So a crash before, between or after deletions loses nothing: the next look names the
rest.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from smallsight.config.load import Config
from smallsight.config.sections import Keep
from smallsight.run.checkpoints import attempt_folder
from smallsight.run.folder import RunFolder
from smallsight.run.state import Attempt, State
from smallsight.strategy.tree import best_epoch


def keep_of(state: State, config: Config) -> Keep:
    """How many lightweight checkpoints a run keeps: what this start asks for.

    A run that was begun before there was `checkpoint.keep` keeps all: nobody who began it knew that files may go.
    """
    return config.checkpoint.keep if "keep" in state.config.get("checkpoint", {}) else "all"


def superfluous(state: State, keep: Keep) -> tuple[Path, ...]:
    """Checkpoints that the run wrote and that nothing needs any more, relative to the run folder.

    Of the lightweight files stay the last `keep`, the best and the last epoch of each attempt, and every file that a
    phase was told to start from. Of the attempts' `best.pth` stay that of the champion, from which
    `checkpoint_best.pth` is put back where it is damaged, that of the baseline, which is measured on the exam at the
    end of the run, and those of a phase that is not judged yet. Arms of a round have a `checkpoint.pth` of their own,
    which goes with the round.

    Args:
        state: of the run.
        keep: how many lightweight files stay whatever their figures; `all` for every file of any kind.
    """
    if keep == "all":
        return ()
    found = (*_lightweight(state, keep), *_full(state))
    return tuple(path for path in found if not _is_start(path, state))


def _lightweight(state: State, keep: int) -> Iterator[Path]:
    metric = state.plan["target"]["metric"]
    sequence = [attempt for run in state.runs if not run.round for attempt in run.attempts]
    yield from _beyond(sequence, keep, metric, RunFolder(Path()))
    for run in state.runs:
        for attempt in run.attempts if run.round else ():
            yield from _beyond([attempt], keep, metric, RunFolder(attempt_folder(Path(), run, attempt.number).path))


def _beyond(attempts: Sequence[Attempt], keep: int, metric: str, files: RunFolder) -> Iterator[Path]:
    """The lightweight files of attempts that share a folder, but the last `keep`, each best and each last one."""
    written = list(dict.fromkeys(record.epoch for attempt in attempts for record in attempt.records))
    needed = set(written[-keep:])
    for attempt in attempts:
        best = best_epoch(attempt.records, metric)
        needed |= {record.epoch for record in (best, *attempt.records[-1:]) if record is not None}
    return (files.lightweight(epoch) for epoch in written if epoch not in needed)


def _full(state: State) -> Iterator[Path]:
    """The full checkpoints of closed phases: `best.pth` without the champion's and the baseline's, and arms' own."""
    kept = [(each.phase_number, each.attempt) for each in (state.champion, state.first) if each is not None]
    for run in state.runs:
        for attempt in run.attempts:
            folder = attempt_folder(Path(), run, attempt.number)
            if run.closed and (run.number, attempt.number) not in kept:
                yield folder.best
            if run.closed and run.round:
                files = RunFolder(folder.path)
                yield from (files.checkpoint, files.previous_checkpoint)


def _is_start(path: Path, state: State) -> bool:
    """Whether a phase was told to start from this file: the same command has to find it again.

    The user's path may begin at any working directory, so its end decides.
    """
    starts = [state.resume, *(run.decision.settings.get("checkpoint.resume_from") for run in state.runs)]
    for given in starts:
        parts = Path(given or "").parts[-len(path.parts) :]
        if parts and path.parts[-len(parts) :] == parts:
            return True
    return False
