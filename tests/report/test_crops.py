"""Small pictures around a box."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from builders import write_image
from smallsight.data.coco import ImageEntry
from smallsight.errors import DatasetError
from smallsight.evaluation.evidence import Crop
from smallsight.report.crops import crop_around


def an_image(tmp_path: Path, size_wh: tuple[int, int]) -> ImageEntry:
    """A frame with a red square from (100, 40) to (108, 48), as far as it reaches."""
    image = np.full((size_wh[1], size_wh[0], 3), 60, dtype=np.uint8)
    image[40:48, 100:108] = (250, 20, 20)
    write_image(tmp_path / "a.png", image)
    return ImageEntry(1, tmp_path / "a.png", size_wh)


def decoded(crop: Crop) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(crop.jpeg, dtype=np.uint8), cv2.IMREAD_COLOR_RGB)


def test_the_box_is_where_the_window_says(tmp_path: Path) -> None:
    crop = crop_around(an_image(tmp_path, (200, 120)), (100, 40, 108, 48))
    assert crop.window == (72, 12, 136, 76)
    picture = decoded(crop)
    assert picture.shape == (64, 64, 3)
    red = np.argwhere(picture[..., 0].astype(int) - picture[..., 1] > 100)
    assert red.min(axis=0).tolist() == [28, 28] and red.max(axis=0).tolist() == [35, 35]


@pytest.mark.parametrize(
    ("size_wh", "box", "window"),
    [
        ((200, 120), (0, 0, 4, 4), (0, 0, 64, 64)),
        ((200, 120), (196, 116, 204, 124), (136, 56, 200, 120)),
        ((40, 30), (5, 5, 9, 9), (0, 0, 40, 30)),
        ((200, 120), (20, 20, 60, 40), (0, 0, 200, 120)),
    ],
)
def test_the_window_stays_in_the_image(
    tmp_path: Path, size_wh: tuple[int, int], box: tuple[float, float, float, float], window: tuple[int, ...]
) -> None:
    crop = crop_around(an_image(tmp_path, size_wh), box)
    assert crop.window == window
    assert decoded(crop).shape[1::-1] == (window[2] - window[0], window[3] - window[1])


def test_large_pieces_are_shrunk(tmp_path: Path) -> None:
    crop = crop_around(an_image(tmp_path, (800, 600)), (100, 100, 250, 200))
    assert crop.window[2] - crop.window[0] == 750
    assert max(decoded(crop).shape) == 256


def test_an_image_that_is_gone_is_an_error(tmp_path: Path) -> None:
    entry = an_image(tmp_path, (200, 120))
    entry.path.unlink()
    with pytest.raises(DatasetError, match="can't be read"):
        crop_around(entry, (0, 0, 4, 4))
