"""What is logged beside the records, and that a restart doubles nothing."""

from __future__ import annotations

import logging
import math
from dataclasses import replace
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from smallsight.attempts.spec import AttemptSpec
from smallsight.config.load import Config
from smallsight.config.sections import Logging
from smallsight.records import EpochRecord, Estimate
from smallsight.training.loggers import MLFLOW_RUN_FILE, EpochLog, figures_of
from training.frames import attempt_spec


def record(epoch: int, value: float) -> EpochRecord:
    return EpochRecord(
        epoch, "demo", 1, {"map_small": Estimate(value, value - 0.1, value + 0.1, 9)}, train_loss=2 / epoch
    )


def spec_in(folder: Path) -> AttemptSpec:
    return attempt_spec(folder, Config())


def logged(spec: AttemptSpec, name: str) -> list[tuple[int, float]]:
    events = EventAccumulator(str(Path(spec.folder) / "tensorboard"))
    events.Reload()
    return [(event.step, pytest.approx(event.value)) for event in events.Scalars(name)]


def test_an_epoch_becomes_figures() -> None:
    figures = figures_of(record(2, 0.5))
    assert figures["metrics/map_small"] == 0.5 and figures["intervals/map_small_low"] == pytest.approx(0.4)
    assert figures["loss/train"] == 1.0
    assert "loss/valid" not in figures and all(math.isfinite(value) for value in figures.values())


def test_tensorboard_holds_each_epoch_once_after_a_restart(tmp_path: Path) -> None:
    spec = spec_in(tmp_path)
    first = EpochLog(spec, Logging(), 1)
    for epoch in (1, 2, 3):
        first.add(record(epoch, 0.1 * epoch))
    again = EpochLog(spec, Logging(), 3)  # the third was not saved, so it is done again
    again.add(record(3, 0.35))
    assert logged(spec, "metrics/map_small") == [(1, 0.1), (2, 0.2), (3, 0.35)]


def test_mlflow_gets_one_run_for_all_attempts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    settings = Logging(mlflow=True, mlflow_tracking_uri=f"file:{tmp_path}/mlruns", mlflow_experiment_name="balls")
    for epoch in (1, 2):
        EpochLog(spec_in(tmp_path / "run"), settings, epoch).add(record(epoch, 0.1 * epoch))
    client = mlflow.tracking.MlflowClient(settings.mlflow_tracking_uri)
    run_id = (tmp_path / "run" / MLFLOW_RUN_FILE).read_text()
    history = client.get_metric_history(run_id, "metrics/map_small")
    assert [(item.step, item.value) for item in history] == [(1, 0.1), (2, 0.2)]
    (experiment,) = (e for e in client.search_experiments() if e.name == "balls")
    assert len(client.search_runs([experiment.experiment_id])) == 1
    beside = replace(spec_in(tmp_path / "run"), beside_others=True)
    EpochLog(beside, settings, 2).add(record(2, 0.9))
    names = {run.info.run_name for run in client.search_runs([experiment.experiment_id])}
    assert names == {"run", "run demo 1"}, "its epochs are not those of the others"


def test_a_server_that_does_not_answer_ends_no_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    settings = Logging(mlflow=True, mlflow_tracking_uri="http://127.0.0.1:9")
    spec = spec_in(tmp_path)
    with caplog.at_level(logging.WARNING):
        EpochLog(spec, settings, 1).add(record(1, 0.1))
    assert "MLflow" in caplog.text
    assert logged(spec, "metrics/map_small") == [(1, 0.1)]
