"""Figures on the sets that are evaluated after every epoch: the champion's in words, and each epoch's as columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from smallsight.evaluation.set_figures import FOUND_HIGH, FOUND_LOW, HIGH_SCORE, LOW_SCORE, has_labels, in_words
from smallsight.records import EpochRecord, Estimate
from smallsight.report.history import History, latest_per_epoch
from smallsight.report.words import counted

Columns = dict[str, list[Estimate]]
_UNKNOWN = Estimate(float("nan"))


def sets_in_words(history: History) -> tuple[str, ...]:
    """A sentence for each set: the champion's figures (the latest epoch's where there is none), and the baseline's."""
    return tuple(_sentences(history))


def _sentences(history: History) -> Iterator[str]:
    latest = latest_per_epoch(history.records)[-1:]
    now = history.champion or (latest[0] if latest else None)
    before = history.baseline if history.baseline != now else None
    for name, figures in now.sets.items() if now is not None else ():
        metric = history.target.metric
        what = f"{name}, which guards" if has_labels(figures) else f"{name}, frames without labels"
        who = "champion" if history.champion else "latest"
        words = f"{what}: {in_words(figures, metric)} ({who}, epoch {now.epoch if now else 0})"
        if before is not None and name in before.sets:
            words += f"; {in_words(before.sets[name], metric)} (baseline, epoch {before.epoch})"
        yield f"{words}."


def metric_by_set(records: Sequence[EpochRecord], metric: str) -> Columns:
    """The target metric on the validation set and on each set with labels, one per record; empty without such sets."""
    names = dict.fromkeys(n for r in records for n, figures in r.sets.items() if has_labels(figures))
    columns = {name: [r.sets.get(name, {}).get(metric, _UNKNOWN) for r in records] for name in names}
    return {"validation": [r.metrics.get(metric, _UNKNOWN) for r in records], **columns} if columns else {}


def found_by_set(records: Sequence[EpochRecord]) -> Columns:
    """For sets without labels, the share of frames with a detection at each of two scores, one per record."""
    names = dict.fromkeys(n for r in records for n, figures in r.sets.items() if not has_labels(figures))
    scores = ((FOUND_LOW, LOW_SCORE), (FOUND_HIGH, HIGH_SCORE))
    return {
        f"{name}, score {score:.2f}": [r.sets.get(name, {}).get(figure, _UNKNOWN) for r in records]
        for name in names
        for figure, score in scores
    }


def frames_note(records: Sequence[EpochRecord]) -> str:
    """The number of frames of each set in `found_by_set`, in words."""
    latest = {n: figures for r in records for n, figures in r.sets.items() if not has_labels(figures)}
    return "; ".join(f"{name}: {counted(figures[FOUND_LOW].n, 'frame')}" for name, figures in latest.items())
