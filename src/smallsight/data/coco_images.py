"""Read the image entries of a COCO file: each needs a unique id, its own file inside the folder, and a valid size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from reprlib import repr as short
from typing import Any

from smallsight.data.data_findings import READ_AS_MEANT, DataFinding, Report, Where, coco_finding
from smallsight.data.formats.coco_content import Entry, counted
from smallsight.data.formats.image_sizes import SizeRule, is_missing, missing_size
from smallsight.data.formats.numbers import whole
from smallsight.data.formats.places import LeadsOut, NotThere, Places
from smallsight.data.image_header import read_header, too_large
from smallsight.errors import DatasetError

Size = tuple[int, int]


@dataclass(frozen=True)
class CocoImage:
    """One image entry, with its valid parts.

    Attributes:
        id: None where the entry has none, or one that another entry has already; then it has no annotations.
        file_name: as written in the entry, empty where there is none.
        size_wh: px, None where it is not known.
        path: the file, None where there is none inside the folder.
        entry: the whole entry.
        given_wh: px, the size in the entry, where the image file's size was used instead.
    """

    id: int | None
    file_name: str
    size_wh: Size | None
    path: Path | None
    entry: Entry
    given_wh: Size | None = None

    @property
    def words(self) -> str:
        """The image for a message."""
        size = "{}x{} px".format(*self.size_wh) if self.size_wh else "of no known size"
        return f"image {self.id} ({self.path.name if self.path else self.file_name}, {size})"


def read_images(
    items: Sequence[Entry], places: Places, report: Report, sizes: SizeRule = "check"
) -> tuple[CocoImage, ...]:
    """The images in the order of their entries.

    Args:
        items: the entries.
        places: finds the files.
        report: called with each finding.
        sizes: what to do where the size in an entry differs from its file's.
    Raises:
        DatasetError: with another rule than `check`, an image file can't be read.
    """
    images: list[CocoImage] = []
    missing: list[DataFinding] = []
    by_id: dict[int, str] = {}
    by_file: dict[Path, int | None] = {}
    for index, item in enumerate(items):
        given = item.get("file_name")
        name = given if isinstance(given, str) else ""
        key = whole_id(item.get("id"), f"images[{index}]: id", Where(file=name), report)
        if key in by_id:
            report(coco_finding("image_id_duplicate", Where(file=name), _twice(key, by_id[key])))
            key = None
        where = Where(image_id=key, file=name)
        path = _path(given, places, where, report, missing)
        if path is not None and path in by_file:
            wrong = f"image {by_file[path]} names the same file, {path.name}"
            report(coco_finding("file_name_duplicate", where, wrong))
        size_wh = _size(item, path, where, report)
        image = CocoImage(key, name, size_wh, path, item)
        images.append(image if sizes == "check" or path is None else _with_size_of_file(image, path))
        if path is not None:
            by_file.setdefault(path, key)
        if key is not None:
            by_id[key] = name
    for found in missing[:1]:
        others = f"{len(missing) - 1:,} more of {len(images):,} images are not there either."
        report(replace(found, also=others if missing[1:] else ""))
    for found in missing[1:]:
        report(found)
    _note_sizes(images, sizes, report)
    return tuple(images)


def whole_id(value: Any, name: str, where: Where, report: Report) -> int | None:
    """An id, None where it is no whole number; `name` names the id in a finding."""
    number = whole(value)
    if number is None:
        report(coco_finding("id_invalid", where, name, short(value), "a whole number"))
    return number


def _twice(key: int | None, first: str) -> str:
    return f"image id {key} is used twice, first by {short(first)}"


def _path(name: Any, places: Places, where: Where, report: Report, missing: list[DataFinding]) -> Path | None:
    """The file that an entry names; a missing one is added to `missing`, because all of them are reported together."""
    if not isinstance(name, str) or not name:
        report(coco_finding("image_name_invalid", where, "file_name", short(name), "a file's name"))
        return None
    try:
        return places.find(name)
    except LeadsOut as error:
        report(coco_finding("path_outside", where, error.reason))
    except NotThere as error:
        missing.append(coco_finding("image_missing", where, error.reason))
    except DatasetError as error:
        report(coco_finding("image_missing", where, str(error), remedy=""))
    return None


def _size(item: Entry, path: Path | None, where: Where, report: Report) -> Size | None:
    """Width and height of an entry, or of its file where the entry has none."""
    given = item.get("width"), item.get("height")
    if is_missing(*given):
        return None if path is None else _missing_size(path, given, where, report)
    sides = []
    for name, value in zip(("width", "height"), given, strict=True):
        if (side := whole(value)) is None:
            report(coco_finding("image_size_invalid", where, name, short(value), "whole px above 0"))
            return None
        sides.append(side)
    width, height = sides
    if width <= 0 or height <= 0:
        report(coco_finding("image_size_invalid", where, f"size {width}x{height} px", expected="whole px above 0"))
        return None
    if reason := too_large((width, height)):
        remedy = "Cut the image into parts or take it out."
        report(coco_finding("image_size_invalid", where, f"size {reason}", remedy=remedy))
        return None
    return width, height


def _missing_size(path: Path, given: tuple[Any, Any], where: Where, report: Report) -> Size | None:
    try:
        return missing_size(path, *given)
    except DatasetError as error:
        wrong = f"its entry has no width and height. {error}"
        report(coco_finding("image_size_invalid", where, wrong, remedy=""))
        return None


def _with_size_of_file(image: CocoImage, path: Path) -> CocoImage:
    """The image with the size of its file; a different size in the entry is kept as `given_wh`."""
    size_wh = read_header(path).size_wh
    return image if size_wh == image.size_wh else replace(image, size_wh=size_wh, given_wh=image.size_wh)


def _note_sizes(images: Sequence[CocoImage], sizes: SizeRule, report: Report) -> None:
    """Report how many sizes were taken from the files."""
    missing = sum(
        image.size_wh is not None and is_missing(image.entry.get("width"), image.entry.get("height"))
        for image in images
    )
    if missing:
        said = counted(missing, "image has", "images have")
        report(coco_finding(READ_AS_MEANT, Where(), f"{said} no width and height; taken from the files."))
    if other := sum(image.given_wh is not None for image in images):
        done = ", and the boxes were scaled" if sizes == "scale" else ""
        said = (
            f"{counted(other, 'image has', 'images have')} another size than given; that of the file was taken{done}."
        )
        report(coco_finding(READ_AS_MEANT, Where(), said))
