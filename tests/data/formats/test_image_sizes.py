"""Sizes that a label file lacks, or has otherwise than the images."""

from __future__ import annotations

from pathlib import Path

import pytest

from data.labelled import write_picture
from doctor.planted import jpeg_with_exif
from smallsight.data.formats.image_sizes import SizePair, is_missing, missing_size, sampled_size_fault, size_fault
from smallsight.data.image_header import ImageHeader
from smallsight.errors import DatasetError


@pytest.mark.parametrize(
    ("width", "height", "missing"),
    [
        *((None, None, True), (None, 50, True), (100, None, True), (0, 0, True)),
        *((100, 50, False), (0, 50, False), (100, 0, False), ("x", 5, False)),
    ],
)
def test_what_is_missing(width: object, height: object, missing: bool) -> None:
    assert is_missing(width, height) == missing


def test_a_missing_size_is_that_of_the_file(tmp_path: Path) -> None:
    path = write_picture(tmp_path / "a.png", (100, 50))
    for given in ((None, None), (100, None), (None, 50), (0, 0)):
        assert missing_size(path, *given) == (100, 50)
    with pytest.raises(DatasetError, match=r"it has 100x50 px\. Write its true width and height"):
        missing_size(path, 99, None)
    (tmp_path / "turned.jpg").write_bytes(jpeg_with_exif(6))
    with pytest.raises(DatasetError, match="EXIF orientation is 6"):
        missing_size(tmp_path / "turned.jpg", None, None)


def pair(given: tuple[int, int], stored: tuple[int, int] = (640, 360), orientation: int = 1) -> SizePair:
    return SizePair(given, ImageHeader("jpeg", stored, orientation=orientation))


RIGHT, SWAPPED, LARGER, TURNED = pair((640, 360)), pair((360, 640)), pair((1280, 720)), pair((360, 640), orientation=6)


@pytest.mark.parametrize(
    ("pairs", "said"),
    [
        ([RIGHT] * 5, ""),
        ([], ""),
        ([SWAPPED] * 2, ""),  # two are too few for a cause
        ([RIGHT] * 3 + [SWAPPED] * 3, ""),  # half of them: no one cause
        ([SWAPPED] * 3, "width and height are swapped in 3 of 3"),
        ([SWAPPED] * 200 + [RIGHT] * 2, "width and height are swapped in 200 of 202"),
        ([LARGER] * 3, "the images look resized after labelling"),
        ([LARGER] * 3 + [SWAPPED], "the images look resized after labelling"),
        ([TURNED] * 3, "an EXIF flag turns them"),
    ],
)
def test_the_cause_of_wrong_sizes(pairs: list[SizePair], said: str) -> None:
    found = size_fault(pairs)
    assert said in found
    assert bool(found) == bool(said)


def test_a_sample_is_spread_over_all_images(tmp_path: Path) -> None:
    paths = [write_picture(tmp_path / f"{number}.png", (100, 50)) for number in range(60)]
    assert "swapped in 24 of 24" in sampled_size_fault([(path, (50, 100)) for path in paths])
    first_half_right = [(path, (100, 50) if number < 30 else (50, 100)) for number, path in enumerate(paths)]
    assert sampled_size_fault(first_half_right) == ""
    for path in paths:
        path.write_bytes(b"no image")
    assert sampled_size_fault([(path, (50, 100)) for path in paths]) == ""
