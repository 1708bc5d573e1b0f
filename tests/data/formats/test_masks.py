"""Boxes around segmentations, against pycocotools."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pycocotools import mask as reference

from smallsight.data.formats.masks import box_around

masks = st.tuples(st.integers(1, 12), st.integers(1, 12)).flatmap(
    lambda shape: arrays(np.uint8, shape, elements=st.integers(0, 1))
)


def plain_runs(mask: npt.NDArray[np.uint8]) -> list[int]:
    """Lengths of the runs down the columns, background first."""
    runs, value = [0], 0
    for pixel in mask.T.ravel().tolist():
        if pixel != value:
            runs.append(0)
            value = pixel
        runs[-1] += 1
    return runs


@given(masks)
def test_masks_have_the_box_of_the_reference(mask: npt.NDArray[np.uint8]) -> None:
    encoded = reference.encode(np.asfortranarray(mask))
    compressed = {"size": encoded["size"], "counts": encoded["counts"].decode()}
    runs = {"size": list(mask.shape), "counts": plain_runs(mask)}
    if not mask.any():
        for segmentation in (compressed, runs):
            with pytest.raises(ValueError, match="the mask is empty"):
                box_around(segmentation)
        return
    assert box_around(compressed) == box_around(runs) == tuple(reference.toBbox(encoded))


@pytest.mark.parametrize("side", [700, 3000])
def test_long_runs(side: int) -> None:
    """Differences of runs have signs and take several characters."""
    mask = np.zeros((side, side), np.uint8)
    mask[3 : side - 5, 100:600] = 1
    mask[0:2, 0:1] = 1
    encoded = reference.encode(np.asfortranarray(mask))
    found = box_around({"size": [side, side], "counts": encoded["counts"].decode()})
    assert found == tuple(reference.toBbox(encoded)) == (0, 0, 600, side - 5)


@pytest.mark.parametrize(
    ("segmentation", "box"),
    [
        ([[36, 26, 45, 26, 45, 35, 36, 35]], (36, 26, 9, 9)),
        ([36, 26, 45, 26, 45, 35], (36, 26, 9, 9)),  # not wrapped into a list
        ([[1, 2, 3, 4], [10.5, 1, 12, 3]], (1, 1, 11, 3)),
        ([["1", "2", "3.5", "4"]], (1, 2, 2.5, 2)),
    ],
)
def test_polygons(segmentation: Any, box: tuple[float, ...]) -> None:
    assert box_around(segmentation) == box


@pytest.mark.parametrize(
    ("segmentation", "reason"),
    [
        (None, "there is no segmentation"),
        ([], "there is no segmentation"),
        ("x", "there is no segmentation"),
        ([[]], "a polygon is []"),
        ([[1, 2]], "expected x and y of two points"),
        ([[1, 2, 3]], "expected x and y"),
        ([[1, 2, 3, None]], "expected x and y"),
        ([[1, 2, 3, 4], 5], "a polygon is 5"),
        ({}, "the mask's size is None"),
        ({"size": [4, 0], "counts": [1]}, "the mask's size is [4, 0]"),
        ({"size": [2**20, 2**20], "counts": [1]}, "the mask's size is"),
        ({"size": [4, 4]}, "the mask's counts are None"),
        ({"size": [4, 4], "counts": [1, -1]}, "the mask's counts are [1, -1]"),
        ({"size": [4, 4], "counts": [0, 17]}, "runs hold 17 px, expected 16"),
        ({"size": [4, 4], "counts": [16]}, "the mask is empty"),
        ({"size": [4, 4], "counts": ""}, "the mask is empty"),
        ({"size": [4, 4], "counts": "\u20ac"}, "compressed counts are damaged"),
        ({"size": [4, 4], "counts": "P"}, "compressed counts are cut off"),
        ({"size": [4, 4], "counts": "P" * 1000}, "compressed counts are damaged"),
        ({"size": [4, 4], "counts": "N"}, "compressed counts are damaged"),
    ],
)
def test_what_holds_no_box_says_why(segmentation: Any, reason: str) -> None:
    with pytest.raises(ValueError) as caught:
        box_around(segmentation)
    assert reason in str(caught.value)


@given(st.text(alphabet=[chr(code) for code in range(40, 120)], max_size=40))
def test_any_compressed_text_is_answered(text: str) -> None:
    try:
        x, y, width, height = box_around({"size": [30, 40], "counts": text})
    except ValueError:
        return
    assert 0 <= x < x + width <= 40
    assert 0 <= y < y + height <= 30
