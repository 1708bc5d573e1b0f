"""Frames without labels: in how many anything was found, and how that is said."""

from __future__ import annotations

import numpy as np
import pytest

from smallsight.evaluation.presence import presence
from smallsight.evaluation.set_figures import has_labels, in_short, in_words, plain_values
from smallsight.records import Detections, Estimate


def found(*scores: float) -> Detections:
    boxes = np.tile(np.array([[0, 0, 5, 5]], np.float32), (len(scores), 1))
    return Detections(boxes, np.array(scores, np.float32), np.zeros(len(scores), np.int64))


def test_shares_counts_and_scores() -> None:
    figures = presence([found(0.5, 0.2), found(0.1), found(0.05), found()])
    assert {name: figure.value for name, figure in figures.items()} == pytest.approx(
        {"found_10": 0.5, "found_40": 0.25, "detections_10": 0.75, "top_score": (0.5 + 0.1 + 0.05) / 4}
    )
    assert {figure.n for figure in figures.values()} == {4}


def test_the_mission_s_own_case_in_words() -> None:
    """Found in 7 of 20 frames of real video at 0.10, in none at 0.40."""
    figures = presence([found(0.3)] * 6 + [found(0.2, 0.15)] + [found(0.02)] * 13)
    assert in_words(figures, "map_small") == (
        "found in 7 of 20 frames at a score of 0.10 or more, in none at 0.40 (8 detections at 0.10; a frame's highest "
        "score is 0.11 on average)"
    )
    assert in_short(figures, "map_small") == "7/20 frames"
    assert plain_values(figures, "map_small") == {
        **{"found_10": 0.35, "found_40": 0.0, "detections_10": 0.4, "top_score": 0.113},
        "frames": 20,
    }
    assert not has_labels(figures)


def test_one_detection_is_one() -> None:
    assert "(1 detection at 0.10;" in in_words(presence([found(0.9), found()]), "map_small")


def test_a_set_with_labels_is_said_by_its_metric() -> None:
    figures = {"map_small": Estimate(0.4, 0.3, 0.5, 34), "map_50": Estimate(0.6)}
    assert has_labels(figures)
    assert in_words(figures, "map_small") == "map_small 0.400 [0.300, 0.500], n=34"
    assert in_short(figures, "map_small") == "0.400"
    assert plain_values(figures, "map_small") == {"map_small": 0.4}
    for unknown in ({}, {"map_small": Estimate(float("nan"))}):
        assert in_words(unknown, "map_small") == "map_small n/a" and in_short(unknown, "map_small") == "n/a"
        assert plain_values(unknown, "map_small") == {}


def test_a_journal_of_a_stranger_is_survived() -> None:
    """What is not a whole set of figures of frames counts as one with labels."""
    assert has_labels({"top_score": Estimate(0.5)})
    whole = presence([found(0.5)])
    assert has_labels({**whole, "found_10": Estimate(float("nan"))})
