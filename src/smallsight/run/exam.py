"""The exam of a run: images that no decision has seen, and what was found at each look at them. Values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from smallsight.records import Estimate, estimates_from_json


@dataclass(frozen=True)
class ExamSet:
    """The images of an exam.

    Attributes:
        path: the folder, as the user knows it.
        fingerprint: SHA-256 that tells its annotations and images from changed ones.
        images: how many.
        checked_against: SHA-256 of the other sets' fingerprints; the exam shares no match, clip or frame with those.
        rendered: the share of its images that `smallsight synth` rendered.
    """

    path: str
    fingerprint: str
    images: int
    checked_against: str = ""
    rendered: float = 0.0


@dataclass(frozen=True)
class Examined:
    """A checkpoint that was measured on the exam.

    Attributes:
        phase, attempt, epoch: where it was trained: the number of the phase, the attempt, the epoch.
        sha256: of its file.
        metrics: by name.
    """

    phase: int
    attempt: int
    epoch: int
    sha256: str
    metrics: Mapping[str, Estimate]


@dataclass(frozen=True)
class ExamLook:
    """One look at the exam: baseline and champion on the same images.

    Attributes:
        exam: the images.
        baseline, champion: what was measured.
        lifts: champion minus baseline by metric, paired. Neither was chosen on these images, so nothing is corrected.
        over: what the intervals draw, in words.
    """

    exam: ExamSet
    baseline: Examined
    champion: Examined
    lifts: Mapping[str, Estimate]
    over: str


def exam_set_from_json(value: Mapping[str, Any] | None) -> ExamSet | None:
    """The inverse of `to_json` for an ExamSet or None."""
    return None if value is None else ExamSet(**value)


def exam_look_from_json(value: Mapping[str, Any]) -> ExamLook:
    """The inverse of `to_json` for an ExamLook."""
    return ExamLook(
        ExamSet(**value["exam"]),
        _examined(value["baseline"]),
        _examined(value["champion"]),
        estimates_from_json(value["lifts"]),
        str(value["over"]),
    )


def _examined(value: Mapping[str, Any]) -> Examined:
    return Examined(
        int(value["phase"]),
        int(value["attempt"]),
        int(value["epoch"]),
        str(value["sha256"]),
        estimates_from_json(value["metrics"]),
    )
