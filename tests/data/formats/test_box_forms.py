"""Boxes that mean something else than the format says: told from all boxes of a file, and read as they are meant."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smallsight.data.formats.box_forms import (
    COCO_BOXES,
    SHARES,
    VOC_BOXES,
    YOLO_BOXES,
    BoxReading,
    corners_px,
    parse_frame,
    suspected,
)
from smallsight.errors import DatasetError

Rows = npt.NDArray[np.float64]
WIDTH, HEIGHT = 640, 360


def balls(count: int = 60, seed: int = 0, side: tuple[float, float] = (4, 12)) -> Rows:
    """Corners of small boxes all over an image of 640x360 px, with some at each of its edges."""
    generator = np.random.default_rng(seed)
    sides = generator.uniform(*side, (count, 1)) * np.ones((1, 2))
    places = generator.uniform(0, 1, (count, 2))
    places[: count // 5] = np.round(places[: count // 5])
    low = places * (np.array([WIDTH, HEIGHT]) - sides)
    return np.concatenate([low, low + sides], axis=1)


def written(corners: Rows, reading: BoxReading) -> Rows:
    """The boxes as a tool with this reading writes them."""
    low, high = corners[:, :2], corners[:, 2:]
    if reading.form == "xywh":
        rows = np.concatenate([low, high - low], axis=1)
    elif reading.form == "centres":
        rows = np.concatenate([(low + high) / 2, high - low], axis=1)
    else:
        rows = corners
    if reading.frame_wh is None:
        return rows
    return np.asarray(rows * np.tile(np.array(reading.frame_wh) / (WIDTH, HEIGHT), 2))


def sizes(rows: Rows) -> Rows:
    return np.tile(np.array([[WIDTH, HEIGHT]], dtype=np.float64), (len(rows), 1))


READINGS = [BoxReading(form, frame) for form in ("xywh", "corners", "centres") for frame in (None, SHARES)]
STANDARDS = {"coco": COCO_BOXES, "voc": VOC_BOXES, "yolo": YOLO_BOXES}


@pytest.mark.parametrize("reading", [*READINGS, BoxReading("centres", (1920, 1080))], ids=str)
def test_every_reading_gives_the_corners_back(reading: BoxReading) -> None:
    corners = balls()
    rows = written(corners, reading)
    assert corners_px(rows, sizes(rows), reading) == pytest.approx(corners)


@pytest.mark.parametrize("reading", READINGS, ids=str)
@pytest.mark.parametrize("name", STANDARDS)
def test_the_reading_of_a_file_is_told(name: str, reading: BoxReading) -> None:
    """In each format, boxes that were written under each other reading."""
    standard, rows = STANDARDS[name], written(balls(), reading)
    found = suspected(rows, sizes(rows), standard)
    if reading == standard:
        assert found is None
        return
    assert found is not None and found.reading == reading
    assert found.sentence.endswith(f"run smallsight convert with {reading.options(standard)}.")
    assert ("shares of the image" in found.sentence) == (
        SHARES in (reading.frame_wh, standard.frame_wh) and reading.frame_wh != standard.frame_wh
    )


@pytest.mark.parametrize(
    ("row", "reading", "options"),
    [
        ([[36, 26, 45, 35], [70, 40, 79, 49]], BoxReading("corners"), "--boxes corners"),
        ([[0.5, 0.5, 0.1, 0.1]], BoxReading("xywh", SHARES), "--box-frame shares"),
        ([[0.95, 0.5, 0.1, 0.1]], BoxReading("centres", SHARES), "--boxes centres --box-frame shares"),
    ],
)
def test_few_boxes_are_enough_where_the_evidence_is_strong(
    row: list[list[float]], reading: BoxReading, options: str
) -> None:
    rows = np.array(row, dtype=np.float64)
    found = suspected(rows, np.tile(np.array([[96.0, 64.0]]), (len(rows), 1)), COCO_BOXES)
    assert found is not None
    assert (found.reading, found.reading.options(COCO_BOXES)) == (reading, options)


def test_the_sentence_counts() -> None:
    rows = np.array([[36, 26, 45, 35], [70, 40, 79, 49]], dtype=np.float64)
    found = suspected(rows, np.tile(np.array([[96.0, 64.0]]), (2, 1)), COCO_BOXES)
    assert found is not None and found.sentence == (
        "the 2 boxes look like corners (left, top, right, bottom): as left, top, width, height, 1 of 2 leave their "
        "image or have no size; read so, none does. To read them so, run smallsight convert with --boxes corners."
    )


@pytest.mark.parametrize("wrong", [1, 2, 5])
def test_slips_are_no_other_reading(wrong: int) -> None:
    """Boxes that leave the image at the right are the first sign of centres, and of a careless hand."""
    rows = written(balls(), COCO_BOXES)
    rows[-wrong:, 0] = WIDTH - 3
    assert suspected(rows, sizes(rows), COCO_BOXES) is None


@pytest.mark.parametrize("standard", STANDARDS.values(), ids=STANDARDS)
def test_a_few_slips_do_not_hide_the_reading(standard: BoxReading) -> None:
    reading = BoxReading("corners" if standard.form != "corners" else "xywh", standard.frame_wh)
    rows = written(balls(400), reading)
    rows[7] = 0
    found = suspected(rows, sizes(rows), standard)
    assert found is not None and found.reading == reading


def test_boxes_of_a_larger_image() -> None:
    rows = written(balls(), COCO_BOXES) * 1.5
    found = suspected(rows, sizes(rows), COCO_BOXES)
    assert found is not None
    assert "they reach to 960, 540, the images have 640x360 px" in found.sentence
    assert "--box-frame WxH" in found.sentence
    back = corners_px(rows, sizes(rows), BoxReading("xywh", (960.0, 540.0)))
    assert back == pytest.approx(balls())


def test_boxes_that_leave_on_all_sides_are_not_of_a_larger_image() -> None:
    rows = written(balls(), COCO_BOXES)
    rows[:, :2] -= 6
    rows[:, 2:] += 12
    assert suspected(rows, sizes(rows), COCO_BOXES) is None


def test_shares_among_px_are_no_single_cause() -> None:
    rows = np.concatenate([written(balls(), YOLO_BOXES), [[50.0, 25.0, 10.0, 10.0]]])
    assert suspected(rows, sizes(rows), YOLO_BOXES) is None


@given(
    st.lists(st.tuples(*[st.floats(allow_nan=True, allow_infinity=True)] * 4), max_size=8),
    st.sampled_from(list(STANDARDS.values())),
)
def test_any_numbers_are_answered(rows: list[tuple[float, ...]], standard: BoxReading) -> None:
    values = np.array(rows, dtype=np.float64).reshape(-1, 4)
    suspected(values, sizes(values), standard)


@pytest.mark.parametrize(("text", "frame"), [("image", "image"), ("shares", SHARES), ("1920x1080", (1920.0, 1080.0))])
def test_frames(text: str, frame: object) -> None:
    assert parse_frame(text) == frame


@pytest.mark.parametrize("text", ["", "x", "0x5", "5", "1920", "-1x2", "1.5x2", "9999999x1", "\u0663x2"])
def test_a_frame_that_is_none(text: str) -> None:
    with pytest.raises(DatasetError, match="expected image, shares or WxH"):
        parse_frame(text)
