"""`smallsight train`: phases of one folder follow each other; the same call again goes on or does nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from smallsight.config import Config
from smallsight.errors import ConfigError, Interrupted, RunFolderError, TrainingError
from smallsight.strategy.plan import Plan
from smallsight.strategy.runner import first_epoch
from strategy.lab import Fuse, Killed, Lab, Script

SCRIPT: Script = {"one": [[0.5, 0.6]], "two": [[0.61, 0.7, 0.65]]}


def config_of(epochs: int = 2, start_epoch: int | None = None, **training: Any) -> Config:
    content = {"training": {"epochs": epochs, **training}, "checkpoint": {"start_epoch": start_epoch}}
    return Config.model_validate(content)


def lab_of(folder: Path, script: Script = SCRIPT, **options: Any) -> Lab:
    return Lab(folder / "run", script, Plan(), **options)


@pytest.mark.parametrize(
    ("start_epoch", "resumed", "expected"),
    [(None, 0, 1), (1, 0, 1), (0, 0, 1), (40, 39, 40), (None, 39, 40), (20, 39, 40), (50, 39, 50)],
)
def test_the_first_epoch(start_epoch: int | None, resumed: int, expected: int) -> None:
    assert first_epoch(config_of(60, start_epoch), resumed) == expected


def test_phases_follow_each_other(tmp_path: Path) -> None:
    lab = lab_of(tmp_path)
    lab.train("one", config_of(2))
    given = str(lab.folder / "checkpoint_best.pth")
    state = lab.train("two", config_of(5, multi_scale=True), given, 2)
    assert [record.epoch for record in state.records] == [1, 2, 3, 4, 5]
    assert lab.trainer.started_from == ["", "one 1 epoch 2"]
    assert [run.decision.reason for run in state.runs] == [
        "one: epochs 1 to 2, from scratch.",
        f"two: epochs 3 to 5, from {given}.",
    ]
    assert state.champion and state.champion.record.epoch == 4 and lab.champion_file == "two 1 epoch 4"
    assert lab.trainer.specs[1].config["training"]["multi_scale"] is True
    assert lab.published[-1] == state


def test_the_same_call_again_does_nothing(tmp_path: Path) -> None:
    lab = lab_of(tmp_path)
    lab.train("one", config_of(2))
    state = lab.train("two", config_of(5))
    before = lab.kinds()
    assert lab.train("two", config_of(5)) == state and lab.train("one", config_of(2)) == state
    assert lab.kinds() == before and len(lab.trainer.specs) == 2
    assert lab.watcher.lines[-2:] == ["two: these epochs are done already.", "one: these epochs are done already."]


def test_the_epochs_that_the_configuration_names(tmp_path: Path) -> None:
    state = lab_of(tmp_path).train("two", config_of(42, start_epoch=40))
    assert [record.epoch for record in state.records] == [40, 41, 42]


def test_nothing_left_to_train(tmp_path: Path) -> None:
    lab = lab_of(tmp_path)
    with pytest.raises(ConfigError) as caught:
        lab.train("one", config_of(39), "given.pth", 39)
    assert str(caught.value) == (
        "training.epochs: the last epoch is 39, but 39 are done already. Raise training.epochs."
    )
    assert lab.kinds() == ["created"]


def _interrupted(lab: Lab, place: int, *call: Any) -> None:
    lab.fuse.at, lab.fuse.passed = place, 0
    with pytest.raises(Killed):
        lab.train(*call)
    lab.fuse.at = 0


def test_an_interrupted_phase_that_is_passed_over_is_not_taken_for_done(tmp_path: Path) -> None:
    lab = lab_of(tmp_path)
    _interrupted(lab, 9, "two", config_of(3))
    state = lab.train("one", config_of(2))
    assert [(run.name, run.status) for run in state.runs] == [("two", "failed"), ("one", "completed")]
    state = lab.train("two", config_of(3))
    assert [(run.name, run.status, len(run.records)) for run in state.runs][1:] == [
        ("one", "completed", 2),
        ("two", "completed", 3),
    ]
    assert lab.trainer.specs[-1].attempt == 2, "else the checkpoint of the first try would be continued"


def test_a_finished_phase_does_not_set_another_one_going(tmp_path: Path) -> None:
    lab = lab_of(tmp_path)
    lab.train("one", config_of(2))
    _interrupted(lab, 9, "two", config_of(3))
    trained = len(lab.trainer.specs)
    state = lab.train("one", config_of(2))
    assert len(lab.trainer.specs) == trained and state.open_run and state.open_run.name == "two"
    assert lab.train("two", config_of(3)).open_run is None


def test_what_was_trained_is_judged_before_another_phase_begins(tmp_path: Path) -> None:
    for place in range(1, 60):
        lab = lab_of(tmp_path / str(place), fuse=Fuse())
        _interrupted(lab, place, "one", config_of(2))
        if lab.kinds()[-1:] == ["attempt_ended"]:
            break
    state = lab.train("two", config_of(3))
    assert [(run.name, run.status) for run in state.runs] == [("one", "completed"), ("two", "completed")]
    assert state.baseline and state.baseline.phase == "one"


def test_the_same_name_with_other_settings_starts_anew(tmp_path: Path) -> None:
    lab = lab_of(tmp_path)
    lab.train("one", config_of(2))
    state = lab.train("one", config_of(2, learning_rate=0.1))
    assert [len(run.records) for run in state.runs] == [2, 2]
    assert [spec.attempt for spec in lab.trainer.specs] == [1, 2]
    assert lab.trainer.specs[1].config["training"]["learning_rate"] == 0.1
    assert [record.attempt for record in state.runs[1].records] == [2, 2]


def test_a_failed_phase_is_told_and_can_be_tried_again(tmp_path: Path) -> None:
    lab = lab_of(tmp_path, {"one": [["crashed"], ["crashed"], [0.5, 0.6]]})
    message = r"^one failed \(crashed\): crashed in epoch 1; see .*attempt_1/worker\.log$"
    with pytest.raises(TrainingError, match=message):
        lab.train("one", config_of(2))
    assert len(lab.trainer.specs) == 2
    state = lab.train("one", config_of(2))
    assert [run.status for run in state.runs] == ["failed", "completed"] and state.champion


def test_out_of_memory_twice(tmp_path: Path) -> None:
    lab = lab_of(tmp_path, {"one": [[0.5, "out_of_memory"]]})
    with pytest.raises(TrainingError, match="one failed"):
        lab.train("one", config_of(2, batch_size=4))
    assert [spec.config["training"]["batch_size"] for spec in lab.trainer.specs] == [4, 1]
    assert [spec.first_epoch for spec in lab.trainer.specs] == [1, 1]


def test_a_stop_request_leaves_the_phase_open(tmp_path: Path) -> None:
    lab = lab_of(tmp_path)
    trainer, calls = lab.trainer, []

    def stopping(spec: Any, on_epoch: Any, on_fact: Any) -> Any:
        calls.append(spec)
        raise Interrupted("stopped")

    lab.trainer = stopping
    with pytest.raises(Interrupted):
        lab.train("one", config_of(2))
    lab.trainer = trainer
    state = lab.train("one", config_of(2))
    assert len(state.runs) == 1 and [record.epoch for record in state.records] == [1, 2]


def test_a_start_that_the_run_overwrites_is_kept(tmp_path: Path) -> None:
    """The mission's own command: `--resume models/checkpoint.pth --output-dir models`."""
    lab = lab_of(tmp_path, {"one": [["crashed"], [0.5, 0.6]]})
    lab.folder.mkdir()
    given = lab.folder / "checkpoint.pth"
    given.write_text('{"run_id": "of old", "phase": "", "attempt": 1}')
    _overwriting(lab)
    lab.train("one", config_of(41), str(given), 39)
    assert [spec.phase for spec in lab.trainer.specs] == ["start", "one", "one"] and set(lab.trainer.started_from) == {
        '{"run_id": "of old", "phase": "", "attempt": 1}'
    }
    assert {spec.start_path for spec in lab.trainer.specs} == {str(lab.folder / "phases" / "01_start" / "start.pth")}
    assert f"{given} is kept as {lab.trainer.specs[0].start_path}; the run's own checkpoint.pth takes its place." in (
        lab.watcher.lines
    )


def _overwriting(lab: Lab) -> None:
    """Let each attempt write `checkpoint.pth` before it does anything else."""
    carry_out = type(lab.trainer).__call__

    class Overwriting(type(lab.trainer)):  # type: ignore[misc]
        def __call__(self, spec: Any, on_epoch: Any, on_fact: Any) -> Any:
            Path(spec.checkpoint).write_text('{"run_id": "", "phase": "", "attempt": 0}')
            return carry_out(self, spec, on_epoch, on_fact)

    lab.trainer.__class__ = Overwriting


def test_a_start_that_is_gone_is_told(tmp_path: Path) -> None:
    lab = lab_of(tmp_path)
    with pytest.raises(RunFolderError, match=r"nowhere\.pth: no such file, but phase 1 of the run starts from it"):
        lab.train("one", config_of(2), "nowhere.pth")


def test_what_has_no_influence_does_not_make_another_phase(tmp_path: Path) -> None:
    lab = lab_of(tmp_path)
    _interrupted(lab, 9, "two", config_of(3))
    state = lab.train("two", config_of(3, num_workers=4, device="cpu"))
    assert [(run.status, len(run.attempts)) for run in state.runs] == [("completed", 1)]
    last = lab.trainer.specs[-1].config["training"]
    assert (last["num_workers"], last["device"]) == (4, "cpu")
    lab.train("two", config_of(3, start_epoch=2))
    assert len(lab.trainer.specs[-1].config) and lab.trainer.specs[-1].first_epoch == 2


def test_other_data_make_another_phase(tmp_path: Path) -> None:
    lab = lab_of(tmp_path, annotations={"train": "a", "valid": "v"})
    lab.train("one", config_of(2))
    lab.annotations = {"train": "b", "valid": "v"}
    state = lab.train("one", config_of(2))
    assert [dict(run.annotations) for run in state.runs] == [
        {"train": "a", "valid": "v"},
        {"train": "b", "valid": "v"},
    ]


def test_a_single_phase_is_done_when_it_is_closed(tmp_path: Path) -> None:
    lab = lab_of(tmp_path)
    _interrupted(lab, 15, "one", config_of(2))
    assert not lab.published[-1].done
    assert lab.train("one", config_of(2)).done
