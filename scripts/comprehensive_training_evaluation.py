"""Evaluate a training run: `python scripts/comprehensive_training_evaluation.py [configs/X.yaml | HISTORY.json | RUN]`.

Given a configuration, it reads the run in the configuration's output folder; given nothing, the run in `models`, or the
history in `training_evaluation_detailed.json`. It prints the report and leaves it in
`training_evaluation_detailed.json` in the working directory, where the monitoring snippet looks for it.
"""

import shutil
import sys
from pathlib import Path

from smallsight.cli import errors_as_messages
from smallsight.commands.inputs import run_folder
from smallsight.commands.report import history_of, show_report
from smallsight.config import load_config
from smallsight.errors import HistoryError
from smallsight.report.document import REPORT_FILE, write_report
from smallsight.status import JOURNAL


def source(arguments: list[str]) -> Path:
    """What to read: what was given, else the run or the history that lies here."""
    if arguments:
        given = Path(arguments[0])
        return run_folder(load_config(given)) if given.suffix in (".yaml", ".yml") else given
    for candidate in (Path("models"), Path()):
        if (candidate / JOURNAL).is_file():
            return candidate
    if Path(REPORT_FILE).is_file():
        return Path(REPORT_FILE)
    raise HistoryError(f"models: no run there, and no {REPORT_FILE} here. Give a configuration, a run or a history.")


if __name__ == "__main__":
    with errors_as_messages():
        found = source(sys.argv[1:])
        show_report(found, as_json=False)
        report = found / REPORT_FILE if found.is_dir() else found
        if report.resolve() != Path(REPORT_FILE).resolve():
            if found.is_dir() and report.is_file():
                shutil.copyfile(report, REPORT_FILE)
            else:
                write_report(Path(), history_of(found))
