"""The exam in words: the lift on images that no decision has seen, first in every report.

Beside it stands the lift on the validation set, whose images also decided, and the difference between the two.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from smallsight.evaluation.domain_gap import gap_between
from smallsight.evaluation.evidence import Evidence
from smallsight.records import Estimate, to_json
from smallsight.report.history import History
from smallsight.report.words import counted, written
from smallsight.run.exam import ExamSet

_ADD = "Add dataset.exam_path: images of matches that no decision has seen."
NO_EXAM_YET = f"No exam: the lift will be measured on the images that also decide, so it is likely too high. {_ADD}"
NO_EXAM = f"The lift was measured on the images that also decided, so it is likely too high. {_ADD}"


@dataclass(frozen=True)
class Lifts:
    """What was gained over the baseline; None where it is not known.

    Attributes:
        metric: the target.
        exam: on images that no decision has seen.
        validation: on the images that decided, corrected for choosing the best epoch of a phase.
        guard: of the guard metric, on the exam.
    """

    metric: str
    exam: Estimate | None
    validation: Estimate | None
    guard: Estimate | None = None

    @property
    def optimism(self) -> Estimate | None:
        """How much more the validation set shows than the exam. The two are independent: their images differ."""
        return gap_between(self.validation, self.exam) if self.validation and self.exam else None


def lifts_of(history: History, evidence: Evidence | None) -> Lifts:
    """All lifts of a run."""
    look, metric = history.exam_look, history.target.metric
    lifts = look.lifts if look else {}
    validation = evidence.lift if evidence else None
    return Lifts(metric, lifts.get(metric), validation, lifts.get(history.target.guard_metric))


def exam_in_words(exam: ExamSet, *, found: bool) -> str:
    """Which images they are, before a run."""
    how = "found beside the training set" if found else "named by dataset.exam_path"
    return (
        f"Exam: {exam.path} ({counted(exam.images, 'image')}), {how}. No decision sees it; baseline and champion are "
        "measured on it at the end."
    )


def exam_lines(history: History, evidence: Evidence | None) -> tuple[str, ...]:
    """What stands first in a report; nothing where no run led the epochs, or nothing was gained yet."""
    return tuple(_lines(history, lifts_of(history, evidence)))


def exam_document(history: History, evidence: Evidence | None) -> dict[str, Any] | None:
    """The same as plain values; None where there is no exam and no lift."""
    lines = exam_lines(history, evidence)
    if not lines and history.exam is None:
        return None
    lifts, look = lifts_of(history, evidence), history.exam_look
    return {
        "metric": lifts.metric,
        "lift": to_json(lifts.exam),
        "validation_lift": to_json(lifts.validation),
        "optimism": to_json(lifts.optimism),
        "guard_lift": to_json(lifts.guard),
        "looks": history.exam_looks,
        "in_words": list(lines),
        "exam": to_json(look.exam if look else history.exam),
        "baseline": to_json(look.baseline if look else None),
        "champion": to_json(look.champion if look else None),
    }


def _lines(history: History, lifts: Lifts) -> Iterator[str]:
    if history.champion is None or history.baseline is None or not history.phases:
        return
    if history.champion == history.baseline:
        if history.exam is not None:
            yield f"The champion is the baseline, so there is no lift; the exam ({history.exam.path}) stays unseen."
        return
    yield _first(history, lifts)
    if lifts.validation is not None:
        decided = ", on the images that also decided" if lifts.exam is not None else ""
        yield f"Lift on the validation set: {_figure(lifts.metric, lifts.validation)}{decided}."
    if lifts.optimism is not None:
        yield f"Optimism, validation minus exam: {written(lifts.optimism, '+.3f')}. {_meaning(lifts.optimism)}"
    yield from _about_the_exam(history, lifts)


def _first(history: History, lifts: Lifts) -> str:
    """The line that stands first."""
    look = history.exam_look
    if look is not None and lifts.exam is not None:
        nothing = Estimate(math.nan)
        before, now = (each.metrics.get(lifts.metric, nothing) for each in (look.baseline, look.champion))
        return (
            f"Lift on the exam: {_figure(lifts.metric, lifts.exam)}, from {written(before.value)} to "
            f"{written(now.value)} over {look.over} that no decision has seen."
        )
    if history.exam is not None:
        end = "The same command measures it." if history.finished or history.stopped else "That is done at the end."
        return f"The lift on the exam ({history.exam.path}) is not measured yet. {end}"
    return NO_EXAM


def _about_the_exam(history: History, lifts: Lifts) -> Iterator[str]:
    """What else is known of it."""
    look = history.exam_look
    if lifts.guard is not None and history.target.guard_metric != lifts.metric:
        yield f"Guard on the exam: {_figure(history.target.guard_metric, lifts.guard)}."
    if look is not None and look.exam.rendered > 0:
        share = "All" if look.exam.rendered == 1 else f"{look.exam.rendered:.0%}"
        yield f"{share} of the exam's frames were rendered, which says little about real frames."
    if history.exam_looks:
        times = "once" if history.exam_looks == 1 else f"{history.exam_looks} times"
        yield f"The exam was looked at {times}; from the second look on it is not unseen any more."


def _figure(metric: str, lift: Estimate) -> str:
    return f"{metric} {written(lift, '+.3f')}, n={lift.n}"


def _meaning(optimism: Estimate) -> str:
    if math.isnan(optimism.low):
        return "Without an interval it can't be told whether the validation lift is too high."
    if optimism.low > 0:
        return "The images that decided show too high a lift; on new images expect that of the exam."
    if optimism.high < 0:
        return "The exam shows more than the images that decided."
    return "Chance can explain that: on so many images it can't be told whether the validation lift is too high."
