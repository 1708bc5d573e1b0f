"""The level of each test: what is left of the run's share, shared among the tests that may still come."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smallsight.records import Decision, Estimate, Outcome, Verdict
from smallsight.run.state import PhaseRun, State
from smallsight.strategy.error_rate import false_gain_bound, remaining_tests, rise_confidence, spent
from smallsight.strategy.plan import Plan


def plan_of(phases: int, rounds: int = 0, **rule: Any) -> Plan:
    treatments = [{"name": "t", "set": {"training.seed": 1}}]
    return Plan.model_validate(
        {
            "verdict": rule,
            "phases": [{"name": f"p{i}", "set": {"training.seed": i}} for i in range(phases)],
            "treatments": treatments,
            "rounds": [{"arms": ["t"]}] * rounds,
        }
    )


def run_of(number: int, name: str, confidence: float = math.nan, outcome: Outcome = "no_evidence") -> PhaseRun:
    verdict = Verdict(outcome, Estimate(0.0), Estimate(0.0), "", confidence=confidence)
    return PhaseRun(name, number, Decision("run", "", name, {"training.seed": number}), closed=True, verdict=verdict)


def begun(number: int, name: str, settings: dict[str, Any] | None = None) -> PhaseRun:
    chosen = {"training.seed": number} if settings is None else settings
    return PhaseRun(name, number, Decision("run", "", name, chosen))


def test_the_share_is_split_evenly_over_the_plan() -> None:
    plan = plan_of(8)
    first = begun(1, "p0")
    assert remaining_tests(plan, State(runs=(first,)), first) == 8
    assert rise_confidence(plan, State(runs=(first,)), first) == pytest.approx(1 - 0.1 / 8)


def test_what_a_phase_does_not_use_is_handed_on() -> None:
    plan, failed = plan_of(4), begun(1, "p0")
    last = begun(4, "p3")
    state = State(runs=(failed, run_of(2, "p1", 0.98), run_of(3, "p2", 0.97), last))
    assert spent(state) == pytest.approx(0.05)
    assert rise_confidence(plan, state, last) == pytest.approx(0.95), "0.05 is left, and no other test comes"


def test_a_gain_gives_its_part_back() -> None:
    plan, now = plan_of(3), begun(2, "p1")
    gained = State(runs=(run_of(1, "p0", 0.97, "improved"), now))
    assert spent(gained) == 0 and rise_confidence(plan, gained, now) == pytest.approx(0.95)
    assert rise_confidence(plan, State(runs=(run_of(1, "p0", 0.97), now)), now) == pytest.approx(1 - 0.07 / 2)


def test_a_phase_that_changes_nothing_is_no_test() -> None:
    plan, same = plan_of(8), begun(1, "p0", {})
    assert rise_confidence(plan, State(runs=(same,)), same) == 0.95
    kept = run_of(1, "continue", 0.95, "improved")
    assert spent(State(runs=(PhaseRun("c", 1, Decision("run", "", "c"), closed=True, verdict=kept.verdict),))) == 0


def test_a_round_is_one_test() -> None:
    arms = tuple(
        PhaseRun("t", n, Decision("run", "", "t", {"training.seed": n}), closed=True, round=1,
                 verdict=Verdict("no_evidence", Estimate(0.0), Estimate(0.0), "", confidence=1 - 0.04 / n))
        for n in (1, 2, 3)
    )  # fmt: skip
    assert spent(State(runs=arms)) == pytest.approx(0.04)


def test_without_a_limit_each_test_has_its_own_confidence() -> None:
    plan, now = plan_of(8, confidence=0.8, run_confidence=None), begun(1, "p0")
    assert rise_confidence(plan, State(runs=(now,)), now) == 0.8
    assert false_gain_bound(plan, State(runs=(run_of(1, "p0", 0.8), run_of(2, "p1", 0.8)))) == pytest.approx(0.4)


@given(outcomes=st.lists(st.sampled_from(["no_evidence", "regressed", None]), max_size=12), rounds=st.integers(0, 2))
def test_tests_without_a_gain_never_spend_more_than_there_is(outcomes: list[Outcome | None], rounds: int) -> None:
    plan, runs = plan_of(12, rounds), ()
    for number, outcome in enumerate(outcomes, 1):
        now = begun(number, f"p{number - 1}")
        level = rise_confidence(plan, State(runs=(*runs, now)), now)
        assert 0.95 <= level < 1
        runs = (*runs, run_of(number, now.name, level, outcome) if outcome else now)
    assert spent(State(runs=runs)) <= 0.1 + 1e-12
    assert false_gain_bound(plan, State(runs=runs)) <= 0.1 + 1e-12
