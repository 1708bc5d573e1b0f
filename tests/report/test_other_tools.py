"""Histories of other tools are read by what is in them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smallsight.errors import HistoryError
from smallsight.report.advice import warnings
from smallsight.report.analysis import analyse
from smallsight.report.history import TargetAndGuard
from smallsight.report.other_tools import rows_of
from smallsight.report.recorded_files import read_history

FIGURES = [0.41, 0.5, 0.3, 0.31, 0.4, -1, 0.3, 0.4, 0.5, 0.2, 0.4, 0.5]


def log_line(epoch: Any, **more: Any) -> str:
    content = {"train_lr": 1e-4, "train_loss": 5.0, "test_loss": 5.2, "test_coco_eval_bbox": FIGURES, "epoch": epoch}
    return json.dumps({**content, **more})


RESULTS = """                  epoch,      train/box_loss,      train/cls_loss,   metrics/mAP50(B),metrics/mAP50-95(B),val/box_loss,lr/pg0
                      1,                 1.5,                 0.5,               0.42,              0.212,         2.0,0.001
                      2,                 1.4,                 0.4,               0.44,              0.224,         1.9,0.001
"""  # noqa: E501 - as the tool pads it


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            RESULTS,
            {
                "1": {"map_50": 0.42, "map_50_95": 0.212, "train_loss": 2.0, "val_loss": 2.0, "learning_rate": 0.001},
                "2": {"map_50": 0.44, "map_50_95": 0.224, "train_loss": 1.8, "val_loss": 1.9, "learning_rate": 0.001},
            },
        ),
        (
            "epoch,metrics/mAP_0.5,metrics/mAP_0.5:0.95,x/lr0\n0,0.5,0.25,0.01\n",
            {"0": {"map_50": 0.5, "map_50_95": 0.25, "learning_rate": 0.01}},
        ),
        (  # Lightning writes a row for training and one for validation
            "epoch,step,train/loss,val/mAP_50_95,val/mAP_50,val/loss\n0,9,4.5,,,\n0,9,,0.3,0.6,5.0\n1,19,4.0,,,\n",
            {"0": {"train_loss": 4.5, "map_50_95": 0.3, "map_50": 0.6, "val_loss": 5.0}},
        ),
        (
            log_line(0) + "\n\n" + log_line(11) + "\n",
            {
                str(epoch): {
                    **{"map_50_95": 0.41, "map_50": 0.5, "map_75": 0.3, "map_small": 0.31, "map_medium": 0.4},
                    **{"train_loss": 5.0, "val_loss": 5.2, "learning_rate": 1e-4},
                }
                for epoch in (0, 11)
            },
        ),
    ],
    ids=["results.csv", "its older names", "lightning", "log.txt"],
)
def test_the_epochs_of_other_tools(text: str, expected: dict[str, dict[str, float]]) -> None:
    found = rows_of(text)
    assert found is not None and found.keys() == expected.keys()
    for epoch, row in expected.items():
        assert found[epoch] == pytest.approx(row), epoch


@pytest.mark.parametrize(
    "text",
    [
        *("", "epoch,loss\n1,2\n", "a,b\n1,2\n", '{"metrics": {"1": {"map_small": 0.5}}}', "[1]\n[2]\n", "epoch"),
        *(log_line("one"), log_line(True), '{"epoch": 1, "train_loss": 2}', "epoch,map_50\nx,0.5\n1e999,0.5\n"),
    ],
)
def test_other_texts_are_none_of_them(text: str) -> None:
    assert rows_of(text) is None


@given(st.text(max_size=200))
def test_any_text_is_answered(text: str) -> None:
    rows_of(text)
    rows_of("epoch,map_50\n" + text)


def test_a_metric_that_is_not_recorded_is_said_to_be_unknown(tmp_path: Path) -> None:
    path = tmp_path / "anything"
    path.write_text(RESULTS)
    history = read_history(path)
    assert (history.target.metric, history.target.unknown_metric) == ("map_50_95", "map_small")
    said = " ".join(warnings(history, analyse(history)))
    assert "map_small is not in this file, so the trend is that of map_50_95." in said
    assert read_history(path, TargetAndGuard(metric="map_50")).target == TargetAndGuard(metric="map_50")


def test_an_impossible_figure_of_another_tool_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    path.write_text("epoch,metrics/mAP50-95(B)\n1,41.0\n")
    with pytest.raises(HistoryError, match=r"map_50_95"):
        read_history(path)
