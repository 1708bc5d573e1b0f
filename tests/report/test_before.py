"""Epochs that another tool recorded before a run stand before the run's."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from smallsight.records import Estimate
from smallsight.report.analysis import analyse
from smallsight.report.before import recorded_before, take_over
from smallsight.report.document import csv_text, to_document
from smallsight.report.story import tell
from smallsight.run.folder import RunFolder
from smallsight.run.state import State
from strategy.states import OLD, from_epoch, measured, state_of, trained

REPORT_FILE = "training_evaluation_detailed.json"

ROWS = {str(epoch): {"map_small": round(0.4 + epoch / 1000, 3), "map_50_95": 0.6} for epoch in (*range(20, 36), 39)}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    (tmp_path / "run").mkdir()
    return tmp_path / "run"


def found(folder: Path, text: str = json.dumps({"metrics": ROWS})) -> Path:
    (folder / REPORT_FILE).write_text(text)
    return folder / REPORT_FILE


def state(value: float = 0.44, low: float = 0.4, high: float = 0.48) -> State:
    """Epoch 39 measured, then two epochs by hand."""
    start, one = measured(OLD, 39), trained("one", 40, 41, OLD)
    known = replace(start.records[0], metrics={"map_small": Estimate(value, low, high, 80)})
    start = replace(start, attempts=(replace(start.attempts[0], records=(known,)),))
    return state_of(start, from_epoch(one, 1, 39), baseline=known)


def test_a_foreign_file_is_taken_over_and_kept(tmp_path: Path, run: Path) -> None:
    path = found(tmp_path)
    before = path.read_bytes()
    assert take_over(path, run, 40, "map_small") == (
        f"{path}: not written by smallsight, so it is kept as training_evaluation_detailed_before.json; "
        "its epochs 20 to 39 stand before the run's from now on."
    )
    assert not path.exists() and (tmp_path / "training_evaluation_detailed_before.json").read_bytes() == before
    assert [record.epoch for record in recorded_before(run, 40, "map_small")] == [*range(20, 36), 39]
    assert take_over(path, run, 40, "map_small") is None, "nothing is there any more"


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("not JSON", 40),
        ("{}", 40),
        ('{"metrics": {"20": {"map_small": 59.8}}}', 40),
        (json.dumps({"metrics": ROWS}), 1),
    ],
)
def test_what_holds_no_epoch_before_the_run_is_only_kept(tmp_path: Path, run: Path, text: str, first: int) -> None:
    path = found(tmp_path, text)
    said = take_over(path, run, first, "map_small")
    assert said == f"{path}: not written by smallsight, so it is kept as training_evaluation_detailed_before.json."
    assert (tmp_path / "training_evaluation_detailed_before.json").read_text() == text
    assert list(run.iterdir()) == []


def test_epochs_that_the_run_has_trained_itself_stay_its_own(tmp_path: Path, run: Path) -> None:
    take_over(found(tmp_path), run, 30, "map_small")
    assert [record.epoch for record in recorded_before(run, 30, "map_small")] == [*range(20, 30)]


def test_a_second_file_does_not_take_the_place_of_the_first(tmp_path: Path, run: Path) -> None:
    take_over(found(tmp_path), run, 40, "map_small")
    said = take_over(found(tmp_path, '{"metrics": {"5": {"map_small": 0.1}}}'), run, 40, "map_small")
    assert said and said.endswith("kept as training_evaluation_detailed_before_2.json.")
    assert recorded_before(run, 40, "map_small")[0].epoch == 20


def test_a_crash_between_the_copy_and_the_new_name(tmp_path: Path, run: Path) -> None:
    path = found(tmp_path)
    RunFolder(run).history_before.write_bytes(path.read_bytes())
    said = take_over(path, run, 40, "map_small")
    assert said and "its epochs 20 to 39" in said


def test_a_damaged_file_is_as_none(run: Path) -> None:
    RunFolder(run).history_before.write_text("{")
    assert recorded_before(run, 40, "map_small") == () and len(tell(run, state()).records) == 3


def test_curves_trend_and_baseline_begin_with_them(tmp_path: Path, run: Path) -> None:
    take_over(found(tmp_path), run, 40, "map_small")
    history = tell(run, state())
    analysis = analyse(history)
    assert [record.epoch for record in history.records] == [*range(20, 36), 39, 39, 40, 41]
    assert analysis.first and analysis.first.epoch == 20 and analysis.recorded == 19
    assert history.baseline and history.baseline.phase == "start", "what was measured here goes first"
    document = to_document(history, analysis)
    assert list(document["metrics"]) == [str(e) for e in (*range(20, 36), 39, 40, 41)]
    assert document["metrics"]["39"]["map_small"] == 0.44 and document["metrics"]["20"]["map_small"] == 0.42
    assert csv_text(history.records).count("\n") == 20


def test_without_a_measured_start_the_latest_of_them_is_the_baseline(tmp_path: Path, run: Path) -> None:
    """As in a folder that an older version began."""
    take_over(found(tmp_path), run, 40, "map_small")
    one = trained("one", 40, 41, OLD)
    history = tell(run, state_of(one, baseline=one.records[0]))
    assert history.baseline and (history.baseline.epoch, history.baseline.phase) == (39, "recorded")


@pytest.mark.parametrize(("value", "doubted"), [(0.44, False), (0.448, False), (0.425, True), (0.25, True)])
def test_an_epoch_that_is_measured_otherwise_than_it_was_recorded(
    tmp_path: Path, run: Path, value: float, doubted: bool
) -> None:
    """The same weights on the same images differ by rounding; the interval is about other images."""
    take_over(found(tmp_path), run, 40, "map_small")
    said = analyse(tell(run, state(value, value - 0.03, value + 0.03))).warnings
    sentence = (
        f"Epoch 39 was recorded with map_small 0.439 before this run, which finds {value:.3f} [{value - 0.03:.3f}, "
        f"{value + 0.03:.3f}]. That differs by more than rounding: the images or the settings of the evaluation "
        "differ. Don't compare the epochs before with its own."
    )
    assert (sentence in said) is doubted


def test_a_run_from_scratch_has_none_before_it(run: Path) -> None:
    RunFolder(run).history_before.write_text(json.dumps({"metrics": ROWS}))
    one = trained("one", 1, 2)
    assert [record.epoch for record in tell(run, state_of(one)).records] == [1, 2]
    assert tell(run, State(config=one_config(), plan=state_of(one).plan, kind="train")).records == ()


def one_config() -> dict[str, object]:
    return dict(state_of(trained("one", 1, 2)).config)
