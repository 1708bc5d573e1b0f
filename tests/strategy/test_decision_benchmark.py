"""What the figures of `benchmarks/decisions.py` rest on: its rules are the real ones, and its counts are right."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from benchmark_files import load
from smallsight.strategy.trends import plateau

decisions = load("decisions")


@pytest.fixture(scope="module")
def series():  # type: ignore[no-untyped-def]
    return decisions.simulate(150, seed=3)


def recorded(series, run):  # type: ignore[no-untyped-def]
    known = ~np.isnan(series.values[run])
    return series.epochs[run][known], series.values[run][known]


def test_the_slope_rule_is_smallsights(series) -> None:  # type: ignore[no-untyped-def]
    stops = decisions.by_slope()(series)
    for run in range(0, len(stops), 10):
        epochs, values = recorded(series, run)
        fired = [int(e) for n, e in enumerate(epochs, 1) if plateau(epochs[:n], values[:n]).by_slope]
        assert stops[run] == (fired[0] if fired else decisions.EPOCHS - 1)


def test_the_patience_rule_is_the_missions(series) -> None:  # type: ignore[no-untyped-def]
    stops = decisions.by_patience(3)(series)
    for run in range(len(stops)):
        fired = plateau(*recorded(series, run)).patience_fired_at
        assert stops[run] == (decisions.EPOCHS - 1 if fired is None else fired)


@pytest.mark.parametrize("patience", [3, 5, 10])
def test_reduce_on_plateau_is_torchs(series, patience: int) -> None:  # type: ignore[no-untyped-def]
    stops = decisions.by_reduce_on_plateau(patience)(series)
    for run in range(0, len(stops), 4):
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
        scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, mode="max", patience=patience)
        fired = decisions.EPOCHS - 1
        for epoch, value in zip(*recorded(series, run), strict=True):
            scheduler.step(float(value))
            if optimizer.param_groups[0]["lr"] < 1:
                fired = int(epoch)
                break
        assert stops[run] == fired


def test_what_a_stop_costs() -> None:
    """A rise of .004 per epoch for 20 epochs, then nothing: it is worth training on until 18 are done."""
    truth = 0.5 + 0.004 * np.minimum(np.arange(decisions.EPOCHS), 20)[None].repeat(3, 0)
    epochs = np.arange(decisions.EPOCHS)[None].repeat(3, 0)
    series = decisions.Series(np.zeros(3, int), np.full(3, 0.01), truth, epochs, truth)
    found = [decisions.judge(series.only(np.arange(3) == 0), np.array([stop])) for stop in (10, 20, 35, 45)]
    assert [outcome.false_alarms for outcome in found] == [1, 0, 0, 0]
    assert [outcome.detections for outcome in found] == [0, 1, 1, 0]
    assert [outcome.ap_lost for outcome in found] == pytest.approx([0.04, 0, 0, 0])
    assert [outcome.epochs_wasted for outcome in found] == [0, 0, 15, 25]


def test_the_default_lies_on_the_best_curve() -> None:
    """No other rule loses less and wastes fewer epochs, and the mission's loses ten times as much."""
    series = decisions.simulate(4000)
    default = decisions.judge(series, decisions.by_slope()(series))
    others = [
        rule
        for name in ("patience", "ReduceLROnPlateau", "a fixed number of epochs")
        for rule in decisions.FAMILIES[name]
    ]
    for rule in others:
        found = decisions.judge(series, rule(series))
        assert found.ap_lost > default.ap_lost or found.epochs_wasted > default.epochs_wasted
    before = decisions.judge(series, decisions.by_slope(8, 0.975, 5)(series))
    assert before.ap_lost > default.ap_lost and before.epochs_wasted > default.epochs_wasted
    mission = decisions.judge(series, decisions.by_patience(3)(series))
    assert mission.ap_lost > 10 * default.ap_lost


def test_noise_correlates_with_the_next_epochs_as_it_is_told() -> None:
    alone = decisions.simulate(500, seed=3)
    assert np.array_equal(alone.values, decisions.simulate(500, seed=3, rho=0.0).values, equal_nan=True)
    for rho in (0.0, 0.6):
        noise = decisions.correlated(np.random.default_rng(0).standard_normal((500, 60)), rho)
        assert np.mean(noise[:, 1:] * noise[:, :-1]) == pytest.approx(rho, abs=0.03)
        assert noise[:, -1].std() == pytest.approx(1, abs=0.1)
