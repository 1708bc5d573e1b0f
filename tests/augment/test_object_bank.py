"""Which objects may be pasted, how often each is drawn, and where."""

from __future__ import annotations

import numpy as np
import pytest

from builders import make_truth
from smallsight.augment import object_bank
from smallsight.augment.object_bank import ObjectBank
from smallsight.records import Truth
from smallsight.rng import keyed_generator

SIZE_WH = (200, 100)


def kept_boxes(truth: Truth, max_side_px: float = 32.0) -> list[list[float]]:
    bank = ObjectBank.of([make_truth([]), truth], [SIZE_WH, SIZE_WH], max_side_px)
    assert set(bank.frames.tolist()) <= {1}
    assert np.array_equal(bank.boxes, truth.boxes[bank.rows])
    return bank.boxes.astype(float).tolist()


@pytest.mark.parametrize(
    ("box", "kept"),
    [
        ((50, 50, 58, 60), True),
        ((50, 50, 82, 60), True),
        ((50, 50, 83, 60), False),  # too long
        ((50, 50, 50.5, 60), False),  # thinner than a pixel
        ((0, 50, 8, 60), False),  # cut by the border
        ((190, 50, 200, 60), False),
        ((50, 90, 58, 100), False),
        ((101, 18, 108, 24), False),  # a pixel from the other box
        ((104, 18, 110, 24), True),
        ((60, 0, 66, 6), False),
    ],
)
def test_small_whole_objects_that_stand_alone_are_kept(box: tuple[float, ...], kept: bool) -> None:
    other = [20.0, 10.0, 100.0, 40.0]
    assert kept_boxes(make_truth([other, box])) == ([list(box)] if kept else [])


def test_ignored_objects_are_not_pasted_and_nothing_that_touches_them() -> None:
    boxes = [(50, 50, 58, 58), (57, 50, 64, 58), (90, 50, 98, 58)]
    assert kept_boxes(make_truth(boxes, ignored=[True, False, False])) == [[90, 50, 98, 58]]


@pytest.mark.parametrize("truths", [[], [make_truth([])], [make_truth([(0, 0, 150, 90)])]])
def test_a_set_without_small_objects_gives_an_empty_bank(truths: list[Truth]) -> None:
    assert len(ObjectBank.of(truths, [SIZE_WH] * len(truths), 32)) == 0


def two_classes(common: int, rare: int) -> ObjectBank:
    boxes = [(10, 10 + y % 60, 16, 16 + y % 60) for y in range(common + rare)]
    truths = [make_truth([box], [0 if number < common else 2]) for number, box in enumerate(boxes)]
    return ObjectBank.of(truths, [SIZE_WH] * len(truths), 32)


def test_a_class_is_drawn_by_the_square_root_of_its_count() -> None:
    bank, generator = two_classes(400, 16), keyed_generator("draw")
    drawn = np.array([bank.draw(generator) for _ in range(6000)])
    assert (bank.labels[drawn] == 2).mean() == pytest.approx(4 / (4 + 20), abs=0.02)
    assert len(np.unique(drawn)) == 416  # each object is drawn


def test_a_large_set_is_thinned_and_keeps_its_rare_class(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(object_bank, "MOST_OBJECTS", 100)
    bank = two_classes(900, 9)
    assert len(bank) == 100
    assert (bank.labels == 2).sum() >= 5
    assert bank.chances[-1] == 1
    assert np.array_equal(bank.frames, two_classes(900, 9).frames)
    rare = np.diff(bank.chances, prepend=0)[bank.labels == 2].sum()
    assert rare == pytest.approx(3 / (3 + 30))


def test_heights_are_drawn_where_the_class_was_seen() -> None:
    boxes = [(10, y, 16, y + 6) for y in (20, 24, 28, 60)]
    bank = ObjectBank.of([make_truth([box]) for box in boxes], [SIZE_WH] * 4, 32)
    generator = keyed_generator("height")
    drawn = [bank.draw_height(0, 0.2, 0.4, generator) for _ in range(400)]
    found = np.array([height for height in drawn if height is not None])
    assert len(found) > 300
    assert ((found >= 0.2) & (found <= 0.4)).all()
    assert found.std() > 0.03
    assert all(bank.draw_height(0, 0.75, 1.0, generator) is None for _ in range(50))


def test_an_object_is_larger_in_a_larger_frame() -> None:
    truths = [make_truth([(10, 40, 16, 46)]), make_truth([])]
    bank = ObjectBank.of(truths, [(200, 100), (400, 200)], 32)
    assert bank.scale(0, 1, 0.43) == pytest.approx(2 * np.exp(-bank.perspective.zooms[0]))
    assert bank.scale(0, 0, 0.8) == pytest.approx(1)
    assert bank.size_wh(1) == (400, 200)
