"""Files of the user's that lie where a run writes its own. They are never overwritten: they get another name.

A run folder may have been another tool's before (`metrics.csv`, `config.yaml`, `status.json` are common names). What is
ours is recognised by how it begins.
"""

from __future__ import annotations

import re
from pathlib import Path

from smallsight.files import sync_folder

REPORT_FILE = "training_evaluation_detailed.json"
_HEAD_BYTES = 1 << 16
_OURS = {
    REPORT_FILE: (
        rb'\A\{\s*"written_by": "smallsight"'
        rb'|\A\{\n  "source": .*\n  "finished": (?:true|false),\n  "target": \{'  # before 0.2
    ),
    "status.json": rb'\A\{\n "state": "(?:finished|unfinished|failed|out of budget)",\n "phase": ',
    "live.json": rb'\A\{"event": "(?:step|evaluating)"',
    "metrics.csv": rb"\Aepoch,phase,attempt,",
    "report.html": rb"<span>smallsight report</span>",
    "report.md": rb"\A\*\*Next:\*\*",
    "report_error.txt": rb"\ATraceback",
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
    places = (folder / name for name in _OURS if name != REPORT_FILE)
    return [keep(place) for place in places if is_foreign(place)]
