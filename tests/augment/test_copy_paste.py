"""Copy-paste: what is pasted lies where its box says, looks as its place asks for, and keeps clear of all else."""

from __future__ import annotations

import itertools
import multiprocessing
from collections.abc import Sequence

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from augment.markers import assert_marker_fills_its_box, marked
from builders import GRASS_RGB, draw_ball, make_truth
from smallsight.augment.copy_paste import Patches, paste_objects
from smallsight.augment.geometry import FILL, window
from smallsight.augment.object_bank import ObjectBank
from smallsight.augment.shelf import Shelf
from smallsight.config.sections import CopyPaste
from smallsight.records import Image, Sample, Truth
from smallsight.rng import keyed_generator

SIZE_WH = (160, 120)


def patches_of(samples: Sequence[Sample], max_side_px: float = 32.0) -> Patches:
    bank = ObjectBank.of([s.truth for s in samples], [s.size_wh for s in samples], max_side_px)
    return Patches(bank, lambda index: samples[index])


def pasted(
    samples: Sequence[Sample],
    frame: int,
    key: int = 0,
    part: Sample | None = None,
    corner: tuple[int, int] = (0, 0),
    **settings: float,
) -> Sample:
    given = CopyPaste(enabled=True, **{"max_pastes": 1, **settings})
    generator = keyed_generator("paste", key)
    return paste_objects(part or samples[frame], patches_of(samples), given, generator, frame=frame, corner_xy=corner)


def meadow(level: float = 1.0, noise: float = 0.0, size_wh: tuple[int, int] = SIZE_WH) -> Image:
    image = np.full((size_wh[1], size_wh[0], 3), GRASS_RGB, np.float32) * level
    image = image + keyed_generator("meadow", str(level)).normal(0, noise, image.shape)
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


def with_ball(image: Image, box: tuple[float, ...] = (70, 50, 80, 60)) -> Sample:
    image = image.copy()
    draw_ball(image, box)
    return Sample(image, make_truth([box]), 1)


def empty(image: Image) -> Sample:
    return Sample(image, make_truth([]), 2)


@given(st.integers(0, 200), st.sampled_from([(10, 6), (4, 4), (3, 9), (30, 30)]), st.floats(0.55, 1.35))
def test_a_marker_fills_its_new_box_at_any_scale(key: int, size: tuple[int, int], scale: float) -> None:
    source = marked(SIZE_WH, (70, 50, 70 + size[0], 50 + size[1]))
    frame = marked((round(SIZE_WH[0] * scale), round(SIZE_WH[1] * scale)))
    result = pasted([source, frame], 1, key)
    if len(result.truth):
        assert_marker_fills_its_box(result)
        sides = result.truth.boxes[0, 2:] - result.truth.boxes[0, :2]
        assert sides == pytest.approx(np.array(size) * scale, rel=0.08, abs=0.3)
        assert result.truth.areas[0] == pytest.approx(sides.prod(), rel=1e-3)


def test_markers_of_all_sizes_and_scales_are_pasted_mostly() -> None:
    """So that the test above does not pass for want of pastes."""
    for size, scale in itertools.product([(10, 6), (4, 4), (3, 9), (30, 30)], [0.7, 1.0, 1.3]):
        source = marked(SIZE_WH, (70, 40, 70 + size[0], 40 + size[1]))
        frame = marked((round(SIZE_WH[0] * scale), round(SIZE_WH[1] * scale)))
        assert sum(len(pasted([source, frame], 1, key).truth) for key in range(10)) >= 9


def test_flipped_objects_face_the_other_way() -> None:
    source = marked(SIZE_WH, (70, 50, 82, 60))
    source.image[50:60, 70:76] = (255, 120, 120)
    lefts = []
    for key in range(30):
        result = pasted([source, marked(SIZE_WH)], 1, key)
        x1, y1, x2, y2 = np.rint(result.truth.boxes[0]).astype(int)
        left, right = (result.image[y1 + 2 : y2 - 2, x : x + 2, 1].mean() for x in (x1 + 2, x2 - 4))
        assert abs(left - right) > 80
        lefts.append(left < right)
    assert 5 < sum(lefts) < 25


@given(st.integers(0, 200))
def test_a_streak_lies_in_its_box_and_fills_it(key: int) -> None:
    result = pasted([marked(SIZE_WH, (70, 50, 76, 56)), marked(SIZE_WH)], 1, key, streak_prob=1.0)
    ((x1, y1, x2, y2),) = result.truth.boxes.astype(float)
    height = result.image[..., 0].astype(float) - FILL
    for axis, low, high in ((0, x1, x2), (1, y1, y2)):
        profile = height.max(axis=axis)
        shown = np.flatnonzero(profile >= profile.max() / 2)
        assert shown[0] == pytest.approx(low, abs=1.6) and shown[-1] + 1 == pytest.approx(high, abs=1.6)
    weights = result.image[..., 0].astype(float) - FILL
    middle = [(weights.sum(axis=a) * (np.arange(weights.shape[1 - a]) + 0.5)).sum() / weights.sum() for a in (0, 1)]
    assert middle == pytest.approx([(x1 + x2) / 2, (y1 + y2) / 2], abs=0.5)


def test_a_streak_is_not_longer_than_allowed() -> None:
    samples = [marked(SIZE_WH, (70, 40, 90, 60)), marked(SIZE_WH)]
    for key in range(20):
        for box in pasted(samples, 1, key, streak_prob=1.0, max_side_px=32).truth.boxes:
            assert (box[2:] - box[:2]).max() <= 32.5


def test_streaks_come_as_often_as_asked_for() -> None:
    samples = [marked(SIZE_WH, (70, 50, 76, 56)), marked(SIZE_WH)]
    sides = [pasted(samples, 1, key, streak_prob=0.3).truth.boxes[0] for key in range(100)]
    longer = sum(
        float((box[2:] - box[:2]).max()) > 6.5 for box in sides
    )  # a streak shorter than the object is not seen
    assert 8 <= longer <= 40


@given(st.integers(0, 300))
def test_pasted_objects_keep_clear_of_all_boxes(key: int) -> None:
    source = marked(SIZE_WH, (20, 50, 28, 58), (70, 60, 76, 66), (120, 52, 126, 70))
    boxes = [(30, 40, 60, 90), (80, 45, 120, 70)]
    busy = Sample(marked(SIZE_WH).image, make_truth(boxes, ignored=[True, True]), 2)
    result = pasted([source, busy], 1, key, max_pastes=6)
    assert np.array_equal(result.truth.boxes[:2], make_truth(boxes).boxes)
    for first, second in itertools.combinations(result.truth.boxes, 2):
        assert (first[:2] > second[2:] + 1).any() or (second[:2] > first[2:] + 1).any()
    new = result.truth.boxes[2:]
    assert (new[:, :2] >= 0).all() and (new[:, 2:] <= SIZE_WH).all()
    untouched = np.ones(SIZE_WH[::-1], bool)
    for x1, y1, x2, y2 in np.rint(new).astype(int):
        untouched[max(0, y1 - 2) : y2 + 2, max(0, x1 - 2) : x2 + 2] = False
    assert np.array_equal(result.image[untouched], busy.image[untouched])


@given(st.integers(0, 300), st.integers(-60, 120), st.integers(-60, 90), st.integers(20, 110))
def test_nothing_is_pasted_outside_of_the_frame(key: int, x: int, y: int, side: int) -> None:
    samples = [marked(SIZE_WH, (70, 50, 76, 56)), empty(np.full((*SIZE_WH[::-1], 3), FILL, np.uint8))]
    part = window(samples[1], (x, y), (side, side))
    result = pasted(samples, 1, key, part, (x, y), max_pastes=5)
    boxes = result.truth.boxes + np.array([x, y, x, y])
    assert (boxes[:, :2] >= 0).all() and (boxes[:, 2:] <= SIZE_WH).all()
    assert (result.truth.boxes >= 0).all() and (result.truth.boxes <= side).all()
    rows, columns = np.mgrid[:side, :side]
    outside = (columns + x < 0) | (columns + x >= SIZE_WH[0]) | (rows + y < 0) | (rows + y >= SIZE_WH[1])
    assert (result.image[outside] == FILL).all()


def test_the_height_of_a_paste_is_that_of_its_class_in_the_whole_frame() -> None:
    samples = [marked(SIZE_WH, (70, y, 76, y + 6)) for y in (80, 84, 88)] + [marked(SIZE_WH)]
    part = window(samples[3], (20, 60), (100, 60))
    middles = []
    for key in range(20):
        result = pasted(samples, 3, key, part, (20, 60))
        middles += [float(box[1::2].mean()) + 60 for box in result.truth.boxes]
    assert len(middles) >= 18
    assert min(middles) > 75 and max(middles) < 100
    sky = window(samples[3], (20, 0), (100, 50))
    assert all(pasted(samples, 3, key, sky, (20, 0)) is sky for key in range(10))


def test_size_follows_the_perspective_of_the_set() -> None:
    generator = keyed_generator("perspective")
    samples = []
    for y in generator.integers(10, 100, 40):
        side = round(5 + 10 * (y / 120))
        samples.append(marked(SIZE_WH, (70, int(y), 70 + side, int(y) + side)))
    samples.append(marked(SIZE_WH))
    for key in range(20):
        for box in pasted(samples, 40, key).truth.boxes.astype(float):
            middle = (box[1] + box[3]) / 2
            side = 5 + 10 * (middle - 5) / 120
            assert box[2] - box[0] == pytest.approx(side, rel=0.25)


def test_fewer_come_where_objects_are_but_one_at_least() -> None:
    samples = [marked(SIZE_WH, (70, 50, 76, 56)), marked(SIZE_WH)]
    boxes = [(5, 5, 9, 9), (5, 15, 9, 19), (5, 25, 9, 29)]
    filled = Sample(samples[1].image, make_truth(boxes), 2)
    added = {
        n: [len(pasted(samples, 1, key, part, max_pastes=3).truth) - n for key in range(40)]
        for n, part in ((0, None), (3, filled))
    }
    assert set(added[0]) == {1, 2, 3}
    assert set(added[3]) == {1}


def test_labels_and_annotated_areas_come_along() -> None:
    source = marked(SIZE_WH, (40, 50, 50, 60), (90, 50, 96, 56))
    truth = Truth(source.truth.boxes, np.array([3, 1]), np.array([50, 36], np.float32), np.zeros(2, bool))
    samples = [Sample(source.image, truth, 1), marked(SIZE_WH)]
    seen = set()
    for key in range(30):
        result = pasted(samples, 1, key)
        (label,) = result.truth.labels
        sides = result.truth.boxes[0, 2:] - result.truth.boxes[0, :2]
        assert sides == pytest.approx([10, 10] if label == 3 else [6, 6], abs=0.3)
        assert result.truth.areas[0] == pytest.approx(50 if label == 3 else 36, rel=0.05)
        assert not result.truth.ignored[0]
        seen.add(int(label))
    assert seen == {1, 3}


def test_a_patch_is_cut_once_for_all_processes_of_a_fork() -> None:
    samples = [with_ball(meadow())]
    patches = patches_of(samples)
    worker = multiprocessing.get_context("fork").Process(target=patches.of, args=(0,))
    worker.start()
    worker.join()
    cut = patches_of(samples).of(0)
    samples.clear()  # so that nothing can be cut any more
    found = patches.of(0)
    assert found is not None and cut is not None
    for one, other in zip(vars(found).values(), vars(cut).values(), strict=True):
        assert np.array_equal(one, other, equal_nan=True)


def test_a_key_decides_alone_whatever_the_memory_holds() -> None:
    generator = keyed_generator("many")
    samples = [with_ball(meadow(1.0 + 0.02 * k), (50 + 2 * k, 50, 58 + 3 * k, 58 + k)) for k in range(6)]
    fresh, tiny = patches_of(samples), patches_of(samples)
    tiny._shelf = Shelf([0] * len(tiny.bank))
    settings = CopyPaste(enabled=True, max_pastes=4, streak_prob=0.5)
    order = generator.permutation(20)
    results = {}
    for patches, keys in ((fresh, range(20)), (tiny, order), (fresh, order)):
        for key in keys:
            result = paste_objects(samples[0], patches, settings, keyed_generator(int(key)), frame=0)
            first = results.setdefault(int(key), result)
            assert np.array_equal(result.image, first.image)
            assert np.array_equal(result.truth.boxes, first.truth.boxes)
    assert len({result.image.tobytes() for result in results.values()}) == 20


def test_the_given_sample_is_left_as_it_was() -> None:
    samples = [marked(SIZE_WH, (70, 50, 76, 56)), marked(SIZE_WH)]
    whole = samples[1].image.copy()
    whole.flags.writeable = False
    part = window(Sample(whole, samples[1].truth, 2), (10, 20), (100, 80))
    result = pasted(samples, 1, 0, part, (10, 20))
    assert len(result.truth) == 1 and len(part.truth) == 0
    assert (whole == FILL).all()
    assert not np.shares_memory(result.image, whole)


@pytest.mark.parametrize(
    ("samples", "part", "corner"),
    [
        ([marked(SIZE_WH)], None, (0, 0)),  # nothing in the set
        ([with_ball(meadow()), empty(meadow())], (30, 30), (400, 300)),  # fill alone
        ([marked(SIZE_WH, (70, 50, 100, 80)), marked(SIZE_WH)], (20, 20), (60, 50)),  # smaller than the object
        ([marked(SIZE_WH, (70, 50, 76, 56)), marked(SIZE_WH)], (1, 1), (60, 50)),
    ],
)
def test_where_nothing_fits_the_sample_itself_comes_back(
    samples: list[Sample], part: tuple[int, int] | None, corner: tuple[int, int]
) -> None:
    target = window(samples[-1], corner, part) if part else samples[-1]
    for key in range(5):
        assert pasted(samples, len(samples) - 1, key, target, corner, max_pastes=3) is target


@pytest.mark.parametrize("level", [0.7, 0.85, 1.2, 1.4])
def test_no_border_shows_on_ground_of_another_brightness(level: float) -> None:
    """Away from the ball the picture is the ground, and around it there is no step."""
    samples = [with_ball(meadow(1.0, 1.0)), empty(meadow(level))]
    result = pasted(samples, 1, 3)
    x1, y1, x2, y2 = np.rint(result.truth.boxes[0]).astype(int)
    change = np.abs(result.image.astype(int) - samples[1].image).max(axis=2)
    change[y1 - 1 : y2 + 1, x1 - 1 : x2 + 1] = 0
    assert change.max() <= 5
    assert result.image[y1 + 4 : y2 - 4, x1 + 4 : x2 - 4].min() > 180


def grey_ball() -> Sample:
    ball = with_ball(meadow())
    return Sample(np.where(ball.image > 150, np.uint8(150), ball.image), ball.truth, 1)


def test_an_object_takes_on_a_part_of_the_light_and_stops_at_white() -> None:
    middles = []
    for level in (0.6, 1.0, 1.6):
        result = pasted([grey_ball(), empty(meadow(level))], 1, 3)
        x, y = np.rint(result.truth.boxes[0].reshape(2, 2).mean(axis=0)).astype(int)
        middles.append(float(result.image[y - 1 : y + 1, x - 1 : x + 1].mean()))
    assert middles[0] < 140 < middles[1] < 160 < middles[2] < 150 * 1.6
    bright = pasted([with_ball(meadow()), empty(meadow(1.8))], 1, 3)
    x, y = np.rint(bright.truth.boxes[0].reshape(2, 2).mean(axis=0)).astype(int)
    assert bright.image[y, x].max() <= 251


@pytest.mark.parametrize("colour", [(200, 40, 40), (5, 15, 6), (250, 250, 250)])
def test_nothing_is_pasted_on_unlike_ground(colour: tuple[int, int, int]) -> None:
    wall = empty(np.full((*SIZE_WH[::-1], 3), colour, np.uint8))
    assert all(pasted([with_ball(meadow()), wall], 1, key) is wall for key in range(10))


def test_nothing_is_pasted_where_it_would_be_lost() -> None:
    crowd = keyed_generator("crowd").normal(1, 0.5, (30, 40, 1)) * np.array(GRASS_RGB)
    crowd = cv2.resize(np.clip(crowd, 0, 255).astype(np.uint8), SIZE_WH, interpolation=cv2.INTER_LINEAR)
    dull = Sample(np.minimum(with_ball(meadow()).image, 115), with_ball(meadow()).truth, 1)
    assert len(pasted([dull, empty(meadow())], 1).truth) == 1
    assert len(pasted([dull, empty(crowd)], 1).truth) == 0


def test_noise_of_the_target_is_on_the_object() -> None:
    found = []
    for noise in (0.0, 8.0):
        samples = [with_ball(meadow(), (60, 40, 90, 70)), empty(meadow(1.0, noise))]
        result = pasted(samples, 1, 0)
        x1, y1, x2, y2 = np.rint(result.truth.boxes[0]).astype(int)
        found.append(float(result.image[y1 + 9 : y2 - 9, x1 + 9 : x2 - 9, 1].std()))
    assert found[0] < 1
    assert found[1] == pytest.approx(8, rel=0.35)


def test_an_object_is_softened_for_a_soft_target_and_never_sharpened() -> None:
    def house(image: Image) -> Image:
        image = image.copy()
        image[:30, 100:150] = 200
        return image

    def steepest(sharp_source: bool, sharp_target: bool) -> float:
        images = [house(with_ball(meadow(), (60, 60, 72, 72)).image), house(meadow())]
        images = [
            image if sharp else cv2.GaussianBlur(image, (0, 0), 1.5)
            for image, sharp in zip(images, (sharp_source, sharp_target), strict=True)
        ]
        result = pasted([Sample(images[0], make_truth([(60, 60, 72, 72)]), 1), empty(images[1])], 1, 5)
        x1, y1, x2, y2 = np.rint(result.truth.boxes[0]).astype(int)
        return float(np.abs(np.diff(result.image[(y1 + y2) // 2, x1 - 4 : x2 + 4, 0].astype(int))).max())

    assert steepest(True, False) < 0.6 * steepest(True, True)
    assert steepest(False, True) == pytest.approx(steepest(False, False), rel=0.15)
