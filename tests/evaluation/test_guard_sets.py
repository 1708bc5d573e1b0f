"""A set that guards objects to a demonstrable loss alone, and every set is named in the verdict."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from smallsight.evaluation.guard_sets import guarded
from smallsight.evaluation.verdict import Difference
from smallsight.records import Estimate, Outcome, Verdict

GAINED = Verdict("improved", Estimate(0.05, 0.01, 0.09, 40), Estimate(0.0), "map_small rose: +0.050")
FLAT = Verdict("no_evidence", Estimate(0.01, -0.01, 0.03, 40), Estimate(0.0), "map_small changed by +0.010")


def change(middle: float, spread: float = 0.02, n_units: int = 40) -> Difference:
    """A difference whose replicates lie evenly around its value."""
    values = middle + np.linspace(-spread, spread, 1001)
    return Difference(middle, values, values, n=n_units, n_units=n_units)


@pytest.mark.parametrize(
    ("verdict", "differences", "outcome", "says"),
    [
        (GAINED, {}, "improved", ""),
        (GAINED, {"real": change(-0.1)}, "regressed", "on real, which guards, map_small fell: -0.100 [-0.1"),
        (GAINED, {"real": change(-0.01)}, "improved", "on real map_small changed by -0.010 ["),
        (GAINED, {"real": change(+0.1)}, "improved", "no loss is shown"),
        (GAINED, {"real": change(+0.1), "night": change(-0.1)}, "regressed", "on night, which guards"),
        (FLAT, {"real": change(-0.1)}, "regressed", "or more at one-sided 95% confidence"),
        (FLAT, {"real": change(+0.1)}, "no_evidence", ""),
        (GAINED, {"real": None}, "improved", "real can't guard, because only one of the two was measured on it"),
        (GAINED, {"real": change(float("nan"))}, "improved", "on real map_small is not defined"),
        (GAINED, {"real": change(-0.1, n_units=4)}, "improved", "no loss is shown"),  # too few to show anything
    ],
)
def test_what_a_set_says(
    verdict: Verdict, differences: Mapping[str, Difference | None], outcome: Outcome, says: str
) -> None:
    found = guarded(verdict, differences, "map_small", 0.95)
    assert found.outcome == outcome and says in found.reason and found.reason.startswith(verdict.reason)
    assert (found.difference, found.guard_difference) == (verdict.difference, verdict.guard_difference)
    assert set(found.sets) == {name for name, difference in differences.items() if difference is not None}


def test_the_strategys_confidence_decides() -> None:
    """The upper end of these replicates is above 0 at 99 %, and below at 80 %."""
    near = {"real": change(-0.013)}
    outcomes = [guarded(GAINED, near, "map_small", confidence).outcome for confidence in (0.8, 0.99)]
    assert outcomes == ["regressed", "improved"]
