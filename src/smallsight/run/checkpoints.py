"""Which files hold the champion, its detections, and what a phase starts from."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from smallsight.errors import RunFolderError
from smallsight.files import copy_atomically, sha256_of
from smallsight.records import EpochRecord
from smallsight.run.folder import AttemptFolder, RunFolder
from smallsight.run.state import Champion, PhaseRun, State


def attempt_folder(run_folder: Path, run: PhaseRun, number: int) -> AttemptFolder:
    """The folder of an attempt of a phase."""
    return RunFolder(run_folder).attempt(run.number, run.name, number)


def folder_of_champion(run_folder: Path, champion: Champion) -> AttemptFolder:
    """The folder of the attempt that trained the champion."""
    return RunFolder(run_folder).attempt(champion.phase_number, champion.phase, champion.attempt)


def champion_detections(run_folder: Path, champion: Champion) -> Path:
    """The file with the champion's detections on the validation set."""
    return folder_of_champion(run_folder, champion).detections(champion.record.epoch)


def contenders(folder: AttemptFolder, chosen: EpochRecord, records: Iterable[EpochRecord]) -> list[Path]:
    """Detections of each epoch of an attempt on the validation set, those of the chosen epoch first.

    Of each epoch the raw and the averaged weights were candidates, so both are in the list.
    """
    epochs = [chosen, *(record for record in records if record.epoch != chosen.epoch)]
    judged = [folder.detections(record.epoch) for record in epochs]
    return [*judged, *(folder.detections(record.epoch, other=True) for record in epochs if record.other)]


def champion_contenders(run_folder: Path, state: State, champion: Champion) -> list[Path]:
    """The champion's detections, and those of the epochs that it was chosen from, as far as they are still there."""
    attempts = (a for run in state.runs if run.number == champion.phase_number for a in run.attempts)
    records = [record for a in attempts if a.number == champion.attempt for record in a.records]
    first, *others = contenders(folder_of_champion(run_folder, champion), champion.record, records)
    return [first, *(path for path in others if path.is_file())]


def champion_checkpoint(run_folder: Path, champion: Champion) -> Path:
    """`checkpoint_best.pth`, checked by its hash; put back from its phase where it is gone or damaged.

    Raises:
        RunFolderError: the file of its phase is gone or damaged, too.
    """
    path, origin = RunFolder(run_folder).champion, folder_of_champion(run_folder, champion).best
    for candidate in (path, origin):
        if candidate.is_file() and sha256_of(candidate) == champion.sha256:
            if candidate != path:
                copy_atomically(candidate, path)
            return path
    wrong = "is not the file that the run wrote" if path.is_file() else "is gone"
    raise RunFolderError(
        f"{path}: {wrong}, and neither is {origin}. Put one of them back, or use another --output-dir, with --resume "
        "and a file of checkpoints/."
    )


def baseline_checkpoint(run_folder: Path, first: Champion) -> Path:
    """The baseline's file, checked by its hash.

    Args:
        run_folder: of the run.
        first: its first champion.
    Raises:
        RunFolderError: it is gone or damaged. Versions before the exam did not keep it.
    """
    path = folder_of_champion(run_folder, first).best
    if not path.is_file():
        raise RunFolderError(f"{path}: the baseline's checkpoint is gone, so no lift over it can be measured anew.")
    if sha256_of(path) != first.sha256:
        raise RunFolderError(f"{path}: is not the file that the run wrote. Put the baseline's checkpoint back.")
    return path


def kept_start(run_folder: Path, state: State, run: PhaseRun) -> Path | None:
    """The copy of the checkpoint that a phase by hand starts from, its own or that of a phase from the same file."""
    if run.given is None:
        return None
    same = [other for other in state.runs if other.given and other.given.sha256 == run.given.sha256 != ""]
    copies = (RunFolder(run_folder).start(other.number, other.name) for other in (run, *same))
    return next((copy for copy in copies if copy.is_file()), None)


def start_checkpoint(run_folder: Path, run: PhaseRun, given: Path) -> tuple[Path, bool]:
    """The phase's own copy of the checkpoint that it starts from; the run itself may overwrite the given one.

    Returns:
        The copy, and whether it was made just now.
    Raises:
        RunFolderError: there is no copy yet, and the given file is gone.
    """
    copy = RunFolder(run_folder).start(run.number, run.name)
    if copy.is_file():
        return copy, False
    if not given.is_file():
        raise RunFolderError(f"{given}: no such file, but phase {run.number} of the run starts from it. Put it back.")
    copy_atomically(given, copy)
    return copy, True
