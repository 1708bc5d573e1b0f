"""The figures to watch, each with the value wanted; and whether the target metric rises fast enough."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from smallsight.records import Estimate
from smallsight.report.findings import Analysis, Guard, KeyMetric, StandingWord
from smallsight.report.history import History
from smallsight.report.words import counted, written

HEAD = ("figure", "now", "wanted", "state")
_PACE: dict[str, tuple[str, StandingWord]] = {
    "above": ("above", "good"),
    "below": ("below", "bad"),
    "undecided": ("can't be told", "undecided"),
}
_OVERFITS: dict[str, StandingWord] = {"yes": "bad", "no": "good", "can't be told": "undecided"}


def key_metrics(history: History, analysis: Analysis) -> tuple[KeyMetric, ...]:
    """Target metric, improvement rate, guard metric, losses; those of which nothing is known are left out."""
    return tuple(_key_metrics(history, analysis))


def cells(found: Iterable[KeyMetric]) -> tuple[tuple[str, ...], ...]:
    """The figures as rows of words under `HEAD`."""
    return tuple((metric.name, metric.now, metric.wanted, metric.state) for metric in found)


def _key_metrics(history: History, analysis: Analysis) -> Iterator[KeyMetric]:
    target, rate = history.target, analysis.rate_per_epoch
    if analysis.current is not None:
        gap = analysis.gap_to_target
        yield KeyMetric(
            analysis.metric,
            _with_count(analysis.current.value),
            f"{target.minimum:.2f} to {target.success:.2f}",
            f"{gap:.3f} to go" if gap > 0 else f"{analysis.level_reached} level reached",
            "bad" if gap > 0 else "good",
        )
    if rate.known:
        state, standing = _PACE[analysis.pace]
        now, wanted = f"{written(rate, '+.4f')} per elapsed epoch, n={rate.n}", f"above {target.rate_per_epoch:g}"
        yield KeyMetric("improvement rate", now, wanted, state, standing)
    if analysis.guard.value.known:
        yield guard_metric(analysis.guard)
    fitted = analysis.overfitting
    if fitted.train_slope.known and fitted.val_slope.known:
        yield KeyMetric(
            "losses",
            f"training {written(fitted.train_slope.value, '+.4f')}, validation "
            f"{written(fitted.val_slope.value, '+.4f')} per epoch",
            "no overfitting: validation does not rise while training falls",
            fitted.reason,
            _OVERFITS[analysis.overfits],
        )


def _with_count(value: Estimate) -> str:
    return written(value) + (f", n={value.n}" if value.n else "")


def guard_metric(guard: Guard) -> KeyMetric:
    """The guard metric against its floors: the strategy's, and the baseline's value minus the allowed drop."""
    wanted, states = [], []
    if guard.absolute_floor is not None:
        wanted.append(f"{guard.absolute_floor:g} or more")
        states.append(_absolute(guard))
    if guard.floor is not None:
        wanted.append(f"{guard.floor:.3f} or more, by the baseline")
        states.append("kept" if guard.kept else "NOT kept")
    bad = guard.kept is False or guard.above_absolute is False
    return KeyMetric(
        guard.metric,
        _with_count(guard.value),
        "; ".join(wanted) or "no floor is set",
        "; ".join(dict.fromkeys(states)) or "not judged",
        "bad" if bad else "good" if states else "not known",
    )


def _absolute(guard: Guard) -> str:
    if guard.above_absolute:
        return "kept"
    return "NOT kept" if guard.absolute_binds else "below it, as the baseline was, so this floor decides nothing"


def progress(history: History, analysis: Analysis) -> str:
    """The gain, its epochs, and whether the rate is as high as the strategy asks; empty for fewer than two epochs."""
    first, latest, rate = analysis.first, analysis.latest, history.target.rate_per_epoch
    if first is None or latest is None or analysis.recorded < 2:
        return ""
    gained = (
        f"{written(analysis.total_improvement, '+.3f')} in {counted(analysis.elapsed, 'epoch')} (epoch {first.epoch} "
        f"to {latest.epoch}), {written(analysis.per_recorded_step, '+.4f')} per recorded step, "
        f"{written(analysis.per_elapsed_epoch, '+.4f')} per elapsed epoch"
    )
    words = {
        "above": f"On track: {gained}. The rate is above the {rate:g} per epoch that is asked for.",
        "below": f"Behind: {gained}. The rate is below the {rate:g} per epoch that is asked for.",
        "undecided": f"{gained}. Whether the rate is above the {rate:g} per epoch that is asked for can't be told.",
    }
    return words[analysis.pace]
