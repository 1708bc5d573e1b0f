"""The rounds in words and tables: their arms, who was stopped and why, who became the champion, and what caused it."""

from __future__ import annotations

import math

from smallsight.records import EpochRecord, Estimate
from smallsight.report.cause import cause_in_words, compared_with
from smallsight.report.findings import Analysis, PhaseReview
from smallsight.report.history import History, PhaseStory, RoundStory
from smallsight.report.words import Rows, listed, written
from smallsight.strategy.tree import best_epoch

HEAD = ("arm", "epochs", "best", "against the champion", "against the control", "outcome")


def arms_of(history: History, each: RoundStory) -> tuple[PhaseStory, ...]:
    """The arms of a round."""
    return tuple(history.phase(name) for name in each.arms)


def heading(each: RoundStory) -> str:
    """`Round 2: higher resolution`."""
    return f"Round {each.number}: {each.title}" if each.title else f"Round {each.number}"


def cells(history: History, each: RoundStory) -> Rows:
    """A round's arms as rows of words under `HEAD`."""
    return tuple(_row(history, arm) for arm in arms_of(history, each))


def phases_head(history: History) -> tuple[str, ...]:
    """What `phase_cells` is about."""
    return "phase", "epochs", "expected", f"against {compared_with(history)}", "against the control", "outcome"


def phase_cells(history: History, analysis: Analysis) -> Rows:
    """All phases as rows of words under `phases_head`."""
    return tuple(_phase_row(phase, review) for phase, review in zip(history.phases, analysis.phases, strict=True))


def differences(story: PhaseStory) -> tuple[str, str]:
    """What a phase gained against the champion and against the control; empty where that is not known."""
    against = story.verdict.difference if story.verdict else Estimate(math.nan)
    over = story.over_control
    return (
        written(against, "+.3f") if against.known else "",
        written(over, "+.3f") if over is not None and over.known else "",
    )


def outcome_of(story: PhaseStory) -> str:
    """The outcome of a phase in a word or two; of an arm, also whether it is the champion."""
    word = story.outcome.replace("_", " ")
    return f"{word}, champion" if story.round and story.crowned is not None else word


def in_words(history: History, each: RoundStory) -> tuple[str, ...]:
    """Sentences: what was compared, who was stopped, who became the champion and what that is due to."""
    epochs = f"epoch {each.first_epoch}"
    if each.last_epoch > each.first_epoch:
        epochs = f"epochs {each.first_epoch} to {each.last_epoch}"
    start = f" from {_of(each.before, history.target.metric)}" if each.before else ""
    found = [f"{listed(each.arms)}, {epochs}{start}."]
    found += [f"{stop.arm} was stopped after epoch {stop.epoch}: {stop.reason}." for stop in each.stopped]
    arms = arms_of(history, each)
    found += [f"{arm.name} {arm.reason}" for arm in arms if arm.outcome == "failed"]
    if not each.closed:
        return (*found, "The round is not judged yet.")
    if not each.champion:
        return (*found, "No arm became the champion: the champion before it stays.")
    winner = history.phase(each.champion)
    cause = cause_in_words(history, winner)
    return (*found, cause if winner.control and cause else f"{winner.name} became the champion: {cause}")


def _phase_row(phase: PhaseStory, review: PhaseReview) -> tuple[str, ...]:
    expected = "" if review.expected is None else " to ".join(written(end, "+.3f") for end in review.expected)
    agrees = f", {review.agreement} expected" if review.agreement in ("above", "below") else ""
    return phase.name, phase.epochs, expected, *differences(phase), outcome_of(phase) + agrees


def _row(history: History, arm: PhaseStory) -> tuple[str, ...]:
    metric = history.target.metric
    best = best_epoch(arm.records, metric)
    value = written(best.metrics[metric]) if best is not None and metric in best.metrics else ""
    return arm.name, arm.epochs, value, *differences(arm), outcome_of(arm)


def _of(record: EpochRecord, metric: str) -> str:
    return f"epoch {record.epoch} of {record.phase} ({metric} {written(record.value(metric))})"
