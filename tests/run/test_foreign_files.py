"""No file of the user's is overwritten: what is not ours gets another name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from smallsight.attempts.messages import Evaluating
from smallsight.commands.live import live_writer
from smallsight.config.load import Config
from smallsight.files import write_text_atomically
from smallsight.report.document import write_report
from smallsight.report.history import History
from smallsight.report.status import summary_of
from smallsight.report.write import write_everything
from smallsight.run.foreign_files import is_foreign, is_ours, keep, keep_foreign, set_aside
from smallsight.run.state import State
from strategy.states import state_of, trained
from training.frames import attempt_spec

REPORT_FILE = "training_evaluation_detailed.json"
LIVE = "live.json"

FOREIGN = {
    "status.json": '{"state": "training", "epoch": 3}',
    "live.json": "{}",
    "metrics.csv": "step,loss\n1,2\n",
    "report.html": "<html><body>my own report</body></html>",
    "report.md": "# My report\n",
    "report_error.txt": "something else",
    REPORT_FILE: '{"metrics": {"20": {"map_small": 0.5}}}',
}


@pytest.fixture
def run(recorded_history: History, tmp_path: Path) -> Path:
    """A folder with every file that a run writes again and again."""
    folder = tmp_path / "run"
    folder.mkdir()
    state = state_of(trained("one", 40, 42))
    write_everything(folder, recorded_history, State(), None)
    write_text_atomically(folder / "status.json", json.dumps(summary_of(state), indent=1))
    write_text_atomically(folder / "report_error.txt", "Traceback (most recent call last):\n")
    live_writer(folder, lambda *_: None)(attempt_spec(folder, Config()), Evaluating(4))
    return folder


@pytest.fixture
def recorded_history() -> History:
    run = trained("one", 40, 42)
    return History("x", run.records)


def test_what_a_run_writes_is_known_as_its_own(run: Path) -> None:
    before = {path: path.read_bytes() for path in run.iterdir()}
    assert sorted(path.name for path in before) == sorted(FOREIGN)
    assert all(is_ours(path) and not is_foreign(path) for path in before)
    assert keep_foreign(run) == [] and {path: path.read_bytes() for path in run.iterdir()} == before


def test_a_report_of_an_older_version_is_ours(run: Path) -> None:
    path = run / REPORT_FILE
    today = json.loads(path.read_text())
    before = {key: today[key] for key in today if key not in ("written_by", "exam")}
    path.write_text(json.dumps(before, indent=2))
    assert next(iter(before)) == "source" and is_ours(path)


@pytest.mark.parametrize("name", FOREIGN)
def test_what_another_tool_wrote_is_foreign(tmp_path: Path, name: str) -> None:
    assert not is_foreign(tmp_path / name), "nothing is there"
    (tmp_path / name).write_text(FOREIGN[name])
    assert is_foreign(tmp_path / name)
    (tmp_path / name).write_text("")
    assert not is_foreign(tmp_path / name), "nothing is in it"


def test_a_recorded_file_that_names_its_source_is_foreign(tmp_path: Path) -> None:
    path = tmp_path / REPORT_FILE
    path.write_text('{\n "source": "my notes",\n "metrics": {"20": {"map_small": 0.5}}\n}')
    assert is_foreign(path)


def test_foreign_files_get_other_names_and_a_line_each(tmp_path: Path) -> None:
    for name, text in FOREIGN.items():
        (tmp_path / name).write_text(text)
    lines = keep_foreign(tmp_path)
    assert f"{tmp_path}/metrics.csv: not written by smallsight, so it is kept as metrics_before.csv." in lines
    assert len(lines) == len(FOREIGN) - 1 and (tmp_path / REPORT_FILE).is_file(), "its epochs are taken over elsewhere"
    for name, text in FOREIGN.items():
        stem, dot, suffix = name.rpartition(".")
        kept = tmp_path / (name if name == REPORT_FILE else f"{stem}_before{dot}{suffix}")
        assert kept.read_text() == text
    assert keep_foreign(tmp_path) == []


def test_a_name_that_is_taken_is_left(tmp_path: Path) -> None:
    for text in "abc":
        (tmp_path / "metrics.csv").write_text(text)
        set_aside(tmp_path / "metrics.csv")
    names = ("metrics_before.csv", "metrics_before_2.csv", "metrics_before_3.csv")
    assert [(tmp_path / name).read_text() for name in names] == ["a", "b", "c"]


def test_folders_and_links_are_kept_too(tmp_path: Path) -> None:
    (tmp_path / "report.md").mkdir()
    (tmp_path / "elsewhere").write_text("mine")
    (tmp_path / "metrics.csv").symlink_to(tmp_path / "elsewhere")
    assert len(keep_foreign(tmp_path)) == 2
    assert (tmp_path / "report_before.md").is_dir() and (tmp_path / "elsewhere").read_text() == "mine"
    assert (tmp_path / "metrics_before.csv").read_text() == "mine" and not (tmp_path / "metrics.csv").exists()


def test_why_it_is_kept(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("mine")
    assert keep(tmp_path / "config.yaml", "not of this run") == (
        f"{tmp_path}/config.yaml: not of this run, so it is kept as config_before.yaml."
    )


def test_the_step_of_another_tool_is_not_deleted(tmp_path: Path) -> None:
    """`live.json` of an earlier process of ours is."""
    (tmp_path / LIVE).write_text("{}")
    keep_foreign(tmp_path)
    live_writer(tmp_path, lambda *_: None)
    assert (tmp_path / "live_before.json").read_text() == "{}"


def test_a_report_says_who_wrote_it(tmp_path: Path, recorded_history: History) -> None:
    path = write_report(tmp_path, recorded_history)
    assert next(iter(json.loads(path.read_text()).items())) == ("written_by", "smallsight")
