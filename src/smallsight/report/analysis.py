"""Analyse a history: how fast the target metric improves, how certain that is, what to change and what to do next.

Nothing is read or written: a history goes in, an analysis comes out.
"""

from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np
from scipy.special import ndtr

from smallsight.records import Decision, EpochRecord, Estimate
from smallsight.report.advice import recommendations, warnings
from smallsight.report.findings import Agreement, Analysis, Guard, Level, LevelName, Mark, Pace, PhaseReview
from smallsight.report.history import History, PhaseStory, latest_per_epoch
from smallsight.report.insights import insights
from smallsight.report.issues import Issue, configuration_issues
from smallsight.report.key_metrics import key_metrics, progress
from smallsight.report.opportunities import opportunities
from smallsight.report.risks import risks
from smallsight.report.timeline import timeline
from smallsight.strategy.trends import Trend, epochs_to_reach, momentum, overfitting, plateau, standing, trend

__all__ = ["Analysis", "Guard", "Level", "Mark", "PhaseReview", "analyse", "expected_maximum"]


def analyse(history: History) -> Analysis:
    """Compute everything that the report says about a history, except what needs the detections.

    An empty history gives NaN and "no epoch recorded". Where attempts repeated an epoch, the last one counts. The trend
    is over all phases. Standing, plateau and overfitting are of the last phase, since a change of settings moves
    figures.
    """
    target = history.target
    records = tuple(r for r in latest_per_epoch(history.records) if not math.isnan(r.value(target.metric)))
    epochs, values = [record.epoch for record in records], [record.value(target.metric) for record in records]
    marks = [Mark(record.epoch, record.metrics[target.metric]) for record in records]
    line = trend(epochs, values)
    last_phase = tuple(itertools.takewhile(lambda record: record.phase == records[-1].phase, reversed(records)))
    recent = [r.epoch for r in last_phase], [r.value(target.metric) for r in last_phase]
    current = _current(history, marks)
    levels = _levels(history, current, line)
    elapsed = epochs[-1] - epochs[0] if epochs else 0
    total = values[-1] - values[0] if values else math.nan
    analysis = Analysis(
        metric=target.metric,
        recorded=len(records),
        elapsed=elapsed,
        first=marks[0] if marks else None,
        latest=marks[-1] if marks else None,
        best=max(marks, key=lambda mark: mark.value.value, default=None),
        current=current,
        total_improvement=total,
        per_recorded_step=total / (len(records) - 1) if len(records) > 1 else math.nan,
        per_elapsed_epoch=total / elapsed if elapsed else math.nan,
        rate_per_epoch=line.slope,
        theil_sen=line.theil_sen,
        residual_sd=line.residual_sd,
        pace=_pace(line.slope, target.rate_per_epoch),
        momentum=momentum(epochs, values),
        best_inflation=expected_maximum(len(records)) * line.residual_sd,
        standing=standing(*recent, threshold=history.plateau.threshold),
        plateau=plateau(*recent, **history.plateau.model_dump()),
        overfitting=overfitting(recent[0], [r.train_loss for r in last_phase], [r.val_loss for r in last_phase]),
        guard=_guard(history, records),
        levels=levels,
        level_reached=next((level.name for level in reversed(levels) if level.reached), "none"),
        gap_to_target=max(0.0, levels[0].gap.value) if current else math.nan,
        phases=tuple(_review(phase) for phase in history.phases),
        issues=_untried(configuration_issues(history.config), history.decisions),
    )
    return _told(history, analysis, _start(history, marks))


def _told(history: History, figures: Analysis, start: Mark | None) -> Analysis:
    """Add sentences and tables, which are made from the figures."""
    analysis = dataclasses.replace(
        figures,
        warnings=warnings(history, figures),
        opportunities=opportunities(history, figures.issues),
        key_metrics=key_metrics(history, figures),
        progress=progress(history, figures),
        timeline=timeline(history, start),
        risks=risks(history),
    )
    return dataclasses.replace(
        analysis, insights=insights(history, analysis), recommendations=recommendations(history, analysis)
    )


def expected_maximum(n: int) -> float:
    """The expected largest of `n` independent standard normal values, by quadrature; NaN for n < 1.

    Source: the density of the largest is n phi(z) Phi(z)^(n-1) (David and Nagaraja, "Order Statistics", 2.1).
    """
    if n < 1:
        return math.nan
    z = np.linspace(-10.0, 10.0, 4001)
    density = n * np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi) * ndtr(z) ** (n - 1)
    return max(0.0, float(np.sum(z * density) * (z[1] - z[0])))


def _untried(issues: tuple[Issue, ...], decisions: tuple[Decision, ...]) -> tuple[Issue, ...]:
    """The issues without those whose setting a phase has changed already; that phase has its own verdict."""
    tried = {key for decision in decisions if decision.action == "run" for key in decision.settings}
    return tuple(i for i in issues if not any(key == i.key or key.startswith(f"{i.key}.") for key in tried))


def _current(history: History, marks: list[Mark]) -> Mark | None:
    champion, metric = history.champion, history.target.metric
    if champion is not None and not math.isnan(champion.value(metric)):
        return Mark(champion.epoch, champion.metrics[metric])
    return marks[-1] if marks else None


def _start(history: History, marks: list[Mark]) -> Mark | None:
    """What a strategy starts from: the baseline, or the latest recorded epoch where no strategy led them."""
    if history.phases or history.baseline is not None:
        baseline, metric = history.baseline, history.target.metric
        return Mark(baseline.epoch, baseline.metrics[metric]) if baseline and metric in baseline.metrics else None
    return marks[-1] if marks else None


def _levels(history: History, current: Mark | None, line: Trend) -> tuple[Level, ...]:
    target = history.target
    named: tuple[tuple[LevelName, float], ...] = (
        ("minimum", target.minimum),
        ("success", target.success),
        ("optimal", target.optimal),
    )
    value = current.value if current else Estimate(math.nan)
    return tuple(
        Level(
            name=name,
            value=level,
            reached=value.value >= level,
            certain=value.low >= level,
            gap=Estimate(level - value.value, level - value.high, level - value.low, value.n),
            epochs_to_reach=epochs_to_reach(line, current.epoch if current else math.nan, value.value, level),
        )
        for name, level in named
    )


def _guard(history: History, records: tuple[EpochRecord, ...]) -> Guard:
    target = history.target
    metric, floor, absolute = target.guard_metric, target.guard_floor, target.guard_absolute_floor
    record = history.champion or (records[-1] if records else None)
    value = record.metrics.get(metric, Estimate(math.nan)) if record else Estimate(math.nan)
    then = [history.baseline] if history.baseline else records
    before = max((r.value(metric) for r in then if not math.isnan(r.value(metric))), default=math.nan)
    return Guard(
        metric,
        value,
        floor,
        value.value >= floor if floor is not None and value.known else None,
        absolute,
        value.value >= absolute if absolute is not None and value.known else None,
        absolute is None or not before < absolute,
    )


def _pace(slope: Estimate, wanted: float) -> Pace:
    if slope.low > wanted:
        return "above"
    return "below" if slope.high < wanted else "undecided"


def _review(phase: PhaseStory) -> PhaseReview:
    actual = phase.verdict.difference if phase.verdict else Estimate(math.nan)
    agreement: Agreement = "not measured"
    if phase.expected_gain is not None and actual.known and not math.isnan(actual.low):
        lowest, highest = phase.expected_gain
        agreement = "below" if actual.high < lowest else "above" if actual.low > highest else "compatible"
    return PhaseReview(phase.name, phase.expected_gain, actual, agreement)
