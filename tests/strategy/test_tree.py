"""The mission's decision tree as the document draws it, and that decisions are pure."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smallsight.config.load import Config, with_settings
from smallsight.records import Decision, EpochRecord, Estimate, Outcome, Verdict
from smallsight.run.state import Attempt, Champion, PhaseRun, State, Status
from smallsight.strategy.conditions import holds
from smallsight.strategy.plan import BASELINE, Plan, When, load_plan
from smallsight.strategy.tree import (
    against_erosion,
    best_epoch,
    continues,
    decide,
    end_phase_early,
    verdict_in_words,
    without_burden,
)

RISING = (0.55, 0.56, 0.57, 0.58, 0.59)
FLAT = (0.60,) * 10
MISSION = Config.model_validate(
    {"model": {"detector": "rfdetr"}, "training": {"resolution": 1120, "learning_rate": 0.0002, "epochs": 40}}
)
TRIED = (
    *("continue", "multi_scale", "higher_resolution", "lr_decay_half", "lr_decay_tenth"),
    *("copy_paste", "domain", "mosaic", "loss_weight", "lr_decay_last"),
)


@pytest.fixture(scope="module")
def mission() -> Plan:
    return load_plan(Path(str(files("smallsight"))) / "strategies" / "small_objects.yaml")


def epoch(number: int, value: float, seconds: float = 60.0) -> EpochRecord:
    return EpochRecord(number, "any", 1, {"map_small": Estimate(value)}, seconds=seconds)


def ran(name: str, status: Status = "completed", values: Sequence[float] = RISING, failure: str = "") -> PhaseRun:
    records = tuple(epoch(41 + index, value) for index, value in enumerate(values))
    attempt = Attempt(1, {}, 41, 50, records, status, failure, f"{failure} happened")
    return PhaseRun(name, 1, Decision("run", "because", name), (attempt,), closed=True)


def judged(name: str, outcome: Outcome) -> PhaseRun:
    return replace(ran(name), verdict=Verdict(outcome, Estimate(0.0), Estimate(0.0), outcome))


def oom(name: str) -> PhaseRun:
    return ran(name, "failed", (), "out_of_memory")


def state_at(value: float, *runs: PhaseRun) -> State:
    champion = Champion(BASELINE, 1, 1, epoch(40, value), {})
    return State(resume="models/checkpoint.pth", resumed_epoch=40, runs=(ran(BASELINE), *runs), champion=champion)


@pytest.mark.parametrize(
    ("state", "phase", "reason"),
    [
        (
            state_at(0.598),
            "continue",
            "Phase 1: continue with the same settings: 10 epochs, because map_small 0.598 is",
        ),
        (state_at(0.6199), "continue", "is below 0.62"),
        (state_at(0.62), "multi_scale", "Phase 2: multi-scale training: 10 epochs."),
        (state_at(0.61, ran("continue")), "multi_scale", "Phase 2"),
        (state_at(0.61, ran("continue", values=FLAT)), "multi_scale", "Phase 2"),
        (
            state_at(0.64, ran("multi_scale")),
            "higher_resolution",
            "because map_small 0.640 is below 0.65 and multi_scale completed.",
        ),
        (state_at(0.64, ran("multi_scale", values=FLAT)), "higher_resolution", "Phase 3A"),
        (state_at(0.63, oom("multi_scale")), "lr_decay_half", "is below 0.65 and multi_scale failed (out_of_memory)."),
        (state_at(0.63, ran("multi_scale"), oom("higher_resolution")), "copy_paste", "Phase 4A"),
        (
            state_at(0.63, ran("multi_scale"), ran("higher_resolution", values=FLAT)),
            "lr_decay_half",
            "is below 0.65 and map_small is flat",
        ),
        (state_at(0.63, oom("multi_scale"), ran("lr_decay_half")), "lr_decay_tenth", "lr_decay_half was tried"),
    ],
)
def test_the_tree_of_the_mission(mission: Plan, state: State, phase: str, reason: str) -> None:
    decision = decide(state, mission, MISSION)
    assert (decision.action, decision.phase, decision.epochs) == ("run", phase, 10)
    assert reason in decision.reason


@pytest.mark.parametrize(("value", "above"), [(0.65, "success"), (0.70, "optimal"), (0.75, "")])
def test_the_target_ends_the_mission(mission: Plan, value: float, above: str) -> None:
    decision = decide(state_at(value, ran("multi_scale")), mission, MISSION)
    more = f" To go on, add strategy.stop_at={above} to the same command." if above else ""
    assert decision == Decision("stop", f"Target reached: map_small {value:.3f} >= 0.65 (minimum level).{more}")


def test_what_each_phase_changes(mission: Plan) -> None:
    settings = {phase.name: phase.settings(MISSION) for phase in mission.phases}
    assert settings["continue"] == {}
    assert settings["multi_scale"] == {"training.multi_scale": True}
    assert settings["higher_resolution"] == {"training.resolution": 1288}
    assert settings["lr_decay_half"] == {"training.learning_rate": 0.0001}
    halved = Config.model_validate({"training": {"learning_rate": 0.0001}})
    assert mission.phases[4].settings(halved) == {"training.learning_rate": 0.00001}
    assert settings["mosaic"]["augmentation.mosaic.min_bbox_size"] == 5


def test_nothing_left(mission: Plan) -> None:
    state = state_at(0.63, *(ran(name) for name in TRIED if name != "continue"))
    state = State(**{**vars(state), "champion": Champion("multi_scale", 2, 1, epoch(45, 0.63), {})})
    decision = decide(state_at(0.63, *(ran(name) for name in TRIED)), mission, MISSION)
    assert decision.action == "stop"
    assert decision.reason == (
        "No phase is left whose conditions hold; map_small 0.630 is 0.020 below the minimum level 0.65. Not run: "
        "phase_4_combined "
        "(copy_paste was not rolled back and copy_paste was not rolled back and mosaic was not rolled back)."
    )
    assert "continue (map_small 0.630 is not below 0.62)" in decide(state, mission, MISSION).reason


@pytest.mark.parametrize(
    ("value", "stop_at", "distance"),
    [
        (0.66, "success", "map_small 0.660 reaches the minimum level and is 0.040 below the success level 0.7"),
        (0.64, "success", "map_small 0.640 is 0.060 below the success level 0.7"),
        (0.71, "never", "map_small 0.710 reaches the success level and is 0.040 below the optimal level 0.75"),
        (0.76, "never", "map_small 0.760 reaches the optimal level"),
    ],
)
def test_how_far_the_goal_is_at_the_end(value: float, stop_at: str, distance: str) -> None:
    plan = Plan.model_validate({"target": {"stop_at": stop_at}})
    assert decide(state_at(value), plan, MISSION).reason == f"No phase is left whose conditions hold; {distance}."


def test_phase_4_follows_and_the_rate_falls_last(mission: Plan) -> None:
    state = state_at(0.63, ran("continue"), ran("multi_scale"), ran("higher_resolution"))
    for name in ("copy_paste", "domain", "mosaic", "loss_weight", "lr_decay_last"):
        assert decide(state, mission, MISSION).phase == name
        state = state_at(0.63, *state.runs[1:], ran(name))


def test_a_phase_whose_settings_are_in_force_is_passed_over(mission: Plan) -> None:
    on = with_settings(MISSION, {"augmentation.copy_paste.enabled": True, "training.multi_scale": True}, "test")
    assert decide(state_at(0.63, ran("continue")), mission, on).phase == "domain"
    decision = decide(
        state_at(0.63, *(ran(name) for name in TRIED if name not in ("multi_scale", "copy_paste"))), mission, on
    )
    assert "multi_scale (its settings are in force already)" in decision.reason


@pytest.mark.parametrize("kept", [(), ("copy_paste",), ("mosaic",), ("copy_paste", "loss_weight")])
def test_parts_of_phase_4_that_did_nothing_alone_are_tried_together(mission: Plan, kept: tuple[str, ...]) -> None:
    alone = ("copy_paste", "mosaic", "loss_weight")
    runs = [judged(name, "improved" if name in kept else "no_evidence") for name in alone]
    state = state_at(0.63, ran("continue"), ran("multi_scale"), ran("higher_resolution"), ran("domain"), *runs)
    expected = "phase_4_combined" if len(kept) < 2 else "lr_decay_last"
    assert decide(state, mission, MISSION).phase == expected


def test_the_start(mission: Plan) -> None:
    given = decide(State(resume="a.pth", resumed_epoch=40), mission, MISSION)
    assert (given.phase, given.epochs) == (BASELINE, 0) and "(a.pth)" in given.reason
    assert decide(State(), mission, MISSION).epochs == 40
    short = Plan.model_validate({"baseline": {"epochs": 3}})
    assert decide(State(), short, MISSION).epochs == 3


def test_a_failed_start_ends_all(mission: Plan) -> None:
    decision = decide(State(runs=(oom(BASELINE),)), mission, MISSION)
    assert decision.action == "stop" and "out_of_memory happened" in decision.reason


_names = st.sampled_from([*TRIED, "copy_paste", "unheard_of"])
_runs = st.builds(
    lambda name, status, values: ran(name, status, values, "crashed" if status == "failed" else ""),
    _names,
    st.sampled_from(["completed", "failed"]),
    st.lists(st.floats(0, 1) | st.just(float("nan")), max_size=9),
)


@given(value=st.floats(0, 1) | st.just(float("nan")), runs=st.lists(_runs, max_size=6))
def test_same_state_same_decision(value: float, runs: list[PhaseRun]) -> None:
    plan = load_plan(Path(str(files("smallsight"))) / "strategies" / "small_objects.yaml")
    state = state_at(value, *runs)
    before = repr((state, plan, MISSION))
    first, second = decide(state, plan, MISSION), decide(copy.deepcopy(state), plan, MISSION)
    assert first == second and repr((state, plan, MISSION)) == before
    if first.action == "run":
        assert state.run(first.phase) is None
    assert first.reason.endswith(".")


OUTCOMES: tuple[Outcome, ...] = ("improved", "kept", "no_evidence", "regressed")


@pytest.mark.parametrize(
    ("outcome", "changes", "expected"),
    [
        ("no_evidence", False, "kept"),
        ("no_evidence", True, "no_evidence"),
        *((outcome, changes, outcome) for outcome in ("improved", "regressed") for changes in (False, True)),
    ],
)
def test_proof_is_asked_of_changes_alone(outcome: Outcome, changes: bool, expected: Outcome) -> None:
    before = Verdict(outcome, Estimate(0.01), Estimate(0.0), "map_small changed")
    assert without_burden(before, changes=changes) == replace(before, outcome=expected)


def test_the_outcomes_that_give_a_champion() -> None:
    verdicts = [Verdict(outcome, Estimate(0.0), Estimate(0.0), "") for outcome in OUTCOMES]
    assert [verdict.accepted for verdict in verdicts] == [True, True, False, False]


def test_what_follows_from_a_verdict_in_words() -> None:
    words = {each: verdict_in_words(Verdict(each, Estimate(0.0), Estimate(0.0), "It fell.")) for each in OUTCOMES}
    assert words["improved"] == "It fell."
    assert words["kept"] == "It fell. Kept: it changes no setting and is not demonstrably worse."
    rolled_back = "It fell. Rolled back: the champion stays, and the next phase starts from it."
    assert words["no_evidence"] == words["regressed"] == rolled_back


@pytest.mark.parametrize(("value", "expected"), [(0.699, "kept"), (0.697, "no_evidence")])
def test_what_is_kept_must_not_cost_the_guard_metric(value: float, expected: Outcome) -> None:
    """The baseline has 0.7, and 0.002 may be lost."""
    guarded = {"map_50_95": Estimate(value)}
    candidate, baseline = (EpochRecord(n, "any", 1, guarded if n else {"map_50_95": Estimate(0.7)}) for n in (1, 0))
    kept = Verdict("kept", Estimate(0.0), Estimate(0.0), "It held.")
    found = against_erosion(kept, candidate, baseline, Plan())
    assert found.outcome == expected and ("below the baseline's 0.700" in found.reason) == (expected != "kept")


@pytest.mark.parametrize(
    ("champion", "attempt", "decided", "expected"),
    [
        ({}, {}, {}, True),
        ({"training.multi_scale": True}, {"training.multi_scale": True}, {}, True),
        ({}, {"training.epochs": 10}, {}, True),
        ({}, {"training.multi_scale": True}, {"training.multi_scale": True}, False),
        ({"training.multi_scale": True}, {}, {}, False),
        ({}, {"training.batch_size": 1, "training.grad_accum_steps": 16}, {}, True),
        ({}, {"training.batch_size": 1}, {"training.batch_size": 1}, False),
        ({}, {"training.learning_rate": 0.001}, {}, False),
        ({}, {"augmentation.mosaic": {"enabled": True}}, {}, False),
    ],
    ids=[
        *("same", "same as inherited", "the default"),
        *(
            "a change",
            "a change taken back",
            "only memory",
            "a change of the batch",
            "after a loss that is none",
            "nested",
        ),
    ],
)
def test_which_phases_continue(
    champion: dict[str, Any], attempt: dict[str, Any], decided: dict[str, Any], expected: bool
) -> None:
    state = replace(state_at(0.6), config=Config().to_dict())
    assert state.champion
    state = replace(state, champion=replace(state.champion, settings=champion))
    run = PhaseRun("any", 2, Decision("run", "because", "any", decided), (Attempt(1, attempt, 41, 50),))
    assert continues(run, state) is expected
    assert not continues(run, replace(state, champion=None))


@pytest.mark.parametrize(("outcome", "expected"), [*zip(OUTCOMES, (False, False, True, True), strict=True)])
def test_which_outcomes_are_rolled_back(outcome: Outcome, expected: bool) -> None:
    state = state_at(0.6, judged("a", outcome))
    assert (holds(When(rolled_back=("a",)), state, Plan()) is not None) is expected
    assert (holds(When(any_of=(When(rolled_back=("a",)),)), state, Plan()) is not None) is expected


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        ({}, ""),
        ({"target_below": 0.6}, None),
        ({"target_below": "success"}, "map_small 0.600 is below 0.7"),
        ({"target_below": "goal"}, "map_small 0.600 is below 0.65"),
        ({"target_at_least": "goal"}, None),
        ({"target_at_least": 0.6}, "map_small 0.600 is at least 0.6"),
        ({"target_at_least": "minimum"}, None),
        ({"plateau": True}, None),
        ({"plateau": False}, "map_small is not flat"),
        ({"completed": "a"}, "a completed"),
        ({"completed": "b"}, None),
        ({"failed": "a"}, None),
        ({"failed": "b"}, "b failed (crashed)"),
        ({"ran": "b"}, "b was tried"),
        ({"ran": "c"}, None),
        ({"any_of": [{"failed": "a"}, {"failed": "b"}]}, "b failed (crashed)"),
        ({"any_of": [{"failed": "a"}, {"target_below": 0.1}]}, None),
        ({"ran": "a", "any_of": [{}]}, "a was tried"),
        ({"ran": "a", "failed": "b"}, "b failed (crashed) and a was tried"),
    ],
)
def test_conditions(when: dict[str, Any], expected: str | None) -> None:
    state = state_at(0.6, ran("b", "failed", failure="crashed"), ran("a"))
    assert holds(When.model_validate(when), state, Plan()) == expected


def test_an_unknown_figure_meets_no_condition() -> None:
    state = state_at(float("nan"))
    assert holds(When(target_below=0.6), state, Plan()) is None
    assert holds(When(target_at_least=0.6), state, Plan()) is None


@pytest.mark.parametrize(
    ("values", "seconds_left", "flat_ends", "reason"),
    [
        ((0.5,), None, True, None),
        ((0.5,), 61.0, True, None),
        ((0.5,), 59.0, True, "another epoch takes about 60 s, 59 s are left for this phase"),
        ((0.5,), -3.0, False, "another epoch takes about 60 s, 0 s are left for this phase"),
        ((), 0.0, True, None),
        (FLAT, None, True, "map_small is flat"),
        (FLAT, None, False, None),
    ],
)
def test_when_a_phase_ends_early(
    values: Sequence[float], seconds_left: float | None, flat_ends: bool, reason: str | None
) -> None:
    records = [epoch(index + 1, value) for index, value in enumerate(values)]
    found = end_phase_early(records, Plan(), end_on_plateau=flat_ends, seconds_left=seconds_left)
    assert found == reason if reason is None else str(found).startswith(reason)


@pytest.mark.parametrize(
    ("values", "best"),
    [((0.1, 0.3, 0.2), 2), ((0.3, 0.3), 1), ((float("nan"), 0.1), 2), ((float("nan"),) * 2, 1), ((), None)],
)
def test_the_best_epoch(values: Sequence[float], best: int | None) -> None:
    found = best_epoch([epoch(index + 1, value) for index, value in enumerate(values)], "map_small")
    assert (found and found.epoch) == best
