"""A phase rehearsed: memory and time are told, and nothing of it stays."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from smallsight.attempts import child, workers
from smallsight.attempts.messages import Memory, Pace, Probe
from smallsight.attempts.spec import AttemptSpec
from smallsight.config.load import Config, build_config, with_settings
from smallsight.errors import DatasetError
from smallsight.training.fit import run_attempt
from smallsight.training.rehearsal import Rehearsal, costs_alike, rehearse
from training.frames import attempt_spec, tiny_settings, write_data
from training.test_fit import Recorder
from waiting import HANGS_S


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary folders go."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def config_of(data: Path, **training: Any) -> Config:
    return build_config(tiny_settings(data, **training), "test")


def test_memory_and_time_are_measured_and_nothing_stays(data: Path, temporary: Path) -> None:
    before = sorted(data.rglob("*"))
    found = rehearse(
        with_settings(config_of(data), {"dataset.cache_dir": str(temporary / "cache")}, "test"), 3, HANGS_S
    )
    assert (found.fits, found.failure, found.device) == (True, "", "cpu")
    assert found.peak_mb is not None and found.limit_mb is not None and 0 < found.peak_mb < found.limit_mb
    assert found.training_s is not None and found.training_s > 0
    assert found.evaluation_s is not None and found.evaluation_s > 0
    assert list(temporary.iterdir()) == [] and sorted(data.rglob("*")) == before


def test_the_parts_of_an_epoch_are_counted(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An epoch has 6 batches (24 crops, 4 each), 4 frames searched for false alarms, 6 frames judged twice."""
    monkeypatch.setattr("smallsight.training.pace._seconds_per_batch", lambda state: 10.0)
    monkeypatch.setattr("smallsight.training.pace._seconds_per_frame", lambda state: 1.0)
    spec = attempt_spec(tmp_path, tiny_settings(data))
    channel = Recorder()
    run_attempt(AttemptSpec(**{**vars(spec), "rehearses": True}), channel)
    (pace,) = channel.of(Pace)
    assert (pace.training_s, pace.evaluation_s) == (6 * 10.0 + 4.0, 12.0)
    assert channel.records == [] and not spec.checkpoint.exists() and not spec.best.exists()


def test_several_processes_share_the_time(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def tell(trainer: object, spec: AttemptSpec, on_epoch: object, on_fact: Any) -> child.AttemptResult:
        training = spec.config["training"]
        assert (training["devices"], training["num_nodes"], training["batch_size"]) == (1, 1, 4)
        on_fact(Pace(training_s=80.0, evaluation_s=16.0, device="cpu"))
        return child.AttemptResult()

    monkeypatch.setattr(child.ChildTrainer, "__call__", tell)
    found = rehearse(config_of(data, devices=2, num_nodes=4), 3, HANGS_S)
    assert (found.training_s, found.evaluation_s) == (10.0, 2.0)


def test_an_open_batch_size_is_tried_with_the_share_of_one_process(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(child.ChildTrainer, "__call__", lambda _, spec, *__: seen.append(spec) or child.AttemptResult())
    rehearse(config_of(data, batch_size="auto", effective_batch=8, devices=2), 3, HANGS_S)
    assert (seen[0].config["training"]["batch_size"], seen[0].config["training"]["effective_batch"]) == ("auto", 4)


def test_what_does_not_fit_is_told(data: Path, temporary: Path) -> None:
    found = rehearse(config_of(data, memory_budget_mb=10.0), 1, HANGS_S)
    assert found == Rehearsal(fits=False, failure="out of memory")
    assert list(temporary.iterdir()) == []


def test_after_the_time_it_is_killed(data: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its child sleeps for longer than any test may take."""
    popen = workers.subprocess.Popen
    asleep = [sys.executable, "-c", "import time; time.sleep(3600)"]
    monkeypatch.setattr(workers.subprocess, "Popen", lambda command, **options: popen(asleep, **options))
    assert rehearse(config_of(data), 1, 0.2) == Rehearsal(failure="not done within 0 s")
    assert list(temporary.iterdir()) == []


def test_what_was_told_before_the_time_was_up_is_kept(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def tell(trainer: object, spec: AttemptSpec, on_epoch: object, on_fact: Any) -> child.AttemptResult:
        on_fact(Memory(Probe(batch_size=4, peak_mb=7.0, limit_mb=9.0)))
        return child.AttemptResult("crashed", "not done within 60 s, so it was killed; see /gone/worker.log")

    monkeypatch.setattr(child.ChildTrainer, "__call__", tell)
    assert rehearse(config_of(data), 1, HANGS_S) == Rehearsal(7.0, 9.0, fits=True, failure="not done within 60 s")


def test_data_that_can_t_be_used_are_refused(data: Path, tmp_path: Path) -> None:
    write_data(tmp_path)
    for file in (tmp_path / "train").glob("*.png"):
        file.write_bytes(file.read_bytes()[:40])
    with pytest.raises(DatasetError, match="png"):
        rehearse(config_of(tmp_path), 1, HANGS_S)


@pytest.mark.parametrize(
    ("settings", "alike"),
    [
        ({"training.learning_rate": 0.1, "training.small_object_loss_weight": 2.0}, True),
        ({"training.multi_scale": True}, False),
        ({"augmentation.mosaic.enabled": True}, False),
    ],
)
def test_which_settings_cost_nothing(data: Path, settings: dict[str, Any], alike: bool) -> None:
    config = config_of(data)
    assert costs_alike(config, with_settings(config, settings, "test")) is alike
