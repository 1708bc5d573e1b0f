"""After each epoch the trained weights and their average are both judged, and the better ones are kept as such."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from smallsight.attempts.messages import AveragingHorizon, Ramp
from smallsight.attempts.spec import AttemptSpec
from smallsight.detectors.checkpoint import load_checkpoint
from smallsight.records import EpochRecord, epoch_record_from_json
from smallsight.run.checkpoints import contenders
from smallsight.run.folder import AttemptFolder
from smallsight.training.fit import run_attempt
from training.frames import attempt_spec, tiny_settings, write_data
from training.test_fit import Recorder

pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning's advice

STUCK = {"ema_decay": 0.9999, "ema_epochs": 1000}
"""An average that hardly moves within a test."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("discs"))


@pytest.fixture(scope="module")
def stuck(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[AttemptSpec, list[dict[str, Any]]]:
    """An attempt from a file of another tool's age, whose average stays where it was while the weights learn."""
    folder = tmp_path_factory.mktemp("runs")
    first = attempt_spec(folder / "a", tiny_settings(data), last=1)
    run_attempt(first, Recorder())
    content = load_checkpoint(first.best)
    del content["ema_updates"]
    torch.save({**content, "format": "smallsight 1"}, folder / "old.pth")
    settings = tiny_settings(data, epochs=12, **STUCK)
    settings["sampling"]["crops_per_image"] = 8
    spec = attempt_spec(folder / "b", settings, first=2, last=12, start="warm", path=str(folder / "old.pth"))
    channel = Recorder()
    run_attempt(spec, channel)
    return spec, channel.records


def of_events(found: list[dict[str, Any]]) -> list[EpochRecord]:
    clock = dict.fromkeys(("seconds", "images_per_second", "peak_memory_mb"), 0.0)
    return [epoch_record_from_json({**record, **clock}) for record in found]


def test_the_better_weights_are_judged_and_named(stuck: tuple[AttemptSpec, list[dict[str, Any]]]) -> None:
    records = of_events(stuck[1])
    assert records[-1].weights == "raw" and records[-1].value("map_small") > 0.3
    assert records[-1].value("map_small") > records[-1].other["map_small"].value + 0.2
    for record in records:
        value, other = record.value("map_small"), record.other["map_small"].value
        assert not value < other


def test_files_say_whose_figures_they_hold(stuck: tuple[AttemptSpec, list[dict[str, Any]]]) -> None:
    spec, records = stuck
    for record in records:
        assert load_checkpoint(spec.lightweight(record["epoch"]))["judged"] == record["weights"]
        assert spec.detections(record["epoch"]).is_file() and spec.detections(record["epoch"], other=True).is_file()


def test_a_verdict_counts_both_as_candidates(stuck: tuple[AttemptSpec, list[dict[str, Any]]]) -> None:
    spec, found = stuck
    records = of_events(found)
    files = contenders(AttemptFolder(Path(spec.folder)), records[-1], records)
    assert files[0] == spec.detections(records[-1].epoch)
    assert len(files) == len(set(files)) == 2 * len(records) and all(file.is_file() for file in files)


def test_weights_that_are_their_own_average_are_judged_once(data: Path, tmp_path: Path) -> None:
    settings = tiny_settings(data, ema_epochs=0.001)  # a horizon of one step
    channel = Recorder()
    spec = attempt_spec(tmp_path, settings, last=2)
    run_attempt(spec, channel)
    last = channel.records[-1]
    assert last["other"] == {} and last["weights"] == "average"
    assert not spec.detections(last["epoch"], other=True).exists()


def test_what_was_decided_for_the_attempt_is_told(stuck: tuple[AttemptSpec, list[dict[str, Any]]], data: Path) -> None:
    spec, _ = stuck
    channel = Recorder()
    run_attempt(attempt_spec(Path(spec.run_folder).parent / "c", tiny_settings(data), last=2), channel)
    assert channel.of(AveragingHorizon) == [AveragingHorizon(steps_per_epoch=6, horizon_steps=12.0, decay=0.916667)]
    assert channel.of(Ramp) == [Ramp(2, "the optimizer starts without its moments")]
