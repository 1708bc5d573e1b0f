"""Mosaic: how a canvas is divided and how a tile's scale is raised."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from augment.markers import marked
from smallsight.augment.mosaic import Tile, assembled, raised, tiles
from smallsight.rng import keyed_generator


@given(st.integers(32, 400), st.integers(32, 400), st.sampled_from([4, 9]), st.integers(0, 10**6))
def test_tiles_cover_the_canvas_once(width: int, height: int, count: int, seed: int) -> None:
    canvas = np.zeros((height, width), dtype=int)
    places = tiles((width, height), count, keyed_generator(seed))
    assert len(places) == count
    for place in places:
        (x, y), (w, h) = place.corner_xy, place.size_wh
        assert min(w, h) >= min(width, height) / count**0.5 * 0.5
        canvas[y : y + h, x : x + w] += 1
    assert (canvas == 1).all()


def test_seams_vary() -> None:
    assert len({tiles((100, 100), 4, keyed_generator(seed))[0].size_wh for seed in range(50)}) > 40


TILE = Tile((0, 0), (50, 40))


@pytest.mark.parametrize(
    ("drawn", "usual", "box", "expected"),
    [
        ((1.0, 1.0), (1.0, 1.0), (10, 10, 18, 18), (1.0, 1.0)),
        ((0.7, 0.7), (1.0, 1.0), (10, 10, 18, 18), (0.7, 0.7)),  # 5.6 px are left
        ((0.7, 0.7), (1.0, 1.0), (10, 10, 16, 18), (5 / 6, 5 / 6)),  # 6 px would become 4.2
        ((0.7, 0.7), (1.0, 1.0), (10, 10, 14, 18), (1.0, 1.0)),  # 4 px stay 4 px
        ((0.7, 0.7), (2.0, 2.0), (10, 10, 12, 18), (2.0, 2.0)),
        ((1.4, 1.4), (1.0, 1.0), (10, 10, 12, 18), (1.4, 1.4)),
        ((0.1, 0.1), (1.0, 1.0), (10, 10, 90, 90), (0.5, 0.5)),  # or the frame would not fill the tile
        ((0.2, 0.1), (1.0, 0.5), (10, 10, 90, 90), (0.8, 0.4)),
    ],
)
def test_the_scale_of_a_tile(
    drawn: tuple[float, float],
    usual: tuple[float, float],
    box: tuple[int, int, int, int],
    expected: tuple[float, float],
) -> None:
    assert raised(drawn, usual, marked((100, 100), box), TILE, 5) == pytest.approx(expected)


def test_a_frame_without_objects_only_has_to_fill_its_tile() -> None:
    assert raised((0.6, 0.6), (1, 1), marked((100, 100)), TILE, 5) == (0.6, 0.6)


def test_parts_keep_labels_and_areas_and_move_with_their_tile() -> None:
    parts = [
        marked((20, 30), (1, 2, 5, 9)),
        marked((40, 30)),
        marked((20, 10), (3, 3, 8, 8)),
        marked((40, 10), (0, 0, 2, 4)),
    ]
    places = [Tile((0, 0), (20, 30)), Tile((20, 0), (40, 30)), Tile((0, 30), (20, 10)), Tile((20, 30), (40, 10))]
    whole = assembled(parts, places, (60, 40))
    assert whole.truth.boxes.tolist() == [[1, 2, 5, 9], [3, 33, 8, 38], [20, 30, 22, 34]]
    assert whole.truth.areas.tolist() == [28, 25, 8]
    assert (whole.image[2:9, 1:5] == 255).all() and (whole.image[30:34, 20:22] == 255).all()
    assert (whole.image == 255).all(axis=2).sum() == 28 + 25 + 8
