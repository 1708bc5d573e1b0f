"""Arms of a round: tables of verdicts, properties of the procedures, and how often they err."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from smallsight.errors import SmallsightError
from smallsight.evaluation.arms import behind_leader, holm, judge_arms
from smallsight.evaluation.bootstrap import Resampled, draw_images
from smallsight.evaluation.verdict import Difference, judge
from smallsight.records import Estimate, Verdict

N, REPLICATES = 60, 400
Draws = np.ndarray
Epochs = Callable[..., list[Resampled]]


def resampled(parts: np.ndarray, draws: Draws, guard: float = 0.5, objects: int = 1) -> Resampled:
    """An epoch whose figure is a mean over images, with a guard metric that does not vary."""
    units = {"target": len(parts), "guard": len(parts)}
    values = {"target": parts @ draws / len(parts), "guard": np.full(draws.shape[1], guard)}
    points = {"target": Estimate(float(parts.mean()), n=len(parts)), "guard": Estimate(guard, n=len(parts))}
    return Resampled(points, values, units, np.full((1, len(parts)), objects), f"{len(parts)} images")


class Place:
    """Images that all arms are judged on."""

    def __init__(self, seed: int, n: int = N) -> None:
        self.rng = np.random.default_rng(seed)
        self.draws = draw_images(n, replicates=REPLICATES, seed=seed)
        self.base = self.rng.normal(0.6, 0.2, n)

    def arm(self, gain: float, epochs: int = 3, guard: float = 0.5) -> list[Resampled]:
        """The epochs of an arm, the best one first."""
        noise = self.rng.normal(0, 0.1, (epochs, len(self.base)))
        found = [resampled(self.base + gain + each, self.draws, guard) for each in noise]
        return sorted(found, key=lambda each: -each.points["target"].value)


def judged(treatments: dict[int, list[Resampled]], control: list[Resampled] | None, champion: list[Resampled],
           level: float = 0.95) -> dict[int, Verdict]:  # fmt: skip
    controls = {} if control is None else dict.fromkeys(treatments, control)
    return judge_arms(
        treatments, controls, champion,
        target="target", guard="guard", max_guard_drop=0.01, confidence=0.95, rise_confidence=level,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("treatment", "control", "guard", "outcome", "says"),
    [
        (0.3, 0.0, 0.5, "improved", "or more; guard held"),
        (0.3, 0.3, 0.5, "no_evidence", "what it gained over the champion, the control may have gained too"),
        (0.15, 0.3, 0.5, "no_evidence", "training on without the change is better"),
        (0.0, 0.0, 0.5, "no_evidence", "which chance can explain; against the control it is"),
        (0.0, -0.3, 0.5, "no_evidence", "target changed by"),
        (-0.3, -0.3, 0.5, "regressed", "target fell"),
        (0.3, 0.0, 0.4, "regressed", "guard fell"),
        (0.3, None, 0.5, "improved", "no control was trained, so how much of this is more training is not known"),
    ],
)  # fmt: skip
def test_a_treatment_has_to_be_better_than_champion_and_control(
    treatment: float, control: float | None, guard: float, outcome: str, says: str
) -> None:
    place = Place(0)
    champion = place.arm(0.0)
    beside = None if control is None else place.arm(control)
    (verdict,) = judged({7: place.arm(treatment, guard=guard)}, beside, champion).values()
    assert verdict.outcome == outcome and says in verdict.reason, verdict.reason
    assert verdict.confidence == pytest.approx(0.95)
    assert "\n" not in verdict.reason
    if control is None:
        assert verdict.over_control is None
    else:
        assert verdict.over_control is not None
        assert verdict.over_control.value == pytest.approx(treatment - control, abs=0.08)


def test_without_a_control_a_single_arm_is_judged_as_a_phase() -> None:
    place = Place(1)
    champion, arm = place.arm(0.0), place.arm(0.05)
    one = judge(arm, champion, target="target", guard="guard", max_guard_drop=0.01, rise_confidence=0.95)
    (other,) = judged({3: arm}, None, champion).values()
    assert (one.outcome, one.difference, one.guard_difference) == (
        other.outcome,
        other.difference,
        other.guard_difference,
    )
    assert other.confidence == pytest.approx(one.confidence)


def test_more_treatments_ask_for_more_and_the_reason_says_at_which_level() -> None:
    place = Place(2)
    champion, control = place.arm(0.0), place.arm(0.0)
    arms = {1: place.arm(0.3), 2: place.arm(0.0), 3: place.arm(0.0)}
    verdicts = judged(arms, control, champion)
    assert {n: v.outcome for n, v in verdicts.items()} == {1: "improved", 2: "no_evidence", 3: "no_evidence"}
    levels = {n: verdict.confidence for n, verdict in verdicts.items()}
    assert levels == pytest.approx({1: 1 - 0.05 / 3, 2: 1 - 0.05 / 2, 3: 1 - 0.05 / 2})
    assert "at one-sided 98.3% confidence" in verdicts[1].reason


def test_arms_on_other_objects_are_refused() -> None:
    place = Place(3)
    other = [resampled(place.base, place.draws, objects=2)]
    with pytest.raises(SmallsightError, match="different objects"):
        judged({1: place.arm(0.0)}, other, place.arm(0.0))


def test_a_metric_without_objects_gives_no_evidence() -> None:
    nothing = [resampled(np.full(N, math.nan), Place(4).draws)]
    (verdict,) = judged({1: nothing}, nothing, nothing).values()
    assert verdict.outcome == "no_evidence" and "against the control target is not defined" in verdict.reason
    assert behind_leader({1: nothing, 2: nothing}, target="target", confidence=0.95) == {}


P_VALUES = st.dictionaries(st.integers(1, 9), st.floats(0, 1), min_size=1)


@given(p_values=P_VALUES, alpha=st.floats(0.001, 0.5))
def test_holm_rejects_what_stepping_down_by_hand_rejects(p_values: dict[int, float], alpha: float) -> None:
    levels, rejected = holm(p_values, alpha)
    assert {n for n in p_values if p_values[n] <= levels[n]} == rejected, "the level tells what was rejected"
    by_hand: set[int] = set()
    while left := {n: p for n, p in p_values.items() if n not in by_hand}:
        first = min(left, key=lambda n: (left[n], n))
        if left[first] > alpha / len(left):
            break
        by_hand.add(first)
    assert rejected == by_hand
    assert min(levels.values()) * len(p_values) == pytest.approx(alpha), "the first level, times the number, is alpha"
    assert {n for n, p in p_values.items() if p <= alpha / len(p_values)} <= rejected, "never less than Bonferroni"


@given(
    st.lists(st.floats(-0.5, 0.5).filter(lambda v: abs(v) > 1e-9) | st.just(0.0), min_size=2, max_size=60),
    st.integers(2, 40),
    st.floats(0.51, 0.9995),
)
def test_the_p_value_tells_at_which_confidence_it_rose(values: list[float], n: int, confidence: float) -> None:
    difference = Difference(0.0, np.array(values), np.array(values), n, n)
    assume(abs(difference.p_rose - (1 - confidence)) > 1e-9)
    assert (difference.p_rose <= 1 - confidence) == difference.rose(confidence)


@pytest.mark.parametrize(
    ("values", "n", "p"),
    [
        ([0.1, 0.2, 0.3], 4, 1 / 16),  # four that agree do so by chance
        ([0.1, 0.2, math.nan], 4, 1 / 16),
        ([-0.001] + [1.0] * 99, 3, 1 / 8),
        ([-0.1, -0.2, 0.0], 40, 1.0),
        ([math.nan, math.nan], 40, 1.0),
        ([0.1, 0.2], 1, 1.0),
        ([-0.1, 0.1] * 50, 40, 0.5),
    ],
)
def test_table_of_p_values(values: list[float], n: int, p: float) -> None:
    difference = Difference(0.0, np.array(values), np.array(values), n, n)
    assert difference.p_rose == pytest.approx(p, abs=0.01 if p == 0.5 else 1e-12)


def test_arms_that_are_behind_are_stopped_and_equal_ones_are_not() -> None:
    place = Place(5)
    arms = {4: place.arm(0.0), 2: place.arm(0.02), 9: place.arm(-0.3)}
    found = behind_leader(arms, target="target", confidence=0.95)
    assert list(found) == [9]
    assert "the leading arm's target is +0.3" in found[9] and "at one-sided 97.5% confidence" in found[9]
    assert behind_leader({4: arms[4]}, target="target", confidence=0.95) == {}


def test_the_leader_is_never_behind_whichever_order() -> None:
    place = Place(6)
    arms = {n: place.arm(gain) for n, gain in enumerate((-0.4, 0.3, -0.2, 0.0))}
    one = behind_leader(arms, target="target", confidence=0.95)
    other = behind_leader(dict(reversed(arms.items())), target="target", confidence=0.95)
    assert 1 not in one and one == other and {0, 2, 3} == set(one)


def share(runs: int, err: Callable[[Place], bool]) -> float:
    return sum(err(Place(1000 + run)) for run in range(runs)) / runs


@pytest.mark.parametrize("training", [0.0, 0.05], ids=["nothing gains", "training on gains"])
def test_treatments_without_effect_are_seldom_crowned(training: float) -> None:
    """At .1 for the round; where training on gains, the comparison with the champion alone crowns most of them."""

    def crowned(place: Place, beside: bool) -> bool:
        champion, control = place.arm(0.0), place.arm(training)
        arms = {n: place.arm(training) for n in range(1, 5)}
        verdicts = judged(arms, control if beside else None, champion, 0.9)
        return any(verdict.outcome == "improved" for verdict in verdicts.values())

    assert share(60, lambda place: crowned(place, True)) <= 0.2
    if training:
        assert share(20, lambda place: crowned(place, False)) >= 0.5, "this is what the control is for"


def test_a_treatment_with_an_effect_is_crowned_and_not_the_others() -> None:
    def right(place: Place) -> bool:
        champion, control = place.arm(0.0), place.arm(0.05)
        arms = {1: place.arm(0.05), 2: place.arm(0.17), 3: place.arm(0.05)}
        return [n for n, verdict in judged(arms, control, champion, 0.95).items() if verdict.accepted] == [2]

    assert share(40, right) >= 0.8


@pytest.mark.parametrize("epochs", [1, 3])
def test_equal_arms_are_seldom_stopped(epochs: int) -> None:
    """At .05; the leader of five equal arms of one epoch lies above another one by chance alone in every fourth."""

    def stopped(place: Place) -> bool:
        arms = {n: place.arm(0.0, epochs) for n in range(5)}
        return bool(behind_leader(arms, target="target", confidence=0.95))

    assert share(60, stopped) <= 0.15
