"""Where the figures of an epoch go besides the records: TensorBoard always, MLflow where it is asked for.

They are copies. Decisions and reports use the journal, and a tracking server that does not answer does not end the
training.
"""

from __future__ import annotations

import logging
import math
import os
from pathlib import Path

from pytorch_lightning.loggers import Logger, TensorBoardLogger

from smallsight.attempts.spec import AttemptSpec
from smallsight.config.sections import Logging
from smallsight.files import write_text_atomically
from smallsight.records import EpochRecord
from smallsight.run.folder import AttemptFolder

MLFLOW_RUN_FILE = "mlflow_run_id"
"""In the run folder: the MLflow run that all attempts write to."""

_log = logging.getLogger(__name__)


class EpochLog:
    """The loggers of an attempt.

    Args:
        spec: names the folders.
        settings: whether MLflow is wanted, and where.
        next_epoch: TensorBoard's entries from this epoch on, written before a restart, are replaced.
    """

    def __init__(self, spec: AttemptSpec, settings: Logging, next_epoch: int) -> None:
        self._loggers: list[Logger] = [
            TensorBoardLogger(spec.folder, "", AttemptFolder(Path(spec.folder)).tensorboard.name, purge_step=next_epoch)
        ]
        if settings.mlflow:
            self._add_mlflow(Path(spec.run_folder), settings)

    def add(self, record: EpochRecord) -> None:
        """Send one epoch's figures; its number is the step."""
        figures = figures_of(record)
        for logger in list(self._loggers):
            try:
                logger.log_metrics(figures, step=record.epoch)
                logger.save()
            except _failures() as error:
                _log.warning("epoch %d was not logged with %s: %s", record.epoch, type(logger).__name__, error)
                self._loggers.remove(logger)

    def _add_mlflow(self, run: Path, settings: Logging) -> None:
        from pytorch_lightning.loggers import MLFlowLogger

        uri = settings.mlflow_tracking_uri
        if uri is None or uri.startswith("file:"):
            os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # MLflow 3 refuses folders without this
        known = run / MLFLOW_RUN_FILE
        run_id = known.read_text() if known.is_file() else None
        try:
            logger = MLFlowLogger(settings.mlflow_experiment_name or "smallsight", run.name, uri, run_id=run_id)
            if run_id is None:
                write_text_atomically(known, str(logger.run_id))
            self._loggers.append(logger)
        except _failures() as error:
            _log.warning("MLflow does not answer, so nothing is sent to it: %s", error)


def figures_of(record: EpochRecord) -> dict[str, float]:
    """What is logged, by name: metrics with their intervals, those of further sets, losses, rate, speed, memory.

    Values that are not finite are left out.
    """
    figures = {
        "loss/train": record.train_loss,
        "loss/valid": record.val_loss,
        "training/learning_rate": record.learning_rate,
        "training/images_per_second": record.images_per_second,
        "training/seconds": record.seconds,
        "training/peak_memory_mb": record.peak_memory_mb,
        "training/resolution": float(record.resolution),
    }
    figures |= {f"loss/{name}": value for name, value in record.loss_parts.items()}
    for name, estimate in record.metrics.items():
        figures |= {
            f"metrics/{name}": estimate.value,
            f"intervals/{name}_low": estimate.low,
            f"intervals/{name}_high": estimate.high,
        }
    for name, found in record.sets.items():
        figures |= {f"sets/{name}/{metric}": estimate.value for metric, estimate in found.items()}
    return {name: value for name, value in figures.items() if math.isfinite(value)}


def _failures() -> tuple[type[Exception], ...]:
    """Errors of a logger that don't end the training: of the disk, and of MLflow where it is installed."""
    try:
        from mlflow.exceptions import MlflowException
    except ModuleNotFoundError:
        return (OSError,)
    return (OSError, MlflowException)
