from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import write_annotations, write_coco_folder
from smallsight.config.load import Config
from smallsight.config.sections import Model, Training
from smallsight.doctor.annotations import read_leniently
from smallsight.doctor.examined_split import ExaminedSplit
from smallsight.doctor.network_sizes import Sight, sight_of, size_findings, size_rows
from smallsight.doctor.recommend import GOAL_PX, recommend, tiles_along
from smallsight.errors import ConfigError

NANO = Sight("nano", 640, 16, True)


@pytest.mark.parametrize(
    ("model", "step", "keeps_aspect"),
    [
        (Model(), 16, True),
        (Model(detector="rfdetr", rfdetr_size="base"), 56, False),
        (Model(detector="rfdetr", rfdetr_size="small"), 32, False),
        (Model(detector="rfdetr", rfdetr_size="large"), 32, False),
    ],
)
def test_each_detector_has_its_own_rule(model: Model, step: int, keeps_aspect: bool) -> None:
    sight = sight_of(Config(model=model, training=Training(resolution=1120)))
    assert (sight.step, sight.keeps_aspect, sight.resolution) == (step, keeps_aspect, 1120)
    assert sight_of(Config(model=model), 448).resolution == 448


def split_of(folder: Path, ball_px: tuple[float, float], size_wh: tuple[int, int] = (640, 640)) -> ExaminedSplit:
    """20 balls of exactly that width and height in frames of that size, of which no pixel is looked at."""
    content = write_coco_folder(folder, 20, (64, 64))
    for entry, item in zip(content["images"], content["annotations"], strict=True):
        entry.update(width=size_wh[0], height=size_wh[1])
        item.update(bbox=[100.0, 100.0, *ball_px], area=ball_px[0] * ball_px[1])
    write_annotations(folder, content)
    split, found = read_leniently(folder, "train")
    assert found == []
    return split


def test_sizes_shrink_with_the_resolution(tmp_path: Path) -> None:
    split = split_of(tmp_path, (4.0, 7.0))
    (row,) = size_rows([split], Sight("nano", 320, 16, True))
    assert row.median == pytest.approx(28**0.5)
    assert row.network_median == pytest.approx(28**0.5 / 2)
    assert row.under == (1.0, 1.0, 0.0)
    (found,) = size_findings([row], Sight("nano", 320, 16, True))
    assert "at 320 px the median ball has 2.6 px" in found.message


def test_stretching_to_a_square_counts_both_directions(tmp_path: Path) -> None:
    split = split_of(tmp_path, (10.0, 10.0), (1920, 1080))
    (row,) = size_rows([split], Sight("RF-DETR base", 560, 56, False))
    assert row.network_median == pytest.approx(10 * (560 / 1920 * 560 / 1080) ** 0.5)


@pytest.mark.parametrize("sight", [NANO, Sight("RF-DETR base", 560, 56, False), Sight("RF-DETR small", 512, 32, False)])
@pytest.mark.parametrize("ball_px", [(2.0, 2.0), (4.0, 7.0), (7.5, 7.5)])
def test_the_resolution_is_the_smallest_allowed_one_that_reaches_the_goal(
    tmp_path: Path, sight: Sight, ball_px: tuple[float, float]
) -> None:
    split = split_of(tmp_path, ball_px)
    found = recommend([split], sight)
    assert found is not None
    assert found.resolution is not None
    px = found.resolution.resolution
    assert px % sight.step == 0
    assert found.resolution.p10_px >= GOAL_PX

    lower = Sight(sight.detector, px - sight.step, sight.step, sight.keeps_aspect)
    assert np.percentile(size_rows([split], lower)[0].network_p10, 10) < GOAL_PX
    assert found.resolution.cost == pytest.approx((px / sight.resolution) ** 2)
    assert str(px) in found.sentence


def test_tiles_reach_the_goal_and_hold_the_object_in_their_overlap(tmp_path: Path) -> None:
    found = recommend([split_of(tmp_path, (4.0, 7.0))], NANO)
    assert found is not None
    assert found.tiles is not None
    assert found.tiles.tile_px == 416
    assert found.tiles.p10_px == pytest.approx(28**0.5 * 640 / 416)
    assert found.tiles.p10_px >= GOAL_PX
    assert found.tiles.overlap_px >= 0.1 * 416
    assert found.tiles.tiles == 4
    assert found.tiles.cost == 4
    assert found.cheaper == "resolution"
    assert "tiles of 416 px" in found.sentence


@given(st.integers(1, 4000), st.integers(64, 2000), st.floats(0.05, 0.5))
def test_tiles_cover_a_side(side: int, tile: int, share: float) -> None:
    overlap = int(share * tile)
    count = tiles_along(side, tile, overlap)
    assert count * tile - (count - 1) * overlap >= side
    assert count == 1 or (count - 1) * tile - (count - 2) * overlap < side


def test_enough_pixels_need_nothing(tmp_path: Path) -> None:
    found = recommend([split_of(tmp_path, (20.0, 20.0))], NANO)
    assert found is not None
    assert found.cheaper == "today"
    assert found.sentence == (
        "Stay at 640 px: the 10th-percentile ball has 20.0 px at 640 px; 256 px would do, at 0.16 of the cost."
    )


def test_out_of_reach_is_said(tmp_path: Path) -> None:
    found = recommend([split_of(tmp_path, (2.0, 2.0), (8000, 6000))], Sight("nano", 32, 16, True))
    assert found is not None
    assert found.cheaper == "neither"
    assert "neither resolution nor tiles" in found.sentence


@pytest.mark.parametrize("side_px", [0.3, 1.9])
def test_boxes_in_which_nothing_is_to_be_seen_are_nothing_to_plan_for(tmp_path: Path, side_px: float) -> None:
    found = recommend([split_of(tmp_path, (side_px, side_px))], NANO)
    assert found is not None
    assert (found.cheaper, found.resolution, found.tiles) == ("labels", None, None)
    assert found.sentence == (
        "Correct the boxes, or film at a higher resolution: 20 of 20 boxes of ball have less than 2 px in the image, "
        "where nothing can be seen."
    )


def test_the_class_with_the_smallest_objects_is_planned_for(tmp_path: Path) -> None:
    content = write_coco_folder(tmp_path, 20, (96, 64), ball_px=(5.0, 6.0))
    content["categories"].append({"id": 2, "name": "player", "supercategory": "none"})
    for number in range(20):
        box = [10.0, 10.0, 12.0, 30.0]
        item = {"id": 100 + number, "image_id": 1 + number, "category_id": 2, "bbox": box}
        content["annotations"].append(item)
    write_annotations(tmp_path, content)
    split, _ = read_leniently(tmp_path, "train")
    smallest, chosen = recommend([split], NANO), recommend([split], NANO, "player")
    assert smallest is not None
    assert chosen is not None
    assert (smallest.category, chosen.category) == ("ball", "player")
    assert recommend([split], NANO, "referee") is None


@pytest.mark.parametrize(
    ("model", "px", "message"),
    [
        (
            Model(detector="rfdetr"),
            1130,
            "--resolution: RF-DETR base needs a multiple of 56; got 1130. Use 1120 or 1176.",
        ),
        (Model(), 0, "--resolution: out of range; got 0, expected 32 to 8192"),
    ],
)
def test_a_resolution_that_can_not_be_is_refused(model: Model, px: int, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        sight_of(Config(model=model), px)
