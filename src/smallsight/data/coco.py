"""COCO folders: one folder with images and `_annotations.coco.json`, read strictly.

Category ids come as they are (0-based, 1-based, with gaps); inside, a class is an index from 0 in the order of the ids.
A category without a single annotation whose name is the supercategory of another one (as Roboflow's `objects`) is no
class, unless it is asked for by name.

Strict means that nothing is guessed: what has one meaning only, though COCO writes it otherwise, is read with a note
(`formats.coco_content`, `formats.places`), and everything else stops the reading.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from reprlib import repr as short
from types import MappingProxyType
from typing import Any

from smallsight.boxes import xyxy_to_xywh
from smallsight.data.coco_objects import CocoObject, Frame, integer, objects_of, truth_of
from smallsight.data.formats.box_forms import COCO_BOXES, BoxReading
from smallsight.data.formats.coco_content import (
    ANNOTATION_FILE,
    CocoContent,
    Entry,
    counted,
    is_word,
    load_coco,
    plain,
    some,
)
from smallsight.data.formats.id_shift import ShiftKey, shifted
from smallsight.data.formats.places import Files, NotThere, Places, hints_of
from smallsight.data.formats.sizes import SizeRule, is_missing, missing_size, sampled_size_fault
from smallsight.data.image_header import read_header, too_large
from smallsight.errors import DatasetError
from smallsight.records import Detections, Truth

__all__ = [
    "ANNOTATION_FILE",
    "CocoReading",
    "Dataset",
    "ImageEntry",
    "detections_to_coco",
    "read_coco",
    "read_content",
    "read_folder_or_file",
]


@dataclass(frozen=True)
class ImageEntry:
    """One image of a dataset: `clip` is the id of the clip or match that it comes from, empty where not known."""

    id: int
    path: Path
    size_wh: tuple[int, int]
    clip: str = ""


@dataclass(frozen=True, eq=False)
class Dataset:
    """One split: images and their truth, paired by position.

    Attributes:
        root: the folder.
        images: in the order of the annotation file.
        truths: the truth of each image.
        class_names: by class index.
        category_ids: the file's own id of each class.
        notes: whole sentences on what the file says otherwise than COCO does, and how it was read.
    """

    root: Path
    images: tuple[ImageEntry, ...]
    truths: tuple[Truth, ...]
    class_names: tuple[str, ...]
    category_ids: tuple[int, ...]
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.images)

    @property
    def clips(self) -> tuple[str, ...] | None:
        """The clip of each image, or None where any image has none."""
        names = tuple(image.clip for image in self.images)
        return names if all(names) else None


@dataclass(frozen=True)
class CocoReading:
    """What the user says of a file that can't be told from it.

    Attributes:
        boxes: what the four numbers of a box mean; None takes COCO's meaning and refuses what looks like another.
        shift: what is added to the ids of annotations.
        sizes: what to do where an entry has another size than its image.
    """

    boxes: BoxReading | None = None
    shift: Mapping[ShiftKey, int] = field(default_factory=lambda: MappingProxyType({}))
    sizes: SizeRule = "check"


def read_coco(folder: Path, *, class_names: Sequence[str] | None = None) -> Dataset:
    """Read one split.

    Args:
        folder: holds the images and `_annotations.coco.json`.
        class_names: keep these classes, in this order; all by default.
    Raises:
        DatasetError: the folder or file is missing or unreadable; an image is missing; an id is used twice; an
            annotation names an unknown image or category; a box has no size or leaves the image; a wanted class is
            not there.
    """
    return _read(folder / ANNOTATION_FILE, class_names)


def read_folder_or_file(path: Path, *, class_names: Sequence[str] | None = None) -> Dataset:
    """Read one split from its folder, as `read_coco`, or from its annotation file by whatever name (`*.json`).

    The images of a file are looked for beside it.
    """
    is_file = path.suffix == ".json" and path.is_file()
    return _read(path, class_names) if is_file else read_coco(path, class_names=class_names)


def _read(path: Path, class_names: Sequence[str] | None) -> Dataset:
    content, folder = load_coco(path), path.parent
    return read_content(path, content, Places(folder, Files(folder), hints_of([folder.name])), class_names=class_names)


def read_content(
    path: Path,
    content: CocoContent,
    places: Places,
    *,
    class_names: Sequence[str] | None = None,
    reading: CocoReading | None = None,
) -> Dataset:
    """Read one split from the content of its annotation file.

    Args:
        path: the annotation file, for messages.
        content: what is in it.
        places: finds the images; its folder is the root of the result.
        class_names: keep these classes, in this order; all by default.
        reading: what the user says of the file.
    Raises:
        DatasetError: see `read_coco`.
    """
    reading = reading or CocoReading()
    annotations = shifted(content.annotations, reading.shift) if reading.shift else content.annotations
    categories = _categories(path, content.categories)
    wanted = _wanted_classes(path, categories, class_names, annotations)
    pictures = _pictures(path, places, content.images, reading)
    images = pictures.images
    rows: dict[int, list[tuple[CocoObject, int]]] = {key: [] for key in images}
    for found in objects_of(path, annotations, pictures.frames, categories, suspect=reading.boxes is None):
        if found.category_id in wanted:
            rows[found.image_id].append((found, wanted[found.category_id]))
    ids = sorted(wanted, key=lambda key: wanted[key])
    return Dataset(
        root=places.folder,
        images=tuple(images.values()),
        truths=tuple(truth_of(rows[key], images[key].size_wh) for key in images),
        class_names=tuple(categories[key][0] for key in ids),
        category_ids=tuple(ids),
        notes=(*(f"{path}: {note}" for note in (*content.notes, *pictures.notes)), *places.notes(str(path))),
    )


def _categories(path: Path, items: Sequence[Entry]) -> dict[int, tuple[str, str]]:
    """Name and supercategory by category id, in the order of the ids."""
    found: dict[int, tuple[str, str]] = {}
    for index, item in enumerate(items):
        key = integer(f"{path}: categories[{index}]: id", item.get("id"))
        if key in found:
            raise DatasetError(f"{path}: category id {key} is used twice. Give each category its own id.")
        name = item.get("name", key)
        if not is_word(name):
            raise DatasetError(f"{path}: category {key}: name: got {short(name)}, expected a text. Correct the name.")
        found[key] = (str(name), plain(item.get("supercategory")))
    return dict(sorted(found.items()))


def _wanted_classes(
    path: Path,
    categories: Mapping[int, tuple[str, str]],
    class_names: Sequence[str] | None,
    annotations: Sequence[Entry],
) -> dict[int, int]:
    """Class index by category id, for the classes that are kept."""
    used = {key for item in annotations if isinstance(key := item.get("category_id"), (int, float))}
    children = Counter(parent for _, parent in categories.values())
    ids = [
        key
        for key, (name, parent) in categories.items()
        if key in used or children[name] == int(parent == name)  # no child but itself
    ]
    names = Counter(categories[key][0] for key in ids)
    if names.total() > len(names):
        twice = names.most_common(1)[0][0]
        raise DatasetError(f"{path}: category name {twice!r} is used twice. Give each category its own name.")
    if class_names is None:
        wanted = {key: index for index, key in enumerate(ids)}
    else:
        by_name = {categories[key][0]: key for key in (*categories, *ids)}
        missing = [name for name in class_names if name not in by_name]
        if missing:
            raise DatasetError(
                f"{path}: no category {missing[0]!r}; the file has {some(sorted(by_name))}. Name one of them."
            )
        wanted = {by_name[name]: index for index, name in enumerate(class_names)}
    if not wanted:
        raise DatasetError(f"{path}: categories: the set has no class. Add the categories that the boxes belong to.")
    return wanted


@dataclass(frozen=True)
class _Pictures:
    """The images by id in the order of the entries, how boxes on each are read, and notes on their sizes."""

    images: Mapping[int, ImageEntry]
    frames: Mapping[int, Frame]
    notes: tuple[str, ...]


def _pictures(path: Path, places: Places, items: Sequence[Entry], reading: CocoReading) -> _Pictures:
    entries = _by_id(path, items)
    images: dict[int, ImageEntry] = {}
    frames: dict[int, Frame] = {}
    by_file: dict[Path, int] = {}
    missing = other = 0
    for key, file in _files(path, places, entries).items():
        item, where = entries[key], f"{path}: image {key}"
        if (twin := by_file.setdefault(file, key)) != key:
            raise DatasetError(f"{where}: image {twin} names the same file, {file.name}. Keep one entry of the two.")
        missing += is_missing(item.get("width"), item.get("height"))
        given_wh = _size(where, item, file)
        size_wh = given_wh if reading.sizes == "check" else read_header(file).size_wh
        other += size_wh != given_wh
        images[key] = ImageEntry(key, file, size_wh, plain(item.get("clip")))
        boxes = reading.boxes or COCO_BOXES
        if reading.sizes == "scale" and size_wh != given_wh and boxes.frame_wh is None:
            boxes = replace(boxes, frame_wh=given_wh)
        name = f"image {key} ({file.name}, {size_wh[0]}x{size_wh[1]} px)"
        frames[key] = Frame(name, size_wh, boxes)
    if fault := sampled_size_fault([(image.path, image.size_wh) for image in images.values()]):
        raise DatasetError(f"{path}: {fault}")
    notes = [f"{counted(missing, 'image has', 'images have')} no width and height; taken from the files."] * bool(
        missing
    )
    if other:
        done = ", and the boxes were scaled" if reading.sizes == "scale" else ""
        notes.append(
            f"{counted(other, 'image has', 'images have')} another size than given; that of the file was taken{done}."
        )
    return _Pictures(images, frames, tuple(notes))


def _by_id(path: Path, items: Sequence[Entry]) -> dict[int, Entry]:
    found: dict[int, Entry] = {}
    for index, item in enumerate(items):
        key = integer(f"{path}: images[{index}]: id", item.get("id"))
        if key in found:
            raise DatasetError(f"{path}: image id {key} is used twice. Give each image its own id.")
        found[key] = item
    return found


def _files(path: Path, places: Places, entries: Mapping[int, Entry]) -> dict[int, Path]:
    """The file of each entry."""
    found: dict[int, Path] = {}
    missing: list[str] = []
    for key, item in entries.items():
        where, name = f"{path}: image {key}", item.get("file_name")
        if not isinstance(name, str) or not name:
            raise DatasetError(
                f"{where}: file_name: got {short(name)}, expected a file's name. Correct the annotation file."
            )
        try:
            found[key] = places.find(name)
        except NotThere as error:
            missing.append(f"{where}: {error}")
        except DatasetError as error:
            raise DatasetError(f"{where}: {error}") from error
    if missing:
        more = f" {len(missing) - 1:,} more of {len(entries):,} images are not there either." if missing[1:] else ""
        raise DatasetError(f"{missing[0]}{more}")
    return found


def _size(where: str, item: Entry, file: Path) -> tuple[int, int]:
    """Width and height of an entry, or of its file where the entry has none."""
    if is_missing(item.get("width"), item.get("height")):
        try:
            return missing_size(file, item.get("width"), item.get("height"))
        except DatasetError as error:
            raise DatasetError(f"{where}: its entry has no width and height. {error}") from error
    width, height = (integer(f"{where}: {side}", item.get(side)) for side in ("width", "height"))
    if width <= 0 or height <= 0:
        raise DatasetError(f"{where}: size {width}x{height} px, expected more than 0. Write the image's true size.")
    if reason := too_large((width, height)):
        raise DatasetError(f"{where}: size {reason}. Cut the image into parts or take it out.")
    return width, height


def detections_to_coco(dataset: Dataset, detections: Sequence[Detections]) -> list[dict[str, Any]]:
    """Detections as COCO result entries, with the dataset's own image and category ids."""
    return [
        {
            "image_id": image.id,
            "category_id": dataset.category_ids[label],
            "bbox": [round(float(x), 3) for x in box],
            "score": float(score),
        }
        for image, found in zip(dataset.images, detections, strict=True)
        for box, score, label in zip(xyxy_to_xywh(found.boxes), found.scores, found.labels, strict=True)
    ]
