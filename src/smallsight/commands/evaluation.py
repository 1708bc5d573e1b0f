"""What `scripts/comprehensive_training_evaluation.py` does: report on a run or epochs in the working directory."""

from __future__ import annotations

import shutil
from pathlib import Path

from rich.console import Console

from smallsight.commands.inputs import run_folder
from smallsight.commands.recorded import configured
from smallsight.commands.report import history_of, show_report
from smallsight.config.load import LoadedConfig, load_config
from smallsight.errors import HistoryError, visible
from smallsight.report.analysis import analyse
from smallsight.report.before import take_over
from smallsight.report.document import write_report
from smallsight.report.history import History
from smallsight.report.recorded_files import read_history
from smallsight.report.story import first_epoch
from smallsight.report.summary import print_summary
from smallsight.report.under_strategy import target_of
from smallsight.run.fold import read_state
from smallsight.run.folder import RunFolder
from smallsight.run.foreign_files import is_foreign, keep
from smallsight.strategy.shipped import shipped_plan

HERE = RunFolder(Path()).report


def evaluate_training(given: Path | None) -> None:
    """Report on a run, on recorded epochs, or on a configuration before any run.

    Args:
        given: a configuration, a run folder or a recorded file; None for the run in `models` or here, or else the
            recorded file here.
    Raises:
        HistoryError: there is nothing to report on.
        ConfigError, RunFolderError: `given`, or the run, can't be read.
    """
    loaded = load_config(given) if given is not None and given.suffix in (".yaml", ".yml") else None
    folder = _folder(given, loaded)
    if folder is not None and RunFolder(folder).has_journal:
        _of_run(folder)
    elif given is not None and loaded is None:
        _of_recorded(given)
    elif loaded is not None:
        _before_any_run(loaded)
    elif HERE.is_file():
        show_report(HERE, as_json=False)
    else:
        raise HistoryError(f"models: no run there, and no {HERE} here. Give a configuration, a run or a history.")


def _folder(given: Path | None, loaded: LoadedConfig | None) -> Path | None:
    """The folder in which to look for a run; None where a recorded file was given, or where no run is found."""
    if loaded is not None:
        return run_folder(loaded)
    if given is not None:
        return given if given.is_dir() else None
    return next((folder for folder in (Path("models"), Path()) if RunFolder(folder).has_journal), None)


def _of_run(folder: Path) -> None:
    """Report on a run. All files are written before anything is printed, because the reader may close the output."""
    state, lines = read_state(folder), []
    in_place = RunFolder(folder).report.resolve() == HERE.resolve()
    if not in_place and state.records:
        taken = take_over(HERE, folder, first_epoch(state), state.plan["target"]["metric"])
        lines += [taken] if taken else []

    def leave_here() -> None:
        if not in_place and RunFolder(folder).report.is_file():
            shutil.copyfile(RunFolder(folder).report, HERE)

    show_report(folder, as_json=False, lines=lines, written=leave_here)


def _of_recorded(path: Path) -> None:
    """Report on recorded epochs."""
    lines = []
    source = RunFolder(path).report if path.is_dir() else path
    if source.resolve() != HERE.resolve():
        lines += [keep(HERE)] if is_foreign(HERE) else []
        write_report(Path(), history_of(path))
    show_report(path, as_json=False, lines=lines)


def _before_any_run(loaded: LoadedConfig) -> None:
    """Report on a configuration and the recorded epochs in the working directory, if any; write nothing."""
    console, plan = Console(highlight=False), shipped_plan()
    recorded = read_history(HERE, target_of(plan)) if HERE.is_file() else History(loaded.source, ())
    history = configured(recorded, loaded, plan)
    epochs = f"and the epochs in {HERE}" if history.records else f"alone, since there is no {HERE} here"
    console.print(
        visible(f"No run in {run_folder(loaded)} yet: this report is made from {loaded.source} {epochs}."),
        markup=False,
        soft_wrap=not console.is_terminal,
    )
    print_summary(console, history, analyse(history))
