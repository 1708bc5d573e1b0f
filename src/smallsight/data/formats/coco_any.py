"""COCO detection files under any name, and the writer of this project's own layout.

Found are `_annotations.coco.json` in a folder or in `train/`, `valid/`, `test/`; else `instances_*.json` or other COCO
files in `annotations/` or at the top, whose names say the split (`instances_val2017.json`). Images are looked for
beside the file and in the usual folders (`images/`, `val2017/`, `images/val2017/`).
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from smallsight.data.coco import ANNOTATION_FILE, CocoReading, Dataset, read_content
from smallsight.data.formats.coco_content import Entry, counted, load_coco
from smallsight.data.formats.folder_files import check_name, files_in, inside, name_in
from smallsight.data.formats.foreign_labels import foreign_json
from smallsight.data.formats.labelled_set import (
    NO_SPLIT,
    SPLITS,
    LabelledBox,
    LabelledImage,
    LabelledSet,
    split_name,
)
from smallsight.data.formats.places import Files, Places, hints_of, slashed
from smallsight.data.frames import check_size
from smallsight.data.image_header import read_header
from smallsight.data.json_file import load_json
from smallsight.errors import DatasetError
from smallsight.files import write_text_atomically

_SPLIT_IN_NAME = re.compile(r"(?<![a-z])(train|training|val|valid|validation|test)(?![a-z])", re.IGNORECASE)
_OWN_KEYS = frozenset(("id", "file_name", "width", "height", "license", "coco_url", "flickr_url", "date_captured"))
_DECIMALS = 4


def annotation_files(source: Path) -> dict[str, list[Path]]:
    """The annotation files of a folder by split; empty where it has none.

    Raises:
        DatasetError: several files, and one of them names no split.
    """
    own = [folder / ANNOTATION_FILE for folder in (source, *sorted(source.glob("*"))) if folder.is_dir()]
    own = [path for path in own if path.is_file() and (path.parent == source or split_name(path.parent.name))]
    if own:
        return {split_name(path.parent.name) if path.parent != source else NO_SPLIT: [path] for path in own}
    found = _json_files(source)
    named = [path for path in found if path.name.startswith("instances_")]
    found = named or [path for path in found if _is_detection(path)]
    if len(found) == 1 and not _split_of(found[0]):
        return {NO_SPLIT: found}
    splits: dict[str, list[Path]] = {}
    for path in found:
        if not _split_of(path):
            names = ", ".join(item.name for item in found)
            raise DatasetError(f"{path}: its name says no split, and there are several: {names}. Give the path of one.")
        splits.setdefault(_split_of(path), []).append(path)
    return splits


def _json_files(source: Path) -> list[Path]:
    folders = [folder for folder in (source / "annotations", source) if folder.is_dir()]
    return [path for folder in folders for path in files_in(folder, source, (".json",), recursive=False)]


def why_no_coco(source: Path) -> str:
    """Why the first JSON file that looks like COCO annotations can't be read, as a message; '' where there is none."""
    for path in _json_files(source):
        if _looks_meant(path):
            try:
                load_coco(path)
            except DatasetError as error:
                return str(error)
    return ""


def _looks_meant(path: Path) -> bool:
    """Whether a JSON file is damaged, another tool's, or a part of COCO."""
    try:
        content = load_json(path)
    except (OSError, ValueError):
        return True
    return bool(foreign_json(content) or (isinstance(content, dict) and {"images", "annotations"} & set(content)))


def _split_of(path: Path) -> str:
    found = _SPLIT_IN_NAME.search(path.stem)
    return split_name(found[0]) if found else NO_SPLIT


def _is_detection(path: Path) -> bool:
    try:
        content = load_json(path)
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and {"images", "annotations", "categories"} <= set(content)


def read_coco_any(source: Path, reading: CocoReading | None = None) -> LabelledSet:
    """Read a COCO set.

    Args:
        source: a folder, or one annotation file.
        reading: what the user specifies about the files.
    Raises:
        DatasetError: nothing to read is found; a file is missing, damaged or outside of the folder; see `read_coco`.
    """
    if source.is_file():
        root = source.parent.parent if source.parent.name == "annotations" else source.parent
        found = {NO_SPLIT: [source]}
    else:
        root, found = source, annotation_files(source)
    if not found:
        raise DatasetError(f"{source}: no COCO annotations in it. Give a folder with images and {ANNOTATION_FILE}.")
    notes = list(_unlabelled_splits(source))
    names: dict[str, None] = {}
    splits: dict[str, tuple[LabelledImage, ...]] = {}
    files = Files(root)
    for split in (split for split in (*SPLITS, NO_SPLIT) if split in found):
        images: list[LabelledImage] = []
        for path in found[split]:
            content = load_coco(inside(path, root))
            places = Places(_image_folder(path, root, content.images), files, hints_of(_words(path)))
            dataset = read_content(path, content, places, reading=reading)
            names |= dict.fromkeys(dataset.class_names)
            notes += dataset.notes
            images += _labelled(dataset, _base(dataset, places), _facts(content.images))
        splits[split] = tuple(images)
    return LabelledSet(tuple(names), splits, (*notes, *_left_out(source, files, splits)))


def _unlabelled_splits(source: Path) -> tuple[str, ...]:
    """A note where the images of a test split have no annotation file while other splits have theirs.

    Raises:
        DatasetError: it is the training or the validation split.
    """
    folders = [path for path in sorted(source.glob("*")) if path.is_dir() and split_name(path.name)]
    labelled = [path for path in folders if (path / ANNOTATION_FILE).is_file()]
    notes = []
    for folder in folders if labelled else ():
        if folder in labelled or not Files(folder).count:
            continue
        if split_name(folder.name) != "test":
            raise DatasetError(f"{folder}: no {ANNOTATION_FILE} in it, but images. Export its annotations, too.")
        notes.append(f"{folder}: no {ANNOTATION_FILE} in it; its images were left out.")
    return tuple(notes)


def _left_out(source: Path, files: Files, splits: Mapping[str, Sequence[LabelledImage]]) -> tuple[str, ...]:
    """A note where a folder holds images that no annotation file names."""
    if source.is_file():
        return ()
    read = {image.path.resolve() for images in splits.values() for image in images}
    left = [path for path in files.all() if path.resolve() not in read]
    if not left:
        return ()
    said = counted(len(left), "image is", "images are")
    return (f"{source}: {said} in no annotation file and were left out ({name_in(source, left[0])}, for example).",)


def _words(path: Path) -> list[str]:
    """The words in an annotation file's name; for `_annotations.coco.json` the folder's name."""
    return [word for word in (path.parent.name if path.name == ANNOTATION_FILE else path.stem).split("_") if word]


def _image_folder(path: Path, root: Path, entries: Sequence[Entry]) -> Path:
    """The folder in which most of the first 20 names of an annotation file are found."""
    words = _words(path) if path.name != ANNOTATION_FILE else []
    tails = ["", "images", *words, *(f"images/{word}" for word in words), *(f"images/{s}" for s in _spellings(path))]
    tails += _spellings(path)
    bases = [path.parent, *([root] if root != path.parent else [])]
    candidates = [folder for base in bases for tail in tails if (folder := base / tail).is_dir()]
    names = [slashed(str(item.get("file_name"))) for item in entries[:20]]
    best = max(candidates, key=lambda folder: sum(_there(folder, name) for name in names), default=path.parent)
    return inside(best, root)


def _spellings(path: Path) -> list[str]:
    split = _split_of(path)
    return [split, "val"] if split == "valid" else [split] if split else []


def _there(folder: Path, name: str) -> bool:
    try:
        return (folder / name).is_file()
    except (OSError, ValueError):
        return False


def _facts(entries: Sequence[Entry]) -> dict[int, dict[str, Any]]:
    """The further keys of each image entry by image id; texts and numbers only."""
    return {
        item["id"]: {
            key: value
            for key, value in item.items()
            if key not in _OWN_KEYS and isinstance(value, (str, int, float)) and value != ""
        }
        for item in entries
    }


def _base(dataset: Dataset, places: Places) -> Path:
    """The root of the names in the new set: the dataset's folder, or a common parent of images that are elsewhere."""
    if "elsewhere" not in places.counts:
        return dataset.root
    return Path(os.path.commonpath([image.path.parent for image in dataset.images]))


def _labelled(dataset: Dataset, base: Path, facts: Mapping[int, dict[str, Any]]) -> Iterator[LabelledImage]:
    for image, truth in zip(dataset.images, dataset.truths, strict=True):
        check_size(image, read_header(image.path).size_wh)
        boxes = tuple(
            LabelledBox(dataset.class_names[label], (x1, y1, x2, y2), float(area), bool(ignored))
            for (x1, y1, x2, y2), label, area, ignored in zip(
                truth.boxes.tolist(), truth.labels, truth.areas, truth.ignored, strict=True
            )
        )
        name = name_in(base, image.path)
        check_name(base, name)
        yield LabelledImage(image.path, name, image.size_wh, boxes, facts[image.id])


def write_coco_own(folder: Path, class_names: Sequence[str], images: Sequence[LabelledImage]) -> None:
    """Write `_annotations.coco.json` for images that lie in `folder` under their names; ids count from 1.

    Raises:
        OSError: the disk is full or not to be written.
    """
    ids = {name: index for index, name in enumerate(class_names, start=1)}
    rows = [(number, image, box) for number, image in enumerate(images, start=1) for box in image.boxes]
    content = {
        "images": [
            {
                **image.facts,
                "id": number,
                "file_name": image.name,
                "width": image.size_wh[0],
                "height": image.size_wh[1],
            }
            for number, image in enumerate(images, start=1)
        ],
        "annotations": [
            {
                "id": index,
                "image_id": number,
                "category_id": ids[box.name],
                "bbox": _xywh(box),
                "area": round(box.area, _DECIMALS),
                "iscrowd": int(box.ignored),
            }
            for index, (number, _, box) in enumerate(rows, start=1)
        ],
        "categories": [{"id": key, "name": name, "supercategory": ""} for name, key in ids.items()],
    }
    write_text_atomically(folder / ANNOTATION_FILE, json.dumps(content))


def _xywh(box: LabelledBox) -> list[float]:
    x1, y1, x2, y2 = box.xyxy
    return [round(value, _DECIMALS) for value in (x1, y1, x2 - x1, y2 - y1)]
