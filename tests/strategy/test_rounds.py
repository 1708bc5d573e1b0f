"""Rounds: arms from one champion beside a control, stopped where they are behind, and crowned where they are better."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from smallsight.config.load import Config
from smallsight.errors import ConfigError
from smallsight.run.state import State
from smallsight.strategy.plan import Plan, build_plan
from smallsight.strategy.plan_check import check_plan
from strategy.clock import Clock
from strategy.lab import Fuse, Killed, Lab, Script, timeless

TREATMENTS: list[dict[str, Any]] = [
    {"name": "helps", "set": {"training.multi_scale": True}},
    {"name": "nothing", "set": {"training.weight_decay": 0.1}},
    {"name": "harms", "scale": {"training.learning_rate": 20}},
]
ARMS = ["continue", "helps", "nothing", "harms"]


def plan_of(*rounds: dict[str, Any], **more: Any) -> Plan:
    levels = {"target": {"stop_at": "never"}}
    return Plan.model_validate({**levels, "treatments": TREATMENTS, "rounds": list(rounds), **more})


ROUND = {"arms": ARMS, "epochs": 4, "stop_behind_after": [2]}
SCRIPT: Script = {
    "baseline": [[0.4, 0.5]],
    "control": [[0.5, 0.51, 0.52, 0.53]],
    "helps": [[0.5, 0.52, 0.56, 0.6]],
    "nothing": [[0.5, 0.51, 0.52, 0.53]],
    "harms": [[0.3, 0.2, 0.1, 0.1]],
}


def outcomes(state: State) -> dict[str, str]:
    return {run.name: run.verdict.outcome if run.verdict else "" for run in state.runs}


def test_what_helps_is_crowned_what_harms_is_stopped_and_more_training_is_told_apart(tmp_path: Path) -> None:
    lab = Lab(tmp_path / "run", SCRIPT, plan_of(ROUND))
    state = lab.optimize()
    assert outcomes(state) == {
        "baseline": "",
        "control": "improved",
        "helps": "improved",
        "nothing": "no_evidence",
        "harms": "regressed",
    }
    assert state.champion is not None and (state.champion.phase, state.champion.record.value("map_small")) == (
        "helps",
        0.6,
    )
    (begun,) = state.rounds
    harms = next(run for run in state.runs if run.name == "harms")
    assert begun.rungs[0].epoch == 4 and list(begun.rungs[0].stopped) == [harms.number]
    assert [len(run.records) for run in state.arms(begun)] == [4, 4, 4, 2]
    control_share = {run.name: run.verdict.over_control for run in state.arms(begun) if run.verdict}
    assert control_share["control"] is None
    assert control_share["helps"] is not None and control_share["helps"].value == pytest.approx(0.07)
    assert lab.champion_file == "helps 1 epoch 6"


def test_all_arms_have_the_same_epochs_and_start_from_the_same_champion(tmp_path: Path) -> None:
    lab = Lab(tmp_path / "run", SCRIPT, plan_of(ROUND))
    lab.optimize()
    arms = [spec for spec in lab.trainer.specs if spec.phase != "baseline"]
    assert {(spec.first_epoch, spec.last_epoch, spec.beside_others) for spec in arms} == {(3, 6, True)}
    started = list(zip(lab.trainer.specs, lab.trainer.started_from, strict=True))
    assert {start for spec, start in started if spec.phase != "baseline"} == {"baseline 1 epoch 2"}


def test_where_no_treatment_beats_the_control_more_training_is_crowned(tmp_path: Path) -> None:
    script = {**SCRIPT, "helps": [[0.5, 0.51, 0.52, 0.53]]}
    state = Lab(tmp_path / "run", script, plan_of(ROUND)).optimize()
    assert outcomes(state)["helps"] == "no_evidence"
    assert state.champion is not None and state.champion.phase == "control"
    assert [record.phase for record in state.records][-4:] == ["control"] * 4, "the line goes on with what was crowned"


def test_a_phase_of_the_tree_may_have_a_control(tmp_path: Path) -> None:
    phases = [
        {"name": "helps", "epochs": 4, "set": {"training.multi_scale": True}, "control": True},
        {"name": "after", "epochs": 1, "when": {"completed": "helps"}},
    ]
    plan = Plan.model_validate({"target": {"stop_at": "never"}, "phases": phases})
    lab = Lab(tmp_path / "run", {**SCRIPT, "after": [[0.61]]}, plan)
    state = lab.optimize()
    assert [run.name for run in state.runs] == ["baseline", "control", "helps", "after"]
    assert [run.attempts[0].first_epoch for run in state.runs] == [1, 3, 3, 7]
    assert lab.trainer.started_from[-1] == "helps 1 epoch 6"


def test_winners_are_combined_and_the_race_ends_without_gains(tmp_path: Path) -> None:
    treatments = [
        {"name": "first", "set": {"training.multi_scale": True}},
        {"name": "second", "set": {"training.weight_decay": 0.1}},
        {"name": "third", "set": {"training.warmup_steps": 7}},
    ]
    rounds = [
        {"arms": ["first", "second", "third"], "epochs": 1, "keep": 3},
        {"combine": True, "epochs": 1, "repeat": 9},
    ]
    plan = Plan.model_validate({"target": {"stop_at": "never"}, "treatments": treatments, "rounds": rounds})
    script: Script = {
        "baseline": [[0.4, 0.5]],
        "control": [[0.5], [0.6], [0.65], [0.65]],
        "first": [[0.6]],
        "second": [[0.57], [0.63], [0.6]],
        "third": [[0.55], [0.61], [0.6]],
        "winners_together": [[0.65]],
    }
    state = Lab(tmp_path / "run", script, plan).optimize()
    assert [begun.name for begun in state.rounds][:2] == ["round_1", "round_2"]
    assert [arm.name for arm in state.arms(state.rounds[1])] == ["control", "second", "third", "winners_together"]
    assert state.champion is not None and state.champion.phase == "winners_together"
    assert state.champion.settings == {
        "training.multi_scale": True,
        "training.weight_decay": 0.1,
        "training.warmup_steps": 7,
    }
    assert len(state.rounds) == 2, "what was combined is not tried again"


def test_two_rounds_without_a_gain_end_the_race(tmp_path: Path) -> None:
    nothing: Script = {name: [[0.5]] for name in ("control", "helps", "nothing", "harms")}
    rounds = [{"arms": [name], "epochs": 1} for name in ("helps", "nothing", "harms")]
    state = Lab(tmp_path / "run", {**nothing, "baseline": [[0.5, 0.5]]}, plan_of(*rounds)).optimize()
    assert len(state.rounds) == 2 and "The last 2 rounds gave no champion with a gain" in state.finished


def test_phases_beside_a_control_are_not_counted_as_rounds_without_a_gain(tmp_path: Path) -> None:
    phases = [
        {"name": name, "epochs": 1, "set": {"training.weight_decay": decay}, "control": True}
        for name, decay in (("one", 0.2), ("two", 0.3))
    ]
    same: Script = {name: [[0.5]] for name in ("control", "one", "two", "helps")}
    plan = plan_of({"arms": ["helps"], "epochs": 1}, phases=phases)
    state = Lab(tmp_path / "run", {**same, "baseline": [[0.5, 0.5]]}, plan).optimize()
    assert [begun.name for begun in state.rounds] == ["one", "two", "round_1"]


def test_an_arm_that_fails_leaves_the_others_their_round(tmp_path: Path) -> None:
    script = {**SCRIPT, "nothing": [["not_a_number"]], "harms": [["crashed"]]}
    state = Lab(tmp_path / "run", script, plan_of(ROUND, end_after_rounds_without_gain=1)).optimize()
    assert state.champion is not None and state.champion.phase == "helps"
    assert {run.name: run.status for run in state.runs}["harms"] == "failed"


def test_with_equal_seconds_a_slow_arm_trains_fewer_epochs(tmp_path: Path) -> None:
    slow = {"arms": ["helps"], "epochs": 4, "equal": "seconds"}
    lab = Lab(tmp_path / "run", SCRIPT, plan_of(slow))
    seconds = {"helps": 20.0}
    lab.trainer.seconds_of = seconds
    state = lab.optimize()
    assert {run.name: len(run.records) for run in state.runs} == {"baseline": 2, "control": 4, "helps": 2}


def test_the_epochs_of_a_round_fit_into_the_budget(tmp_path: Path, clock: Clock) -> None:
    arms = {name: [[*figures[0], *([0.53] * 36)]] for name, figures in SCRIPT.items() if name != "baseline"}
    lab = Lab(tmp_path / "run", {**SCRIPT, **arms}, plan_of({**ROUND, "epochs": 40}), on_seconds=clock.pass_by)
    state = lab.optimize(budget_s=200)
    assert state.rounds[0].decision.epochs == 4, "180 s are left for four arms at 10 s an epoch"
    assert [len(run.records) for run in state.arms(state.rounds[0])] == [4, 4, 4, 2]


def test_a_round_that_the_time_cuts_off_is_judged_by_what_it_has(tmp_path: Path, clock: Clock) -> None:
    plan = plan_of({**ROUND, "stop_behind_after": []})
    lab = Lab(tmp_path / "run", SCRIPT, plan, on_seconds=clock.pass_by)
    lab.trainer.seconds_of = {"helps": 40.0, "nothing": 80.0}
    state = lab.optimize(budget_s=240)
    assert [len(run.records) for run in state.arms(state.rounds[0])] == [4, 4, 1, 0]
    assert state.champion is not None and state.champion.phase == "helps"


def test_a_power_cut_anywhere_in_a_round_changes_nothing(tmp_path: Path) -> None:
    whole = Fuse()
    expected = timeless(Lab(tmp_path / "whole", SCRIPT, plan_of(ROUND), fuse=whole).optimize())
    assert whole.passed > 60
    for at in range(1, whole.passed + 1):
        fuse = Fuse(at)
        lab = Lab(tmp_path / f"cut_{at}", SCRIPT, plan_of(ROUND), fuse=fuse)
        with pytest.raises(Killed):
            lab.optimize()
        assert timeless(lab.optimize()) == expected, f"after a cut at place {at}"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"arms": ["helps", "other"]}, "round 1 has the arm 'other', which is not among treatments"),
        ({"combine": True}, "a round has either arms or combine: true"),
        ({"arms": []}, "a round has either arms or combine: true"),
        ({"stop_behind_after": [4]}, "stop_behind_after must rise and stay below epochs"),
        ({"stop_behind_after": [2, 1]}, "stop_behind_after must rise and stay below epochs"),
        ({"equal": "seconds"}, "stop_behind_after counts epochs, so it needs equal: epochs"),
    ],
)
def test_a_round_that_makes_no_sense_is_refused(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_plan({"treatments": TREATMENTS, "rounds": [{**ROUND, **changed}]}, "race.yaml")


def test_arms_with_other_numbers_of_steps_are_refused() -> None:
    more = [{"name": "larger_batch", "set": {"training.batch_size": 8}}]
    plan = Plan.model_validate({"treatments": more, "rounds": [{"arms": ["larger_batch"], "epochs": 1}]})
    config = Config.model_validate({"training": {"batch_size": 4}})
    with pytest.raises(ConfigError, match="larger_batch: it changes how many optimizer steps an epoch has"):
        check_plan(plan, config, "race.yaml")
    by_time = plan.model_copy(update={"rounds": (plan.rounds[0].model_copy(update={"equal": "seconds"}),)})
    assert check_plan(by_time, config, "race.yaml") == []
