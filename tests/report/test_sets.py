"""Further evaluation sets in the report: words, curves, table and JSON, and back from it."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from smallsight.errors import HistoryError
from smallsight.records import Estimate
from smallsight.report.analysis import analyse
from smallsight.report.charts import curves
from smallsight.report.document import csv_text, to_document, write_report
from smallsight.report.history import History
from smallsight.report.html import render
from smallsight.report.markdown import to_markdown
from smallsight.report.recorded_files import read_history
from smallsight.report.sets import sets_in_words
from smallsight.report.summary import print_summary

NAMES = ("found_10", "found_40", "detections_10", "top_score")


def frames(found: int, sure: int = 0) -> dict[str, Estimate]:
    """Figures of 20 frames without labels."""
    return {name: Estimate(value / 20, n=20) for name, value in zip(NAMES, (found, sure, found, found), strict=True)}


@pytest.fixture
def guarded(run: History) -> History:
    """A run whose epochs 2 on were measured on a set with labels and on one without."""

    def measured(epoch: int) -> dict[str, dict[str, Estimate]]:
        real = {"map_small": Estimate(0.3 + epoch / 100, 0.2, 0.5, 34), "map_50": Estimate(0.6, n=34)}
        return {"real": real, "[b]video": frames(epoch)} if epoch != 1 else {}

    def with_sets(history: History) -> History:
        records = tuple(replace(record, sets=measured(record.epoch)) for record in history.records)
        assert history.baseline is not None
        return replace(
            history, records=records, champion=records[5], baseline=replace(history.baseline, sets=measured(0))
        )

    return with_sets(run)


def test_the_champion_and_the_baseline_in_words(guarded: History) -> None:
    real, video = sets_in_words(guarded)
    assert real == (
        "real, which guards: map_small 0.360 [0.200, 0.500], n=34 (champion, epoch 6); map_small 0.300 [0.200, 0.500], "
        "n=34 (baseline, epoch 0)."
    )
    assert video.startswith("[b]video, frames without labels: found in 6 of 20 frames at a score of 0.10 or more")
    assert "found in none of 20 frames" in video


def test_without_a_champion_the_latest_epoch_speaks(guarded: History) -> None:
    lines = sets_in_words(replace(guarded, champion=None, baseline=None))
    assert "map_small 0.420 [0.200, 0.500], n=34 (latest, epoch 12)." in lines[0]


def test_a_run_without_sets_says_nothing(run: History, recorded: History) -> None:
    for history in (run, recorded, History("x", ())):
        assert sets_in_words(history) == ()
        titles = [figure.title for figure in curves(history, analyse(history))]
        assert not any("set" in title or "frames" in title for title in titles)


def test_all_pages_show_them(guarded: History) -> None:
    shown = io.StringIO()
    print_summary(Console(file=shown, width=100), guarded, analyse(guarded))
    texts = (render(guarded), to_markdown(guarded), " ".join(shown.getvalue().split()))
    for text in texts:
        assert "real, which guards: map_small 0.360" in text and "found in 6 of 20 frames" in text
    assert 'id="elsewhere"' in texts[0] and "[b]video" in texts[0] and "<b>video" not in texts[0]


def test_their_curves(guarded: History) -> None:
    figures = {figure.title: figure for figure in curves(guarded, analyse(guarded))}
    by_set = figures["map_small by evaluation set"]
    assert [(name, last) for name, _, last in by_set.legend] == [("validation", "0.620, n=80"), ("real", "0.420, n=34")]
    found = figures["Share of frames with a detection"]
    assert found.note == "[b]video: 20 frames"
    assert [name for name, _, _ in found.legend] == ["[b]video, score 0.10", "[b]video, score 0.40"]


def test_the_table_has_a_column_for_each_figure(guarded: History) -> None:
    rows = list(csv.DictReader(io.StringIO(csv_text(guarded.records))))
    assert rows[0]["real.map_small"] == ""
    assert (rows[1]["real.map_small"], rows[1]["real.map_small_n"]) == ("0.32", "34")
    assert rows[5]["[b]video.found_10"] == "0.3" and rows[5]["[b]video.found_10_n"] == "20"
    header = csv_text(guarded.records).partition("\n")[0].split(",")
    assert header.index("resolution") < header.index("real.map_50"), "the columns of before keep their order"


def test_the_document_is_read_back(guarded: History, tmp_path: Path) -> None:
    again = read_history(write_report(tmp_path, guarded))
    assert again.records[1].sets == guarded.records[1].sets and again.records[0].sets == {}
    assert to_document(again, analyse(again))["metrics"] == to_document(guarded, analyse(guarded))["metrics"]


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        (5, "metrics.1.sets: not a table"),
        ({"real": 5}, "metrics.1.sets.real: not a table"),
        ({"real": {"map_small": 0.5}}, "metrics.1.sets.real.map_small: not a figure"),
        ({"real": {"map_small": {"value": "x"}}}, "metrics.1.sets.real.map_small.value: not a number"),
        ({"real": {"map_small": {"value": 0.5, "n": -1}}}, "metrics.1.sets.real.map_small.n: not a count"),
    ],
)
def test_what_is_no_set_is_refused(sets: object, message: str, tmp_path: Path) -> None:
    file = tmp_path / "epochs.json"
    file.write_text(json.dumps({"metrics": {"1": {"map_small": 0.5, "sets": sets}}}))
    with pytest.raises(HistoryError, match=message):
        read_history(file)
