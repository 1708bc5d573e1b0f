"""Pascal VOC folders: one XML file per image, its objects by name and pixel corners.

Corners are read as the format defines them: the first and the last pixel of the object, counted from 1. So `xmin` 1 and
`xmax` 10 is the box from 0 to 10 px with exclusive edges. Many tools write edges counted from 0 instead; read those
with `corners="edges"`. A corner at 0 can't be a pixel counted from 1 and is an error under the first reading.
`difficult` objects become ignored regions. An annotation whose image lies in another folder is paired with it by its
name.

Source: Everingham et al., "The Pascal Visual Object Classes Challenge 2007 Development Kit", sections 4.1 and 6.
"""

from __future__ import annotations

import math
import os
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal
from xml.etree import ElementTree

import numpy as np

from smallsight.data.formats.box_forms import VOC_BOXES, BoxReading, corners_px, suspected
from smallsight.data.formats.coco_content import counted
from smallsight.data.formats.folder_files import (
    IMAGE_SUFFIXES,
    MOST_LIST_BYTES,
    files_in,
    images_in,
    inside,
    left_out,
    read_label_text,
)
from smallsight.data.formats.foreign_labels import foreign_xml
from smallsight.data.formats.image_sizes import SizePair, SizeRule, size_fault
from smallsight.data.formats.labelled_set import (
    NO_SPLIT,
    SPLITS,
    Corners,
    LabelledBox,
    LabelledImage,
    LabelledSet,
    box_of,
    split_name,
)
from smallsight.data.formats.numbers import whole
from smallsight.data.formats.places import Files, NotThere, Places, slashed
from smallsight.data.image_header import ImageHeader, upright_header
from smallsight.errors import DatasetError

VocCorners = Literal["pixels", "edges"]
ANNOTATIONS, IMAGES, LISTS = "Annotations", "JPEGImages", "ImageSets"
_MOST_XML_BYTES = 4 << 20
_SIDES = ("xmin", "ymin", "xmax", "ymax")


@dataclass(frozen=True)
class VocReading:
    """What the user specifies about a VOC set.

    Attributes:
        corners: what the corners mean, see this file's first lines.
        boxes: what the four numbers of a box are; None takes the format's meaning and refuses what looks different.
        sizes: what to do where the size in an annotation differs from its image's.
    """

    corners: VocCorners = "pixels"
    boxes: BoxReading | None = None
    sizes: SizeRule = "check"


@dataclass(frozen=True)
class _Object:
    """An object as written in its annotation."""

    where: str
    name: str
    values: Corners
    ignored: bool


@dataclass(frozen=True)
class _VocImage:
    """An image with its annotation; `given_wh` is None where that has no size, `label` where there is none."""

    path: Path
    name: str
    header: ImageHeader
    label: Path | None = None
    given_wh: tuple[int, int] | None = None
    objects: tuple[_Object, ...] = ()


def is_voc(folder: Path) -> bool:
    """Whether a folder has the `Annotations` of a VOC set, or one folder below it."""
    return any((place / ANNOTATIONS).is_dir() for place in (folder, *folder.glob("VOC*")))


def read_voc(source: Path, reading: VocReading | None = None) -> LabelledSet:
    """Read a VOC set: `JPEGImages` and `Annotations`, with `ImageSets` or not, or XML files beside their images.

    Args:
        source: the folder.
        reading: what the user specifies about the set.
    Raises:
        DatasetError: a file is missing, damaged or outside of the folder; a box does not fit.
    """
    if not source.is_dir():
        raise DatasetError(f"{source}: no such folder. Give a folder with {IMAGES} and {ANNOTATIONS}.")
    root = _root(source.resolve())
    found, notes = _by_lists(root) if (root / ANNOTATIONS).is_dir() else _by_folders(root)
    found = {split: found[split] for split in (*SPLITS, NO_SPLIT) if found.get(split)}
    if not found:
        raise DatasetError(f"{source}: no image in it. Give a folder with images and XML annotations.")
    names = {item.name for entries in found.values() for entry in entries for item in entry.objects}
    if not names:
        raise DatasetError(f"{source}: no image has an object in an XML file. Give a folder with annotations.")
    splits, more = _fitted(root, found, reading or VocReading())
    return LabelledSet(tuple(sorted(names)), splits, (*notes, *more))


def _fitted(
    root: Path, found: Mapping[str, Sequence[_VocImage]], reading: VocReading
) -> tuple[dict[str, tuple[LabelledImage, ...]], tuple[str, ...]]:
    """The images with their boxes in px; a fault that nearly all share is reported by its cause."""
    every = [entry for entries in found.values() for entry in entries]
    sized = [(entry, entry.given_wh) for entry in every if entry.given_wh is not None]
    other = [entry for entry, given_wh in sized if given_wh != entry.header.size_wh]
    if other and reading.sizes == "check":
        if fault := size_fault([SizePair(given_wh, entry.header) for entry, given_wh in sized]):
            raise DatasetError(f"{root}: {fault}")
        raise _wrong_size(other[0])
    rows = [(item.values, entry.header.size_wh) for entry in every for item in entry.objects]
    values, sizes = (np.array(column, dtype=np.float64) for column in zip(*rows, strict=True))
    if reading.boxes is None and not other and (cause := suspected(values, sizes, VOC_BOXES)):
        raise DatasetError(f"{root}: {cause.sentence}")
    splits = {split: tuple(_image(entry, reading) for entry in entries) for split, entries in found.items()}
    notes = []
    if missing := sum(entry.label is not None and entry.given_wh is None for entry in every):
        notes.append(f"{root}: {counted(missing, 'annotation has', 'annotations have')} no size; taken from the files.")
    if other:
        done = ", and the boxes were scaled" if reading.sizes == "scale" else ""
        said = counted(len(other), "image has", "images have")
        notes.append(f"{root}: {said} another size than given; that of the file was taken{done}.")
    return splits, tuple(notes)


def _root(folder: Path) -> Path:
    if (folder / ANNOTATIONS).is_dir():
        return folder
    below = [path for path in sorted(folder.glob("VOC*")) if (path / ANNOTATIONS).is_dir()]
    if len(below) > 1:
        names = ", ".join(path.name for path in below)
        raise DatasetError(f"{folder}: several sets: {names}. Give one of them, or all with --merge.")
    return below[0] if below else folder


def _by_folders(root: Path) -> tuple[dict[str, list[_VocImage]], tuple[str, ...]]:
    """The splits that folders are named for; without such folders, all images as one."""
    folders = [path for path in sorted(root.iterdir()) if path.is_dir() and split_name(path.name)]
    found: dict[str, list[_VocImage]] = {}
    notes: list[str] = []
    for folder in folders or [root]:
        items, said = _flat(inside(folder, root), root)
        found[split_name(folder.name) if folders else NO_SPLIT] = items
        notes += said
    notes += left_out(root, sum(map(len, found.values()))) if folders else ()
    return found, tuple(notes)


def _flat(folder: Path, root: Path) -> tuple[list[_VocImage], tuple[str, ...]]:
    """Images with their XML files, beside them or in another folder; an image without one has no objects."""
    images = images_in(folder, root)
    labels = {path.with_suffix(""): path for path in files_in(folder, root, (".xml",))}
    beside = {path: labels.pop(path.with_suffix("")) for path in images if path.with_suffix("") in labels}
    apart = dict(_paired(labels.values(), folder, beside))
    base = Path(os.path.commonpath([path.parent for path in images])) if apart else folder
    pairs = {**apart, **beside}
    found = [_read(path, path.relative_to(base).as_posix(), pairs.get(path), root) for path in images]
    return found, _apart_note(folder, apart)


def _paired(labels: Iterable[Path], folder: Path, taken: Container[Path]) -> Iterator[tuple[Path, Path]]:
    """Pairs of an image and its annotation, for annotations without an image beside them.

    Raises:
        DatasetError: an annotation has no image, several, or one that has another annotation.
    """
    places = Places(folder, Files(folder), key="filename")
    seen: dict[Path, Path] = {}
    for label in labels:
        found = places.files.siblings(label.name)
        if len(found) != 1:
            named = (_parsed(label).findtext("filename") or "").strip()
            if found and not named:
                one, other = (path.relative_to(folder) for path in found[:2])
                raise DatasetError(
                    f"{label}: its image may be {one} or {other}. Put the annotation beside its image, or add a "
                    "filename to it."
                )
            try:
                found = [places.find(named or label.name)]
            except NotThere as error:
                raise _no_image(label) from error
            except DatasetError as error:
                raise DatasetError(f"{label}: {error}") from error
        if found[0] in taken or seen.setdefault(found[0], label) != label:
            raise _no_image(label)
        yield found[0], label


def _apart_note(folder: Path, apart: Mapping[Path, Path]) -> tuple[str, ...]:
    if not apart:
        return ()
    image, label = next((image.relative_to(folder), label.relative_to(folder)) for image, label in apart.items())
    said = counted(len(apart), "annotation lies", "annotations lie")
    return (f"{folder}: {said} in another folder than the image; paired by name ({label} with {image}, for example).",)


def _by_lists(root: Path) -> tuple[dict[str, list[_VocImage]], tuple[str, ...]]:
    """The splits that `ImageSets/Main` lists; without lists, all images as one."""
    folder = root / IMAGES if (root / IMAGES).is_dir() else root
    files = {path.relative_to(folder).with_suffix("").as_posix(): path for path in images_in(folder, root)}
    labels = {
        path.relative_to(root / ANNOTATIONS).with_suffix("").as_posix(): path
        for path in files_in(root / ANNOTATIONS, root, (".xml",))
    }
    pairs = {files[stem]: label for stem, label in labels.items() if stem in files}
    apart = dict(_paired([label for stem, label in labels.items() if stem not in files], root, pairs))
    every = {**apart, **pairs}

    def image(stem: str) -> _VocImage:
        path = files[stem]
        return _read(path, path.relative_to(folder).as_posix(), every.get(path), root)

    notes = _apart_note(root, apart)
    lists, said = _lists(root, files)
    if not lists:
        return {NO_SPLIT: list(map(image, files))}, notes
    left = len(set(files) - {stem for stems in lists.values() for stem in stems})
    note = f"{left} of {len(files)} images are in no list of {root / LISTS} and were left out."
    return {split: list(map(image, stems)) for split, stems in lists.items()}, (
        *notes,
        *said,
        *([note] if left else []),
    )


def _lists(root: Path, known: Mapping[str, Path]) -> tuple[dict[str, list[str]], tuple[str, ...]]:
    """The stems in each list, and notes; `trainval` counts as train where neither of its parts is listed."""
    folder = next((path for path in (root / LISTS / "Main", root / LISTS) if path.is_dir()), None)
    if folder is None:
        return {}, ()
    files = {path.stem: path for path in files_in(folder, root, (".txt",), recursive=False)}
    lists = {split_name(stem): path for stem, path in files.items() if split_name(stem)}
    if "trainval" in files and not {"train", "valid"} & set(lists):
        lists["train"] = files["trainval"]
    found = {split: list(_stems(path, known)) for split, path in lists.items()}
    notes = [
        f"{path}: names have backslashes and are read with slashes."
        for split, path in lists.items()
        if "\\" in read_label_text(path, MOST_LIST_BYTES) and not any("\\" in stem for stem in found[split])
    ]
    return found, tuple(notes)


def _stems(path: Path, known: Mapping[str, Path]) -> Iterator[str]:
    seen = set()
    for number, line in enumerate(read_label_text(path, MOST_LIST_BYTES).splitlines(), start=1):
        text = line.strip()
        if not text:
            continue
        text = text if text in known else slashed(text)
        stem = text if text in known else text.split()[0]
        if Path(stem).suffix.lower() in IMAGE_SUFFIXES and stem not in known:
            stem = stem[: -len(Path(stem).suffix)]
        if stem not in known:
            raise DatasetError(f"{path}: line {number}: no image {line.strip()!r} in {IMAGES}. Correct the list.")
        if stem not in seen:
            yield stem
        seen.add(stem)


def _no_image(path: Path) -> DatasetError:
    return DatasetError(f"{path}: no image belongs to this annotation. Put the image there or take it out.")


def _read(path: Path, name: str, label: Path | None, root: Path) -> _VocImage:
    """One image and what its annotation says."""
    header = upright_header(path)
    if label is None:
        return _VocImage(path, name, header)
    tree = _parsed(inside(label, root))
    objects = tuple(_object(f"{label}: object {n}", item) for n, item in enumerate(tree.iter("object"), 1))
    return _VocImage(path, name, header, label, _size(label, tree), objects)


def _size(label: Path, tree: ElementTree.Element) -> tuple[int, int] | None:
    """Width and height in an annotation; None where it has none, or zeros, as some tools write."""
    size = tree.find("size")
    if size is None:
        return None
    width, height = (_number(f"{label}: size: {side}", size.findtext(side)) for side in ("width", "height"))
    if not (math.isfinite(width) and math.isfinite(height)):
        raise DatasetError(f"{label}: size: got {width:g}x{height:g} px. Write the image's true size.")
    return (round(width), round(height)) if (width, height) != (0, 0) else None


def _wrong_size(found: _VocImage) -> DatasetError:
    got, has = ("{}x{}".format(*(size or (0, 0))) for size in (found.given_wh, found.header.size_wh))
    return DatasetError(
        f"{found.label}: size: got {got} px, but {found.path.name} has {has}. "
        "Correct the annotation, or give it its own image."
    )


def _parsed(path: Path) -> ElementTree.Element:
    try:
        if path.stat().st_size > _MOST_XML_BYTES:
            raise DatasetError(f"{path}: larger than {_MOST_XML_BYTES >> 20} MiB. Is it an annotation?")
        data = path.read_bytes()
        if b"\0" in data or b"<!" in data.replace(
            b"<!--", b""
        ):  # a document type can define entities that grow without bound
            raise DatasetError(
                f"{path}: it holds a document type or is no UTF-8, expected plain elements. Take it out."
            )
        tree = ElementTree.fromstring(data)
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise DatasetError(f"{path}: not readable as XML ({error}). Export the annotation again.") from error
    except OSError as error:
        raise DatasetError(f"{path}: can't be read ({error.strerror}). Give a file that can be read.") from error
    if tool := foreign_xml(tree):
        raise DatasetError(f"{path}: {tool}")
    return tree


def _object(where: str, item: ElementTree.Element) -> _Object:
    name = (item.findtext("name") or "").strip()
    if not name:
        raise DatasetError(f"{where}: it has no name. Add the class's name.")
    bounds = item.find("bndbox")
    if bounds is None:
        raise DatasetError(f"{where}: it has no bndbox. Add one, or take the object out.")
    difficult = (item.findtext("difficult") or "0").strip()
    if whole(difficult) not in (0, 1):
        raise DatasetError(f"{where}: difficult: got {difficult!r}, expected 0 or 1. Correct it.")
    x1, y1, x2, y2 = (_number(f"{where}: {side}", bounds.findtext(side)) for side in _SIDES)
    return _Object(where, name, (x1, y1, x2, y2), whole(difficult) == 1)


def _image(found: _VocImage, reading: VocReading) -> LabelledImage:
    boxes = tuple(_box(item, found, reading) for item in found.objects)
    return LabelledImage(found.path, found.name, found.header.size_wh, boxes)


def _box(item: _Object, found: _VocImage, reading: VocReading) -> LabelledBox:
    values, size_wh = item.values, found.header.size_wh
    if reading.boxes is None:
        values = _edges(item.where, item.values, reading.corners)
    boxes = reading.boxes or VOC_BOXES
    if reading.sizes == "scale" and found.given_wh and boxes.frame_wh is None:
        boxes = replace(boxes, frame_wh=found.given_wh)
    row = np.array([values], dtype=np.float64)
    x1, y1, x2, y2 = corners_px(row, np.array([size_wh], dtype=np.float64), boxes)[0].tolist()
    return box_of(item.where, item.name, (x1, y1, x2, y2), size_wh, ignored=item.ignored)


def _edges(where: str, values: Corners, corners: VocCorners) -> Corners:
    x1, y1, x2, y2 = values
    if corners == "edges":
        return x1, y1, x2, y2
    if min(x1, y1) < 1:
        raise DatasetError(
            f"{where}: xmin {x1:g}, ymin {y1:g}; the first pixel is 1, so these corners are edges counted from 0. "
            "Pass --voc-corners edges."
        )
    return x1 - 1, y1 - 1, x2, y2


def _number(where: str, text: str | None) -> float:
    try:
        return float(text or "")
    except ValueError as error:
        raise DatasetError(f"{where}: got {text!r}, expected a number of px. Correct it.") from error
