from __future__ import annotations

import contextlib
import dataclasses
import io
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from smallsight.errors import BoxError, DatasetError, SmallsightError
from smallsight.evaluation.ap import AREA_RANGES, Metric, evaluate, metric_definitions
from smallsight.evaluation.bootstrap import replicate_values
from smallsight.records import Detections, Truth


def truth(boxes, labels=None, areas=None, ignored=None):
    boxes = np.array(boxes, dtype=np.float32).reshape(-1, 4)
    n = len(boxes)
    sides = boxes[:, 2:] - boxes[:, :2]
    return Truth(
        boxes,
        np.zeros(n, dtype=np.int64) if labels is None else np.array(labels),
        (sides[:, 0] * sides[:, 1]) if areas is None else np.array(areas, dtype=np.float32),
        np.zeros(n, dtype=bool) if ignored is None else np.array(ignored),
    )


def found(boxes, scores, labels=None):
    boxes = np.array(boxes, dtype=np.float32).reshape(-1, 4)
    labels = np.zeros(len(boxes), dtype=np.int64) if labels is None else np.array(labels)
    return Detections(boxes, np.array(scores, dtype=np.float32), labels)


def by_pycocotools(truths, detections, n_classes, max_dets=100):
    """Every COCO metric of ours, computed by the reference."""

    def xywh(boxes):
        wide = boxes.astype(np.float64)
        return [[float(v) for v in (*row[:2], *(row[2:] - row[:2]))] for row in wide]

    annotations = [
        {"image_id": i, "category_id": int(k), "bbox": b, "area": float(a), "iscrowd": int(c)}
        for i, t in enumerate(truths)
        for b, k, a, c in zip(xywh(t.boxes), t.labels, t.areas, t.ignored, strict=True)
    ]
    results = [
        {"image_id": i, "category_id": int(k), "bbox": b, "score": float(s)}
        for i, d in enumerate(detections)
        for b, k, s in zip(xywh(d.boxes), d.labels, d.scores, strict=True)
    ]
    dataset = {
        "info": {},
        "images": [{"id": i, "width": 99, "height": 99} for i in range(len(truths))],
        "categories": [{"id": k, "name": str(k)} for k in range(n_classes)],
        "annotations": [{"id": i + 1, **one} for i, one in enumerate(annotations)],
    }
    with contextlib.redirect_stdout(io.StringIO()):
        reference = COCO()
        reference.dataset = dataset
        reference.createIndex()
        answers = COCO()
        answers.dataset = {
            **dataset,
            "annotations": [
                {"id": i + 1, "area": one["bbox"][2] * one["bbox"][3], "iscrowd": 0, **one}
                for i, one in enumerate(results)
            ],
        }
        answers.createIndex()
        judge = COCOeval(reference, answers, "bbox")
        judge.params.areaRng = [list(r) for r in AREA_RANGES.values()]
        judge.params.areaRngLbl = list(AREA_RANGES)
        judge.params.maxDets = [max_dets]
        judge.evaluate()
        judge.accumulate()
    tables = {"precision": judge.eval["precision"].mean(axis=1), "recall": judge.eval["recall"]}
    values = {}
    for name, metric in metric_definitions(max_dets).items():
        if metric.size_bin in AREA_RANGES:
            cells = tables[metric.kind][metric.thresholds, :, list(AREA_RANGES).index(metric.size_bin), 0]
            values[name] = cells[cells > -1].mean() if (cells > -1).any() else math.nan
    return values


def assert_same(evaluation, expected):
    for name, value in expected.items():
        assert evaluation.metrics[name].value == pytest.approx(value, abs=1e-6, nan_ok=True), name


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), n_images=st.integers(1, 12), n_classes=st.integers(1, 4), ties=st.booleans())
def test_figures_are_those_of_pycocotools(make_odd, seed, n_images, n_classes, ties):
    truths, detections = make_odd(seed, n_images, n_classes, ties)
    evaluation = evaluate(truths, detections, n_classes)
    assert_same(evaluation, by_pycocotools(truths, detections, n_classes))


@pytest.mark.parametrize("max_dets", [1, 10, 100])
def test_detections_beyond_the_limit_do_not_count(make_odd, max_dets):
    truths, detections = make_odd(3, n_images=4, n_classes=1, crowded=True)
    assert max(map(len, detections)) > 100
    evaluation = evaluate(truths, detections, 1, max_dets=max_dets)
    assert_same(evaluation, by_pycocotools(truths, detections, 1, max_dets))


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), n_images=st.integers(1, 12), ties=st.booleans(), crowded=st.booleans())
def test_own_matches_give_the_same_figures(make_odd, seed, n_images, ties, crowded):
    evaluation = evaluate(*make_odd(seed, n_images, 3, ties, crowded), 3)
    replicate = replicate_values(evaluation, list(evaluation.metrics), np.ones((n_images, 1)))
    for name, estimate in evaluation.metrics.items():
        assert replicate[name][0] == pytest.approx(estimate.value, abs=2e-7, nan_ok=True), name  # float32


@pytest.mark.parametrize("n_truths", [100, 200, 300])
def test_recall_levels_are_compared_as_coco_does(n_truths):
    # 35 hits of 100 do not reach COCO's level .35, which is a rounding error above 35 / 100.
    boxes = np.array([[20 * i, 0, 20 * i + 10, 10] for i in range(n_truths)])
    hits = boxes[: n_truths * 35 // 100]
    case = [truth(boxes)], [found(hits, np.linspace(0.9, 0.1, len(hits)))]
    evaluation = evaluate(*case, 1, max_dets=500)
    assert_same(evaluation, by_pycocotools(*case, 1, max_dets=500))
    assert replicate_values(evaluation, ["map_50"], np.ones((1, 1)))["map_50"][0] == pytest.approx(35 / 101, abs=1e-9)


@pytest.mark.parametrize("n_images", [0, 3])
def test_nothing_annotated_is_nan_with_n_0(n_images):
    detections = [found([[0, 0, 5, 5]], [0.5])] * n_images
    evaluation = evaluate([truth([])] * n_images, detections, 2)
    assert all(math.isnan(e.value) and e.n == 0 for e in evaluation.metrics.values())


def test_nothing_detected_is_zero():
    evaluation = evaluate([truth([[0, 0, 5, 5]])], [found([], [])], 2)
    assert evaluation.metrics["map_50_95"].value == 0
    assert evaluation.metrics["centre_ap"].value == 0
    assert math.isnan(evaluation.metrics["map_large"].value)


def test_n_counts_objects_of_the_bin_that_are_not_ignored():
    areas = [63, 64, 65, 1024, 5000]
    evaluation = evaluate(
        [truth([[0, 0, 9, 9]] * 5, areas=areas, ignored=[False, False, False, False, True])], [found([], [])], 1
    )
    n = {name: estimate.n for name, estimate in evaluation.metrics.items()}
    assert (n["map_50_95"], n["map_small"], n["map_medium"], n["map_large"]) == (4, 4, 1, 0)
    assert (n["ap_0_8"], n["recall_8_16"], n["ap_16_32"], n["centre_ap"]) == (2, 2, 1, 4)


@pytest.mark.parametrize(
    ("shift", "expected"),
    [(0.0, 1.0), (3.99, 1.0), (4.0, 0.0), (30.0, 0.0)],
    ids=["on it", "within", "exactly at the limit", "far"],
)
def test_centre_hit_is_strictly_within_the_radius(shift, expected):
    evaluation = evaluate([truth([[50, 50, 60, 60]])], [found([[50 + shift, 50, 60 + shift, 60]], [0.9])], 1)
    assert evaluation.metrics["centre_ap"].value == pytest.approx(expected)


def test_mislocated_ball_is_false_and_missed():
    balls = [truth([[50, 50, 60, 60]]), truth([[50, 50, 60, 60]])]
    # The mislocated one scores higher: precision at the only hit is 1/2, and recall ends at 1/2.
    detections = [found([[90, 50, 100, 60]], [0.9]), found([[50, 50, 60, 60]], [0.8])]
    evaluation = evaluate(balls, detections, 1)
    assert evaluation.metrics["centre_ap"].value == pytest.approx(0.5 * 51 / 101)


def test_centre_hits_take_the_nearest_free_object_of_their_class():
    objects = truth([[0, 0, 10, 10], [3, 0, 13, 10], [0, 0, 10, 10]], labels=[0, 0, 1])
    # The best one is nearest to the second object; the next is near both and takes the first.
    ours = found([[2, 0, 12, 10], [2.5, 0, 12.5, 10], [2, 0, 12, 10]], [0.9, 0.8, 0.7])
    curve = evaluate([objects], [ours], 2).curves["centre"][0]
    assert curve.hit[0].tolist() == [True, True, False]


def test_centre_in_an_ignored_region_counts_neither_way():
    objects = truth([[0, 0, 10, 10], [50, 50, 250, 250]], ignored=[False, True])
    ours = found([[200, 200, 210, 210], [70, 70, 80, 80], [0, 0, 10, 10]], [0.9, 0.8, 0.7])
    assert evaluate([objects], [ours], 1).metrics["centre_ap"].value == pytest.approx(1.0)


def test_max_dets_names_its_recall(make_odd):
    assert "ar_100" in evaluate(*make_odd(0), 3).metrics
    assert "ar_500" in evaluate(*make_odd(0), 3, max_dets=500).metrics


def test_nothing_is_printed_or_changed(make_odd, capfd):
    truths, detections = make_odd(5)
    before = [t.boxes.copy() for t in truths], [d.boxes.copy() for d in detections]
    evaluate(truths, detections, 3)
    assert capfd.readouterr() == ("", "")
    assert all(map(np.array_equal, before[0], [t.boxes for t in truths]))
    assert all(map(np.array_equal, before[1], [d.boxes for d in detections]))


def test_boxes_stay_exact():
    # xywh in float32 would lose what the difference of two large coordinates needs.
    case = [truth([[4000.1, 4000.1, 4000.7, 4000.7]])], [found([[4000.1, 4000.1, 4000.6, 4000.7]], [0.9])]
    assert_same(evaluate(*case, 1), by_pycocotools(*case, 1))


GOOD_TRUTH, GOOD_FOUND = truth([[0, 0, 5, 5]]), found([[0, 0, 5, 5]], [0.5])


@pytest.mark.parametrize(
    ("truths", "detections", "n_classes", "error", "message"),
    [
        ([GOOD_TRUTH], [], 1, DatasetError, "got 1 and 0 images"),
        ([truth([[0, 0, 5, 5]], labels=[3])], [GOOD_FOUND], 2, DatasetError, "got class 3, expected 0 to 1"),
        ([GOOD_TRUTH], [found([[0, 0, 5, 5]], [0.5], [-1])], 2, SmallsightError, "detection of an unknown class"),
        ([GOOD_TRUTH], [found([[0, 0, 5, math.nan]], [0.5])], 1, BoxError, "image 0 has a number that is not finite"),
        ([GOOD_TRUTH], [found([[0, 0, 5, 5]], [math.nan])], 1, BoxError, "not finite"),
        ([GOOD_TRUTH], [found([[0, 0, 5, 5]], [0.5, 0.4])], 1, BoxError, "does not fit together"),
        ([truth([[0, 0, 5, 5]], ignored=[])], [GOOD_FOUND], 1, BoxError, "`ignored` does not fit"),
        ([GOOD_TRUTH], [GOOD_FOUND], 0, SmallsightError, "n_classes is too small"),
    ],
)
def test_wrong_input_is_named(truths, detections, n_classes, error, message):
    with pytest.raises(error, match=message):
        evaluate(truths, detections, n_classes)


def test_evaluation_is_frozen(make_odd):
    with pytest.raises(dataclasses.FrozenInstanceError):
        evaluate(*make_odd(0), 3).n_images = 5


def test_a_metric_at_an_overlap_that_is_not_matched_is_refused():
    assert Metric("precision", "all", 0.75).thresholds == slice(5, 6)
    with pytest.raises(ValueError, match=r"IoU 0\.3; detections are matched at"):
        _ = Metric("precision", "all", 0.3).thresholds
