"""Evaluate a training run: `python scripts/comprehensive_training_evaluation.py [configs/X.yaml | HISTORY.json | RUN]`.

Given a configuration, it reads the run in the configuration's output folder; given nothing, the run in `models`. It
prints the report and leaves it in `training_evaluation_detailed.json` in the working directory. Where another tool
wrote a file of that name, its epochs stand before the run's, and the file gets another name. Before any run, it reports
on the configuration and on such a file, and writes nothing.
"""

import sys
from pathlib import Path

from smallsight.cli import errors_as_messages
from smallsight.commands.evaluation import evaluate_training

if __name__ == "__main__":
    with errors_as_messages():
        evaluate_training(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
