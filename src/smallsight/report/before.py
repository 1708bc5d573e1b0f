"""Epochs that another tool recorded before a run: taken over from its file, and read back for the report."""

from __future__ import annotations

import contextlib
import filecmp
from pathlib import Path

from smallsight.errors import HistoryError
from smallsight.files import copy_atomically
from smallsight.records import EpochRecord
from smallsight.report.history import TargetAndGuard
from smallsight.report.recorded_files import read_history
from smallsight.run.folder import RunFolder
from smallsight.run.foreign_files import is_foreign, set_aside


def take_over(found: Path, run_folder: Path, first_epoch: int, metric: str) -> str | None:
    """Keep a file that is not ours under another name, and let its epochs stand before the run's.

    Args:
        found: where a report of ours is to be written.
        run_folder: of the run that is reported on.
        first_epoch: the first one that the run has trained.
        metric: the target metric; a file without it holds no epochs of use.
    Returns:
        A line that says so; None where nothing foreign lies there.
    """
    if not is_foreign(found):
        return None
    epochs = [record.epoch for record in _read(found, first_epoch, metric)]
    place = RunFolder(run_folder).history_before
    taken = bool(epochs) and (not place.exists() or filecmp.cmp(found, place, shallow=False))
    if taken:
        copy_atomically(found, place)
    kept = f"{found}: not written by smallsight, so it is kept as {set_aside(found).name}"
    return (
        f"{kept}; its epochs {epochs[0]} to {epochs[-1]} stand before the run's from now on." if taken else f"{kept}."
    )


def recorded_before(run_folder: Path, first_epoch: int, metric: str) -> tuple[EpochRecord, ...]:
    """The epochs that were taken over, as far as they lie before `first_epoch`; none where the file is damaged."""
    place = RunFolder(run_folder).history_before
    return _read(place, first_epoch, metric) if place.is_file() else ()


def _read(path: Path, first_epoch: int, metric: str) -> tuple[EpochRecord, ...]:
    with contextlib.suppress(HistoryError):
        records = read_history(path, TargetAndGuard(metric)).records
        return tuple(record for record in records if record.epoch < first_epoch)
    return ()
