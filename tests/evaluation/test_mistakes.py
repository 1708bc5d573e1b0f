"""What went wrong: kinds of mistake, what each costs, the worst of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import hotcoco
import numpy as np
import pytest

from builders import make_truth
from smallsight.boxes import as_boxes
from smallsight.evaluation.ap import AREA_RANGES, evaluate
from smallsight.evaluation.bootstrap import Draws, Units, with_intervals
from smallsight.evaluation.evidence import MISTAKE_KINDS, MistakeKind, SizeMistakes
from smallsight.evaluation.mistakes import mistakes_by_size, worst_false_alarms, worst_misses
from smallsight.evaluation.outcomes import judge_outcomes, survey
from smallsight.records import Detections, Truth

Case = tuple[list[Truth], list[Detections]]
Make = Callable[..., Case]
Row = tuple[Sequence[float], float, int]
ONCE = Draws.of(1, replicates=1)
OBJECT = (10, 10, 20, 20)
THEIR_NAMES = dict(zip(MISTAKE_KINDS, ("Miss", "Bkg", "Loc", "Dupe", "Cls", "Both"), strict=True))


def found(*rows: Row) -> Detections:
    boxes, scores, labels = zip(*rows, strict=True) if rows else ((), (), ())
    return Detections(
        as_boxes([list(box) for box in boxes]),
        np.array(scores, dtype=np.float32),
        np.array(labels, dtype=np.int64),
    )


def all_sizes(truth: Truth, detections: Detections) -> SizeMistakes:
    return mistakes_by_size(survey([truth], [detections], 2), ONCE, ["all"])[0]


MISTAKES: list[tuple[str, list[Row], dict[MistakeKind, tuple[int, float]]]] = [
    ("nothing found", [], {"missed": (1, 1.0)}),
    ("found", [(OBJECT, 0.9, 0)], {}),
    ("found and something else", [((50, 50, 60, 60), 0.95, 0), (OBJECT, 0.9, 0)], {"background": (1, 0.5)}),
    ("a later false alarm costs nothing", [(OBJECT, 0.9, 0), ((50, 50, 60, 60), 0.5, 0)], {"background": (1, 0.0)}),
    ("half beside it", [((14, 10, 24, 20), 0.9, 0)], {"localisation": (1, 1.0)}),
    ("twice beside it", [((14, 10, 24, 20), 0.9, 0), ((6, 10, 16, 20), 0.8, 0)], {"localisation": (2, 1.0)}),
    ("another class", [(OBJECT, 0.9, 1)], {"class": (1, 1.0)}),
    ("another class, half beside it", [((14, 10, 24, 20), 0.9, 1)], {"both": (1, 0.0), "missed": (1, 1.0)}),
    ("twice", [(OBJECT, 0.9, 0), ((10, 10, 20, 19), 0.8, 0)], {"duplicate": (1, 0.0)}),
]


@pytest.mark.parametrize(("rows", "expected"), [case[1:] for case in MISTAKES], ids=[case[0] for case in MISTAKES])
def test_each_kind_is_told_and_put_right(rows: list[Row], expected: dict[MistakeKind, tuple[int, float]]) -> None:
    parts = all_sizes(make_truth([OBJECT]), found(*rows)).parts
    got = {part.kind: (part.count, round(part.ap_lost.value, 6)) for part in parts if part.count}
    assert got == expected


def test_a_region_that_is_ignored_makes_no_mistakes() -> None:
    truth = make_truth([OBJECT, (100, 0, 200, 100)], ignored=[False, True])
    errors = all_sizes(truth, found((OBJECT, 0.9, 0), ((120, 20, 130, 30), 0.95, 0), ((150, 50, 160, 60), 0.95, 0)))
    assert (errors.objects, errors.found, errors.ap_50.value) == (1, 1, 1.0)
    assert all(part.count == 0 for part in errors.parts)


def test_a_badly_drawn_box_of_another_size_is_localisation_at_the_objects_size() -> None:
    """COCO forgets the large detection in the bin of small objects; what it should have found is not `missed`."""
    truth = make_truth([(10, 10, 17, 17)])
    scene = survey([truth], [found(((8, 8, 19, 19), 0.9, 0))], 1)
    small = mistakes_by_size(scene, ONCE, ["0_8"])[0]
    assert {part.kind: (part.count, part.ap_lost.value) for part in small.parts if part.count} == {
        "localisation": (1, 1.0)
    }


def test_sizes_without_an_object_are_left_out() -> None:
    scene = survey([make_truth([OBJECT])], [found()], 1)
    assert [item.size_bin for item in mistakes_by_size(scene, ONCE)] == ["all", "small", "8_16"]
    assert mistakes_by_size(survey([make_truth([])], [found((OBJECT, 0.9, 0))], 1), ONCE) == ()


@pytest.mark.parametrize("seed", range(24))
def test_hits_and_what_counts_are_cocos_at_every_size(make_odd: Make, seed: int) -> None:
    truths, detections = make_odd(seed, ties=seed % 2 == 0, crowded=seed % 6 == 0)
    scene, judged = survey(truths, detections, 3), evaluate(truths, detections, 3)
    for size, area_range in AREA_RANGES.items():
        outcomes = judge_outcomes(scene, area_range)
        order = np.lexsort((-scene.found.scores, scene.found.label))
        for label, curve in enumerate(judged.curves[size]):
            rows = order[(outcomes.counted & (scene.found.label == label))[order]]
            at_half = curve.counted[0]
            assert np.array_equal(outcomes.hit[rows], curve.hit[0, at_half])
            assert np.array_equal(scene.found.image[rows], curve.image[at_half])
            assert np.count_nonzero(outcomes.wanted & (scene.objects.label == label)) == curve.truths.sum()


def their_errors(case: Case) -> dict[str, dict[str, float]]:
    scene = survey(*case, 3)
    o, f = scene.objects, scene.found
    images = [{"id": index, "width": 1, "height": 1} for index in range(scene.n_images)]
    classes = [{"id": index, "name": str(index)} for index in range(3)]
    truth = hotcoco.COCO.from_arrays(images, classes, o.image, o.label, o.boxes_xywh, area=o.area, iscrowd=o.ignored)
    judge = hotcoco.COCOeval(truth, truth.load_res(np.column_stack([f.image, f.boxes_xywh, f.scores, f.label])), "bbox")
    judge.evaluate()
    result: dict[str, dict[str, float]] = judge.tide_errors()
    return result


@pytest.mark.parametrize("seed", range(20))
def test_kinds_and_costs_are_hotcocos_where_every_object_counts(make_odd: Make, seed: int) -> None:
    truths, detections = make_odd(seed, ties=False)
    truths = [Truth(t.boxes, t.labels, t.areas, np.zeros(len(t), dtype=bool)) for t in truths]
    scene = survey(truths, detections, 3)
    ours, theirs = (
        mistakes_by_size(scene, Draws.of(len(truths), replicates=1), ["all"])[0],
        their_errors((truths, detections)),
    )
    outcomes = judge_outcomes(scene, AREA_RANGES["all"])
    lost_classes = set(scene.objects.label) - set(scene.objects.label[~outcomes.missed])
    assert ours.ap_50.value == pytest.approx(theirs["ap_base"])
    for part in ours.parts:
        assert part.count == theirs["counts"][THEIR_NAMES[part.kind]]
        if (
            part.kind != "missed" or not lost_classes
        ):  # a class of which nothing is left counts 0 there, not at all here
            assert part.ap_lost.value == pytest.approx(theirs["delta_ap"][THEIR_NAMES[part.kind]])


def test_the_interval_holds_the_cost(make_plausible: Make) -> None:
    truths, detections = make_plausible(3)
    errors = mistakes_by_size(survey(truths, detections, 1), Draws.of(len(truths), replicates=100), ["all"])[0]
    missed = errors.parts[0]
    assert 0 < missed.ap_lost.low < missed.ap_lost.value < missed.ap_lost.high < 1
    assert missed.ap_lost.n == errors.objects


@pytest.mark.parametrize("clips", [None, [f"clip {n // 4}" for n in range(40)]], ids=["images", "clips"])
def test_ap_has_the_interval_that_it_has_elsewhere(make_plausible: Make, clips: list[str] | None) -> None:
    truths, detections = make_plausible(3)
    units = Units.of(len(truths), clips)
    sizes = mistakes_by_size(survey(truths, detections, 1), Draws.of(len(truths), units, replicates=100))
    curves = evaluate(truths, detections, 1)
    elsewhere = with_intervals(curves, ["map_50"], groups=units.groups, replicates=100)["map_50"]
    here = sizes[0].ap_50
    assert (here.value, here.low, here.high, here.n) == pytest.approx(
        (elsewhere.value, elsewhere.low, elsewhere.high, elsewhere.n), abs=1e-6
    )


def test_images_without_such_an_object_tell_nothing_about_it() -> None:
    """One image of twenty holds a ball of 7 px: there is no interval from a single image."""
    truths = [make_truth([(10, 10, 17, 17)]), *[make_truth([(10, 10, 60, 60)])] * 19]
    detections = [found(((10, 10, 17, 17), 0.9, 0))] * 20
    sizes = mistakes_by_size(survey(truths, detections, 1), Draws.of(20, replicates=50), ["0_8", "medium"])
    assert math.isnan(sizes[0].ap_50.low) and math.isnan(sizes[0].parts[0].ap_lost.low)
    assert not math.isnan(sizes[1].ap_50.low)


def test_the_worst_come_first_and_one_image_does_not_fill_the_list() -> None:
    far = [(200 + 20 * n, 0, 210 + 20 * n, 10) for n in range(5)]
    truths = [make_truth([OBJECT, (50, 50, 80, 80)]), make_truth([OBJECT]), make_truth([OBJECT])]
    detections = [
        found(*((box, 0.9 - n / 100, 0) for n, box in enumerate(far))),
        found(((14, 10, 24, 20), 0.3, 0), ((6, 10, 16, 20), 0.2, 0)),
        found((far[0], 0.95, 0), (OBJECT, 0.5, 0)),
    ]
    outcomes = judge_outcomes(survey(truths, detections, 1), AREA_RANGES["all"])
    files = ["a.jpg", "b.jpg", "c.jpg"]
    misses = worst_misses(outcomes, files, ["ball"], 10)
    assert [(m.file, m.kind, m.score) for m in misses] == [
        ("a.jpg", "missed", None),
        ("a.jpg", "missed", None),
        ("b.jpg", "localisation", pytest.approx(0.3)),
    ]
    assert (misses[0].box, misses[0].class_name, misses[2].other) == ((50, 50, 80, 80), "ball", (14, 10, 24, 20))
    unseen = worst_misses(outcomes, files, ["ball"], 10, below=[0.6])[3]
    assert (unseen.file, unseen.kind, unseen.score, unseen.other) == ("c.jpg", "missed", 0.5, OBJECT)
    alarms = worst_false_alarms(outcomes, files, ["ball"], 4)
    assert [(m.file, m.kind, round(m.score or 0, 2)) for m in alarms] == [
        ("c.jpg", "background", 0.95),
        ("a.jpg", "background", 0.9),
        ("a.jpg", "background", 0.89),
        ("b.jpg", "localisation", 0.3),
    ]
    assert (alarms[0].other, alarms[3].other) == (None, OBJECT)
