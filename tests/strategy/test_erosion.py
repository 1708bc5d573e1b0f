"""What no phase may wear down: the guard metric's distance to the baseline, and its floor."""

from __future__ import annotations

import pytest

from smallsight.records import EpochRecord, Estimate, Outcome, Verdict
from smallsight.strategy.plan import Plan
from smallsight.strategy.tree import against_erosion

NAN = float("nan")


def with_guard(value: float) -> EpochRecord:
    return EpochRecord(5, "a", 1, {"map_small": Estimate(0.6), "map_50_95": Estimate(value)})


def verdict(outcome: Outcome = "improved") -> Verdict:
    return Verdict(outcome, Estimate(0.02), Estimate(0.0), "It rose.")


@pytest.mark.parametrize(
    ("guard", "baseline", "candidate", "why"),
    [
        ({"max_drop": 0.01}, 0.690, 0.681, ""),
        ({"max_drop": 0.01}, 0.690, 0.679, "more than 0.01 below the baseline's 0.690"),
        ({"max_drop": 0.1, "floor": 0.68}, 0.690, 0.680, ""),
        ({"max_drop": 0.1, "floor": 0.68}, 0.680, 0.679, "below its floor of 0.68, where the baseline was not (0.680)"),
        ({"max_drop": 0.1, "floor": 0.68}, 0.679, 0.670, ""),
        ({"max_drop": 0.1, "floor": 0.68}, NAN, 0.670, ""),
        ({"max_drop": 0.1, "floor": 0.68}, 0.690, NAN, ""),
        ({"max_drop": 0.1}, 0.690, 0.600, ""),
        ({"max_drop": 0.005, "floor": 0.68}, 0.690, 0.679, "more than 0.005 below the baseline's 0.690"),
    ],
)
def test_a_champion_keeps_the_guard(guard: dict[str, float], baseline: float, candidate: float, why: str) -> None:
    plan = Plan.model_validate({"guard": guard})
    found = against_erosion(verdict(), with_guard(candidate), with_guard(baseline), plan)
    assert found.outcome == ("no_evidence" if why else "improved")
    said = f"It rose. But map_50_95 {candidate:.3f} is {why}."
    assert found.reason == (said if why else "It rose.")


@pytest.mark.parametrize("outcome", ["no_evidence", "regressed"])
def test_what_is_no_improvement_stays_as_it_was_judged(outcome: Outcome) -> None:
    plan = Plan.model_validate({"guard": {"floor": 0.68}})
    assert against_erosion(verdict(outcome), with_guard(0.1), with_guard(0.7), plan) == verdict(outcome)


def test_without_a_baseline_nothing_is_worn_down() -> None:
    plan = Plan.model_validate({"guard": {"floor": 0.68}})
    assert against_erosion(verdict(), with_guard(0.1), None, plan) == verdict()
