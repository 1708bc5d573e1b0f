"""A run's folder: where its files lie, who holds it, and which run it belongs to."""

from __future__ import annotations

import fcntl
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from smallsight.attempts.spec import BEST, CHECKPOINT, detections_file
from smallsight.errors import RunFolderError
from smallsight.files import copy_atomically, sha256_of
from smallsight.records import EpochRecord
from smallsight.run.fold import fold
from smallsight.run.foreign_files import keep
from smallsight.run.given import GivenFile
from smallsight.run.journal import Journal
from smallsight.run.state import PhaseRun, State

JOURNAL = "journal.sqlite"
STRATEGY_FILE = "strategy.yaml"
CHAMPION = "checkpoint_best.pth"
OWN_CHECKPOINTS = (CHECKPOINT, "checkpoint_previous.pth", CHAMPION)
"""Checkpoints that a run writes into its folder again and again."""


@dataclass(frozen=True)
class Origin:
    """What a run, or a phase by hand, starts from.

    Attributes:
        given: the checkpoint that the user gave; None for none.
        annotations: SHA-256 of the annotation files, by split (`train`, `valid`).
    """

    given: GivenFile | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)

    @property
    def resume(self) -> str:
        """Path of the given checkpoint; empty for none."""
        return self.given.path if self.given else ""

    @property
    def resumed_epoch(self) -> int:
        """The epoch that it comes from."""
        return self.given.epoch if self.given else 0


def phase_folder(run_folder: Path, run: PhaseRun) -> Path:
    """`phases/01_continue`."""
    return run_folder / "phases" / f"{run.number:02d}_{run.name}"


def attempt_folder(run_folder: Path, run: PhaseRun, number: int) -> Path:
    """`phases/01_continue/attempt_1`."""
    return phase_folder(run_folder, run) / f"attempt_{number}"


def champion_detections(run_folder: Path, state: State) -> Path:
    """The file with what the champion found on the validation set."""
    assert state.champion is not None
    return detections_file(_champion_attempt(run_folder, state), state.champion.record.epoch)


def contenders(folder: Path, chosen: EpochRecord, records: Iterable[EpochRecord]) -> list[Path]:
    """What each epoch of an attempt found on the validation set, the chosen one first.

    Of each epoch the raw and the averaged weights were candidates, so both are in the list.
    """
    epochs = [chosen, *(record for record in records if record.epoch != chosen.epoch)]
    judged = [detections_file(folder, record.epoch) for record in epochs]
    return [*judged, *(detections_file(folder, record.epoch, other=True) for record in epochs if record.other)]


def champion_contenders(run_folder: Path, state: State) -> list[Path]:
    """The champion's detections, and those of the epochs that it was chosen from as far as they are still there."""
    champion, run = state.champion, state.champion_run
    assert champion is not None and run is not None
    records = [record for attempt in run.attempts if attempt.number == champion.attempt for record in attempt.records]
    first, *others = contenders(_champion_attempt(run_folder, state), champion.record, records)
    return [first, *(path for path in others if path.is_file())]


def _champion_attempt(run_folder: Path, state: State) -> Path:
    champion, run = state.champion, state.champion_run
    assert champion is not None and run is not None
    return attempt_folder(run_folder, run, champion.attempt)


def champion_checkpoint(run_folder: Path, state: State) -> Path:
    """`checkpoint_best.pth`, after a look at whether it still is what was crowned; put back from its phase where not.

    Raises:
        RunFolderError: it is gone or damaged, and so is the file that it was copied from.
    """
    assert state.champion is not None
    path = run_folder / CHAMPION
    origin = _champion_attempt(run_folder, state) / BEST
    for candidate in (path, origin):
        if candidate.is_file() and sha256_of(candidate) == state.champion.sha256:
            if candidate != path:
                copy_atomically(candidate, path)
            return path
    wrong = "is not the file that the run wrote" if path.is_file() else "is gone"
    raise RunFolderError(
        f"{path}: {wrong}, and neither is {origin}. Put one of them back, or use another --output-dir, with --resume "
        "and a file of checkpoints/."
    )


def copy_of_start(run_folder: Path, run: PhaseRun) -> Path:
    """Where a phase keeps a copy of the checkpoint that it was given."""
    return phase_folder(run_folder, run) / "start.pth"


def kept_start(run_folder: Path, state: State, run: PhaseRun) -> Path | None:
    """The copy of the checkpoint that a phase by hand starts from, its own or that of a phase from the same file."""
    if run.given is None:
        return None
    same = [other for other in state.runs if other.given and other.given.sha256 == run.given.sha256 != ""]
    return next((copy for other in (run, *same) if (copy := copy_of_start(run_folder, other)).is_file()), None)


def start_checkpoint(run_folder: Path, run: PhaseRun, given: Path) -> tuple[Path, bool]:
    """The phase's own copy of the checkpoint that it starts from; the given one may be overwritten by the run itself.

    Returns:
        The copy, and whether it was made just now.
    Raises:
        RunFolderError: there is no copy yet, and the given file is gone.
    """
    copy = copy_of_start(run_folder, run)
    if copy.is_file():
        return copy, False
    if not given.is_file():
        raise RunFolderError(f"{given}: no such file, but phase {run.number} of the run starts from it. Put it back.")
    copy_atomically(given, copy)
    return copy, True


def refuse_lost_journal(folder: Path) -> None:
    """Make sure that a folder whose journal tells of no run holds none: a new one would overwrite its checkpoints.

    Raises:
        RunFolderError: there are phases of a run.
    """
    if (folder / "phases").exists():
        raise RunFolderError(
            f"{folder}: holds phases of a run, but journal.sqlite is gone or empty. Put it back, or use another "
            f"--output-dir, with --resume {folder / 'checkpoint_best.pth'} to build on what was reached."
        )


def set_foreign_aside(folder: Path, texts: Mapping[str, str], resume: str) -> list[str]:
    """Make room for a run that begins: what lies in its folder under the names of its files gets other names.

    `checkpoint.pth` stays: a run that would overwrite it refuses to begin, unless it starts from it.

    Args:
        folder: whose journal tells of no run.
        texts: by name, what is to be written at once; a file that says just that stays, too.
        resume: the checkpoint to start from, which stays because it is copied.
    Returns:
        A line for each.
    """
    lines = []
    for name in (*texts, "checkpoint_previous.pth", CHAMPION):
        path = folder / name
        if not path.exists() or (resume and path.resolve() == Path(resume).resolve()):
            continue
        if name not in texts or not path.is_file() or path.read_bytes() != texts[name].encode():
            lines.append(keep(path, "not of this run"))
    return lines


def read_state(folder: Path) -> State:
    """The state of a run from its journal.

    Raises:
        RunFolderError: no journal there, or a damaged one.
    """
    with Journal(folder / JOURNAL, read_only=True) as journal:
        return fold(journal.events())


@contextmanager
def hold(folder: Path) -> Iterator[None]:
    """Keep a run folder for this process; it is made where it is not there.

    Raises:
        RunFolderError: another process holds it, or it can't be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = (folder / ".lock").open("a+")
    except OSError as error:
        raise RunFolderError(
            f"{folder}: can't be written ({error.strerror}). Give an --output-dir that can be."
        ) from error
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise RunFolderError(
                f"{folder}: another smallsight process works on this run. Wait for it, or use another --output-dir."
            ) from error
        yield


def is_running(folder: Path) -> bool:
    """Whether a process works on the run: it holds the folder's lock."""
    try:
        with (folder / ".lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
