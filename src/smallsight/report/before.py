"""Epochs that another tool recorded before a run: copied from its file, and shown in the report before the run's."""

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
    """Rename a file of another tool that is in the report's place, and copy its epochs for the run's report.

    Args:
        found: the path at which the report will be written.
        run_folder: of the run that is reported on.
        first_epoch: the first one that the run has trained; only epochs before it are used.
        metric: the target metric; a file without it has no epochs to use.
    Returns:
        A line for the user; None where `found` is no file of another tool.
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
    """The copied epochs before `first_epoch`; none where the file is missing or damaged."""
    place = RunFolder(run_folder).history_before
    return _read(place, first_epoch, metric) if place.is_file() else ()


def _read(path: Path, first_epoch: int, metric: str) -> tuple[EpochRecord, ...]:
    with contextlib.suppress(HistoryError):
        records = read_history(path, TargetAndGuard(metric)).records
        return tuple(record for record in records if record.epoch < first_epoch)
    return ()
