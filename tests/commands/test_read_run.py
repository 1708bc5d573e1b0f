"""A run read while it goes on: values of one moment, and nothing is written."""

from __future__ import annotations

from pathlib import Path

import pytest

from run.test_state import CREATED, closed, decided, ended, epoch, started
from smallsight.commands.read_run import Run
from smallsight.records import Decision, to_json
from smallsight.run.folder import hold
from smallsight.run.journal import Journal


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "run"


def tell(journal: Journal, *events: tuple[str, object]) -> None:
    for kind, content in events:
        journal.append(kind, **content)  # type: ignore[arg-type]


def test_a_run_is_followed_while_it_goes_on(folder: Path) -> None:
    with hold(folder), Journal(folder / "journal.sqlite") as journal:
        tell(journal, ("created", CREATED), decided("a"), started(), epoch(8, 0.4))
        run = Run(folder)
        assert run.running and [record.epoch for record in run.records] == [8]
        assert run.champion is None and run.champion_path is None and run.verdicts == {}
        tell(journal, epoch(9, 0.6), ended(), closed(9))
        assert [record.epoch for record in run.records] == [8], "of the moment when it was read"
        assert [record.epoch for record in run.refresh().records] == [8, 9]
        assert run.champion and run.champion.record.epoch == 9
        assert run.champion_path == folder / "checkpoint_best.pth"
        tell(journal, ("decided", {"decision": to_json(Decision("stop", "Done."))}))
        assert [decision.action for decision in Run(folder).decisions] == ["run", "stop"]
    assert not run.running
    assert sorted(path.name for path in folder.iterdir()) == [".lock", "journal.sqlite"]


def test_verdicts_go_by_the_folders_of_their_phases(folder: Path) -> None:
    verdict = {
        "outcome": "kept",
        "difference": {"value": 0.1, "low": 0.0, "high": 0.2, "n": 9},
        "guard_difference": {"value": 0.0, "low": None, "high": None, "n": 9},
        "reason": "because",
    }
    folder.mkdir()
    with Journal(folder / "journal.sqlite") as journal:
        judged = ("phase_closed", {**closed(9, phase=2)[1], "verdict": verdict})
        tell(journal, ("created", CREATED), decided("a"), started(), epoch(8), ended(), closed(8))
        tell(journal, decided("b", 2), started(phase=2), epoch(9, phase=2), ended(phase=2), judged)
    verdicts = Run(folder).verdicts
    assert list(verdicts) == ["02_b"] and verdicts["02_b"].difference.value == 0.1
