"""What can be reported on: the epochs of a run or of a recorded file, and the story around them.

A recorded file is JSON: `{"metrics": {"20": {"map_50_95": 0.661, "map_small": 0.527, "train_loss": 4.2}}}`. The
report's own document is such a file too, and what it says about epochs is read back in full.
"""

from __future__ import annotations

import difflib
import itertools
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, NoReturn, cast

from smallsight.errors import HistoryError
from smallsight.records import Decision, EpochRecord, Estimate, Verdict, Weights
from smallsight.report.other_tools import rows_of
from smallsight.strategy.given import Call
from smallsight.strategy.plan import Plan, PlateauRule

PhaseOutcome = (
    Literal["baseline", "measured", "improved", "kept", "no_evidence", "regressed"]
    | Literal["failed", "halted", "interrupted", "running", "pending", "skipped"]
)
Stopped = Literal["", "interrupted", "failed", "out of budget"]

RECORDED_PHASE = "recorded"

_METRIC = re.compile(r"(map|ap|ar|recall|precision|centre)(_[a-z0-9]+)+")
_NUMBERS = ("train_loss", "val_loss", "learning_rate", "seconds", "images_per_second", "peak_memory_mb")
_COUNTS = ("attempt", "resolution")
_TABLES = ("loss_parts", "intervals", "n", "sets", "other")
_TEXTS = ("phase", "weights")
_USUAL_METRICS = ("map_50_95", "map_50", "map_75", "map_small", "map_medium", "map_large")
_ABSURD_EPOCH = 1_000_000


@dataclass(frozen=True)
class Target:
    """What the run is to reach.

    Attributes:
        metric: the metric that decides.
        minimum, success, optimal: its three levels.
        guard_metric: the metric that must not suffer.
        guard_floor: what the baseline leaves it to drop to, None where no baseline is known.
        guard_absolute_floor: its lowest value allowed whatever the baseline was, None for no such value.
        rate_per_epoch: the improvement per elapsed epoch that the strategy asks for.
        unknown_metric: the metric that was asked for and that the file lacks, so that `metric` stands in for it; empty
            where nothing stands in.
    """

    metric: str = "map_small"
    minimum: float = 0.65
    success: float = 0.70
    optimal: float = 0.75
    guard_metric: str = "map_50_95"
    guard_floor: float | None = None
    guard_absolute_floor: float | None = None
    rate_per_epoch: float = 0.003
    unknown_metric: str = ""


@dataclass(frozen=True)
class Memory:
    """What training took, MB; NaN where not known.

    Attributes:
        probe_mb: what was expected, after a try of the hardest steps before the first one.
        peak_mb: the highest in any epoch.
        limit_mb: what there may be.
    """

    probe_mb: float = math.nan
    peak_mb: float = math.nan
    limit_mb: float = math.nan


@dataclass(frozen=True)
class PhaseStory:
    """One phase as it went.

    Attributes:
        name, title: its key in the strategy, and its words.
        start_epoch, end_epoch: first and last epoch trained in it; both 0 where it was not begun, the last before the
            first where none is done.
        outcome: the verdict's, or why there is none: `baseline` is what later phases are compared with, `measured` a
            checkpoint that a phase by hand starts from, `halted` is to be tried again by whoever starts the run again,
            `interrupted` has not ended and nobody works on it, `pending` may still be run, `skipped` was not before the
            run ended.
        expected_gain: lowest and highest gain of the target metric that the strategy expects.
        verdict: against the champion on the same images; of a phase by hand, against what it started from.
        reason: one sentence or more.
        seconds: wall time, NaN where not known.
        settings: dotted keys in effect that differ from the run's configuration.
        memory: what it took.
        notes: what the training had to say beside its epochs.
        only_measures: whether it trains nothing and measures the checkpoint that a phase by hand starts from.
        plays: the phase of the strategy that it is, where it goes by another name.
    """

    name: str
    title: str
    start_epoch: int
    end_epoch: int
    outcome: PhaseOutcome
    expected_gain: tuple[float, float] | None = None
    verdict: Verdict | None = None
    reason: str = ""
    seconds: float = math.nan
    settings: Mapping[str, Any] = field(default_factory=dict)
    memory: Memory = field(default_factory=Memory)
    notes: tuple[str, ...] = ()
    only_measures: bool = False
    plays: str = ""

    @property
    def part(self) -> str:
        """The phase of the strategy that it is."""
        return self.plays or self.name

    @property
    def begun(self) -> bool:
        """Whether it was."""
        return self.outcome not in ("pending", "skipped")

    @property
    def epochs(self) -> str:
        """Its epochs in words; empty where it was not begun."""
        if not self.begun:
            return ""
        if self.end_epoch < self.start_epoch:
            return "none"
        return f"{self.end_epoch}" if self.end_epoch == self.start_epoch else f"{self.start_epoch}-{self.end_epoch}"


@dataclass(frozen=True)
class NextCommand:
    """A command that can be pasted into a shell, and what it does."""

    title: str
    line: str


@dataclass(frozen=True)
class History:
    """All that a report is made from.

    Attributes:
        source: where it was read from.
        records: one per recorded epoch and attempt, in the order in which they were written.
        phases, decisions: in order; empty for a recorded file.
        baseline: the checkpoint as it came; champion: the best one that was accepted.
        config: the run's configuration, sections as in its file.
        plateau: when the strategy counts the target metric as flat.
        plan: the strategy that leads the run, or by which recorded epochs are looked at; None for none.
        champion_path: the champion's checkpoint file.
        finished: whether the strategy has come to its end.
        stopped: why nobody works on a run that is not finished; empty where somebody does.
        commands: to go on with, where the next step is a command that is known.
        start_doubts: what seems wrong with the checkpoint that the run started from.
        record_doubts: why epochs recorded before the run can't be compared with its own.
        by_hand: whether its phases are by hand; each is then compared with what it started from.
        call: the command line that others to go on with are like; None where a strategy leads the run by itself.
        start_path: the checkpoint to go on from, for such commands.
    """

    source: str
    records: tuple[EpochRecord, ...]
    phases: tuple[PhaseStory, ...] = ()
    decisions: tuple[Decision, ...] = ()
    baseline: EpochRecord | None = None
    champion: EpochRecord | None = None
    config: Mapping[str, Any] | None = None
    target: Target = field(default_factory=Target)
    plateau: PlateauRule = field(default_factory=PlateauRule)
    plan: Plan | None = None
    champion_path: str = ""
    finished: bool = False
    stopped: Stopped = ""
    commands: tuple[NextCommand, ...] = ()
    start_doubts: tuple[str, ...] = ()
    record_doubts: tuple[str, ...] = ()
    by_hand: bool = False
    call: Call | None = None
    start_path: str = ""


def latest_per_epoch(records: Iterable[EpochRecord]) -> tuple[EpochRecord, ...]:
    """One record per epoch, by epoch; where attempts repeated an epoch, the one written last."""
    by_epoch = {record.epoch: record for record in records}
    return tuple(by_epoch[epoch] for epoch in sorted(by_epoch))


def read_history(path: Path, target: Target | None = None) -> History:
    """Read a recorded file.

    Args:
        path: a JSON file as described at the top, or a file of another tool (`report.other_tools`).
        target: what to measure against; the default levels where None.
    Returns:
        Its epochs in order. Metrics are fractions in [0, 1]; null or -1 (no object of that size) is not known.
    Raises:
        HistoryError: the file is missing or not such a file, or none of its epochs has the target metric.
    """
    target = target or Target()
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


def _of_what_is_known(target: Target, rows: Mapping[str, Mapping[str, float]]) -> Target:
    """The target, of the metric that a file of another tool has where it lacks the target's."""
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
    """A table of figures, such as those on a further evaluation set, each with `value`, `low`, `high` and `n`."""
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
    """What a wrong value is, short enough for one line."""
    if isinstance(value, dict):
        return "an object with " + (", ".join(list(value)[:5])[:80] or "nothing")
    if isinstance(value, list):
        return f"a list of {len(value)}"
    return json.dumps(value)[:40]


def _refuse(where: str, what: str, got: str, expected: str, remedy: str) -> NoReturn:
    raise HistoryError(f"{where}: {what}; got {got}, expected {expected}. {remedy}")
