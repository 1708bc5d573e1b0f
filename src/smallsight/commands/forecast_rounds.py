"""What the rounds of a strategy cost beside the same changes one at a time, and the smallest effect they can show."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from smallsight.commands.forecast import PhaseCost, time_in_words, two_digits
from smallsight.evaluation.power import SmallestGain, images_for
from smallsight.strategy.describe import RoundPlan, rounds_of
from smallsight.strategy.error_rate import planned_confidence
from smallsight.strategy.plan import Plan, epochs_in_words

GainAt = Callable[[float], SmallestGain | None]
"""The smallest gain that the validation set can show at a confidence."""


@dataclass(frozen=True)
class RoundForecast:
    """A round before it is run.

    Attributes:
        planned: the round.
        arm_epochs: of all its arms together, the control's included, each time that it may be run.
        seconds: of all its arms; None where not known.
        alone_epochs, alone_seconds: of its treatments one at a time, without a control.
        smallest: the smallest effect that it can show; None where that is not known.
        expected: the highest gain that is expected of any arm; None where the strategy names none.
    """

    planned: RoundPlan
    arm_epochs: int
    seconds: float | None
    alone_epochs: int
    alone_seconds: float | None
    smallest: SmallestGain | None
    expected: float | None

    @property
    def too_few_images(self) -> bool:
        """Whether the validation set can't show what the most promising arm is expected to gain."""
        return self.smallest is not None and self.expected is not None and self.smallest.gain > self.expected


def forecasts_of(plan: Plan, costs: Sequence[PhaseCost], gain_at: GainAt) -> list[RoundForecast]:
    """Each round of a strategy, and each phase that has a control."""
    return [_forecast(each, plan, costs, gain_at) for each in rounds_of(plan)]


def _forecast(each: RoundPlan, plan: Plan, costs: Sequence[PhaseCost], gain_at: GainAt) -> RoundForecast:
    own = [cost for cost in costs if cost.round == each.name]
    alone = [cost for cost in own if not cost.control]
    treatments = max(1, len(alone) if each.arms else each.most_arms - 1)
    gains = [phase.expected_gain[1] for phase in each.treatments(plan) if phase.expected_gain is not None]
    return RoundForecast(
        each,
        sum(cost.epochs for cost in own),
        _seconds(own),
        sum(cost.epochs for cost in alone),
        _seconds(alone),
        gain_at(planned_confidence(plan, treatments)),
        max(gains, default=None),
    )


def _seconds(costs: Sequence[PhaseCost]) -> float | None:
    known = [cost.seconds for cost in costs if cost.seconds is not None]
    return sum(known) if costs and len(known) == len(costs) else None


def rounds_as_rows(found: Sequence[RoundForecast]) -> list[dict[str, Any]]:
    """Plain values; gains are null where none can be shown."""
    return [_row(each) for each in found]


def _row(each: RoundForecast) -> dict[str, Any]:
    smallest: Mapping[str, Any] | None = None
    if each.smallest is not None:
        gain = each.smallest.gain
        smallest = {"gain": gain if math.isfinite(gain) else None, "confidence": each.smallest.confidence}
    return {
        "name": each.planned.name,
        "title": each.planned.title,
        "arms": list(each.planned.arms),
        "most_arms": each.planned.most_arms,
        "epochs": each.planned.epochs,
        "repeat": each.planned.repeat,
        "stop_behind_after": list(each.planned.stop_behind_after),
        "arm_epochs": each.arm_epochs,
        "seconds": each.seconds,
        "one_at_a_time": {"epochs": each.alone_epochs, "seconds": each.alone_seconds},
        "smallest_effect": smallest,
        "expected_at_most": each.expected,
        "validation_set_too_small": each.too_few_images,
    }


def rounds_as_text(found: Sequence[RoundForecast], metric: str) -> list[str]:
    """Sentences on each round: arms, epochs, cost beside the same changes one at a time, smallest effect, advice."""
    lines = []
    for each in found:
        lines.append(f"{each.planned.heading}: {_cost(each)}.{_stops(each)}")
        lines.append(f"  {_effect(each, metric)}")
    return lines


def _cost(each: RoundForecast) -> str:
    arms, planned = each.planned.most_arms, each.planned
    most = "" if planned.arms else "at most "
    times = f" x {planned.repeat} times" if planned.repeat > 1 else ""
    cost = f"{most}{arms} arms x {epochs_in_words(planned.epochs)}{times} = {each.arm_epochs} arm-epochs"
    alone = f"one at a time without a control {epochs_in_words(each.alone_epochs)}"
    if each.seconds is None or each.alone_seconds is None:
        return f"{cost}; {alone}"
    return f"{cost}, about {time_in_words(each.seconds)}; {alone}, about {time_in_words(each.alone_seconds)}"


def _stops(each: RoundForecast) -> str:
    looks = each.planned.stop_behind_after
    if not looks:
        return ""
    epochs = " and ".join(map(str, looks))
    return f" Arms that are demonstrably behind after epoch {epochs} of it are stopped, which costs less."


def _effect(each: RoundForecast, metric: str) -> str:
    smallest, expected = each.smallest, each.expected
    if smallest is None:
        return f"The smallest effect that it can show is not known for {metric}."
    at = f"at {100 * smallest.confidence:.3g}% confidence"
    if smallest.gain > 1:
        return f"The validation set can show no effect {at}. Add labelled images."
    shows = (
        f"Smallest effect on {metric} over the champion and the control that it shows in {smallest.power:.0%} of the "
        f"cases, {at}: about +{two_digits(smallest.gain):#.2g}."
    )
    if not each.too_few_images or expected is None:
        return shows
    if expected <= 0:
        return f"{shows} No arm is expected to gain that much."
    images = two_digits(images_for(expected, smallest.confidence))
    return (
        f"{shows} No arm is expected to gain that much (+{expected:g} at most): enlarge the validation set. To show "
        f"+{expected:g}, about {images:,.0f} images with such objects are needed."
    )
