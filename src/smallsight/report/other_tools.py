"""Convert histories that other tools write: CSV tables, and logs with one JSON object per line.

They are recognised by their content, not by their file names:

- a table with a column `epoch` and columns of AP, such as `results.csv` (`metrics/mAP50-95(B)`) or the `metrics.csv` of
  a Lightning training (`val/mAP_50_95`), where the rows of one epoch are put together;
- a log of DETR's descendants: `test_coco_eval_bbox` holds COCO's twelve figures in their order.

An epoch keeps the number that the file gives it.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

COCO_FIGURES = ("map_50_95", "map_50", "map_75", "map_small", "map_medium", "map_large")
"""The first six of COCO's twelve figures, in their order."""
_COCO_KEYS = ("test_coco_eval_bbox", "ema_test_coco_eval_bbox", "coco_eval_bbox")
_METRICS = {
    "map_50_95": ("metrics/map50-95(b)", "metrics/map_0.5:0.95", "metrics/map50-95", "val/map_50_95", "map_50_95"),
    "map_50": ("metrics/map50(b)", "metrics/map_0.5", "metrics/map50", "val/map_50", "map_50"),
    "map_75": ("metrics/map75(b)", "val/map_75", "map_75"),
    "map_small": ("metrics/map_small", "val/map_small", "map_small"),
}
"""Columns of each metric, in small letters, the most usual first."""
_RATES = ("lr/pg0", "x/lr0", "train/lr", "lr", "learning_rate", "train_lr")
_TOTALS = {"train": ("train/loss", "train_loss"), "val": ("val/loss", "val_loss", "test_loss")}


def rows_of(text: str) -> dict[str, dict[str, float]] | None:
    """Read the epochs in a file of another tool.

    Args:
        text: the whole file.
    Returns:
        Figures under the names of this package, by the number of the epoch as text; None where it is no such file.
    """
    rows = {
        epoch: row for epoch, row in (_lines(text) or _table(text)).items() if any(name in row for name in _METRICS)
    }
    return rows or None


def _lines(text: str) -> dict[str, dict[str, float]]:
    """Read one JSON object per line; empty where any line is not one."""
    found: dict[str, dict[str, float]] = {}
    for line in filter(str.strip, text.splitlines()):
        try:
            content = json.loads(line)
        except (ValueError, RecursionError):
            return {}
        if not isinstance(content, dict):
            return {}
        figures = next((content[key] for key in _COCO_KEYS if isinstance(content.get(key), list)), None)
        epoch = content.get("epoch")
        if figures is not None and isinstance(epoch, int) and not isinstance(epoch, bool):
            values = zip(COCO_FIGURES, map(_number, figures), strict=False)
            found[str(epoch)] = _known({**dict(values), **_beside(content)})
    return found


def _table(text: str) -> dict[str, dict[str, float]]:
    """Read a table with a header; rows of one epoch are merged. Empty where there is no column `epoch`."""
    reader = csv.reader(io.StringIO(text))
    found: dict[str, dict[str, float]] = {}
    try:
        header = [name.strip() for name in next(reader, [])]
        if "epoch" not in header:
            return {}
        for cells in reader:
            row = dict(zip(header, cells, strict=False))
            epoch = _number(row.get("epoch"))
            if math.isfinite(epoch) and epoch.is_integer():
                found.setdefault(str(int(epoch)), {}).update(_known({**dict(_metrics(row)), **_beside(row)}))
    except csv.Error:
        return {}
    return found


def _metrics(row: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    small = {name.lower(): value for name, value in row.items()}
    for ours, columns in _METRICS.items():
        yield ours, next((_number(small[column]) for column in columns if column in small), math.nan)


def _beside(row: Mapping[str, Any]) -> dict[str, float]:
    """Losses and the learning rate; a loss without a total is the sum of its parts."""
    found = {f"{split}_loss": _first(row, totals) for split, totals in _TOTALS.items()}
    for split in _TOTALS:
        parts = [_number(value) for name, value in row.items() if name.startswith(f"{split}/") and "loss" in name]
        if math.isnan(found[f"{split}_loss"]) and parts:
            found[f"{split}_loss"] = sum(parts)
    return {**found, "learning_rate": _first(row, _RATES)}


def _first(row: Mapping[str, Any], names: Iterable[str]) -> float:
    return next((_number(row[name]) for name in names if name in row), math.nan)


def _number(value: Any) -> float:
    """A cell as a number; NaN where it is empty or not a number."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan


def _known(row: Mapping[str, float]) -> dict[str, float]:
    """Drop values that are not known, and COCO's -1 for a size that no object has."""
    return {name: value for name, value in row.items() if math.isfinite(value) and value != -1}
