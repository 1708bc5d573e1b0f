"""Write all files of a report: JSON, CSV, HTML, Markdown; and compare two runs."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from smallsight.errors import ConfigError, DatasetError, RunFolderError
from smallsight.evaluation.evidence import Evidence
from smallsight.files import write_text_atomically
from smallsight.records import Estimate
from smallsight.report.before import take_over
from smallsight.report.champion import champions_apart, crops_of
from smallsight.report.comparison import Comparison, metrics_to_compare, to_comparison_document, to_comparison_markdown
from smallsight.report.document import write_report
from smallsight.report.history import History
from smallsight.report.html import render
from smallsight.report.markdown import to_markdown
from smallsight.report.story import first_epoch
from smallsight.report.summary import comparison_in_words
from smallsight.run.folder import RunFolder
from smallsight.run.foreign_files import keep_foreign
from smallsight.run.state import State


def make_way(folder: Path, state: State) -> list[str]:
    """Rename files of other tools that are in the place of the run's files, and copy recorded epochs in them.

    Returns:
        A line for the user about each file.
    """
    lines, taken = keep_foreign(folder), None
    if state.records:
        taken = take_over(RunFolder(folder).report, folder, first_epoch(state), state.plan["target"]["metric"])
    return [*lines, *([taken] if taken else [])]


def write_everything(folder: Path, history: History, state: State, evidence: Evidence | None) -> Path:
    """Bring the JSON, the table, `report.html` and `report.md` of a run up to date; the path of the page."""
    write_report(folder, history, evidence)
    write_text_atomically(RunFolder(folder).short_report, to_markdown(history, evidence))
    return write_page(RunFolder(folder).page, history, state, evidence)


def write_page(path: Path, history: History, state: State | None = None, evidence: Evidence | None = None) -> Path:
    """Write the HTML page alone; its pictures need the run's state and the analysis of its champion."""
    crops = crops_of(state, evidence) if state is not None and evidence is not None else {}
    write_text_atomically(path, render(history, evidence, crops))
    return path


def comparison_of(one: tuple[History, State | None], other: tuple[History, State | None], *, as_json: bool) -> str:
    """Compare two runs, or recorded files (whose state is None): as JSON, as text for a terminal, or as Markdown."""
    (first, ours), (second, theirs) = one, other
    differences: dict[str, Estimate] = {}
    note = "a comparison needs detections, which recorded figures lack; give two run folders."
    if ours is not None and theirs is not None:
        try:
            runs = (Path(first.source), ours), (Path(second.source), theirs)
            differences = champions_apart(*runs, metrics_to_compare(first, second))
        except (ConfigError, DatasetError, RunFolderError) as error:
            note = str(error)
    comparison = Comparison(first, second, first.target.metric, differences, note)
    if as_json:
        return json.dumps(to_comparison_document(comparison), indent=1)
    return comparison_in_words(comparison) if sys.stdout.isatty() else to_comparison_markdown(comparison)
