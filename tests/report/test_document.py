"""The JSON document and the table: shape, round trip, and no NaN."""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path

import pytest

from smallsight.records import EpochRecord, Estimate
from smallsight.report.analysis import analyse
from smallsight.report.document import csv_text, to_document, write_report
from smallsight.report.history import History
from smallsight.report.recorded_files import read_history


def test_the_keys_that_readers_look_for(recorded: History) -> None:
    document = to_document(recorded, analyse(recorded))
    found = document["analysis"]
    rate = found["rate_per_epoch"]
    assert [round(rate[key], 4) for key in ("value", "low", "high")] == [0.0036, 0.0023, 0.0049]
    assert rate["n"] == 17
    assert round(found["total_improvement"], 3) == 0.071
    assert found["latest"] == {"epoch": 39, "map_small": 0.598, "low": None, "high": None, "n": 0}
    assert round(found["gap_to_target"], 3) == 0.052
    last = max(int(epoch) for epoch in document["metrics"])
    row = document["metrics"][str(last)]
    assert (last, row["map_small"], row["map_50_95"], row["map_50"], row["val_loss"]) == (39, 0.598, 0.68, None, None)
    assert list(row)[:2] == ["map_50_95", "map_50"]


def test_a_run_keeps_its_story(run: History) -> None:
    document = to_document(run, analyse(run))
    assert document["champion"]["path"] == run.champion_path
    assert (document["champion"]["epoch"], document["baseline"]["epoch"]) == (6, 0)
    assert document["phases"][0]["name"] == "[red]x[/]"
    assert document["phases"][0]["verdict"]["difference"] == {"value": 0.06, "low": 0.02, "high": 0.1, "n": 40}
    assert document["decisions"][2]["action"] == "stop"
    assert document["target"]["minimum"] == 0.65
    row = document["metrics"]["1"]
    assert row["intervals"]["map_small"] == [0.46, 0.7]
    assert row["n"] == {"map_50_95": 200, "map_small": 80}


def test_infinity_and_nan_become_null() -> None:
    falling = History("x", tuple(EpochRecord(e, "a", 1, {"map_small": Estimate(0.5 - e / 100)}) for e in (1, 2, 3)))
    for history in (falling, History("x", ())):
        document = to_document(history, analyse(history))
        assert json.loads(json.dumps(document, allow_nan=False)) == document
        assert document["analysis"]["levels"][0]["epochs_to_reach"]["high"] is None


def test_the_document_is_a_history_too(tmp_path: Path, run: History) -> None:
    path = write_report(tmp_path / "new", run)
    assert path == tmp_path / "new" / "training_evaluation_detailed.json"
    again = read_history(path)
    assert to_document(again, analyse(again))["metrics"] == to_document(run, analyse(run))["metrics"]
    assert again.records[3].metrics == run.records[3].metrics
    assert (again.records[8].phase, again.records[8].train_loss) == ("multi_scale", run.records[8].train_loss)
    assert sorted(p.name for p in path.parent.iterdir()) == ["metrics.csv", "training_evaluation_detailed.json"]
    assert write_report(tmp_path / "new", run).read_text() == path.read_text()


def test_the_table_has_a_fixed_order_and_empty_cells() -> None:
    records = [
        EpochRecord(2, "b,c", 1, {"ap_8_16": Estimate(0.2, 0.1, 0.3, 7), "ap_16_32": Estimate(math.nan)}),
        EpochRecord(1, "a", 1, {"map_small": Estimate(0.4)}, 3.0, math.nan, {"giou": 1.0}, resolution=640),
        EpochRecord(
            *(1, "a", 2, {"map_small": Estimate(0.5)}, 2.5, math.nan, {"giou": 1.0}, 0.1, 9.0),
            **{"resolution": 640, "weights": "raw"},
        ),
    ]
    header, *lines = csv.reader(io.StringIO(csv_text(records)))
    usual = ("map_50_95", "map_50", "map_75", "map_small", "map_medium", "map_large")
    metrics = [name + part for name in (*usual, "ap_8_16", "ap_16_32") for part in ("", "_low", "_high", "_n")]
    assert header[:3] == ["epoch", "phase", "attempt"]
    assert header[3:-9] == metrics
    assert header[-9:] == [
        *("train_loss", "val_loss", "loss_giou"),
        *("learning_rate", "seconds", "images_per_second", "peak_memory_mb", "resolution", "weights"),
    ]
    first, second = (dict(zip(header, line, strict=True)) for line in lines)
    assert (first["epoch"], first["attempt"], first["map_small"], first["map_small_n"]) == ("1", "2", "0.5", "")
    assert (first["train_loss"], first["val_loss"], first["ap_8_16"]) == ("2.5", "", "")
    assert (first["weights"], second["weights"]) == ("raw", "average")
    assert (second["phase"], second["ap_8_16_high"], second["ap_8_16_n"], second["resolution"]) == (
        "b,c",
        "0.3",
        "7",
        "",
    )
    assert (second["ap_16_32"], second["ap_16_32_n"]) == ("", "0")


def test_an_empty_table_is_its_header() -> None:
    assert csv_text([]).count("\n") == 1


@pytest.mark.parametrize("name", ["training_evaluation_detailed.json", "metrics.csv"])
def test_a_report_is_replaced_whole(tmp_path: Path, recorded: History, name: str) -> None:
    (tmp_path / name).write_text("old")
    write_report(tmp_path, recorded)
    assert (tmp_path / name).read_text() != "old"
