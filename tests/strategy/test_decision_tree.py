"""The strategy document's decision tree, line by line, against `small_objects`; its plateau rule; no phase twice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from smallsight.config.load import Config, with_settings
from smallsight.records import Decision, EpochRecord, Estimate, Outcome, Verdict
from smallsight.run.state import Attempt, Champion, PhaseRun, State
from smallsight.strategy.plan import BASELINE, Plan
from smallsight.strategy.plan_overrides import with_overrides
from smallsight.strategy.shipped import shipped_plan
from smallsight.strategy.tree import decide, skipped

MISSION = Config.model_validate(
    {"model": {"detector": "rfdetr"}, "training": {"resolution": 1120, "learning_rate": 0.0002, "epochs": 40}}
)
LEVELS = ("minimum", "success", "optimal", "never")
RISING = (0.55, 0.56, 0.57, 0.58, 0.59, 0.6, 0.61, 0.62, 0.63, 0.64)
FLAT_AT_THE_END = (*RISING[:7], 0.61, 0.61, 0.61)
"""Rises up to epoch 47, then less than .001 for three epochs."""
CONTINUE, PHASE_2, PHASE_3A, PHASE_3B, DONE = "continue", "multi_scale", "higher_resolution", "lr_decay_half", ""


def asked(**overrides: Any) -> Plan:
    return with_overrides(shipped_plan(), {f"strategy.{key}": value for key, value in overrides.items()}, "test")


def epoch(number: int, value: float) -> EpochRecord:
    return EpochRecord(number, "any", 1, {"map_small": Estimate(value)}, seconds=60.0)


def phase_run(
    name: str,
    outcome: Outcome | None,
    settings: dict[str, Any] | None = None,
    *,
    values: Sequence[float] = RISING,
    failure: str = "",
    epochs: int = 10,
) -> PhaseRun:
    """A closed phase of ten epochs, with this verdict; failed before its first epoch where there is a failure."""
    records = () if failure else tuple(epoch(41 + index, value) for index, value in enumerate(values))
    attempt = Attempt(1, settings or {}, 41, 50, records, "failed" if failure else "completed", failure, failure)
    verdict = Verdict(outcome, Estimate(0.0), Estimate(0.0), outcome) if outcome else None
    decision = Decision("run", "because", name, settings or {}, epochs)
    return PhaseRun(name, 1, decision, (attempt,), closed=True, verdict=verdict)


def state_at(value: float, *runs: PhaseRun) -> State:
    """A run from a checkpoint of epoch 40; the champion is of the latest phase that gave one."""
    every = [replace(run, number=n) for n, run in enumerate((phase_run(BASELINE, None, epochs=0), *runs), start=1)]
    last = [run for run in every if (run.verdict.accepted if run.verdict else run.name == BASELINE)][-1]
    champion = Champion(last.name, last.number, 1, epoch(40, value), last.decision.settings)
    return State(resume="models/checkpoint.pth", resumed_epoch=40, runs=tuple(every), champion=champion)


def following(state: State, plan: Plan) -> str:
    """The phase that is decided on; empty where the run ends."""
    champion = state.champion
    config = with_settings(MISSION, champion.settings if champion else {}, "champion")
    return decide(state, plan, config).phase


# Epoch 40 complete: below .62 continue, from .62 on phase 2; a level that is reached ends a run that asked for no more.
START = {
    0.598: (CONTINUE, CONTINUE, CONTINUE, CONTINUE),
    0.61: (CONTINUE, CONTINUE, CONTINUE, CONTINUE),
    0.62: (PHASE_2, PHASE_2, PHASE_2, PHASE_2),
    0.64: (PHASE_2, PHASE_2, PHASE_2, PHASE_2),
    0.65: (DONE, PHASE_2, PHASE_2, PHASE_2),
    0.66: (DONE, PHASE_2, PHASE_2, PHASE_2),
    0.69: (DONE, PHASE_2, PHASE_2, PHASE_2),
    0.70: (DONE, DONE, PHASE_2, PHASE_2),
    0.74: (DONE, DONE, PHASE_2, PHASE_2),
    0.75: (DONE, DONE, DONE, PHASE_2),
}
# Multi-scale succeeds: below the target phase 3A, from there on the target is achieved.
SUCCEEDED = {
    0.598: (PHASE_3A, PHASE_3A, PHASE_3A, PHASE_3A),
    0.61: (PHASE_3A, PHASE_3A, PHASE_3A, PHASE_3A),
    0.62: (PHASE_3A, PHASE_3A, PHASE_3A, PHASE_3A),
    0.64: (PHASE_3A, PHASE_3A, PHASE_3A, PHASE_3A),
    0.65: (DONE, PHASE_3A, PHASE_3A, PHASE_3A),
    0.66: (DONE, PHASE_3A, PHASE_3A, PHASE_3A),
    0.69: (DONE, PHASE_3A, PHASE_3A, PHASE_3A),
    0.70: (DONE, DONE, PHASE_3A, PHASE_3A),
    0.74: (DONE, DONE, PHASE_3A, PHASE_3A),
    0.75: (DONE, DONE, DONE, PHASE_3A),
}
# Multi-scale fails (out of memory): phase 3B, and after it phase 4.
FAILED = {value: tuple(PHASE_3B if name == PHASE_3A else name for name in row) for value, row in SUCCEEDED.items()}


def rows(table: dict[float, tuple[str, ...]]) -> list[tuple[float, str, str]]:
    return [(value, level, name) for value, row in table.items() for level, name in zip(LEVELS, row, strict=True)]


@pytest.mark.parametrize(("value", "stop_at", "expected"), rows(START))
def test_epoch_40_is_complete(value: float, stop_at: str, expected: str) -> None:
    assert following(state_at(value), asked(stop_at=stop_at)) == expected


@pytest.mark.parametrize("outcome", ["improved", "no_evidence"])
@pytest.mark.parametrize(("value", "stop_at", "expected"), rows(SUCCEEDED))
def test_multi_scale_succeeds(value: float, stop_at: str, expected: str, outcome: Outcome) -> None:
    """Also where it is rolled back: the memory sufficed, which is what the branch asks."""
    runs = phase_run(CONTINUE, "kept"), phase_run(PHASE_2, outcome, {"training.multi_scale": True})
    assert following(state_at(value, *runs), asked(stop_at=stop_at)) == expected


@pytest.mark.parametrize(("value", "stop_at", "expected"), rows(FAILED))
def test_multi_scale_fails(value: float, stop_at: str, expected: str) -> None:
    runs = (
        phase_run(CONTINUE, "kept"),
        phase_run(PHASE_2, None, {"training.multi_scale": True}, failure="out_of_memory"),
    )
    plan = asked(stop_at=stop_at)
    assert following(state_at(value, *runs), plan) == expected
    if expected:
        half = phase_run(PHASE_3B, "no_evidence", {"training.learning_rate": 0.0001})
        tenth = phase_run("lr_decay_tenth", "no_evidence", {"training.learning_rate": 0.00002})
        assert following(state_at(value, *runs, half, tenth), plan) == "copy_paste"


@pytest.mark.parametrize("strategy", ["small_objects", "small_sets", "demo", "field"])
def test_no_strategy_stops_trying_at_a_level_below_the_one_asked_for(strategy: str) -> None:
    """Conditions follow the goal: no phase waits for a level that is below it."""
    for phase in shipped_plan(strategy).phases:
        words = phase.when.sentence(shipped_plan(strategy).target)
        assert not any(f"(the {level})" in words for level in LEVELS), phase.name


def test_what_ends_at_no_level_waits_for_none() -> None:
    state = state_at(0.8, phase_run(PHASE_2, "improved", {"training.multi_scale": True}))
    reason = decide(state, asked(stop_at="never"), MISSION).reason
    assert reason == "Phase 3A: higher resolution: 10 epochs, because multi_scale completed."


def test_everything_is_tried_on_the_way_to_070() -> None:
    """From .66 to the end, with nothing that helps: each phase runs, none is left because .65 is reached."""
    plan, state, ran = asked(stop_at="success"), state_at(0.66), []
    while name := following(state, plan):
        decision = decide(state, plan, MISSION)
        ran.append(name)
        state = state_at(0.66, *state.runs[1:], phase_run(name, "no_evidence", dict(decision.settings)))
    assert ran[:2] == [PHASE_2, PHASE_3A]
    assert ran[2:] == ["copy_paste", "domain", "mosaic", "loss_weight", "phase_4_combined", "lr_decay_last"]


# Phase 3B: if metrics plateau (<0.001 for 3+ epochs), half the rate at epoch 50, a tenth at epoch 60.
MISSIONS_OWN = {"first_when_flat": [PHASE_3B, "lr_decay_tenth"], "plateau.rule": "patience"}


@pytest.mark.parametrize(
    ("overrides", "values", "expected"),
    [
        (MISSIONS_OWN, FLAT_AT_THE_END, PHASE_3B),
        (MISSIONS_OWN, RISING, PHASE_2),
        ({"plateau.rule": "patience"}, FLAT_AT_THE_END, PHASE_2),
        ({"first_when_flat": [PHASE_3B]}, FLAT_AT_THE_END, PHASE_2),
        ({"first_when_flat": [PHASE_3B]}, (0.61,) * 10, PHASE_3B),
        ({}, (0.61,) * 10, PHASE_2),
    ],
    ids=["flat", "rising", "not first", "the slope does not call it flat", "the slope does", "as shipped"],
)
def test_a_lower_rate_at_epoch_50(overrides: dict[str, Any], values: Sequence[float], expected: str) -> None:
    state = state_at(0.61, phase_run(CONTINUE, "kept", values=values))
    assert following(state, asked(**overrides)) == expected


@pytest.mark.parametrize("outcome", ["improved", "no_evidence"])
def test_a_lower_rate_again_at_epoch_60_if_it_is_still_flat(outcome: Outcome) -> None:
    plan, first = asked(**MISSIONS_OWN), phase_run(CONTINUE, "kept", values=FLAT_AT_THE_END)
    settings = {"training.learning_rate": 0.0001}
    halves = [phase_run(PHASE_3B, outcome, settings, values=values) for values in (FLAT_AT_THE_END, RISING)]
    assert [following(state_at(0.61, first, half), plan) for half in halves] == ["lr_decay_tenth", PHASE_2]


def test_a_decision_before_its_turn_says_that_the_metric_is_flat() -> None:
    plan = asked(**MISSIONS_OWN)
    first = phase_run(CONTINUE, "kept", values=FLAT_AT_THE_END)
    half = phase_run(PHASE_3B, "improved", {"training.learning_rate": 0.0001}, values=FLAT_AT_THE_END)
    flat = "map_small is flat: the best so far grew by less than 0.001 in each of the last 3 recorded epochs"
    for state in (state_at(0.61, first), state_at(0.61, first, half)):
        reason = decide(state, plan, MISSION).reason
        assert reason.count(flat) == 1 and "map_small 0.610 is below 0.65" in reason


# No phase trains the same settings from the same champion twice.
RATE = "training.learning_rate"
OTHERS = [
    phase_run(name, "no_evidence", settings)
    for name, settings in (
        (PHASE_2, {"training.multi_scale": True}),
        (PHASE_3A, {"training.resolution": 1288}),
        (PHASE_3B, {RATE: 0.0001}),
        ("copy_paste", {"augmentation.copy_paste.enabled": True}),
        ("domain", {"augmentation.iso_noise.enabled": True}),
        ("mosaic", {"augmentation.mosaic.enabled": True}),
        ("loss_weight", {"training.small_object_loss_weight": 2.0}),
        ("phase_4_combined", {"augmentation.copy_paste.enabled": True, "augmentation.mosaic.enabled": True}),
    )
]
TENTH = phase_run("lr_decay_tenth", "no_evidence", {RATE: 0.00002})
KEPT_TENTH = phase_run("lr_decay_tenth", "improved", {RATE: 0.00001})


def test_the_last_decay_does_not_repeat_the_one_before() -> None:
    plan, state = shipped_plan(), state_at(0.63, *OTHERS, TENTH)
    assert following(state, plan) == ""
    why = {phase.name: reason for phase, reason in skipped(state, plan, MISSION)}
    assert why["lr_decay_last"] == "lr_decay_tenth began with the same settings from the same champion"
    assert f"lr_decay_last ({why['lr_decay_last']})" in decide(state, plan, MISSION).reason


@pytest.mark.parametrize(
    "runs",
    [OTHERS, [*OTHERS[:3], TENTH, replace(OTHERS[3], verdict=KEPT_TENTH.verdict), *OTHERS[4:]]],
    ids=["the tenth was not tried", "another champion since"],
)
def test_the_last_decay_is_tried_where_it_is_new(runs: list[PhaseRun]) -> None:
    plan = asked(**{"phases.lr_decay_tenth.when.target_below": 0.1})
    assert following(state_at(0.63, *runs), plan) == "lr_decay_last"


TWINS = [
    {"name": "first", "set": {"training.multi_scale": True}},
    {"name": "twin", "set": {"training.multi_scale": True}},
]


@pytest.mark.parametrize(
    ("phases", "first", "expected"),
    [
        (TWINS, phase_run("first", "no_evidence", {"training.multi_scale": True}), ""),
        (TWINS, phase_run("first", "regressed", {"training.multi_scale": True}), ""),
        (TWINS, phase_run("first", None, {"training.multi_scale": True}, failure="out_of_memory"), ""),
        (TWINS, phase_run("first", "improved", {"training.multi_scale": True}), ""),
        (TWINS, phase_run("first", "no_evidence", {"training.multi_scale": True}, epochs=9), "twin"),
        (TWINS, phase_run("first", "no_evidence", {"training.multi_scale": True, RATE: 0.1}), "twin"),
        ([{"name": "first"}, {"name": "twin"}], phase_run("first", "regressed"), ""),
        ([{"name": "first"}, {"name": "twin"}], phase_run("first", "kept"), "twin"),
    ],
    ids=["rolled back", "worse", "out of memory", "kept: in force", "longer", "other settings", "continue", "goes on"],
)
def test_a_phase_that_would_repeat_another_is_passed_over(
    phases: list[dict[str, Any]], first: PhaseRun, expected: str
) -> None:
    assert following(state_at(0.6, first), Plan.model_validate({"phases": phases})) == expected


def test_a_phase_is_passed_over_where_the_detector_uses_none_of_its_keys() -> None:
    crops = {"name": "crops", "set": {"sampling.crop_px": 256, "sampling.hard_negative_share": 0.4}}
    partly = {"name": "partly", "set": {"sampling.crop_px": 256, "sampling.object_share": 0.9}}
    plan = Plan.model_validate({"phases": [crops, partly]})
    embedded = Config.model_validate({"model": {"detector": "nano"}})
    assert decide(state_at(0.6), plan, embedded).phase == "crops"
    assert decide(state_at(0.6), plan, MISSION).phase == "partly"
    ((phase, why), _) = skipped(state_at(0.6), plan, MISSION)
    assert phase.name == "crops"
    assert why == (
        "sampling.crop_px has no effect: the rfdetr detector does not use it; "
        "sampling.hard_negative_share has no effect: the rfdetr detector does not use it"
    )
