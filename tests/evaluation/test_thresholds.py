"""Score thresholds and calibration, against searches by hand."""

from __future__ import annotations

from collections.abc import Callable

import hotcoco
import numpy as np
import pytest

from builders import make_truth
from smallsight.boxes import as_boxes
from smallsight.evaluation.bootstrap import Draws
from smallsight.evaluation.outcomes import Outcomes, judge_outcomes, survey
from smallsight.evaluation.thresholds import calibrate, operating_points
from smallsight.records import Detections, Truth

Make = Callable[..., tuple[list[Truth], list[Detections]]]
ALL = (0.0, 1e10)


def scored(hits: list[float], misses: list[float], n_objects: int) -> Outcomes:
    """One image with `n_objects` in a row; `hits` find one each, `misses` are elsewhere."""
    boxes = [[20.0 * n, 0, 20 * n + 10, 10] for n in range(n_objects)]
    rows = [(score, boxes[n]) for n, score in enumerate(hits)]
    rows += [(score, [20.0 * n, 500, 20 * n + 10, 510]) for n, score in enumerate(misses)]
    rows.sort(key=lambda row: -row[0])
    scores = np.array([score for score, _ in rows], dtype=np.float32)
    detections = Detections(as_boxes([box for _, box in rows]), scores, np.zeros(len(rows), dtype=np.int64))
    return judge_outcomes(survey([make_truth(boxes)], [detections], 1, max_dets=2000), ALL)


def test_the_thresholds_that_a_search_by_hand_finds() -> None:
    outcomes = scored([0.9, 0.8, 0.6, 0.3], [0.7, 0.5, 0.45, 0.4, 0.2], 5)
    best, precise = operating_points(outcomes, ["ball"], Draws.of(1, replicates=1), precisions=[0.9])
    # .9, .8, .6 hit and .7 does not: precision 3/4, recall 3/5. Down to .3 it would be 4/8 and 4/5: F1 .615.
    assert (best.purpose, best.threshold.value) == ("highest F1", pytest.approx(0.6))
    assert (best.precision.value, best.recall.value) == (0.75, 0.6)
    assert best.f1.value == pytest.approx(2 / 3)
    assert (precise.purpose, precise.threshold.value) == ("precision 0.90", pytest.approx(0.8))
    assert (precise.precision.value, precise.recall.value, precise.recall.n) == (1.0, 0.4, 5)


def test_no_point_where_no_threshold_can_be_said() -> None:
    assert operating_points(scored([], [0.9], 2), ["ball"], Draws.of(1, replicates=1)) == ()
    assert operating_points(scored([], [0.9], 0), ["ball"], Draws.of(1, replicates=1)) == ()
    assert [p.purpose for p in operating_points(scored([0.5], [0.9], 1), ["ball"], Draws.of(1, replicates=1))] == [
        "highest F1"
    ]


@pytest.mark.parametrize("seed", range(5))
def test_the_highest_f1_is_that_of_all_thresholds(make_plausible: Make, seed: int) -> None:
    truths, detections = make_plausible(seed)
    outcomes = judge_outcomes(survey(truths, detections, 1), ALL)
    best = operating_points(outcomes, ["ball"], Draws.of(len(truths), replicates=50))[0]
    scores, hit = outcomes.scene.found.scores[outcomes.counted], outcomes.hit[outcomes.counted]
    n = int(outcomes.wanted.sum())
    f1 = {s: 2 * hit[scores >= s].sum() / ((scores >= s).sum() + n) for s in np.unique(scores)}
    assert best.f1.value == pytest.approx(max(f1.values()))
    assert f1[best.threshold.value] == pytest.approx(max(f1.values()))
    for figure in (best.threshold, best.precision, best.recall, best.f1):
        assert figure.low <= figure.value <= figure.high
        assert figure.high > figure.low


def test_many_scores_are_thinned_without_harm() -> None:
    scores = [float(s) for s in np.linspace(0.99, 0.5, 900)]
    best = operating_points(scored(scores, [0.4] * 100, 900), ["ball"], Draws.of(1, replicates=1))[0]
    assert (best.f1.value, best.threshold.value) == (1.0, pytest.approx(0.5))


def test_calibration_by_hand() -> None:
    found = calibrate(scored([0.95, 0.95, 0.15], [0.95, 0.95, 0.12], 3), Draws.of(1, replicates=1))
    assert found is not None
    assert [(b.low, b.high, b.hit_share.n) for b in found.bins] == [(0.1, 0.2, 2), (0.9, 1.0, 4)]
    assert [(round(b.mean_score, 3), b.hit_share.value) for b in found.bins] == [(0.135, 0.5), (0.95, 0.5)]
    assert found.error.value == pytest.approx((2 * 0.365 + 4 * 0.45) / 6)
    assert calibrate(scored([], [], 2), Draws.of(1, replicates=1)) is None


def test_perfect_scores_show_the_error_that_chance_gives() -> None:
    """120 detections whose scores are the chances of a hit: measured 300 times, against what is said beside one."""
    rng, errors, said = np.random.default_rng(0), [], []
    for _ in range(300):
        scores = rng.beta(2, 1.2, 120)
        hit = rng.random(120) < scores
        found = calibrate(scored(list(scores[hit]), list(scores[~hit]), 120), Draws.of(1, replicates=1))
        assert found is not None
        errors.append(found.error.value)
        said.append(found.error_if_perfect)
    assert np.mean(said) == pytest.approx(np.mean(errors), rel=0.04)
    assert np.std(said) < 0.15 * np.mean(said) < np.std(errors)


def test_certain_scores_leave_nothing_to_chance() -> None:
    found = calibrate(scored([1.0, 1.0], [0.0], 3), Draws.of(1, replicates=1))
    assert found is not None and found.error_if_perfect == 0.0


def test_calibration_is_hotcocos(make_plausible: Make) -> None:
    truths, detections = make_plausible(1)
    scene = survey(truths, detections, 1)
    found = calibrate(judge_outcomes(scene, ALL), Draws.of(len(truths), replicates=50))
    assert found is not None
    o, f = scene.objects, scene.found
    images = [{"id": index, "width": 1, "height": 1} for index in range(scene.n_images)]
    truth = hotcoco.COCO.from_arrays(images, [{"id": 0, "name": "a"}], o.image, o.label, o.boxes_xywh, area=o.area)
    judge = hotcoco.COCOeval(truth, truth.load_res(np.column_stack([f.image, f.boxes_xywh, f.scores, f.label])), "bbox")
    judge.evaluate()
    assert found.error.value == pytest.approx(judge.calibration(n_bins=10)["ece"], abs=1e-6)
    assert found.error.low < found.error.value < found.error.high
