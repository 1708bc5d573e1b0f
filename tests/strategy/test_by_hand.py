"""`smallsight train`: phases of one folder follow each other, each judged against the checkpoint that it starts from.

The same call again goes on or does nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from run.earlier import as_in_0_1_0
from smallsight.config.load import Config
from smallsight.errors import ConfigError, Interrupted, RunFolderError, TrainingError
from smallsight.run.fold import fold
from smallsight.run.given import Call, Place
from smallsight.run.journal import Journal
from smallsight.run.state import State
from smallsight.strategy.plan import Plan
from smallsight.strategy.runner import first_epoch
from strategy.lab import Fuse, Killed, Lab, Script

FOREIGN = '{"run_id": "", "phase": "", "attempt": 0}'
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


def cut_when(tmp_path: Path, reached: Callable[[Lab], bool], script: Script, *call: Any, in_place: bool = False) -> Lab:
    """A call that was cut off at the first place where that is so; `in_place`: from the folder's own checkpoint."""
    for place in range(1, 99):
        lab = lab_of(tmp_path / f"cut_{place}", script)
        given = [own_start(lab), 39] if in_place else []
        _interrupted(lab, place, *call, *given)
        if reached(lab):
            return lab
    raise AssertionError("it was never so")


def own_start(lab: Lab) -> str:
    """A file of another tool under the name of the run's own checkpoint."""
    lab.folder.mkdir(parents=True)
    path = lab.folder / "checkpoint.pth"
    path.write_text(FOREIGN)
    return str(path)


def given_file(tmp_path: Path, text: str = "of another tool") -> str:
    path = tmp_path / "given.pth"
    path.write_text(text)
    return str(path)


def light(lab: Lab, epoch: int) -> str:
    return str(lab.folder / "checkpoints" / f"checkpoint_epoch_{epoch}_lightweight.pth")


def phases(state: State) -> list[tuple[str, list[int]]]:
    return [(run.name, [record.epoch for record in run.records]) for run in state.runs]


def test_the_start_is_measured_before_the_first_epoch(tmp_path: Path) -> None:
    """So that it can be told whether the phase beat it."""
    lab = lab_of(tmp_path, {"start": [[0.55]], "one": [[0.5, 0.6]]})
    state = lab.train("one", config_of(41), given_file(tmp_path), 39)
    assert phases(state) == [("start", [39]), ("one", [40, 41])]
    assert lab.trainer.started_from == ["of another tool"] * 2
    assert state.baseline and (state.baseline.epoch, state.baseline.value("map_small")) == (39, 0.55)
    start, one = state.runs
    assert (start.trains, start.verdict, start.crowned) == (False, None, 39)
    assert one.start == Place(1, 1, 39) and one.crowned == 41 and state.done
    assert one.over_start == one.verdict and one.over_start and one.over_start.difference.value == pytest.approx(0.05)
    assert lab.watcher.lines == [
        f"Next: Measure the checkpoint that the phase starts from ({tmp_path}/given.pth) at 640 px.",
        "epoch 39",
        f"Next: one: epochs 40 to 41, from {tmp_path}/given.pth.",
        "epoch 40",
        "epoch 41",
        "Phase one: Against epoch 39, from which it starts: improved by 0.050. "
        "Its epoch 41 became the champion (checkpoint_best.pth).",
    ]


def test_the_number_of_the_start_is_that_of_the_epoch_before(tmp_path: Path) -> None:
    state = lab_of(tmp_path).train("one", config_of(51, start_epoch=50), given_file(tmp_path), 39)
    assert phases(state) == [("start", [49]), ("one", [50, 51])]


def test_what_is_only_measured_leaves_the_users_checkpoint_alone(tmp_path: Path) -> None:
    lab = lab_of(tmp_path, {"one": [["crashed"]]})
    given = own_start(lab)
    with pytest.raises(TrainingError):
        lab.train("one", config_of(41), given, 39)
    assert Path(given).read_text() == FOREIGN and not Path(light(lab, 39)).exists()


def test_an_epoch_of_this_folder_needs_no_second_measuring(tmp_path: Path) -> None:
    lab = lab_of(tmp_path, {"one": [[0.6, 0.5]], "two": [[0.55]]})
    lab.train("one", config_of(2))
    state = lab.train("two", config_of(3, multi_scale=True), light(lab, 2), 2)
    assert phases(state) == [("one", [1, 2]), ("two", [3])]
    assert state.runs[1].start == Place(1, 1, 2) and state.runs[1].over_start
    assert (state.runs[1].over_start.outcome, state.runs[1].over_start.difference.value) == (
        "improved",
        pytest.approx(0.05),
    )
    assert state.runs[1].verdict and state.runs[1].verdict.outcome == "regressed", "against the champion, epoch 1"
    assert state.champion and state.champion.record.epoch == 1 and state.runs[1].crowned is None


def test_the_champion_as_a_start_was_chosen_among_its_epochs(tmp_path: Path) -> None:
    """Another epoch was not, so only the champion's figure is corrected for the choice."""
    for epoch, others in ((1, ["01_one/attempt_1/detections/valid_epoch_002.npz"]), (2, [])):
        lab = lab_of(tmp_path / str(epoch), {"one": [[0.6, 0.5]], "two": [[0.55]]})
        lab.train("one", config_of(2))
        given = light(lab, epoch)
        lab.train("two", config_of(3, start_epoch=3), given, epoch)
        mine = f"01_one/attempt_1/detections/valid_epoch_00{epoch}.npz"
        assert lab.compared[-1][1] == [mine, *others]


def test_a_file_is_measured_once(tmp_path: Path) -> None:
    lab = lab_of(tmp_path)
    given = given_file(tmp_path)
    lab.train("one", config_of(40), given, 39)
    state = lab.train("one", config_of(40, learning_rate=0.1), given, 39)
    assert phases(state) == [("start", [39]), ("one", [40]), ("one", [40])]
    assert [run.start for run in state.runs] == [None, Place(1, 1, 39), Place(1, 1, 39)]
    assert lab.trainer.started_from == ["of another tool"] * 3
    copies = sorted(path.parent.name for path in lab.folder.rglob("start.pth"))
    assert copies == ["01_start"], "a large file is kept once"


def test_another_file_of_the_same_name_is_measured_too(tmp_path: Path) -> None:
    lab = lab_of(tmp_path)
    lab.train("one", config_of(40), given_file(tmp_path), 39)
    state = lab.train("two", config_of(42), given_file(tmp_path, "another"), 39)
    assert phases(state)[2:] == [("start", [39]), ("two", [40, 41, 42])]
    assert state.runs[3].start == Place(3, 2, 39)


def test_measured_again_where_the_figures_could_not_be_compared(tmp_path: Path) -> None:
    """At another resolution. The phase is judged against the epoch as it was: the resolution belongs to the phase."""
    script: Script = {"one": [[0.5, 0.6]], "start": [[0.58]], "two": [[0.64]]}
    lab = lab_of(tmp_path, script)
    lab.train("one", config_of(2, resolution=640))
    state = lab.train("two", config_of(3, resolution=736), light(lab, 2), 2)
    assert phases(state) == [("one", [1, 2]), ("start", [2]), ("two", [3])]
    _, start, two = state.runs
    assert start.start == two.start == Place(1, 1, 2)
    assert start.over_start and start.over_start.difference.value == pytest.approx(-0.02)
    assert two.over_start and two.over_start.difference.value == pytest.approx(0.04)
    assert [record.value("map_small") for record in state.records] == [0.5, 0.6, 0.64], "as trained, not as measured"
    again = lab.train("three", config_of(3, resolution=736, seed=7), light(lab, 2), 2)
    assert phases(again)[3:] == [("three", [3])], "measured already"


@pytest.mark.parametrize("setting", [{"max_dets": 10}, {"centre_hit_px": 9.0}])
def test_measured_again_with_other_settings_of_the_evaluation(tmp_path: Path, setting: dict[str, Any]) -> None:
    lab = lab_of(tmp_path)
    lab.train("one", config_of(2))
    state = lab.train("two", Config.model_validate({"training": {"epochs": 3}, "evaluation": setting}), light(lab, 2))
    assert [run.name for run in state.runs] == ["one", "start", "two"]


def test_what_has_no_influence_on_figures_asks_for_no_measuring(tmp_path: Path) -> None:
    lab = lab_of(tmp_path)
    lab.train("one", config_of(2))
    changed = {"training": {"epochs": 3, "learning_rate": 0.1}, "evaluation": {"batch_size": 4, "replicates": 200}}
    assert [r.name for r in lab.train("two", Config.model_validate(changed), light(lab, 2)).runs] == ["one", "two"]


def test_measured_again_where_a_set_guards_that_did_not_before(tmp_path: Path) -> None:
    """Else the phase could not be told from its start there. Once measured, no later phase asks again."""
    lab = lab_of(tmp_path, {"one": [[0.5, 0.6]], "start": [[0.6]], "two": [[0.64]], "three": [[0.65]]})
    lab.train("one", config_of(2))
    lab.annotations = {"set real": "1", "set real images": "2"}
    state = lab.train("two", config_of(3), light(lab, 2), 2)
    assert [run.name for run in state.runs] == ["one", "start", "two"]
    assert state.runs[2].start == Place(2, 1, 2), "where the set was measured"
    assert [run.name for run in lab.train("three", config_of(4), light(lab, 3), 3).runs][3:] == ["three"]
    lab.annotations = {}
    assert [run.name for run in lab.train("two", config_of(4, seed=3), light(lab, 3), 3).runs][4:] == ["two"]


def test_detections_that_are_gone_are_made_again(tmp_path: Path) -> None:
    lab = lab_of(tmp_path)
    lab.train("one", config_of(2))
    (lab.folder / "phases" / "01_one" / "attempt_1" / "detections" / "valid_epoch_001.npz").unlink()
    state = lab.train("two", config_of(3), light(lab, 1), 1)
    assert [run.name for run in state.runs] == ["one", "start", "two"]


def test_weights_of_another_run_are_measured(tmp_path: Path) -> None:
    other = lab_of(tmp_path / "other")
    other.train("one", config_of(2))
    lab = lab_of(tmp_path)
    given = Path(given_file(tmp_path, json.dumps({"run_id": "x", "phase": "one", "attempt": 1, "records": []})))
    lab.train("one", config_of(2))
    state = lab.train("two", config_of(3), str(given), 2)
    assert [run.name for run in state.runs] == ["one", "start", "two"]


def test_a_start_that_cannot_be_measured(tmp_path: Path) -> None:
    lab = lab_of(tmp_path, {"start": [["crashed"], ["crashed"], [0.4]], "one": [[0.5]]})
    given = given_file(tmp_path)
    with pytest.raises(TrainingError, match=r"^The start could not be measured \(crashed\): crashed in epoch 39; see "):
        lab.train("one", config_of(40), given, 39)
    assert [run.name for run in lab.published[-1].runs] == ["start"] and not lab.published[-1].done
    state = lab.train("one", config_of(40), given, 39)
    assert phases(state) == [("start", []), ("start", [39]), ("one", [40])] and state.done


def test_a_measured_start_alone_is_not_done(tmp_path: Path) -> None:
    lab = cut_when(tmp_path, _has_measured, SCRIPT, "one", config_of(40), given_file(tmp_path), 39)
    state = lab.published[-1]
    assert state.runs[-1].status == "completed" and not state.done
    assert phases(lab.train("one", config_of(40), given_file(tmp_path), 39)) == [("start", [39]), ("one", [40])]


def _has_measured(lab: Lab) -> bool:
    return bool(lab.published) and [(run.name, run.closed) for run in lab.published[-1].runs] == [("start", True)]


def _has_trained_an_epoch(lab: Lab) -> bool:
    return bool(lab.published) and lab.published[-1].runs[-1].trains and len(lab.published[-1].runs[-1].records) == 1


def test_the_start_of_a_phase_that_is_begun_again_is_not_measured_again(tmp_path: Path) -> None:
    """Its file is the run's own by then: the phase goes on with the one it began with."""
    lab = cut_when(tmp_path, _has_trained_an_epoch, SCRIPT, "one", config_of(41), in_place=True)
    given = lab.folder / "checkpoint.pth"
    assert json.loads(given.read_text())["phase"] == "one"
    state = lab.train("one", config_of(41), str(given), 39)
    assert phases(state) == [("start", [39]), ("one", [40, 41])] and state.done


def test_a_phase_that_failed_is_judged_against_what_it_began_with(tmp_path: Path) -> None:
    """The same command starts from what the failed try has left; the question is still whether it beat epoch 39."""
    lab = lab_of(tmp_path, {"start": [[0.5]], "one": [[0.52, "crashed"], [0.6, "crashed"]]})
    given = own_start(lab)
    with pytest.raises(TrainingError):
        lab.train("one", config_of(41), given, 39)
    state = lab.train("one", config_of(41), given, 39)
    assert phases(state) == [("start", [39]), ("one", [40]), ("one", [41])]
    assert state.runs[2].start == Place(1, 1, 39)
    assert state.runs[2].over_start and state.runs[2].over_start.difference.value == pytest.approx(0.1)


def test_the_epochs_of_a_phase_that_is_passed_over_are_judged(tmp_path: Path) -> None:
    script: Script = {"one": [[0.5, 0.7, 0.6]], "two": [[0.6]]}
    one = ("one", config_of(3))
    lab = cut_when(tmp_path, lambda lab: bool(lab.published) and len(lab.published[-1].records) == 2, script, *one)
    state = lab.train("two", config_of(3, start_epoch=3), light(lab, 2), 2)
    first, two = state.runs
    assert (first.status, first.interrupted, first.crowned) == ("failed", True, 2)
    assert two.start == Place(1, 1, 2) and two.over_start and two.over_start.outcome == "regressed"
    assert state.champion and state.champion.phase == "one"
    assert [run.name for run in lab.train(*one).runs] == ["one", "two", "one"], "it can be tried again"


def test_a_phase_named_like_the_measuring(tmp_path: Path) -> None:
    """A configuration may be called start.yaml."""
    lab = lab_of(tmp_path, {"start": [[0.5], [0.6, 0.7]]})
    given = given_file(tmp_path)
    state = lab.train("start", config_of(41), given, 39)
    assert phases(state) == [("start", [39]), ("start", [40, 41])]
    assert [run.current.number for run in state.runs if run.current] == [1, 2]
    assert lab.train("start", config_of(41), given, 39) == state


def test_the_command_is_written_down(tmp_path: Path) -> None:
    lab = lab_of(tmp_path)
    lab.call = Call(("smallsight", "train"), "one.yaml", "models", ("training.epochs=2",))
    assert lab.train("one", config_of(2)).runs[0].call == lab.call
    with Journal(lab.folder / "journal.sqlite", read_only=True) as journal:
        assert fold(journal.events()).runs[0].call == lab.call


def test_journals_of_before_are_read(tmp_path: Path) -> None:
    """A phase whose given file was not written down goes on from its copy."""
    given = given_file(tmp_path)
    lab = cut_when(tmp_path, _has_trained_an_epoch, SCRIPT, "one", config_of(41), given, 39)
    with Journal(lab.folder / "journal.sqlite") as journal:
        rows = journal.events()
        journal._connection.execute("delete from events")
        kept = as_in_0_1_0(rows[:1] + rows[[event.kind for event in rows].index("decided", 3) :])
        for event in kept:
            content = {k: v for k, v in event.content.items() if k not in ("given", "start", "call", "over_start")}
            journal.append(event.kind, **content)
    state = lab.train("one", config_of(41), given, 39)
    assert phases(state) == [("one", [40, 41])] and state.done and state.runs[0].start is None


NEARLY: Script = {"one": [[0.5, 0.51]], "two": [[0.512, 0.511]]}


@pytest.mark.parametrize(
    ("changed", "outcome", "champion"),
    [
        ({}, "kept", "two 1 epoch 3"),
        ({"batch_size": 1}, "kept", "two 1 epoch 3"),
        ({"multi_scale": True}, "no_evidence", "one 1 epoch 2"),
        ({"weight_decay": 0.1}, "no_evidence", "one 1 epoch 2"),
    ],
    ids=["same settings", "memory alone", "multi-scale", "a change of no phase"],
)
def test_going_on_by_hand_needs_no_evidence(
    tmp_path: Path, changed: dict[str, Any], outcome: str, champion: str
) -> None:
    lab = lab_of(tmp_path, NEARLY)
    lab.train("one", config_of(2))
    state = lab.train("two", config_of(4, **changed), str(lab.folder / "checkpoint_best.pth"), 2)
    verdict, over_start = state.runs[1].verdict, state.runs[1].over_start
    assert verdict and over_start and (verdict.outcome, over_start.outcome) == (outcome, outcome)
    assert lab.champion_file == champion


def test_going_on_by_hand_from_another_epoch_is_a_change(tmp_path: Path) -> None:
    """The champion is not what it was trained on from."""
    lab = lab_of(tmp_path, {"one": [[0.51, 0.5]], "two": [[0.512, 0.511]]})
    lab.train("one", config_of(2))
    state = lab.train("two", config_of(4), light(lab, 2), 2)
    assert state.runs[1].verdict and state.runs[1].verdict.outcome == "no_evidence"
    assert lab.champion_file == "one 1 epoch 1"
