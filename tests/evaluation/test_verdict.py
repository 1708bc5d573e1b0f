from __future__ import annotations

import math

import numpy as np
import pytest

from smallsight.errors import SmallsightError
from smallsight.evaluation.ap import evaluate
from smallsight.evaluation.verdict import judge
from smallsight.records import Detections, Truth


def square(x, side):
    return [x, 0, x + side, side]


def images(n, small_found, large_found):
    """`n` images with a small and a large object each, found on so many of them."""
    truths, detections = [], []
    for i in range(n):
        boxes = np.array([square(0, 20), square(200, 150)], dtype=np.float32)
        areas = np.array([400, 22500], dtype=np.float32)
        truths.append(Truth(boxes, np.zeros(2, dtype=np.int64), areas, np.zeros(2, dtype=bool)))
        found = boxes[[i < small_found, i < large_found]]
        scores = np.full(len(found), 0.5, dtype=np.float32)
        detections.append(Detections(found, scores, np.zeros(len(found), dtype=np.int64)))
    return evaluate(truths, detections, 1)


@pytest.mark.parametrize(
    ("candidate", "champion", "max_guard_drop", "outcome", "says"),
    [
        (
            (30, 30),
            (15, 30),
            0.01,
            "improved",
            "map_small rose by +0.376 [",
        ),
        ((15, 30), (30, 30), 0.01, "regressed", "map_small fell by -0.376 ["),
        ((16, 30), (15, 30), 0.01, "no_evidence", "which chance alone explains; map_large held (+0.000)"),
        ((15, 30), (15, 30), 0.01, "no_evidence", "map_small changed by +0.000 [+0.000, +0.000] over 40 images"),
        ((30, 20), (15, 30), 0.01, "regressed", "more than the 0.010 allowed"),
        ((30, 20), (15, 30), 0.50, "improved", "map_large held (-0.2"),
        ((30, 29), (15, 30), 0.01, "improved", "not shown to be more than chance"),
        ((15, 40), (15, 20), 0.01, "no_evidence", "map_large held (+0.4"),
    ],
    ids=["rose", "fell", "by chance", "same", "guard fell", "guard may fall", "guard by chance", "guard rose alone"],
)
def test_table_of_verdicts(candidate, champion, max_guard_drop, outcome, says):
    verdict = judge(
        images(40, *candidate),
        images(40, *champion),
        target="map_small",
        guard="map_large",
        max_guard_drop=max_guard_drop,
    )
    assert verdict.outcome == outcome, verdict.reason
    assert says in verdict.reason
    assert "\n" not in verdict.reason


def test_reason_in_full():
    verdict = judge(images(40, 30, 30), images(40, 15, 30), target="map_small", guard="map_50_95", max_guard_drop=0.01)
    change, guard = verdict.difference, verdict.guard_difference
    head, tail = verdict.reason.split(", by ")
    assert head == f"map_small rose by {change:+.3f} over 40 images"
    bound, tail = tail.split(" or more at 95% confidence; ")
    assert change.low < float(bound) < change.value
    assert tail == f"map_50_95 held ({guard.value:+.3f})"


@pytest.mark.parametrize(("n", "outcome"), [(4, "no_evidence"), (5, "improved")])
def test_too_few_images_can_not_show_anything(n, outcome):
    # Four that all agree do so by chance once in 16 times, five once in 32.
    verdict = judge(images(n, n, n), images(n, 0, n), target="map_small", guard="map_50", max_guard_drop=0.01)
    assert verdict.outcome == outcome
    assert ("only 4 hold such objects, too few to tell" in verdict.reason) == (n == 4)


def test_few_clips_are_few_even_with_many_images():
    clips = ["a", "b", "c", "d"] * 10
    verdict = judge(
        images(40, 40, 40), images(40, 0, 40), target="map_small", guard="map_large", max_guard_drop=0, groups=clips
    )
    assert verdict.outcome == "no_evidence"
    assert "over 40 images in 4 clips" in verdict.reason


def test_metric_without_objects():
    verdict = judge(images(9, 9, 9), images(9, 0, 9), target="map_medium", guard="map_medium", max_guard_drop=0)
    assert verdict.outcome == "no_evidence"
    assert verdict.reason == (
        "map_medium is not defined over 9 images, since none holds such an object; map_medium is not defined"
    )
    assert math.isnan(verdict.difference.value)


def test_more_confidence_asks_for_more():
    candidate, champion = images(40, 18, 30), images(40, 15, 30)
    outcomes = [
        judge(candidate, champion, target="map_small", guard="map_large", max_guard_drop=0, confidence=c).outcome
        for c in (0.9, 0.999)
    ]
    assert outcomes == ["improved", "no_evidence"]


def test_two_detectors_of_one_quality_are_seldom_told_apart(make_plausible):
    truths, _ = make_plausible(0, n_images=30)
    improved = 0
    for seed in range(80):
        rng = np.random.default_rng(seed)
        pair = []
        for _ in range(2):
            seen = [rng.random(len(t)) < 0.6 for t in truths]
            pair.append(
                evaluate(
                    truths,
                    [
                        Detections(t.boxes[s], rng.random(s.sum()).astype(np.float32), t.labels[s])
                        for t, s in zip(truths, seen, strict=True)
                    ],
                    1,
                )
            )
        verdict = judge(*pair, target="map_50", guard="map_50_95", max_guard_drop=1, replicates=200, seed=seed)
        improved += verdict.outcome == "improved"
    assert improved / 80 < 0.14  # 5 % expected


@pytest.mark.parametrize("confidence", [0.5, 1.0, 95])
def test_confidence_out_of_range(confidence):
    with pytest.raises(SmallsightError, match="confidence is out of range"):
        judge(
            images(5, 5, 5), images(5, 5, 5), target="map_50", guard="map_50", max_guard_drop=0, confidence=confidence
        )
