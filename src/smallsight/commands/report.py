"""What `report` and `compare` do."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console

from smallsight.commands.recorded import recorded_history
from smallsight.errors import RunFolderError, visible
from smallsight.report.analysis import analyse
from smallsight.report.champion import examine
from smallsight.report.document import to_document
from smallsight.report.history import History
from smallsight.report.recorded_files import read_history
from smallsight.report.story import tell
from smallsight.report.summary import print_summary
from smallsight.report.write import comparison_of, make_way, write_everything, write_page
from smallsight.run.fold import read_state
from smallsight.run.folder import RunFolder, is_running


def history_of(path: Path) -> History:
    """The history in a run folder or in a JSON file.

    Raises:
        HistoryError: the file can't be read.
        RunFolderError: the folder holds no run.
    """
    files = RunFolder(path)
    if files.has_journal:
        return tell(path, read_state(path), running=is_running(path))
    if path.is_dir() and not files.report.is_file():
        raise RunFolderError(
            f"{path}: neither {files.journal.name} nor {files.report.name} is in it, so no run. Give a run folder or a "
            "JSON file."
        )
    return read_history(files.report if path.is_dir() else path)


def show_report(
    path: Path,
    *,
    as_json: bool,
    html: Path | None = None,
    config: Path | None = None,
    strategy: Path | None = None,
    lines: Sequence[str] = (),
    written: Callable[[], None] | None = None,
) -> None:
    """Print the report on a run or a recorded history. The report files of a run are rewritten before that.

    Args:
        as_json: print JSON, and don't rewrite the files.
        html: a further file to write the page to.
        config, strategy: see `recorded_history`; for a recorded history only.
        lines: to print first.
        written: called when all files are written, before anything is printed.
    Raises:
        HistoryError, RunFolderError: see `history_of`.
        ConfigError: see `recorded_history`.
    """
    recorded = None if config is None else recorded_history(path, config, strategy)
    state = read_state(path) if RunFolder(path).has_journal else None
    writes = state is not None and not as_json and os.access(path, os.W_OK)
    lines = [*lines, *(make_way(path, state) if state is not None and writes else [])]
    history = recorded or history_of(path)
    analysis = analyse(history)
    evidence = examine(path, state) if state else None
    own = write_everything(path, history, state, evidence) if state is not None and writes else None
    if html is not None:
        write_page(html, history, state, evidence)
    if written is not None:
        written()
    if as_json:
        print(json.dumps(to_document(history, analysis, evidence), indent=1))  # noqa: T201 - the command's output
        return
    console = Console(highlight=False)
    for line in lines:
        console.print(visible(line), markup=False, soft_wrap=True)
    print_summary(console, history, analysis, own or html, evidence)
    if own is not None and html is not None:
        console.print(f"Report: {visible(str(html))}", markup=False, soft_wrap=True)


def compare_runs(one: Path, other: Path, *, as_json: bool) -> str:
    """Compare two runs or recorded histories, as text or JSON.

    Raises:
        HistoryError, RunFolderError: see `history_of`.
    """
    states = [read_state(path) if RunFolder(path).has_journal else None for path in (one, other)]
    return comparison_of((history_of(one), states[0]), (history_of(other), states[1]), as_json=as_json)
