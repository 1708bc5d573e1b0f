"""The report as JSON and as a table: `training_evaluation_detailed.json` and `metrics.csv`.

JSON has no NaN and no infinity: null stands for a value that is not known, or for an interval's end without a limit.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from smallsight.evaluation.evidence import Evidence
from smallsight.files import write_text_atomically
from smallsight.records import EpochRecord, Estimate, to_json
from smallsight.report.analysis import analyse
from smallsight.report.exam import exam_document
from smallsight.report.findings import Analysis, Mark
from smallsight.report.history import History, PhaseStory, RoundStory, latest_per_epoch
from smallsight.report.rounds import in_words
from smallsight.run.folder import RunFolder

_METRICS = ("map_50_95", "map_50", "map_75", "map_small", "map_medium", "map_large")
_ALWAYS = ("map_50_95", "map_50", "map_small")
_LOSSES = ("train_loss", "val_loss")
_MEASURES = ("learning_rate", "seconds", "images_per_second", "peak_memory_mb")


def to_document(history: History, analysis: Analysis, evidence: Evidence | None = None) -> dict[str, Any]:
    """The report as plain JSON values.

    Args:
        evidence: the analysis of the champion's detections; None where there is none.
    Returns:
        `metrics` by epoch (`map_50_95`, `map_50`, `map_small`, `train_loss` and `val_loss` always, as bare numbers or
        null; all else where known, with `intervals` and `n` by metric; `weights` says which weights gave the figures,
        `raw` or `average`, and `other` has the figures of the other weights), `analysis` (`rate_per_epoch`,
        `total_improvement`, `latest`, `gap_to_target` and more), `phases` (an arm of a round with its own `metrics`),
        `rounds`, `decisions`, `target`, `baseline`, `champion` and `evidence`.
    """
    champion = None
    if history.champion is not None:
        champion = {"path": history.champion_path, "epoch": history.champion.epoch, **_row(history.champion)}
    baseline = None
    if history.baseline is not None:
        baseline = {"epoch": history.baseline.epoch, **_row(history.baseline)}
    document = {
        "written_by": "smallsight",
        "exam": exam_document(history, evidence),
        "source": history.source,
        "finished": history.finished,
        "target": to_json(history.target),
        "analysis": _analysis(analysis),
        "phases": [_phase(phase) for phase in history.phases],
        "rounds": [_round(history, each) for each in history.rounds],
        "error_rate": history.error_rate or None,
        "decisions": to_json(history.decisions),
        "commands": to_json(history.commands),
        "baseline": baseline,
        "champion": champion,
        "evidence": to_json(evidence),
        "metrics": {str(record.epoch): _row(record) for record in latest_per_epoch(history.records)},
    }
    return {name: _finite(value) for name, value in document.items()}


def write_report(folder: Path, history: History, evidence: Evidence | None = None) -> Path:
    """Write the report and the table of epochs into `folder`, each whole or not at all.

    Returns:
        The path of the JSON file.
    """
    document = to_document(history, analyse(history), evidence)
    files = RunFolder(folder)
    write_text_atomically(files.table, csv_text(history.records))
    write_text_atomically(files.report, json.dumps(document, indent=2, allow_nan=False) + "\n")
    return files.report


def csv_text(records: Sequence[EpochRecord]) -> str:
    """One line per epoch under a header; where attempts repeated an epoch, the last one.

    Columns: epoch, phase, attempt; each metric with `_low`, `_high` and `_n`, the usual six first and the others in
    natural order; losses; parts of the training loss; rate, time, memory; resolution; the weights that were judged
    (`raw` or `average`); then the metrics of each further evaluation set, as `real.map_small`. What is not known is
    empty.
    """
    rows = latest_per_epoch(records)
    sets = sorted({(name, metric) for row in rows for name, found in row.sets.items() for metric in found})
    metrics = (*_METRICS, *_in_order({name for row in rows for name in row.metrics} - set(_METRICS)))
    parts = _in_order({name for row in rows for name in row.loss_parts})
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        [
            *("epoch", "phase", "attempt"),
            *(f"{name}{part}" for name in metrics for part in ("", "_low", "_high", "_n")),
            *_LOSSES,
            *(f"loss_{name}" for name in parts),
            *_MEASURES,
            *("resolution", "weights"),
            *(f"{name}.{metric}{part}" for name, metric in sets for part in ("", "_low", "_high", "_n")),
        ]
    )
    for row in rows:
        writer.writerow(
            [
                *(row.epoch, row.phase, row.attempt),
                *(cell for name in metrics for cell in _cells(row.metrics.get(name))),
                *(_cell(getattr(row, name)) for name in _LOSSES),
                *(_cell(row.loss_parts.get(name, math.nan)) for name in parts),
                *(_cell(getattr(row, name)) for name in _MEASURES),
                *(row.resolution or "", row.weights),
                *(cell for name, metric in sets for cell in _cells(row.sets.get(name, {}).get(metric))),
            ]
        )
    return text.getvalue()


def _row(record: EpochRecord) -> dict[str, Any]:
    names = (*_METRICS, *_in_order(set(record.metrics) - set(_METRICS)))
    row: dict[str, Any] = {name: record.value(name) for name in names if name in _ALWAYS or name in record.metrics}
    row |= {name: getattr(record, name) for name in _LOSSES}
    row |= {"phase": record.phase, "attempt": record.attempt}
    row |= {name: getattr(record, name) for name in _MEASURES if not math.isnan(getattr(record, name))}
    if record.resolution:
        row["resolution"] = record.resolution
    if record.weights:
        row["weights"] = record.weights
    if record.other:
        row["other"] = to_json(record.other)
    if record.loss_parts:
        row["loss_parts"] = dict(record.loss_parts)
    if record.sets:
        row["sets"] = to_json(record.sets)
    known = {name: record.metrics[name] for name in names if name in record.metrics}
    row["intervals"] = {name: [e.low, e.high] for name, e in known.items() if not math.isnan(e.low)}
    row["n"] = {name: estimate.n for name, estimate in known.items() if estimate.n or not estimate.known}
    return row


def _phase(phase: PhaseStory) -> dict[str, Any]:
    """A phase; the epochs of an arm by number, since `metrics` has those of one arm of a round only."""
    content: dict[str, Any] = to_json(dataclasses.replace(phase, records=()))
    del content["records"]
    if phase.round:
        content["metrics"] = {str(record.epoch): _row(record) for record in phase.records}
    return content


def _round(history: History, each: RoundStory) -> dict[str, Any]:
    before = None if each.before is None else {"epoch": each.before.epoch, **_row(each.before)}
    content: dict[str, Any] = to_json(dataclasses.replace(each, before=None))
    return {**content, "before": before, "in_words": list(in_words(history, each))}


def _analysis(analysis: Analysis) -> dict[str, Any]:
    content: dict[str, Any] = to_json(analysis)
    for name in ("first", "latest", "best", "current"):
        content[name] = _mark(analysis.metric, getattr(analysis, name))
    return content


def _mark(metric: str, mark: Mark | None) -> dict[str, Any] | None:
    if mark is None:
        return None
    value = mark.value
    return {"epoch": mark.epoch, metric: value.value, "low": value.low, "high": value.high, "n": value.n}


def _finite(value: Any) -> Any:
    """JSON values with null for NaN and infinity."""
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _in_order(names: Iterable[str]) -> tuple[str, ...]:
    """Names sorted with their numbers as numbers: ap_8_16 before ap_16_32."""
    return tuple(
        sorted(names, key=lambda name: [(len(part), part) if part.isdigit() else (0, part) for part in _split(name)])
    )


def _split(name: str) -> list[str]:
    return re.findall(r"\d+|\D+", name)


def _cells(estimate: Estimate | None) -> list[object]:
    if estimate is None:
        return ["", "", "", ""]
    count = estimate.n if estimate.n or not estimate.known else ""
    return [_cell(estimate.value), _cell(estimate.low), _cell(estimate.high), count]


def _cell(value: float) -> object:
    return "" if math.isnan(value) else value
