"""The figures to watch, the risks, the success criteria, the progress."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from smallsight.records import EpochRecord, Estimate
from smallsight.report.analysis import analyse
from smallsight.report.criteria import criteria
from smallsight.report.history import History, PhaseStory, TargetAndGuard
from smallsight.report.key_metrics import cells
from smallsight.report.risks import cells as risk_cells
from smallsight.strategy.plan import Plan
from smallsight.strategy.shipped import shipped_plan


def of_values(values: list[float], guard: float = 0.7, **changes: Any) -> History:
    records = tuple(
        EpochRecord(e, "a", 1, {"map_small": Estimate(value), "map_50_95": Estimate(guard)})
        for e, value in enumerate(values, 1)
    )
    return replace(History("x", records), **changes)


def test_the_documents_four_figures(recorded: History) -> None:
    losses = tuple(replace(r, train_loss=5 - r.epoch / 10, val_loss=4.0) for r in recorded.records)
    target = TargetAndGuard(guard_absolute_floor=0.68)
    found = analyse(replace(recorded, records=losses, target=target)).key_metrics
    assert cells(found) == (
        ("map_small", "0.598", "0.65 to 0.70", "0.052 to go"),
        ("improvement rate", "+0.0036 [+0.0023, +0.0049] per elapsed epoch, n=17", "above 0.003", "can't be told"),
        ("map_50_95", "0.680", "0.68 or more", "kept"),
        (
            "losses",
            "training -0.1000, validation +0.0000 per epoch",
            "no overfitting: validation does not rise while training falls",
            "no rise of the validation loss can be shown",
        ),
    )
    assert [metric.standing for metric in found] == ["bad", "undecided", "good", "good"]


@pytest.mark.parametrize(
    ("n", "val", "state", "standing", "answer"),
    [
        (2, -0.1, "too few epochs with both losses to tell (2 recorded, 3 needed)", "undecided", "can't be told"),
        (4, -0.1, "no rise of the validation loss can be shown", "good", "no"),
        (4, 0.1, "validation loss rises while training loss falls", "bad", "yes"),
    ],
)
def test_too_few_losses_are_no_good_sign(n: int, val: float, state: str, standing: str, answer: str) -> None:
    history = of_values([0.5] * n)
    losses = tuple(replace(r, train_loss=5 - r.epoch / 10, val_loss=4 + val * r.epoch) for r in history.records)
    found = analyse(replace(history, records=losses))
    (metric,) = (metric for metric in found.key_metrics if metric.name == "losses")
    assert (metric.state, metric.standing, found.overfits) == (state, standing, answer)


@pytest.mark.parametrize(
    ("values", "state", "standing"),
    [
        ([0.50, 0.52, 0.54, 0.56], "above", "good"),
        ([0.50, 0.501, 0.502, 0.503], "below", "bad"),
        ([0.50, 0.52, 0.50, 0.53], "can't be told", "undecided"),
    ],
)
def test_the_rate_against_the_one_asked_for(values: list[float], state: str, standing: str) -> None:
    (rate,) = (metric for metric in analyse(of_values(values)).key_metrics if metric.name == "improvement rate")
    assert (rate.state, rate.standing) == (state, standing)


@pytest.mark.parametrize(
    ("target", "baseline", "wanted", "state", "standing"),
    [
        (TargetAndGuard(), None, "no floor is set", "not judged", "not known"),
        (TargetAndGuard(guard_absolute_floor=0.68), None, "0.68 or more", "kept", "good"),
        (TargetAndGuard(guard_absolute_floor=0.72), 0.73, "0.72 or more", "NOT kept", "bad"),
        (
            *(TargetAndGuard(guard_absolute_floor=0.72), 0.71, "0.72 or more"),
            *("below it, as the baseline was, so this floor decides nothing", "bad"),
        ),
        (TargetAndGuard(guard_floor=0.69), 0.692, "0.690 or more, by the baseline", "kept", "good"),
        (
            *(TargetAndGuard(guard_floor=0.71, guard_absolute_floor=0.68), 0.712),
            *("0.68 or more; 0.710 or more, by the baseline", "kept; NOT kept", "bad"),
        ),
    ],
)
def test_the_guard_and_its_floors(
    target: TargetAndGuard, baseline: float | None, wanted: str, state: str, standing: str
) -> None:
    before = None if baseline is None else EpochRecord(0, "b", 1, {"map_50_95": Estimate(baseline)})
    found = analyse(of_values([0.5, 0.51, 0.52], target=target, baseline=before))
    (guard,) = (metric for metric in found.key_metrics if metric.name == "map_50_95")
    assert (guard.now, guard.wanted, guard.state, guard.standing) == ("0.700", wanted, state, standing)


@pytest.mark.parametrize(("before", "advised"), [([0.73, 0.70], True), ([0.71, 0.70], False)])
def test_a_guard_below_its_absolute_floor_is_looked_at_first_where_it_was_above(
    before: list[float], advised: bool
) -> None:
    records = tuple(
        EpochRecord(e, "a", 1, {"map_small": Estimate(0.5), "map_50_95": Estimate(value)})
        for e, value in enumerate(before, 1)
    )
    found = analyse(History("x", records, target=TargetAndGuard(guard_absolute_floor=0.72)))
    sentence = "Look at map_50_95 first: 0.700 is below the 0.72 that the strategy wants of any champion."
    assert (sentence in found.recommendations) is advised


def test_overfitting_is_bad() -> None:
    history = of_values([0.5] * 6)
    records = tuple(replace(r, train_loss=5 - r.epoch / 10, val_loss=3 + r.epoch / 10) for r in history.records)
    metric = analyse(replace(history, records=records)).key_metrics[-1]
    assert (metric.name, metric.standing) == ("losses", "bad")
    assert metric.state == "validation loss rises while training loss falls"


def test_nothing_known_nothing_said() -> None:
    found = analyse(History("x", ()))
    assert found.key_metrics == () and found.progress == ""


def test_the_success_criteria_have_three_levels() -> None:
    assert criteria(analyse(of_values([0.6, 0.64, 0.71]))) == (
        "Minimum (map_small 0.65 or more): reached, but possibly by chance.",
        "Success (map_small 0.70 or more): reached, but possibly by chance.",
        "Optimal (map_small 0.75 or more): 0.040 to go, about 1 epoch [0 to no limit] at this rate.",
    )


def test_progress(recorded: History) -> None:
    gained = "+0.071 in 19 epochs (epoch 20 to 39), +0.0044 per recorded step, +0.0037 per elapsed epoch."
    doubt = "Whether the rate is above the 0.003 per epoch that is asked for can't be told."
    assert analyse(recorded).progress == f"{gained} {doubt}"
    assert analyse(of_values([0.5, 0.52, 0.54, 0.56])).progress.startswith("On track: +0.060 in 3 epochs")
    assert analyse(of_values([0.5, 0.501, 0.502, 0.503])).progress.startswith("Behind: +0.003 in 3 epochs")
    assert analyse(of_values([0.5])).progress == ""


def test_every_risk_of_the_shipped_strategy_has_its_mitigation_and_outcome() -> None:
    story = PhaseStory("two", "Two", 4, 5, "no_evidence", plays="multi_scale")
    rows = {
        row[0]: row[1:] for row in risk_cells(analyse(History("x", (), plan=shipped_plan(), phases=(story,))).risks)
    }
    assert [rows[name][0] for name in ("continue", "multi_scale", "higher_resolution", "lr_decay_half")] == [
        *("low", "medium", "high", "low"),
    ]
    assert "batch_size 1" in rows["multi_scale"][1] and rows["multi_scale"][2] == "no evidence"
    assert rows["continue"][2] == ""
    assert analyse(History("x", ())).risks == () and analyse(History("x", (), plan=Plan())).risks == ()
