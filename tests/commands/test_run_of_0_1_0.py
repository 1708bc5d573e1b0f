"""Run folders that 0.1.0 wrote are reported, compared, shown and continued."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from smallsight.errors import EXIT_DONE
from smallsight.records import to_json
from smallsight.run.fold import read_state
from waiting import HANGS_S

ARCHIVE = Path(__file__).parents[1] / "fixtures" / "run_0_1_0" / "runs.tar.xz"
OPTIMIZE = ("optimize", "--config", "run.yaml", "--strategy", "strategy.yaml", "--json", "--output-dir")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Data, configuration, strategy and the runs `ended` and `begun`, in another folder than they were made in."""
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path


def smallsight(project: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "smallsight", *arguments]
    done = subprocess.run(command, cwd=project, timeout=HANGS_S, capture_output=True, text=True)
    assert done.returncode == EXIT_DONE, done.stderr
    return done.stdout


@pytest.mark.parametrize("run", ["begun", "ended"])
def test_its_state_is_the_one_that_it_was(project: Path, run: str) -> None:
    then = json.loads((project / "states.json").read_text())[run]
    assert _as_known_then(to_json(read_state(project / "runs" / run)), then) == then


def _as_known_then(now: Any, then: Any) -> Any:
    """The state without what later versions know in addition."""
    if isinstance(then, dict) and isinstance(now, dict):
        return {key: _as_known_then(value, then[key]) for key, value in now.items() if key in then}
    if isinstance(then, list) and isinstance(now, list) and len(now) == len(then):
        return [_as_known_then(*pair) for pair in zip(now, then, strict=True)]
    return now


def test_it_is_reported_and_shown(project: Path) -> None:
    for name in ("ended", "begun"):
        assert f"runs/{name}/report.html" in smallsight(project, "report", f"runs/{name}")
    found = json.loads(smallsight(project, "status", "runs/ended", "--json"))
    assert (found["state"], found["champion_epoch"], found["epoch"]) == ("finished", 2, 4)
    found = json.loads(smallsight(project, "status", "runs/begun", "--json"))
    assert (found["state"], found["phase"], found["phase_epoch"], found["last_epoch"]) == ("unfinished", "more", 2, 3)


def test_it_is_compared(project: Path) -> None:
    found: dict[str, Any] = json.loads(smallsight(project, "compare", "runs/begun", "runs/ended", "--json"))
    assert "map_small" in json.dumps(found)


@pytest.mark.slow
def test_it_is_continued_from_the_epoch_where_it_stood(project: Path) -> None:
    smallsight(project, *OPTIMIZE, "runs/begun")
    begun, ended = (read_state(project / "runs" / name) for name in ("begun", "ended"))
    assert [(run.name, run.status, len(run.attempts)) for run in begun.runs] == [
        (run.name, "completed", 1) for run in ended.runs
    ]
    assert [record.epoch for record in begun.records] == [1, 2, 3, 4] and begun.finished
    log = (project / "runs" / "begun" / "run.log").read_text()
    assert "Going on: more, epoch 3 of 3" in log and "more epoch 2" not in log
    assert not list((project / "runs" / "begun" / "checkpoints").glob("*_epoch_2_*")), "epoch 2 is not trained again"
    smallsight(project, *OPTIMIZE, "runs/ended")
    assert len(read_state(project / "runs" / "ended").records) == 4, "what has ended stays as it is"
