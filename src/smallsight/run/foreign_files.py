"""Files of the user's that lie where a run writes its own. They are never overwritten: they get another name.

A run folder may have been another tool's before (`metrics.csv`, `config.yaml`, `status.json` are common names). What is
ours is recognised by how it begins.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from smallsight.errors import RunFolderError
from smallsight.files import sync_folder
from smallsight.run.folder import RunFolder

_HEAD_BYTES = 1 << 16
_FILES = RunFolder(Path())
_OURS = {
    _FILES.report.name: (
        rb'\A\{\s*"written_by": "smallsight"'
        rb'|\A\{\n  "source": .*\n  "finished": (?:true|false),\n  "target": \{'  # before 0.2
    ),
    _FILES.status.name: rb'\A\{\n "state": "(?:finished|unfinished|failed|out of budget)",\n "phase": ',
    _FILES.live.name: rb'\A\{"event": "(?:step|evaluating)"',
    _FILES.table.name: rb"\Aepoch,phase,attempt,",
    _FILES.page.name: rb"<span>smallsight report</span>",
    _FILES.short_report.name: (
        rb"\A(?:- (?:Lift on the exam|The lift was measured|The lift on the exam|The champion is the baseline)"
        rb"[^\n]*\n(?:- [^\n]*\n)*\n)?\*\*Next:\*\*"
    ),
    _FILES.report_error.name: rb"\ATraceback",
}
"""By name, how a file of ours begins, or what stands in its head."""


def is_ours(path: Path) -> bool:
    """Whether a file that is written again and again is one of ours; so is one that is empty."""
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except OSError:
        return False
    return not head or re.search(_OURS[path.name], head) is not None


def is_foreign(path: Path) -> bool:
    """Whether something lies at `path` that is not ours."""
    return path.exists() and not is_ours(path)


def set_aside(path: Path) -> Path:
    """Rename a file so that its place is free; its new name, `metrics_before.csv` for `metrics.csv`.

    Raises:
        OSError: it can't be renamed.
    """
    names = (f"{path.stem}_before{number}{path.suffix}" for number in ("", *(f"_{n}" for n in range(2, 10_000))))
    free = next(place for place in map(path.with_name, names) if not place.exists() and not place.is_symlink())
    path.rename(free)
    sync_folder(path.parent)
    return free


def keep(path: Path, why: str = "not written by smallsight") -> str:
    """`set_aside`, and a line that says so."""
    return f"{path}: {why}, so it is kept as {set_aside(path).name}."


def keep_foreign(folder: Path) -> list[str]:
    """Give every foreign file another name where a run writes its own again and again; a line for each.

    The report's JSON is left alone: it may hold epochs (`report.before`).
    """
    places = (folder / name for name in _OURS if name != _FILES.report.name)
    return [keep(place) for place in places if is_foreign(place)]


def refuse_lost_journal(folder: Path) -> None:
    """Make sure that a folder whose journal tells of no run holds none: a new one would overwrite its checkpoints.

    Raises:
        RunFolderError: there are phases of a run.
    """
    files = RunFolder(folder)
    if files.phases.exists():
        raise RunFolderError(
            f"{folder}: holds phases of a run, but {files.journal.name} is gone or empty. Put it back, or use another "
            f"--output-dir{files.to_build_on()}."
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
    lines, files = [], RunFolder(folder)
    for path in (*(folder / name for name in texts), files.previous_checkpoint, files.champion):
        name = path.name
        if not path.exists() or (resume and path.resolve() == Path(resume).resolve()):
            continue
        if name not in texts or not path.is_file() or path.read_bytes() != texts[name].encode():
            lines.append(keep(path, "not of this run"))
    return lines
