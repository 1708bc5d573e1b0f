"""YOLO folders, v5 to v11: images, a text file of labels for each, and a description (`data.yaml`) with the classes.

Without a description, or with one that names no splits, the folder itself is searched: `images/` beside `labels/`, or
text files beside their images, at the top or in `train/`, `val/`, `test/`; its classes come from `classes.txt` or a
similar file, else they are called `class_0` and so on. An image without labels is a frame without objects.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from reprlib import repr as short

import numpy as np

from smallsight.config.yaml_files import to_yaml
from smallsight.data.formats.box_forms import YOLO_BOXES, BoxReading, Suspicion, suspected
from smallsight.data.formats.coco_content import counted
from smallsight.data.formats.folder_files import (
    MOST_LIST_BYTES,
    files_in,
    images_in,
    inside,
    left_out,
    read_label_text,
    within,
)
from smallsight.data.formats.labelled_set import (
    NO_SPLIT,
    SPLITS,
    BoxFault,
    LabelledBox,
    LabelledImage,
    LabelledSet,
    split_name,
)
from smallsight.data.formats.places import Files, LeadsOut, NotThere, Places, hints_of
from smallsight.data.formats.yolo_description import (
    DESCRIPTIONS,
    class_names,
    describes,
    description_in,
    read_description,
)
from smallsight.data.formats.yolo_lines import label_text, numbers_of, read_labels
from smallsight.data.image_header import upright_size
from smallsight.errors import DatasetError

_CLASS_FILES = ("classes.txt", "obj.names", "_darknet.labels", "labels.txt")
_MOST_CLASSES = 100_000


@dataclass(frozen=True)
class _Source:
    """The set's folder, and how its labels are read; `names` is empty where no file names the classes."""

    root: Path
    names: Mapping[int, str]
    boxes: BoxReading | None = None
    keypoints: bool = False


@dataclass(frozen=True)
class _YoloImage:
    """An image, the label file that belongs to it (there or not), and its name among the images of its split."""

    image: Path
    label: Path
    name: str


def read_yolo(source: Path, boxes: BoxReading | None = None) -> LabelledSet:
    """Read a YOLO set.

    Args:
        source: a folder, or its description.
        boxes: what the four numbers of a box are; None takes the format's meaning and refuses what looks different.
    Raises:
        DatasetError: a file is missing, damaged or outside of the folder; a label does not fit; see `read_labels`.
    """
    source = source.resolve()
    path = source if source.is_file() else description_in(source) if source.is_dir() else None
    if path is None:
        return _read_folder(source, _Source(_root_of(source), _names_near(source), boxes))
    description = read_description(path)
    known = _Source(path.parent, description.names, boxes, description.keypoints)
    if not description.splits:
        return _read_folder(known.root, known)
    files = Files(known.root)
    found: dict[str, list[_YoloImage]] = {}
    notes = list(description.notes)
    for key, parts in description.splits.items():
        items: list[_YoloImage] = []
        for part in parts:
            places = Places(known.root, files, hints_of([key, part.stem]), key="name")
            if part.is_file():
                items += _listed(part, known, places, is_optional=key == "test")
            else:
                items += _scanned(part, known)
            notes += (f"{part}: {note}" for note in places.notes())
        shown = ", ".join(map(str, parts))
        if not items and key != "test":
            raise DatasetError(f"{path}: {key}: no image in {shown}. Correct the path.")
        if not items:
            notes.append(f"{path}: test was left out: none of its images is there ({shown}).")
        found.setdefault(split_name(key), []).extend(items)
    return _labelled(found, known, tuple(notes))


def _root_of(folder: Path) -> Path:
    """The folder above `images/` and `labels/` where `folder` lies in such an `images/`, else itself."""
    for place in (folder, *folder.parents):
        if place.name == "images" and (place.parent / "labels").is_dir():
            return place.parent
    return folder


def _listed(path: Path, source: _Source, places: Places, *, is_optional: bool) -> list[_YoloImage]:
    """The images that a list file names, one per line, relative to the list (`./`) or to the root.

    In a list that `is_optional`, all images may be missing, but not only some.
    """
    found: list[_YoloImage] = []
    missing: list[DatasetError] = []
    for number, line in enumerate(read_label_text(path, MOST_LIST_BYTES).splitlines(), start=1):
        text = line.strip()
        if not text:
            continue
        where = f"{path}: line {number}"
        try:
            beside = path.parent / text
            image = beside if beside.is_file() else places.find(text)
            inside(image, source.root)
        except LeadsOut as error:
            raise DatasetError(f"{where}: {error}") from error
        except NotThere:
            missing.append(DatasetError(f"{where}: no image {text!r}. Correct the list."))
            continue
        except DatasetError as error:
            raise DatasetError(f"{where}: {error}") from error
        except OSError as error:  # too long
            raise DatasetError(f"{where}: {short(text)} can't be looked up. Correct the list.") from error
        found.append(_found(within(image, source.root), source.root, source))
    if missing and (found or not is_optional):
        raise missing[0]
    return found


def _scanned(folder: Path, source: _Source) -> Iterator[_YoloImage]:
    """The images in a folder and below; a label file without an image is an error."""
    images = [_found(path, folder, source) for path in images_in(folder, source.root)]
    expected = {item.label for item in images}
    folders = sorted(place for place in {folder, *(label.parent for label in expected)} if place.is_dir())
    for label in (path for place in folders for path in files_in(place, source.root, (".txt",), recursive=False)):
        if label not in expected and not _is_no_label(label):
            raise DatasetError(f"{label}: no image belongs to this label file. Put the image there or take it out.")
    return iter(images)


def _is_no_label(path: Path) -> bool:
    """Whether a text file among the labels is something else: a list of classes or images, a readme."""
    name = path.name.lower()
    return name in _CLASS_FILES or name.startswith(("readme", "autosplit")) or bool(split_name(path.stem))


def _found(image: Path, base: Path, source: _Source) -> _YoloImage:
    """An image with its label: in `labels` where the image is in `images` (the last such folder), else beside it."""
    parts = list(image.relative_to(source.root).parts)
    name = image.relative_to(base).parts
    label = beside = image.with_suffix(".txt")
    at = max((index for index, part in enumerate(parts[:-1]) if part == "images"), default=-1)
    if at >= 0:
        name = min(name, tuple(parts[at + 1 :]), key=len)
        parts[at] = "labels"
        label = source.root.joinpath(*parts).with_suffix(".txt")
        if not label.exists() and beside.exists():
            label = beside
    if len(name) > 1 and split_name(name[0]):
        name = name[1:]
    return _YoloImage(image, label, "/".join(name))


def _read_folder(folder: Path, source: _Source) -> LabelledSet:
    """Read a set without a description, by its folders."""
    if not folder.is_dir():
        raise DatasetError(f"{folder}: no such folder. Give a folder with images and labels, or a data.yaml.")
    found: dict[str, list[_YoloImage]] = {}
    for base in (folder, folder / "images"):
        for part in sorted(path for path in base.glob("*") if path.is_dir() and split_name(path.name)):
            inside(part, source.root)
            found.setdefault(split_name(part.name), []).extend(_scanned(part, source))
    if any(found.values()):
        notes = left_out(folder, sum(map(len, found.values())))
        return _labelled({split: items for split, items in found.items() if items}, source, notes)
    pictures = folder / "images"
    return _labelled({NO_SPLIT: list(_scanned(pictures if pictures.is_dir() else folder, source))}, source)


def _names_near(folder: Path) -> dict[int, str]:
    """Class names from a list of classes in the folder, or from a description or a list up to two folders above."""
    for place in (folder, folder / "labels", folder.parent, folder.parent.parent):
        for name in _CLASS_FILES:
            if (place / name).is_file():
                lines = [line.strip() for line in read_label_text(place / name).splitlines() if line.strip()]
                if len(set(lines)) < len(lines):
                    raise DatasetError(f"{place / name}: a name is given twice. Give each class its own name.")
                return dict(enumerate(lines))
        for name in DESCRIPTIONS:
            if (place / name).is_file() and describes(place / name):
                return class_names(place / name)
    return {}


def _labelled(found: Mapping[str, Sequence[_YoloImage]], source: _Source, notes: tuple[str, ...] = ()) -> LabelledSet:
    every = [item for items in found.values() for item in items]
    if not every:
        raise DatasetError(f"{source.root}: no image in it. Give a folder with images and labels.")
    unlabelled = [split for split, items in found.items() if items and not any(item.label.is_file() for item in items)]
    if unlabelled and (unlabelled != ["test"] or len(found["test"]) == len(every)):
        items = found[unlabelled[0]]
        of_split = f" of {unlabelled[0]}" if unlabelled[0] else ""
        raise DatasetError(
            f"{source.root}: none of {len(items)} images{of_split} has labels; looked for {items[0].label}, for "
            "example. Put the labels in labels/ beside images/, or beside the images."
        )
    if unlabelled:
        count = counted(len(found["test"]), "image", "images")
        notes = (*notes, f"{source.root}: test was left out: none of its {count} has labels.")
        found = {split: items for split, items in found.items() if split != "test"}
    names = source.names or {index: f"class_{index}" for index in range(_MOST_CLASSES)}
    try:
        splits = {
            split: tuple(_image(item, names, source) for item in dict.fromkeys(found[split]))
            for split in (*SPLITS, NO_SPLIT)
            if found.get(split)
        }
    except BoxFault as error:
        cause = None if source.boxes else _suspected([item for items in found.values() for item in items], source)
        if cause is None:
            raise
        raise DatasetError(f"{source.root}: {cause.sentence}") from error
    if source.names:
        return LabelledSet(tuple(source.names.values()), splits, notes)
    used = {box.name for images in splits.values() for image in images for box in image.boxes}
    ordered = tuple(sorted(used, key=lambda name: int(name.removeprefix("class_"))))
    return LabelledSet(ordered, splits, (*notes, f"{source.root} names no classes; they are {', '.join(ordered)}."))


def _suspected(items: Sequence[_YoloImage], source: _Source) -> Suspicion | None:
    """The likely reading of the boxes in all label files, where it is not the format's own."""
    rows: list[list[float]] = []
    sizes: list[tuple[int, int]] = []
    for item in items:
        if item.label.is_file():
            found = numbers_of(inside(item.label, source.root), keypoints=source.keypoints)
            rows += found
            sizes += [upright_size(item.image)] * len(found)
    if not rows:
        return None
    return suspected(np.array(rows, dtype=np.float64), np.array(sizes, dtype=np.float64), YOLO_BOXES)


def _image(item: _YoloImage, names: Mapping[int, str], source: _Source) -> LabelledImage:
    size_wh = upright_size(item.image)
    boxes: tuple[LabelledBox, ...] = ()
    if item.label.is_file():
        inside(item.label, source.root)
        boxes = read_labels(item.label, names, size_wh, source.boxes or YOLO_BOXES, keypoints=source.keypoints)
    return LabelledImage(item.image, item.name, size_wh, boxes)


def write_yolo(folder: Path, labelled: LabelledSet) -> None:
    """Write the label files and `data.yaml` of a set whose images lie in `folder/image_folder(split)`.

    The format has no ignored regions, so they are left out.

    Raises:
        OSError: the disk is full or not to be written.
    """
    indices = {name: index for index, name in enumerate(labelled.class_names)}
    for split, images in labelled.splits.items():
        for image in images:
            label = folder / image_folder(split).replace("images", "labels", 1) / image.name
            label.parent.mkdir(parents=True, exist_ok=True)
            label.with_suffix(".txt").write_text(label_text(image.boxes, indices, image.size_wh))
    keys = {"valid": "val"}
    splits = {keys.get(split, split): image_folder(split) for split in labelled.splits if split}
    content = {**splits, "nc": len(indices), "names": {index: name for name, index in indices.items()}}
    (folder / DESCRIPTIONS[0]).write_text(to_yaml(content), encoding="utf-8")


def image_folder(split: str) -> str:
    """The folder of a split's images, relative to the set."""
    return f"images/{'val' if split == 'valid' else split}".rstrip("/")
