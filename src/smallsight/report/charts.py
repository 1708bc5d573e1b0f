"""The figures of the HTML report, with their titles, captions and legends."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from smallsight.evaluation.evidence import Evidence
from smallsight.records import EpochRecord, Estimate
from smallsight.report.figures import (
    Band,
    Bar,
    ChartLevel,
    ChartMark,
    Point,
    Series,
    bar_chart,
    forest_axis,
    forest_row,
    line_chart,
    nice_ticks,
    reliability_chart,
    target_chart,
)
from smallsight.report.findings import Analysis
from smallsight.report.history import History, PhaseMemory, latest_per_epoch
from smallsight.report.lessons import KINDS, SIZES, sizes_apart
from smallsight.report.memory_words import memory_in_words
from smallsight.report.sets import found_by_set, frames_note, metric_by_set
from smallsight.report.words import written

PHASE_TONES = 8
_BY_SIZE = {
    "0_8": "0–8 px",
    "8_16": "8–16 px",
    "16_32": "16–32 px",
    "map_medium": "medium",
    "map_large": "large",
}
_LOG_FROM = 4.0


@dataclass(frozen=True)
class Figure:
    """A picture with its caption and its legend: (name, tone, latest value)."""

    title: str
    note: str
    svg: Markup
    legend: tuple[tuple[str, int, str], ...] = ()


def phase_numbers(history: History) -> dict[str, int]:
    """The phases that have epochs, or were begun, by name, numbered from 1 in order."""
    names = [phase.name for phase in history.phases if phase.begun]
    names += [record.phase for record in history.records]
    return {name: number for number, name in enumerate(dict.fromkeys(names), start=1)}


def curves(history: History, analysis: Analysis) -> tuple[Figure, ...]:
    """Target and guard, AP and recall by size, further sets, losses, rate, memory; empty ones are left out."""
    records = latest_per_epoch(history.records)
    metric, guard, medium = analysis.metric, history.target.guard_metric, ("map_medium", "map_large")
    by_size = {f"ap_{key}" if key[0].isdigit() else key: name for key, name in _BY_SIZE.items()}
    recall = {f"recall_{key}": name for key, name in _BY_SIZE.items() if key not in medium}
    usual = {metric: metric, "map_50": "map_50", guard: guard}
    levels = [ChartLevel(level.value, level.name) for level in analysis.levels if _near(level.value, records, metric)]
    drawn = _Drawing(history, records)
    return tuple(
        figure
        for figure in (
            drawn.metrics("Target", _target_note(history, records, metric), usual, {metric}, levels),
            drawn.metrics("AP by object size", "Side of the square with the box's area.", by_size, set(by_size)),
            drawn.metrics("Recall by object size", "Mean over IoU .50 to .95.", recall, set(recall)),
            drawn.estimates(f"{metric} by evaluation set", "", metric_by_set(records, metric)),
            drawn.estimates("Share of frames with a detection", frames_note(records), found_by_set(records)),
            drawn.numbers(
                "Losses", {"train": [r.train_loss for r in records], "validation": [r.val_loss for r in records]}
            ),
            drawn.numbers(
                "Learning rate", {"at the end of the epoch": [r.learning_rate for r in records]}, from_zero=True
            ),
            drawn.numbers("Memory, GB", _memory(history, records), memory_in_words(history), from_zero=True),
        )
        if figure.svg
    )


def _memory(history: History, records: Sequence[EpochRecord]) -> dict[str, list[float]]:
    """GB by epoch: the peak, the peak that a probe before the phase's first step predicted, and the limit."""
    phases = {phase.name: phase.memory for phase in history.phases}
    of_epoch = [phases.get(record.phase, PhaseMemory()) for record in records]
    return {
        "peak": [record.peak_memory_mb / 1000 for record in records],
        "expected before": [memory.probe_mb / 1000 for memory in of_epoch],
        "limit": [memory.limit_mb / 1000 if math.isfinite(memory.limit_mb) else math.nan for memory in of_epoch],
    }


def phase_rows(history: History, analysis: Analysis) -> tuple[Markup, dict[str, Markup]]:
    """A scale of gains, and for each phase its expected and its measured gain on it; empty for nothing to show."""
    reviews = {review.phase: review for review in analysis.phases}
    values = [0.0]
    for review in analysis.phases:
        values += [*(review.expected or ()), review.actual.value, review.actual.low, review.actual.high]
    known = [value for value in values if math.isfinite(value)]
    if len(known) < 2:
        return Markup(""), {}
    low, high = min(known), max(known)
    ticks = nice_ticks(low, high, 4)
    return forest_axis(ticks[0], ticks[-1]), {
        name: forest_row(
            review.expected, review.actual, ticks[0], ticks[-1], _gain_hint(review.expected, review.actual)
        )
        for name, review in reviews.items()
        if review.expected or review.actual.known
    }


def target_figure(history: History, analysis: Analysis, evidence: Evidence | None) -> Figure:
    """Baseline, champion and second sets against the levels of the target."""
    metric, marks = analysis.metric, []
    if history.baseline is not None and history.baseline != history.champion:
        marks.append(ChartMark("baseline", history.baseline.metrics.get(metric, Estimate(math.nan)), "before"))
    if analysis.current is not None:
        marks.append(ChartMark("champion" if history.champion else "latest", analysis.current.value, "now"))
    marks += [ChartMark(_cut(f"on {gap.name}"), gap.value, "elsewhere") for gap in (evidence.gaps if evidence else ())]
    title = f"{metric} against its levels"
    levels = [ChartLevel(level.value, level.name) for level in analysis.levels]
    note = "Levels: " + ", ".join(f"{level.name} {level.value:g}" for level in levels) + "."
    return Figure(title, note, target_chart(title, [mark for mark in marks if mark.value.known], levels))


def _cut(words: str, most: int = 15) -> str:
    return words if len(words) <= most else words[: most - 1] + "…"


def mistake_figures(evidence: Evidence) -> tuple[Figure, ...]:
    """AP50 lost to each kind of mistake, one picture per object size; kinds that never occur are left out."""
    sizes = sizes_apart(evidence)
    happened = [kind for kind in KINDS if any(p.count for size in sizes for p in size.parts if p.kind == kind)]
    ends = [p.ap_lost.high if math.isfinite(p.ap_lost.high) else p.ap_lost.value for s in sizes for p in s.parts]
    high = max([*ends, 0.05])
    figures = []
    for size in sizes if happened else ():
        bars = [
            Bar(
                part.kind,
                part.ap_lost,
                written(part.ap_lost.value),
                f"{part.kind}: {KINDS[part.kind]}; AP50 lost {written(part.ap_lost)}, n={part.count}",
            )
            for part in size.parts
            if part.kind in happened
        ]
        name = SIZES.get(size.size_bin, size.size_bin)
        note = f"AP50 {size.ap_50:.2f}, {size.found} of {size.objects} found"
        figures.append(Figure(name, note, bar_chart(f"AP50 lost at {name}", bars, high)))
    return tuple(figures)


def calibration_figure(evidence: Evidence) -> Figure | None:
    """The reliability diagram: share of hits over score; None where the calibration is not known."""
    found = evidence.calibration
    if found is None:
        return None
    bins = [
        (
            b.mean_score,
            b.hit_share,
            f"scores {b.low:.1f} to {b.high:.1f}: {b.hit_share:.2f} are hits, n={b.hit_share.n}",
        )
        for b in found.bins
    ]
    chance = found.error_if_perfect
    perfect = "" if math.isnan(chance) else f" Perfectly calibrated scores would have {chance:.3f} by chance."
    off = f"Expected calibration error (ECE): {found.error:.3f}, n={found.error.n}."
    note = f"{off}{perfect} Below the dashed line, scores are too high (overconfident)."
    return Figure("Share of hits over score", note, reliability_chart("Share of hits over score", bins))


class _Drawing:
    """Line charts over the epochs of one history."""

    def __init__(self, history: History, records: Sequence[EpochRecord]) -> None:
        self._records = records
        self._champion = history.champion.epoch if history.champion else None
        numbers = phase_numbers(history)
        titles = {phase.name: phase.title for phase in history.phases}
        self._bands = []
        for name, group in itertools.groupby(records, key=lambda record: record.phase):
            epochs = [record.epoch for record in group]
            words = f"{titles.get(name, name)}: epochs {epochs[0]} to {epochs[-1]}"
            tone = (numbers[name] - 1) % PHASE_TONES
            self._bands.append(Band(epochs[0], epochs[-1], tone, str(numbers[name]), words))
        if len(self._bands) < 2:
            self._bands = []

    def metrics(
        self, title: str, note: str, names: Mapping[str, str], shaded: set[str], levels: Sequence[ChartLevel] = ()
    ) -> Figure:
        """Metrics by name, each under its label; a line that lies on an earlier one is left out."""
        columns: dict[str, list[Estimate]] = {}
        for metric in names:
            values = [record.metrics.get(metric, Estimate(math.nan)) for record in self._records]
            if values not in columns.values():
                columns[metric] = values
        series = [self._series(names[m], tone, columns[m], m in shaded, ".3f") for tone, m in enumerate(columns)]
        return self._figure(title, note, series, ".3f", levels=levels)

    def estimates(self, title: str, note: str, columns: Mapping[str, Sequence[Estimate]]) -> Figure:
        """A line with intervals for each label; one estimate per record."""
        labelled = enumerate(columns.items())
        series = [self._series(label, tone, values, True, ".3f") for tone, (label, values) in labelled]
        return self._figure(title, note, series, ".3f")

    def numbers(
        self, title: str, columns: Mapping[str, Sequence[float]], note: str = "", *, from_zero: bool = False
    ) -> Figure:
        """A line without intervals for each label; one number per record."""
        series = [
            self._series(label, tone, [Estimate(value) for value in values], False, ".3g")
            for tone, (label, values) in enumerate(columns.items())
        ]
        values = [point.y.value for item in series for point in item.points if point.y.value > 0]
        log = from_zero and bool(values) and max(values) / min(values) >= _LOG_FROM
        return self._figure(title, note, series, ".3g", from_zero=from_zero, log=log)

    def _series(self, label: str, tone: int, values: Sequence[Estimate], shaded: bool, spec: str) -> Series:
        points = tuple(
            Point(
                x=record.epoch,
                y=value,
                group=record.phase,
                hint=_hint(record, label, value, spec),
                marked=record.epoch == self._champion and tone == 0 and spec == ".3f",
            )
            for record, value in zip(self._records, values, strict=True)
        )
        return Series(label, tone, points, shaded)

    def _figure(
        self,
        title: str,
        note: str,
        series: Sequence[Series],
        spec: str,
        levels: Sequence[ChartLevel] = (),
        from_zero: bool = False,
        log: bool = False,
    ) -> Figure:
        known = [item for item in series if any(point.y.known for point in item.points)]
        legend = tuple((item.name, item.tone, _last(item, spec)) for item in known)
        svg = line_chart(title, known, bands=self._bands, levels=levels, from_zero=from_zero, log=log)
        return Figure(title, note, svg, legend)


def _last(series: Series, spec: str) -> str:
    value = next(point.y for point in reversed(series.points) if point.y.known)
    return f"{value.value:{spec}}" + (f", n={value.n}" if value.n else "")


def _hint(record: EpochRecord, label: str, value: Estimate, spec: str) -> str:
    count = f", n={value.n}" if value.n else ""
    return f"epoch {record.epoch} ({record.phase}): {label} {format(value, spec)}{count}"


def _gain_hint(expected: tuple[float, float] | None, actual: Estimate) -> str:
    hoped = f"expected {written(expected[0], '+.3f')} to {written(expected[1], '+.3f')}; " if expected else ""
    return f"{hoped}measured {written(actual, '+.3f')}"


def _target_note(history: History, records: Sequence[EpochRecord], metric: str) -> str:
    shaded = any(metric in record.metrics and not math.isnan(record.metrics[metric].low) for record in records)
    return ("Shaded: 95 % interval over images. " if shaded else "") + (
        "Ring: the champion." if history.champion else ""
    )


def _near(level: float, records: Sequence[EpochRecord], metric: str) -> bool:
    """Whether a level is near enough to the values to be drawn without squeezing them."""
    values = [record.value(metric) for record in records if not math.isnan(record.value(metric))]
    return bool(values) and level <= max(values) + 2 * max(max(values) - min(values), 0.05)
