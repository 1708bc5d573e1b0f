"""Boxes: conversions that are each other's inverse, overlaps against counted pixels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from smallsight.boxes import area, as_boxes, centres, clip_to, pairwise_iou, xywh_to_xyxy, xyxy_to_xywh
from smallsight.errors import BoxError

whole_xywh = arrays(np.float32, st.tuples(st.integers(0, 6), st.just(4)), elements=st.integers(0, 12))


@pytest.mark.parametrize(
    ("values", "shape"),
    [([], (0, 4)), (np.zeros((0, 4)), (0, 4)), ([[1, 2, 3, 4]], (1, 4)), (np.ones((3, 4), dtype=int), (3, 4))],
)
def test_as_boxes_takes_rows_of_four(values: object, shape: tuple[int, int]) -> None:
    boxes = as_boxes(values)  # type: ignore[arg-type]
    assert boxes.shape == shape
    assert boxes.dtype == np.float32


@pytest.mark.parametrize("shape", [(4,), (2, 3), (2, 5), (1, 2, 4), (5, 0), (0, 5), ()])
def test_as_boxes_refuses_other_shapes(shape: tuple[int, ...]) -> None:
    with pytest.raises(BoxError, match=r"boxes: wrong shape; got .*, expected \(N, 4\)\. Pass one row"):
        as_boxes(np.zeros(shape))


@given(whole_xywh)
def test_the_conversions_undo_each_other(xywh: np.ndarray) -> None:
    xyxy = xywh_to_xyxy(xywh)
    assert xyxy.dtype == np.float32
    assert np.array_equal(xyxy_to_xywh(xyxy), xywh)
    assert np.array_equal(area(xyxy), xywh[:, 2] * xywh[:, 3])
    assert np.array_equal(centres(xyxy), xywh[:, :2] + xywh[:, 2:] / 2)


def test_conversions_do_not_change_their_argument() -> None:
    boxes = as_boxes([[1, 2, 3, 4]])
    before = boxes.copy()
    xywh_to_xyxy(boxes)
    xyxy_to_xywh(boxes)
    clip_to(boxes, (2, 2))
    assert np.array_equal(boxes, before)


def test_a_box_turned_inside_out_has_no_area() -> None:
    assert area(as_boxes([[5, 5, 3, 9], [5, 5, 3, 3], [0, 0, 2, 3]])).tolist() == [0, 0, 6]


@given(whole_xywh, whole_xywh)
def test_iou_is_what_counting_pixels_gives(first: np.ndarray, second: np.ndarray) -> None:
    a, b = xywh_to_xyxy(first), xywh_to_xyxy(second)
    found = pairwise_iou(a, b)
    assert found.shape == (len(a), len(b))
    assert found.dtype == np.float32
    for i, one in enumerate(a.astype(int)):
        for j, other in enumerate(b.astype(int)):
            masks = np.zeros((2, 24, 24), dtype=bool)
            for mask, (x1, y1, x2, y2) in zip(masks, (one, other), strict=True):
                mask[y1:y2, x1:x2] = True
            union = (masks[0] | masks[1]).sum()
            expected = (masks[0] & masks[1]).sum() / union if union else 0
            assert found[i, j] == pytest.approx(expected, abs=1e-6)


def test_clipping_keeps_what_lies_in_the_frame() -> None:
    boxes = as_boxes([[-2, -3, 4, 5], [8, 8, 14, 30], [2, 2, 3, 3], [-5, -5, -1, -1]])
    assert clip_to(boxes, (10, 20)).tolist() == [[0, 0, 4, 5], [8, 8, 10, 20], [2, 2, 3, 3], [0, 0, 0, 0]]
