"""The figures of phases and rounds: gains with their intervals, and the curves of a round's arms."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from markupsafe import Markup

from smallsight.records import EpochRecord, Estimate
from smallsight.report.charts import Figure
from smallsight.report.figures import ChartLevel, Point, Series, forest_axis, forest_row, line_chart, nice_ticks
from smallsight.report.findings import Analysis, PhaseReview
from smallsight.report.history import History, PhaseStory, RoundStory
from smallsight.report.rounds import HEAD, arms_of, cells, heading, in_words
from smallsight.report.words import written

_TONES = 5
"""Colours for treatments; the control has the one after them."""
_NOTHING = Estimate(math.nan)


@dataclass(frozen=True)
class ArmFigure:
    """An arm of a round: its row of words, and its difference to the control as a picture (empty where not known)."""

    cells: tuple[str, ...]
    tone: int
    over_control: Markup
    outcome: str


@dataclass(frozen=True)
class RoundFigure:
    """A round: its curves, its arms as a table, and sentences.

    Attributes:
        curves: the target metric of each arm over the epochs of the round.
        axis: the scale of the differences to the control; empty where none is known.
    """

    heading: str
    curves: Figure
    head: tuple[str, ...]
    axis: Markup
    arms: tuple[ArmFigure, ...]
    lines: tuple[str, ...]


def phase_rows(history: History, analysis: Analysis) -> tuple[Markup, dict[str, Markup]]:
    """A scale of gains, and for each phase its expected and its measured gains on it; empty for nothing to show."""
    measured = [each for r in analysis.phases for each in (r.over_champion, r.over_control or _NOTHING)]
    expected = [end for review in analysis.phases for end in review.expected or ()]
    ends = _ends(measured, expected)
    if ends is None:
        return Markup(""), {}
    return forest_axis(*ends), {
        review.phase: forest_row(
            review.expected, review.over_champion, *ends, _gain_hint(review), beside=review.over_control
        )
        for review in analysis.phases
        if review.expected or review.over_champion.known
    }


def round_figures(history: History) -> tuple[RoundFigure, ...]:
    """A figure for each round."""
    return tuple(_round(history, each) for each in history.rounds)


def _round(history: History, each: RoundStory) -> RoundFigure:
    arms = arms_of(history, each)
    tones = _tones(arms)
    ends = _ends(arm.over_control or _NOTHING for arm in arms)
    rows = zip(arms, cells(history, each), strict=True)
    return RoundFigure(
        heading(each),
        _curves(history, each, arms, tones),
        HEAD,
        forest_axis(*ends) if ends else Markup(""),
        tuple(ArmFigure(row, tones[arm.name], _over_control(arm, ends), arm.outcome) for arm, row in rows),
        in_words(history, each),
    )


def _tones(arms: Iterable[PhaseStory]) -> dict[str, int]:
    """A colour for each arm; those of more than five treatments come again."""
    tones: dict[str, int] = {}
    for arm in arms:
        tones[arm.name] = _TONES if arm.control else sum(tone != _TONES for tone in tones.values()) % _TONES
    return tones


def _curves(history: History, each: RoundStory, arms: Iterable[PhaseStory], tones: dict[str, int]) -> Figure:
    metric = history.target.metric
    series = [_series(arm, tones[arm.name], metric) for arm in arms]
    known = [item for item in series if any(point.y.known for point in item.points)]
    before = each.before.value(metric) if each.before else math.nan
    levels = [] if math.isnan(before) else [ChartLevel(before, "champion before")]
    title = f"{metric} of the arms"
    legend = tuple((item.name, item.tone, written(item.points[-1].y.value)) for item in known)
    ring = "Ring: the epoch that became the champion. " if each.champion else ""
    note = f"{ring}Dashed: the champion that all arms started from." if levels else ring
    return Figure(title, note, line_chart(f"{heading(each)}: {title}", known, levels=levels), legend)


def _series(arm: PhaseStory, tone: int, metric: str) -> Series:
    points = (_point(record, arm, metric) for record in arm.records)
    return Series(arm.name, tone, tuple(points))


def _point(record: EpochRecord, arm: PhaseStory, metric: str) -> Point:
    value = record.metrics.get(metric, _NOTHING)
    hint = f"{arm.name}, epoch {record.epoch}: {written(value)}"
    return Point(record.epoch, value, arm.name, hint, marked=record.epoch == arm.crowned)


def _over_control(arm: PhaseStory, ends: tuple[float, float] | None) -> Markup:
    over = arm.over_control
    if over is None or not over.known or ends is None:
        return Markup("")
    return forest_row(None, over, *ends, f"{arm.name}: {written(over, '+.3f')} over the control")


def _ends(measured: Iterable[Estimate], others: Iterable[float] = ()) -> tuple[float, float] | None:
    """The ends of a scale that holds 0 and all intervals; None where nothing is known."""
    values = [end for each in measured for end in (each.value, each.low, each.high)]
    known = [value for value in (*values, *others) if math.isfinite(value)]
    if not known:
        return None
    ticks = nice_ticks(min(0.0, *known), max(0.0, *known), 4)
    return ticks[0], ticks[-1]


def _gain_hint(review: PhaseReview) -> str:
    expected, over = review.expected, review.over_control
    hoped = f"expected {written(expected[0], '+.3f')} to {written(expected[1], '+.3f')}; " if expected else ""
    beside = f"; over the control {written(over, '+.3f')}" if over is not None else ""
    return f"{hoped}over the champion {written(review.over_champion, '+.3f')}{beside}"
