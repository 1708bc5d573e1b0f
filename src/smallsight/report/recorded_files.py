"""Read a recorded file of epochs, written by this package or by another tool.

A recorded file is JSON: `{"metrics": {"20": {"map_50_95": 0.661, "map_small": 0.527, "train_loss": 4.2}}}`. The JSON
report of a run is such a file, too; all that it contains about epochs is read.
"""

from __future__ import annotations

import difflib
import itertools
import json
import math
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, NoReturn, cast

from smallsight.errors import HistoryError
from smallsight.records import EpochRecord, Estimate, Weights
from smallsight.report.history import RECORDED_PHASE, History, TargetAndGuard
from smallsight.report.other_tools import rows_of

_METRIC = re.compile(r"(map|ap|ar|recall|precision|centre)(_[a-z0-9]+)+")
_NUMBERS = ("train_loss", "val_loss", "learning_rate", "seconds", "images_per_second", "peak_memory_mb")
_COUNTS = ("attempt", "resolution")
_TABLES = ("loss_parts", "intervals", "n", "sets", "other")
_TEXTS = ("phase", "weights")
_USUAL_METRICS = ("map_50_95", "map_50", "map_75", "map_small", "map_medium", "map_large")
_ABSURD_EPOCH = 1_000_000


def read_history(path: Path, target: TargetAndGuard | None = None) -> History:
    """Read a recorded file.

    Args:
        path: a JSON file as described at the top, or a file of another tool (`report.other_tools`).
        target: target metric and levels; the default ones where None.
    Returns:
        Its epochs in order. Metrics are fractions in [0, 1]; null or -1 (no object of that size) is not known.
    Raises:
        HistoryError: the file is missing or not such a file, or none of its epochs has the target metric.
    """
    target = target or TargetAndGuard()
    text = _text_of(path)
    foreign = rows_of(text)
    is_foreign = foreign is not None
    content = {"metrics": foreign} if is_foreign else _parsed(path, text)
    if not isinstance(content, dict) or not isinstance(content.get("metrics"), dict):
        _refuse(
            f"{path}", "no epochs in it", _named(content), "an object with `metrics`", 'Write {"metrics": {"1": {}}}.'
        )
    rows = content["metrics"]
    if not rows:
        _refuse(f"{path}: metrics", "empty", "no epoch", "one or more", "Record an epoch first.")
    target = _of_what_is_known(target, rows) if is_foreign else target
    records = tuple(sorted((_record(path, key, row) for key, row in rows.items()), key=lambda record: record.epoch))
    _refuse_repeats(path, records)
    if all(math.isnan(record.value(target.metric)) for record in records):
        names = sorted({name for record in records for name in record.metrics})
        got = ", ".join(names) or "no metric"
        _refuse(f"{path}: metrics", "the target metric is in no epoch", got, target.metric, "Record it.")
    return History(source=str(path), records=records, target=target)


def _of_what_is_known(target: TargetAndGuard, rows: Mapping[str, Mapping[str, float]]) -> TargetAndGuard:
    """The target; where a file of another tool lacks the target metric, with a metric that the file has."""
    if any(target.metric in row for row in rows.values()):
        return target
    known = (name for name in _USUAL_METRICS if any(name in row for row in rows.values()))
    return replace(target, metric=next(known), unknown_metric=target.metric)


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        _refuse(f"{path}", "no such file", "nothing", "a run folder or a JSON file of epochs", "Check the path.")
    except (OSError, UnicodeDecodeError) as error:
        _refuse(f"{path}", "can't be read", _reason(error), "a JSON file in UTF-8", "Check the path.")


def _parsed(path: Path, text: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_object, parse_constant=_constant)
    except RecursionError:
        _refuse(f"{path}", "not a history", "brackets nested too deep", "epochs and their metrics", "Check the file.")
    except ValueError as error:
        _refuse(f"{path}", "not JSON", str(error), "one JSON object", "Write it again with a JSON writer.")


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or "bytes that are not UTF-8"


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {next(name for name in names if names.count(name) > 1)!r} twice")
    return content


def _constant(name: str) -> NoReturn:
    raise ValueError(f"{name}, which JSON does not have (null says: not known)")


def _record(path: Path, key: str, row: Any) -> EpochRecord:
    where = f"{path}: metrics.{key}"
    if not (key.isascii() and key.isdigit() and int(key[:9]) < _ABSURD_EPOCH and len(key) < 9):
        _refuse(where, "not an epoch", repr(key), "a whole number from 0", "Name each entry by its epoch.")
    if not isinstance(row, dict):
        _refuse(where, "not an epoch's values", _named(row), "an object", 'Write {"map_small": 0.5}.')
    for name in row:
        if name not in (*_NUMBERS, *_COUNTS, *_TABLES, *_TEXTS) and not _METRIC.fullmatch(name):
            _refuse_name(where, name)
    intervals, counts = _table(where, row, "intervals"), _table(where, row, "n")
    metrics = {
        name: _estimate(where, name, value, intervals.get(name), counts.get(name))
        for name, value in row.items()
        if _METRIC.fullmatch(name) and (value is not None or name in counts)
    }
    parts = _table(where, row, "loss_parts")
    numbers: dict[str, Any] = {name: _number(where, name, row.get(name)) for name in _NUMBERS}
    return EpochRecord(
        epoch=int(key),
        phase=_text(where, row.get("phase", RECORDED_PHASE)),
        metrics=metrics,
        attempt=_count(where, "attempt", row.get("attempt", 1)),
        resolution=_count(where, "resolution", row.get("resolution", 0)),
        loss_parts={name: _number(where, f"loss_parts.{name}", value) for name, value in parts.items()},
        sets={name: _set(f"{where}.sets", row["sets"], name) for name in _table(where, row, "sets")},
        weights=_weights(where, row.get("weights", "")),
        other=_set(where, row, "other"),
        **numbers,
    )


def _weights(where: str, value: Any) -> Weights | Literal[""]:
    if value not in ("", "raw", "average"):
        _refuse(f"{where}.weights", "not known", _named(value), "raw or average", "Remove it where neither is right.")
    return cast(Weights | Literal[""], value)


def _estimate(where: str, name: str, value: Any, interval: Any, count: Any) -> Estimate:
    fraction = _fraction(where, name, value)
    n = 0 if count is None else _count(where, f"n.{name}", count)
    if interval is None:
        return Estimate(fraction, n=n)
    if not isinstance(interval, list) or len(interval) != 2:
        _refuse(f"{where}.intervals.{name}", "not an interval", _named(interval), "[low, high]", "Write two numbers.")
    low, high = (_fraction(f"{where}.intervals", name, end) for end in interval)
    return Estimate(fraction, low, high, n)


def _set(where: str, sets: Mapping[str, Any], name: str) -> dict[str, Estimate]:
    """Read a table of figures, as of a further evaluation set, each with `value`, `low`, `high` and `n`."""
    found = {}
    for metric, figure in _table(where, sets, name).items():
        place = f"{where}.{name}.{metric}"
        if not isinstance(figure, dict):
            _refuse(place, "not a figure", _named(figure), "an object", 'Write {"value": 0.5, "n": 20}.')
        value, low, high = (_number(place, part, figure.get(part)) for part in ("value", "low", "high"))
        found[metric] = Estimate(value, low, high, _count(place, "n", figure.get("n", 0)))
    return found


def _fraction(where: str, name: str, value: Any) -> float:
    number = _number(where, name, value)
    if number == -1:
        return math.nan
    if number < 0 or number > 1:
        _refuse(f"{where}.{name}", "not a fraction", f"{number:g}", "0 to 1", "Divide a percentage by 100.")
    return number


def _number(where: str, name: str, value: Any) -> float:
    if value is None:
        return math.nan
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        _refuse(f"{where}.{name}", "not a number", _named(value), "a number or null", "Write the bare number.")
    if abs(value) > 1e12:
        _refuse(f"{where}.{name}", "absurd", f"{str(value)[:20]}", "a number of ordinary size", "Check what wrote it.")
    return float(value)


def _count(where: str, name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 1e12:
        _refuse(f"{where}.{name}", "not a count", _named(value), "a whole number from 0", "Write the bare number.")
    return value


def _text(where: str, value: Any) -> str:
    if not isinstance(value, str) or not value.isprintable():
        _refuse(f"{where}.phase", "not a name", _named(value), "a printable text", "Write it in quotes.")
    return value


def _table(where: str, row: Mapping[str, Any], name: str) -> dict[str, Any]:
    table = row.get(name, {})
    if not isinstance(table, dict):
        _refuse(f"{where}.{name}", "not a table", _named(table), "an object", "Write {} for none.")
    return table


def _refuse_name(where: str, name: str) -> NoReturn:
    known = (*_USUAL_METRICS, *_NUMBERS, *_COUNTS, *_TABLES, *_TEXTS)
    near = difflib.get_close_matches(name.lower(), known, n=1)
    remedy = f"Use {near[0]}." if near else "Remove it."
    _refuse(where, "unknown name", repr(name), "a metric such as map_small or a loss", remedy)


def _refuse_repeats(path: Path, records: tuple[EpochRecord, ...]) -> None:
    for record, following in itertools.pairwise(records):
        if record.epoch == following.epoch:
            _refuse(f"{path}: metrics", "an epoch twice", f"{record.epoch}", "each epoch once", "Remove one of them.")


def _named(value: Any) -> str:
    """A wrong value for an error message, short enough for one line."""
    if isinstance(value, dict):
        return "an object with " + (", ".join(list(value)[:5])[:80] or "nothing")
    if isinstance(value, list):
        return f"a list of {len(value)}"
    return json.dumps(value)[:40]


def _refuse(where: str, what: str, got: str, expected: str, remedy: str) -> NoReturn:
    raise HistoryError(f"{where}: {what}; got {got}, expected {expected}. {remedy}")
