"""Compare two runs: their champions, the settings in which they differ, and the outcomes of their phases."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from smallsight.records import EpochRecord, Estimate, to_json
from smallsight.report.history import History, latest_per_epoch
from smallsight.report.markdown import plain, table
from smallsight.report.words import setting, written
from smallsight.strategy.treatment import flatten

_SHOWN = ("map_50_95", "map_50", "map_small", "ap_0_8", "ap_8_16", "ap_16_32", "recall_50", "centre_ap")


@dataclass(frozen=True)
class Comparison:
    """Two runs, the second against the first.

    Attributes:
        first, second: the runs.
        metric: the first run's target metric.
        differences: of the champions on the same images, second minus first, by metric; empty where they can't be
            compared on the same images.
        note: why they can't be compared on the same images.
    """

    first: History
    second: History
    metric: str
    differences: Mapping[str, Estimate]
    note: str = ""

    @property
    def champions(self) -> tuple[EpochRecord | None, EpochRecord | None]:
        """The champion of each run, or its last epoch where it has no champion."""
        return standing(self.first), standing(self.second)

    def verdict(self) -> str:
        """Which champion is better, in a sentence."""
        difference = self.differences.get(self.metric)
        if difference is None:
            return f"Which champion is better can't be told: {self.note}"
        if difference.low > 0:
            better = f"{self.second.source} is better"
        elif difference.high < 0:
            better = f"{self.first.source} is better"
        else:
            better = "No difference can be shown"
        by = written(difference, "+.3f")
        return (
            f"{better}: {self.metric} differs by {by} on the same images, n={difference.n}, corrected for choosing the "
            "best epoch of each; so it need not be the difference of the two figures."
        )


def standing(history: History) -> EpochRecord | None:
    """The champion, or the last epoch where there is none."""
    records = latest_per_epoch(history.records)
    return history.champion or (records[-1] if records else None)


def metrics_to_compare(first: History, second: History) -> tuple[str, ...]:
    """The target metrics and the usual metrics for which both champions have a value."""
    records = standing(first), standing(second)
    names = dict.fromkeys((first.target.metric, second.target.metric, *_SHOWN))
    return tuple(
        name for name in names if all(r is not None and name in r.metrics and r.metrics[name].known for r in records)
    )


def settings_apart(comparison: Comparison) -> list[tuple[str, Any, Any]]:
    """Keys of the champions' configurations whose values differ; empty where either is not known."""
    first, second = comparison.first, comparison.second
    if first.config is None or second.config is None:
        return []
    ours, theirs = in_effect(first), in_effect(second)
    return [
        (key, ours.get(key), theirs.get(key)) for key in sorted({*ours, *theirs}) if ours.get(key) != theirs.get(key)
    ]


def in_effect(history: History) -> dict[str, Any]:
    """The settings that the champion was trained with, by dotted key."""
    champion = standing(history)
    phase = next(
        (
            phase
            for phase in history.phases
            if champion and phase.name == champion.phase and phase.start_epoch <= champion.epoch <= phase.end_epoch
        ),
        None,
    )
    return flatten(history.config or {}) | dict(phase.settings if phase else {})


def tables(comparison: Comparison, first: str, second: str) -> Iterator[tuple[tuple[str, ...], list[tuple[str, ...]]]]:
    """Three tables as head and rows: the champions' figures, settings, phases.

    Args:
        first, second: the names of the runs in the heads.
    """
    yield ("champion", first, second, "difference"), list(_figures(comparison))
    settings = settings_apart(comparison)
    yield ("setting", first, second), [(key, setting(a), setting(b)) for key, a, b in settings]
    yield ("phase", first, second), list(_phases(comparison))


def to_comparison_markdown(comparison: Comparison) -> str:
    """The comparison as Markdown; markup in words that come from data is escaped."""
    parts = [[plain(comparison.verdict())]]
    for head, rows in tables(comparison, comparison.first.source, comparison.second.source):
        parts.append(table(tuple(map(plain, head)), (tuple(map(plain, row)) for row in rows)))
    return "\n\n".join("\n".join(part) for part in parts if part)


def to_comparison_document(comparison: Comparison) -> dict[str, Any]:
    """The comparison as plain JSON values."""
    champions = [
        None
        if record is None
        else {"source": history.source, "epoch": record.epoch, "phase": record.phase}
        | {"metrics": to_json(record.metrics)}
        for history, record in zip((comparison.first, comparison.second), comparison.champions, strict=True)
    ]
    return {
        "verdict": comparison.verdict(),
        "metric": comparison.metric,
        "champions": champions,
        "differences": to_json(comparison.differences),
        "settings": [{"key": key, "first": a, "second": b} for key, a, b in settings_apart(comparison)],
        "phases": [dict(zip(("name", "first", "second"), row, strict=True)) for row in _phases(comparison)],
    }


def _figures(comparison: Comparison) -> Iterator[tuple[str, ...]]:
    ours, theirs = comparison.champions
    if ours is None or theirs is None:
        return
    yield "epoch", str(ours.epoch), str(theirs.epoch), ""
    for name in metrics_to_compare(comparison.first, comparison.second):
        difference = comparison.differences.get(name)
        shown = "" if difference is None else written(difference, "+.3f")
        yield name, written(ours.metrics[name]), written(theirs.metrics[name]), shown


def _phases(comparison: Comparison) -> Iterator[tuple[str, str, str]]:
    columns = [{phase.name: phase for phase in history.phases} for history in (comparison.first, comparison.second)]
    for name in dict.fromkeys(name for column in columns for name in column):
        cells = []
        for column in columns:
            phase = column.get(name)
            gain = f" {written(phase.verdict.difference.value, '+.3f')}" if phase and phase.verdict else ""
            cells.append("" if phase is None else phase.outcome.replace("_", " ") + gain)
        yield name, cells[0], cells[1]
