"""The chain of a training sample: where parts are taken, and that boxes follow the pixels all the way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from augment.markers import FRAME, Box, assert_marker_fills_its_box, assert_well_formed, boxes_in, found_marker, marked
from builders import make_truth
from smallsight.augment.geometry import FILL
from smallsight.augment.pipeline import NO_POINTS, SPREAD, Chain
from smallsight.config.sections import Augmentation, Sampling
from smallsight.records import Sample
from smallsight.rng import keyed_generator

PLAIN: dict[str, Any] = {"horizontal_flip": 0, "color_jitter": 0}
SIDE = 240


def chain(
    crop_px: int = 32,
    scales: Sequence[int] = (SIDE,),
    augmentation: dict[str, Any] = PLAIN,
    *,
    objects: float = 0.5,
    hard: float = 0.25,
    **more: Any,
) -> Chain:
    sampling = Sampling(crop_px=32, object_share=objects, hard_negative_share=hard)
    return Chain(sampling, Augmentation.model_validate(augmentation), scales, crop_px or None, **more)


@dataclass
class Frames:
    """Frames that are there already."""

    samples: list[Sample]

    def __len__(self) -> int:
        return len(self.samples)

    def sample(self, index: int) -> Sample:
        return self.samples[index]


def through(
    of: Chain, samples: list[Sample], *key: int | str, hard_xy: np.ndarray = NO_POINTS, batch: int = 0
) -> Sample:
    """The first sample through a chain."""
    return of(0, Frames(samples), {0: hard_xy}, keyed_generator(*key), keyed_generator("batch", batch))


def mapped(*boxes: Box, ignored: Sequence[bool] = ()) -> Sample:
    """A frame of 240x240 px in which red and green of a pixel are its x and y."""
    ys, xs = np.mgrid[:SIDE, :SIDE].astype(np.uint8)
    return Sample(np.dstack([xs, ys, np.full_like(xs, 255)]), make_truth(boxes, ignored=ignored), 1)


def corner_of(part: Sample) -> np.ndarray:
    """Where an unscaled part of `mapped` begins, x and y."""
    return part.image[0, 0, :2].astype(int)


def parts(of: Chain, sample: Sample, hard_xy: np.ndarray = NO_POINTS, n: int = 300) -> list[Sample]:
    return [through(of, [sample], "part", index, hard_xy=hard_xy) for index in range(n)]


@given(
    boxes_in(FRAME),
    st.sampled_from([32, 64, 96]),
    st.lists(st.integers(32, 270), min_size=1, max_size=4),
    st.sampled_from([0, 0.5, 1]),
    st.sampled_from([0, 1]),
    st.integers(0, 10**6),
)
def test_through_the_whole_chain_the_marker_is_where_its_box_says(
    box: Box, crop_px: int, scales: list[int], flip: float, objects: int, seed: int
) -> None:
    of = chain(crop_px, scales, {"horizontal_flip": flip, "color_jitter": 0}, objects=objects)
    part = through(of, [marked(FRAME, box)], "chain", seed)
    assert part.image.shape == (crop_px, crop_px, 3)
    assert_well_formed(part)
    if objects:
        assert len(part.truth) == 1
    if len(part.truth):
        assert_marker_fills_its_box(part)
    else:
        assert found_marker(part.image)[1] == 0


@given(st.integers(0, 10**6), st.integers(0, 50))
def test_the_same_key_gives_the_same_sample(seed: int, index: int) -> None:
    of = chain(
        32, (200, 240, 300), {"horizontal_flip": 0.5, "color_jitter": {"enabled": True, "hue": 0.2}, "mosaic": 0.5}
    )
    sample, hard = mapped((50, 60, 58, 70)), np.array([[200, 20]], dtype=np.float32)
    first, second = (through(of, [sample], "sample", seed, 1, index, hard_xy=hard) for _ in range(2))
    assert np.array_equal(first.image, second.image)
    assert np.array_equal(first.truth.boxes, second.truth.boxes)
    assert np.array_equal(first.truth.ignored, second.truth.ignored)


def test_other_keys_give_other_samples() -> None:
    seen = {part.image.tobytes() for part in parts(chain(), mapped((50, 60, 58, 70)), n=50)}
    assert len(seen) == 50


def test_the_frame_is_not_changed() -> None:
    sample = mapped((50, 60, 58, 70))
    before = sample.image.copy(), sample.truth.boxes.copy()
    parts(chain(augmentation={"horizontal_flip": 1, "color_jitter": 1}), sample, n=5)
    assert np.array_equal(sample.image, before[0])
    assert np.array_equal(sample.truth.boxes, before[1])


@pytest.mark.parametrize("box", [(100, 90, 106, 97), (0, 0, 5, 5), (235, 0, 240, 4), (0, 120, 3, 125)])
def test_with_an_object_share_of_one_the_object_is_always_inside(box: Box) -> None:
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    for part in parts(chain(objects=1), mapped(box)):
        corner = corner_of(part)
        assert (corner <= (x, y)).all()
        assert ((x, y) <= corner + 32).all()
        assert len(part.truth) == 1


def test_the_object_lies_anywhere_within_the_spread_around_the_middle() -> None:
    offsets = np.array(
        [corner_of(part) + 16 - (123, 93.5) for part in parts(chain(objects=1), mapped((120, 90, 126, 97)))]
    )
    assert np.abs(offsets).max() <= SPREAD * 32 + 0.5
    assert (offsets.max(axis=0) > 0.8 * SPREAD * 32).all()
    assert (offsets.min(axis=0) < -0.8 * SPREAD * 32).all()
    assert np.abs(offsets.mean(axis=0)).max() < 2


def test_every_object_gets_its_turn() -> None:
    boxes = [(20, 20, 26, 26), (200, 20, 206, 26), (110, 200, 116, 206)]
    hits = np.zeros(3)
    for part in parts(chain(objects=1), mapped(*boxes), n=600):
        middle = corner_of(part) + 16
        hits[np.argmin([np.hypot(*(middle - (b[0] + 3, b[1] + 3))) for b in boxes])] += 1
    assert hits == pytest.approx([200] * 3, abs=4 * np.sqrt(600 * 2 / 9))


def test_ignored_objects_are_not_aimed_at() -> None:
    sample = mapped((20, 20, 26, 26), (200, 200, 206, 206), ignored=[True, False])
    for part in parts(chain(objects=1), sample, n=100):
        assert (corner_of(part) > 150).all()


def test_hard_points_are_aimed_at() -> None:
    hard = np.array([[30, 200], [210, 40]], dtype=np.float32)
    seen = np.zeros(2)
    for part in parts(chain(objects=0, hard=1), mapped((100, 100, 110, 110)), hard):
        corner = corner_of(part)
        inside = ((corner <= hard) & (hard <= corner + 32)).all(axis=1)
        assert inside.sum() == 1
        seen += inside
    assert seen == pytest.approx([150, 150], abs=4 * np.sqrt(300 / 4))


def test_shares_are_kept() -> None:
    hard = np.array([[30, 200]], dtype=np.float32)
    near = np.zeros(2)
    n = 2000
    for part in parts(chain(objects=0.5, hard=0.25), mapped((200, 30, 206, 36)), hard, n=n):
        middle = corner_of(part) + 16
        near += [np.abs(middle - point).max() <= 14 for point in ((203, 33), (30, 200))]
    by_chance = 0.25 * (28 / (SIDE - 32)) ** 2 * n
    assert near == pytest.approx([0.5 * n + by_chance, 0.25 * n + by_chance], abs=4 * np.sqrt(n / 4))


@pytest.mark.parametrize(("objects", "hard"), [(1, 0), (0, 1), (0, 0)])
def test_without_a_point_a_part_is_taken_anywhere(objects: float, hard: float) -> None:
    corners = np.array([corner_of(part) for part in parts(chain(objects=objects, hard=hard), mapped())])
    assert (corners.min(axis=0) < 10).all()
    assert (corners.max(axis=0) > SIDE - 32 - 10).all()
    assert corners.mean(axis=0) == pytest.approx([(SIDE - 32) / 2] * 2, abs=16)


@pytest.mark.parametrize("crop_px", [32, 96, 192])
@pytest.mark.parametrize("scale", [120, 240, 480])
def test_a_part_leaves_the_frame_no_further_than_it_has_to(crop_px: int, scale: int) -> None:
    factor = scale / SIDE
    sample = mapped((0, 0, 6, 6), (234, 234, 240, 240))
    for part in parts(chain(crop_px, (scale,), objects=0.7), sample, n=60):
        filled = (part.image == FILL).all(axis=2)
        expected = max(0, crop_px - round(SIDE * factor))
        assert abs(filled.all(axis=0).sum() - expected) <= 2
        assert abs(filled.all(axis=1).sum() - expected) <= 2
        if not expected:
            assert not filled.any()


def test_scales_are_drawn_evenly() -> None:
    scales = (120, 240, 480)
    drawn = parts(chain(64, scales, objects=1), mapped((116, 116, 124, 124)))
    factors = np.array([np.sqrt(part.truth.areas[0]) / 8 for part in drawn])
    counts = [int((np.abs(factors - scale / SIDE) < 0.02).sum()) for scale in scales]
    assert sum(counts) == 300
    assert counts == pytest.approx([100] * 3, abs=4 * np.sqrt(300 * 2 / 9))


@pytest.mark.parametrize("share", [0, 0.3, 1])
@pytest.mark.parametrize("change", [{"horizontal_flip": {}}, {"color_jitter": {"brightness": 0.9}}])
def test_flips_and_colour_come_as_often_as_asked(share: float, change: dict[str, dict[str, Any]]) -> None:
    sample = mapped((100, 100, 106, 106))
    settings = {**PLAIN, **{name: {**more, "prob": share} for name, more in change.items()}}
    pairs = zip(parts(chain(), sample), parts(chain(augmentation=settings), sample), strict=True)
    changed = sum(not np.array_equal(plain.image, other.image) for plain, other in pairs)
    assert changed == pytest.approx(300 * share, abs=4 * np.sqrt(300 * share * (1 - share)) + 0.1)


def test_a_switch_of_one_change_does_not_move_the_part() -> None:
    plain = parts(chain(), mapped((100, 100, 106, 106)), n=20)
    flipped = parts(chain(augmentation={"horizontal_flip": 1, "color_jitter": 0}), mapped((100, 100, 106, 106)), n=20)
    for a, b in zip(plain, flipped, strict=True):
        assert np.array_equal(a.image, b.image[:, ::-1])


@given(st.integers(1, 40), st.integers(1, 40), st.integers(8, 500), st.integers(0, 1000))
def test_frames_of_any_size_and_scale(width: int, height: int, scale: int, seed: int) -> None:
    sample = Sample(np.full((height, width, 3), 9, dtype=np.uint8), make_truth([(0, 0, width, height)]), 1)
    part = through(chain(32, (scale,), objects=1), [sample], seed)
    assert part.image.shape == (32, 32, 3)
    assert_well_formed(part)
    assert len(part.truth) == 1


def test_whole_frames_are_stretched_to_a_square_whose_size_the_batch_shares() -> None:
    of = chain(0, (64, 96, 128))
    sides = {}
    for batch in range(12):
        drawn = [through(of, [marked(FRAME, (10, 10, 30, 20))], "whole", batch, i, batch=batch) for i in range(4)]
        (sides[batch],) = {part.size_wh for part in drawn}
        for part in drawn:
            assert_marker_fills_its_box(part)
            w, h = sides[batch]
            assert part.truth.boxes[0] == pytest.approx([10 * w / 90, 10 * h / 60, 30 * w / 90, 20 * h / 60])
    assert set(sides.values()) == {(64, 64), (96, 96), (128, 128)}


@pytest.mark.parametrize("crop_px", [0, 48])
def test_zoom_only_enlarges(crop_px: int) -> None:
    zooming = chain(crop_px, (120,), {**PLAIN, "zoom": {"prob": 1, "factor_range": [1.2, 2]}}, objects=1)
    sides = [
        np.sqrt(part.truth.areas[0])
        for part in parts(zooming, mapped((100, 100, 120, 120)), n=100)
        if not part.truth.ignored[0]
    ]
    assert min(sides) >= 10 * 1.2 - 0.3 and max(sides) <= 10 * 2 + 0.6 and np.ptp(sides) > 5


def test_tiny_objects_are_aimed_at_more_often_where_asked() -> None:
    sample = mapped((20, 20, 24, 24), (200, 200, 216, 216))
    near = np.array([corner_of(p).max() < 100 for p in parts(chain(objects=1, tiny_px=8, tiny_boost=3), sample, n=600)])
    assert near.sum() == pytest.approx(450, abs=4 * np.sqrt(600 * 3 / 16))


class TestMosaic:
    """Tiles of frames of one colour each, with a white marker."""

    SETTINGS: ClassVar[dict[str, Any]] = {**PLAIN, "mosaic": {"prob": 1, "border_margin": 3, "min_bbox_size": 4}}

    @staticmethod
    def frames(n: int = 6, side: int = 6) -> list[Sample]:
        return [marked(FRAME, (40, 30, 40 + side, 30 + side)) for _ in range(n)]

    @pytest.mark.parametrize("tiles", [4, 9])
    @pytest.mark.parametrize("crop_px", [0, 96])
    def test_every_marker_lies_in_its_box(self, tiles: int, crop_px: int) -> None:
        settings = {**self.SETTINGS, "mosaic": {**self.SETTINGS["mosaic"], "tiles": tiles}}
        counted = 0
        for index in range(60):
            of = chain(crop_px, (90, 120), settings, objects=1)
            part = through(of, self.frames(), "mosaic", index, batch=index)
            assert part.size_wh == ((96, 96) if crop_px else (90, 90)) or (not crop_px and part.size_wh == (120, 120))
            assert_well_formed(part)
            bright = (part.image[..., 0].astype(float) - FILL) / (255 - FILL)
            inside = np.zeros(part.image.shape[:2], dtype=bool)
            for box in part.truth.boxes:
                x1, y1 = np.floor(box[:2]).astype(int)
                x2, y2 = np.ceil(box[2:]).astype(int)
                inside[max(0, y1 - 1) : y2 + 1, max(0, x1 - 1) : x2 + 1] = True
                w, h = box[2:] - box[:2]
                mass = bright[max(0, y1 - 1) : y2 + 1, max(0, x1 - 1) : x2 + 1].sum()
                assert mass >= 0.8 * w * h - 0.6 * (w + h)
            assert bright[~inside].max(initial=0) < 0.02
            counted += int((~part.truth.ignored).sum())
        assert counted > 60 * tiles * 0.4

    def test_no_object_is_made_smaller_than_wanted(self) -> None:
        settings = {**PLAIN, "mosaic": {"prob": 1, "min_bbox_size": 5, "scale_range": [0.2, 0.3], "border_margin": 0}}
        for index in range(40):
            part = through(chain(96, (90,), settings, objects=1), self.frames(side=8), "least", index)
            whole = ~part.truth.ignored & (part.truth.boxes > 0).all(axis=1) & (part.truth.boxes < 96).all(axis=1)
            assert np.sqrt(part.truth.areas[whole]).min(initial=9) >= 5 - 0.6

    def test_an_object_that_is_smaller_anyhow_keeps_its_size(self) -> None:
        settings = {**PLAIN, "mosaic": {"prob": 1, "min_bbox_size": 5, "scale_range": [0.2, 0.3], "border_margin": 0}}
        for index in range(20):
            part = through(chain(96, (90,), settings, objects=1), self.frames(side=3), "kept", index)
            assert np.sqrt(part.truth.areas[~part.truth.ignored]) == pytest.approx(3, abs=0.2)

    def test_an_object_cut_to_less_than_the_margin_is_ignored(self) -> None:
        settings = {**PLAIN, "mosaic": {"prob": 1, "border_margin": 6, "scale_range": [1, 1], "min_bbox_size": 0}}
        seen = set()
        for index in range(200):
            part = through(chain(64, (90,), settings, objects=0, hard=0), self.frames(), "cut", index)
            shorter = (part.truth.boxes[:, 2:] - part.truth.boxes[:, :2]).min(axis=1)
            assert ((shorter < 5.5) <= part.truth.ignored).all()
            seen |= set(part.truth.ignored.tolist())
        assert seen == {True, False}

    def test_there_is_none_where_it_is_switched_off(self) -> None:
        plain, without = chain(64, (90,), PLAIN), chain(64, (90,), self.SETTINGS, with_mosaic=False)
        for index in range(5):
            a, b = (through(of, self.frames(), "off", index) for of in (plain, without))
            assert np.array_equal(a.image, b.image)
