from __future__ import annotations

import math
import sys

import numpy as np
import pytest

from benchmark_files import load
from smallsight.errors import SmallsightError
from smallsight.evaluation import bootstrap
from smallsight.evaluation.ap import evaluate
from smallsight.evaluation.bootstrap import (
    FEWEST_CLIPS,
    Draws,
    Units,
    draw_images,
    independent_units,
    quantile,
    replicate_values,
    with_intervals,
)
from smallsight.records import Detections, Truth


def repeated(images, counts):
    return [image for image, count in zip(images, counts, strict=True) for _ in range(int(count))]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("crowded", [False, True], ids=["plain", "over 100 detections"])
def test_a_replicate_is_the_data_set_with_its_images_repeated(make_odd, seed, crowded):
    # Scores without ties, as the order of equal scores is the one thing that copies change.
    truths, detections = make_odd(seed, n_images=9, n_classes=2, ties=False, crowded=crowded)
    evaluation = evaluate(truths, detections, 2)
    draws = draw_images(9, replicates=4, seed=seed)
    values = replicate_values(evaluation, list(evaluation.metrics), draws)
    for replicate, counts in enumerate(draws.T):
        copied = evaluate(repeated(truths, counts), repeated(detections, counts), 2)
        for name, estimate in copied.metrics.items():
            assert values[name][replicate] == pytest.approx(estimate.value, abs=1e-6, nan_ok=True), name


def test_blocks_of_replicates_do_not_change_them(make_odd, monkeypatch):
    evaluation = evaluate(*make_odd(1, n_images=20, crowded=True), 3)
    whole = with_intervals(evaluation, replicates=50)
    monkeypatch.setattr(bootstrap, "_CELLS_AT_ONCE", 100)
    assert repr(with_intervals(evaluation, replicates=50)) == repr(whole)


def test_asking_for_one_metric_gives_the_same_interval(make_odd):
    evaluation = evaluate(*make_odd(2, n_images=20), 3)
    everything = with_intervals(evaluation, replicates=50)
    for name in evaluation.metrics:
        assert repr(with_intervals(evaluation, [name], replicates=50)) == repr({name: everything[name]})


def test_draws_depend_on_seed_and_replicate_alone():
    few, many = (draw_images(30, replicates=n, seed=7) for n in (5, 50))
    assert np.array_equal(few, many[:, :5])
    assert not np.array_equal(few, draw_images(30, replicates=5, seed=8))
    assert (many.sum(axis=0) == 30).all()
    assert many.mean() == 1


def test_frames_of_a_clip_are_drawn_together():
    groups = ["b", "a", "b", "c", "a", "b"]
    draws = draw_images(6, groups=groups, replicates=200, seed=0)
    assert np.array_equal(draws[0], draws[2])
    assert np.array_equal(draws[0], draws[5])
    assert np.array_equal(draws[1], draws[4])
    assert (draws[[0, 1, 3]].sum(axis=0) == 3).all()
    assert (draws[0] != draws[1]).any()


def test_clips_of_equal_frames_are_wider(make_plausible):
    truths, detections = make_plausible(0, n_images=20)
    clips = [str(i) for i in range(20) for _ in range(5)]
    evaluation = evaluate(repeated(truths, [5] * 20), repeated(detections, [5] * 20), 1)
    alone = with_intervals(evaluation, ["recall_50"], replicates=300)["recall_50"]
    together = with_intervals(evaluation, ["recall_50"], groups=clips, replicates=300)["recall_50"]
    assert together.high - together.low > 1.7 * (alone.high - alone.low)


def test_point_and_n_stay_and_lie_inside(make_plausible):
    evaluation = evaluate(*make_plausible(1), 1)
    intervals = with_intervals(evaluation, replicates=200)
    assert list(intervals) == list(evaluation.metrics)
    for name, estimate in intervals.items():
        point = evaluation.metrics[name]
        assert (repr(estimate.value), estimate.n) == (repr(point.value), point.n)
        assert not estimate.known or estimate.low <= estimate.value <= estimate.high


def test_intervals_are_centred_where_copies_lift_the_replicates(make_odd):
    evaluation = evaluate(*make_odd(0, n_images=200, n_classes=40, ties=False), 40)
    estimate = with_intervals(evaluation, ["map_50_95"], replicates=200)["map_50_95"]
    plain = replicate_values(evaluation, ["map_50_95"], draw_images(200, replicates=200, seed=0))["map_50_95"]
    assert plain.mean() > estimate.value + 0.015
    assert (estimate.low + estimate.high) / 2 == pytest.approx(estimate.value, abs=0.005)


def test_no_interval_from_a_single_image_or_clip(make_plausible):
    truths, detections = make_plausible(0, n_images=4)
    evaluation = evaluate(truths, detections, 1)
    assert independent_units(evaluation, "map_50") == 4
    assert independent_units(evaluation, "map_50", ["x"] * 4) == 1
    estimate = with_intervals(evaluation, ["map_50"], groups=["x"] * 4, replicates=20)["map_50"]
    assert estimate.known
    assert math.isnan(estimate.low)
    assert math.isnan(estimate.high)


@pytest.mark.parametrize("n_images", [0, 3])
def test_no_objects_no_interval(n_images):
    empty = Truth(np.zeros((0, 4), np.float32), np.zeros(0, int), np.zeros(0, np.float32), np.zeros(0, bool))
    nothing = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, int))
    evaluation = evaluate([empty] * n_images, [nothing] * n_images, 1)
    assert not any(e.known or e.low == e.low for e in with_intervals(evaluation, replicates=10).values())


def test_draws_begin_with_the_images_as_they_are():
    draws = Draws.of(4, Units.of(4, ["a", "b", "b", "c"], "clips"), replicates=30, seed=3)
    assert (draws.weights[:, 0] == 1).all()
    assert np.array_equal(draws.weights[:, 1:], draw_images(4, groups=["a", "b", "b", "c"], replicates=30, seed=3))
    values = np.arange(31.0)
    one_clip, three = (draws.estimate(values, 7, np.array(held, dtype=bool)) for held in ([0, 1, 1, 0], [1, 1, 1, 1]))
    assert (three.value, three.n, three.low) == (0, 7, quantile(values[1:], 0.025, 3))
    assert math.isnan(one_clip.low) and math.isnan(one_clip.high)


@pytest.mark.parametrize(
    ("clips", "how", "by_clip", "over"),
    [
        (None, "auto", False, "40 images"),
        (None, "clips", False, "40 images"),
        ([f"{i}" for i in range(40)], "clips", False, "40 images"),
        ([f"{i % 10}" for i in range(40)], "auto", True, "40 images in 10 clips"),
        ([f"{i % FEWEST_CLIPS}" for i in range(40)], "auto", True, f"40 images in {FEWEST_CLIPS} clips"),
        (["a", "b"] * 20, "auto", False, "come from only 2 clips: the interval is too narrow)"),
        (["a", "b"] * 20, "clips", True, "40 images in 2 clips"),
        (
            [f"{i % 10}" for i in range(40)],
            "images",
            False,
            "40 images (taken as independent, though they come from 10",
        ),
    ],
)
def test_clips_are_drawn_where_they_are_known_and_enough(clips, how, by_clip, over):
    units = Units.of(40, clips, how)
    assert (units.groups is not None) == by_clip
    assert over in units.over


@pytest.mark.parametrize(("n", "share"), [(2, 0.0), (5, 0.00095), (8, 0.00574), (20, 0.01588), (10_000, 0.02497)])
def test_quantiles_lie_further_out_where_units_are_few(n, share):
    """The shares of Hesterberg's expanded percentiles: Phi(t sqrt(n / (n - 1)))."""
    values = np.linspace(0, 1, 100_001)
    assert quantile(values, 0.025, n) == pytest.approx(share, abs=2e-5)
    assert quantile(values, 0.975, n) == pytest.approx(1 - share, abs=2e-5)
    assert math.isnan(quantile(values, 0.025, 1))
    assert math.isnan(quantile(values[:0], 0.025, n))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"metrics": ["map_tiny"]}, "unknown metric; got 'map_tiny', expected one of map_50_95"),
        ({"groups": ["a"]}, "got 1 names, expected one for each of 6 images"),
        ({"replicates": 0}, "replicates is too small; got 0"),
    ],
)
def test_wrong_input_is_named(make_odd, arguments, message):
    with pytest.raises(SmallsightError, match=message):
        with_intervals(evaluate(*make_odd(0), 3), **arguments)


def test_intervals_cover():
    """Of 95 % intervals of 150 data sets, 88 to 99 % hold the figure of a very large one."""
    rng, simulated = np.random.default_rng(0), load("simulated")
    world = simulated.World(frames=1, clip_sd=0.0)
    population = simulated.draw_set(rng, world, 6000)[0].metrics["map_50"].value
    held = 0
    for seed in range(150):
        evaluation, _, _ = simulated.draw_set(rng, world, 60)
        estimate = with_intervals(evaluation, ["map_50"], replicates=200, seed=seed)["map_50"]
        held += estimate.low <= population <= estimate.high
    assert 0.88 <= held / 150 <= 0.99


@pytest.mark.slow
@pytest.mark.parametrize("by_clip", [False, True], ids=["30 images", "12 clips of 5"])
def test_coverage_is_what_it_says(by_clip):
    """AP, recall and paired differences, 300 sets: 93 to 97 % over all figures, about that for each."""
    coverage = load("coverage")
    world = load("simulated").World(frames=5 if by_clip else 1, clip_sd=0.7 * by_clip)
    found = coverage.coverage(world, 12 if by_clip else 30, trials=300, by_clip=by_clip, replicates=300)
    assert 0.93 <= np.mean(list(found.values())) <= 0.97
    assert all(0.915 <= share <= 0.98 for share in found.values())


def test_all_replicates_are_computed_at_once(make_odd):
    """Work is counted, not timed: a replicate takes a few calls to be drawn, where an evaluation takes thousands."""
    evaluation = evaluate(*make_odd(0, n_images=116, n_classes=3, ties=False), 3)

    def calls(replicates):
        count = 0

        def seen(frame, event, argument):
            nonlocal count
            count += event in ("call", "c_call")

        sys.setprofile(seen)
        try:
            with_intervals(evaluation, replicates=replicates)
        finally:
            sys.setprofile(None)
        return count

    calls(100)  # what is only made once
    each = (calls(1000) - calls(100)) / 900
    assert each <= 10 < calls(100) / 1000
