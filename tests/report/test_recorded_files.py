"""Recorded files: what is read, and what is refused with which words."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from smallsight.errors import EXIT_USAGE, HistoryError
from smallsight.records import EpochRecord, Estimate
from smallsight.report.history import History, TargetAndGuard, latest_per_epoch
from smallsight.report.recorded_files import read_history


def write(folder: Path, content: Any) -> Path:
    path = folder / "epochs.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_a_recorded_file_is_read_in_order(tmp_path: Path) -> None:
    rows = {
        "10": {"map_small": 0.6, "map_50_95": 0.7, "train_loss": 3, "val_loss": None},
        "9": {"map_small": 0, "map_75": -1},
    }
    history = read_history(write(tmp_path, {"source": "a run", "metrics": rows}))
    assert [record.epoch for record in history.records] == [9, 10]
    first, second = history.records
    assert first.value("map_small") == 0.0
    assert math.isnan(first.value("map_75"))
    assert (second.metrics["map_small"], second.train_loss, second.phase) == (Estimate(0.6), 3.0, "recorded")
    assert math.isnan(second.val_loss)
    assert history.source.endswith("epochs.json")
    assert history.target == TargetAndGuard()


def test_all_that_the_report_writes_of_an_epoch_is_read(tmp_path: Path) -> None:
    row = {
        **{"map_small": 0.6, "ap_0_8": None, "phase": "continue", "attempt": 2, "resolution": 1120},
        **{"learning_rate": 2e-4, "seconds": 9.5, "images_per_second": 3.5, "peak_memory_mb": 900.0},
        **{"loss_parts": {"box": 1.5}, "intervals": {"map_small": [0.5, 0.7]}, "n": {"map_small": 40, "ap_0_8": 0}},
        **{"weights": "raw", "other": {"map_small": {"value": 0.5, "low": 0.4, "high": None, "n": 40}}},
    }
    (record,) = read_history(write(tmp_path, {"metrics": {"4": row}})).records
    assert record.metrics["map_small"] == Estimate(0.6, 0.5, 0.7, 40)
    assert not record.metrics["ap_0_8"].known
    assert (record.phase, record.attempt, record.resolution, record.loss_parts) == ("continue", 2, 1120, {"box": 1.5})
    assert (record.learning_rate, record.seconds, record.weights) == (2e-4, 9.5, "raw")
    other = record.other["map_small"]
    assert (other.value, other.low, other.n) == (0.5, 0.4, 40) and math.isnan(other.high)


def test_nobody_knows_which_weights_a_recorded_epoch_was_judged_by(tmp_path: Path) -> None:
    (record,) = read_history(write(tmp_path, {"metrics": {"4": {"map_small": 0.6}}})).records
    assert (record.weights, record.other) == ("", {})


def row(**changes: Any) -> dict[str, Any]:
    return {"metrics": {"1": {"map_small": 0.5, **changes}}}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "not JSON; got Expecting value"),
        ("{", "not JSON"),
        ("[" * 100_000, "nested too deep"),
        ('{"metrics": {"1": {"map_small": NaN}}}', "not JSON; got NaN, which JSON does not have"),
        ('{"metrics": {"1": {"map_small": 0.5}, "1": {"map_small": 0.6}}}', "the key '1' twice"),
        ([1, 2], "no epochs in it; got a list of 2, expected an object with `metrics`"),
        (None, "no epochs in it; got null"),
        ({"epochs": {}}, "no epochs in it; got an object with epochs"),
        ({"metrics": [0.5]}, "no epochs in it"),
        ({"metrics": {}}, "metrics: empty; got no epoch, expected one or more"),
        ({"metrics": {"last": {"map_small": 0.5}}}, "metrics.last: not an epoch; got 'last', expected a whole number"),
        ({"metrics": {"-1": {"map_small": 0.5}}}, "not an epoch"),
        ({"metrics": {"1.5": {"map_small": 0.5}}}, "not an epoch"),
        ({"metrics": {"²": {"map_small": 0.5}}}, "not an epoch"),
        ({"metrics": {"9" * 5000: {"map_small": 0.5}}}, "not an epoch"),
        ({"metrics": {"1": {"map_small": 0.5}, "01": {"map_small": 0.5}}}, "an epoch twice; got 1"),
        ({"metrics": {"1": 0.5}}, "metrics.1: not an epoch's values; got 0.5, expected an object"),
        (row(map_small="0.5"), 'metrics.1.map_small: not a number; got "0.5", expected a number or null'),
        (row(map_small=True), "map_small: not a number; got true"),
        (row(map_small=59.8), "map_small: not a fraction; got 59.8, expected 0 to 1. Divide a percentage by 100."),
        (row(map_50=-0.5), "map_50: not a fraction; got -0.5"),
        (row(map_small=None), "the target metric is in no epoch; got no metric, expected map_small"),
        ({"metrics": {"1": {"train_loss": 3.0}}}, "the target metric is in no epoch; got no metric"),
        (row(train_loss=[1]), "train_loss: not a number; got a list of 1"),
        (row(val_loss=1e300), "val_loss: absurd; got 1e+300"),
        ('{"metrics": {"1": {"map_small": 1e999}}}', "map_small: absurd; got inf"),
        (
            row(trian_loss=1.0),
            "unknown name; got 'trian_loss', expected a metric such as map_small or a loss. Use train",
        ),
        (row(mAP_small=0.5), "unknown name; got 'mAP_small', expected a metric such as map_small or a loss. Use map_s"),
        (row(zzz=1.0), "unknown name; got 'zzz'"),
        (row(phase=3), "metrics.1.phase: not a name; got 3"),
        (row(phase="\ud800"), "metrics.1.phase: not a name"),
        (row(attempt=1.5), "attempt: not a count; got 1.5"),
        (row(intervals=[0, 1]), "intervals: not a table; got a list of 2"),
        (row(intervals={"map_small": 0.1}), "intervals.map_small: not an interval; got 0.1"),
        (row(intervals={"map_small": [0.1, 7]}), "intervals.map_small: not a fraction; got 7"),
        (row(weights="ema"), 'metrics.1.weights: not known; got "ema", expected raw or average'),
        (row(weights=[1]), "metrics.1.weights: not known; got a list of 1"),
        (row(other={"map_small": 0.5}), "metrics.1.other.map_small: not a figure; got 0.5"),
        (row(n={"map_small": -3}), "n.map_small: not a count; got -3"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, content: Any, message: str) -> None:
    path = write(tmp_path, content)
    with pytest.raises(HistoryError) as raised:
        read_history(path)
    text = str(raised.value)
    assert text.startswith(str(path))
    assert message in text
    assert "; got " in text and ", expected " in text and text.endswith(".")
    assert raised.value.exit_code == EXIT_USAGE


def test_a_file_that_is_not_there_or_not_text(tmp_path: Path) -> None:
    with pytest.raises(HistoryError, match="no such file; got nothing, expected a run folder or a JSON file of epochs"):
        read_history(tmp_path / "none.json")
    with pytest.raises(HistoryError, match="can't be read; got Is a directory"):
        read_history(tmp_path)
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe{")
    with pytest.raises(HistoryError, match="can't be read; got bytes that are not UTF-8"):
        read_history(tmp_path / "bytes.json")


def test_the_target_decides_which_metric_must_be_there(tmp_path: Path) -> None:
    path = write(tmp_path, {"metrics": {"1": {"map_50": 0.5}}})
    assert read_history(path, TargetAndGuard(metric="map_50")).target.metric == "map_50"
    with pytest.raises(HistoryError, match="got map_50, expected map_small"):
        read_history(path)


def test_the_last_attempt_at_an_epoch_counts() -> None:
    records = [EpochRecord(epoch, "a", attempt, {}) for epoch, attempt in [(2, 1), (1, 1), (2, 2)]]
    assert [(record.epoch, record.attempt) for record in latest_per_epoch(records)] == [(1, 1), (2, 2)]
    assert History("x", ()).records == latest_per_epoch([]) == ()
