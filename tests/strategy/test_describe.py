"""A strategy with rounds in words, before anything is run."""

from __future__ import annotations

from typing import Any

import pytest

from smallsight.config.load import Config
from smallsight.strategy.describe import plan_as_rows, plan_as_text, rounds_of
from smallsight.strategy.plan import Plan

TREATMENTS = [
    {"name": "scales", "set": {"training.multi_scale": True}},
    {"name": "slower", "scale": {"training.learning_rate": 0.5}},
]


def plan_of(*rounds: dict[str, Any], **more: Any) -> Plan:
    return Plan.model_validate({"treatments": TREATMENTS, "rounds": list(rounds), **more})


def text_of(plan: Plan, budget_s: float | None = None) -> str:
    config = Config()
    return plan_as_text(plan, plan_as_rows(plan, config, resumes=True, budget_s=budget_s), config)


def test_a_round_with_its_arms_and_what_they_change() -> None:
    first = {"title": "Low risk", "arms": ["continue", "scales", "slower"], "epochs": 3, "when": {"target_below": 0.6}}
    text = text_of(plan_of({**first, "repeat": 2}, end_after_rounds_without_gain=1))
    assert "- round_1 (Low risk): 3 epochs each, up to 2 times; a control, scales, slower\n" in text
    assert "    scales: training.multi_scale=true\n" in text
    assert "    slower: training.learning_rate=0.001\n" in text
    assert "    when map_small is below 0.6\n" in text
    assert text.endswith("The first round without a gain ends the run")
    assert "3 epochs of the control; the other arms train as many seconds each" in text_of(
        plan_of({**first, "equal": "seconds"})
    )


@pytest.mark.parametrize(
    ("keeps", "most_arms"),
    [((1,), 0), ((2,), 2), ((3,), 4), ((2, 2), 4)],
    ids=["only the champion", "one is left", "two and both together", "one of each round"],
)
def test_how_many_winners_can_be_combined(keeps: tuple[int, ...], most_arms: int) -> None:
    rounds = [{"arms": ["scales", "slower"], "keep": keep} for keep in keeps]
    combined = rounds_of(plan_of(*rounds, {"combine": True}))[-1]
    assert (combined.arms, combined.most_arms) == ((), most_arms)


def test_a_phase_beside_a_control_counts_twice() -> None:
    phases = [{"name": "higher", "title": "Higher", "epochs": 5, "control": True, "set": {"training.resolution": 1344}}]
    plan = Plan.model_validate({"phases": phases})
    assert "- Higher: 5 epochs, twice: a control trains as long beside it; training.resolution=1344" in text_of(plan)
    (each,) = rounds_of(plan)
    assert (each.name, each.most_arms, each.beside_phase) == ("higher", 2, True)


def test_rounds_have_their_shares_of_the_budget() -> None:
    """A baseline of share 1, a phase of share 1 and a round that may be run twice: a quarter each."""
    plan = plan_of({"arms": ["scales"], "repeat": 2}, phases=[{"name": "continue"}])
    rows = plan_as_rows(plan, Config(), resumes=True, budget_s=400)
    assert [row["budget_s"] for row in rows] == [100, 100]
