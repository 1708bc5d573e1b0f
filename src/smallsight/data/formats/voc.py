"""Pascal VOC folders: one XML file per image, its objects by name and pixel corners.

Corners are read as the format defines them: the first and the last pixel of the object, counted from 1. So `xmin` 1 and
`xmax` 10 is the box from 0 to 10 px with exclusive edges. Many tools write edges counted from 0 instead; read those
with `corners="edges"`. A corner at 0 can't be a pixel counted from 1 and is an error under the first reading.
`difficult` objects become ignored regions.

Source: Everingham et al., "The Pascal Visual Object Classes Challenge 2007 Development Kit", sections 4.1 and 6.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal
from xml.etree import ElementTree

from smallsight.data.formats.base import (
    NO_SPLIT,
    SPLITS,
    Corners,
    LabelledBox,
    LabelledImage,
    LabelledSet,
    box_of,
    split_name,
)
from smallsight.data.formats.image_header import upright_size
from smallsight.data.formats.tree import (
    IMAGE_SUFFIXES,
    MOST_LIST_BYTES,
    files_in,
    images_in,
    inside,
    left_out,
    read_label_text,
)
from smallsight.errors import DatasetError

VocCorners = Literal["pixels", "edges"]
ANNOTATIONS, IMAGES, LISTS = "Annotations", "JPEGImages", "ImageSets"
_MOST_XML_BYTES = 4 << 20
_SIDES = ("xmin", "ymin", "xmax", "ymax")


def is_voc(folder: Path) -> bool:
    """Whether a folder has the `Annotations` of a VOC set, or one folder below it."""
    return any((place / ANNOTATIONS).is_dir() for place in (folder, *folder.glob("VOC*")))


def read_voc(source: Path, *, corners: VocCorners = "pixels") -> LabelledSet:
    """Read a VOC set: `JPEGImages` and `Annotations`, with `ImageSets` or not, or XML files beside their images.

    Args:
        source: the folder.
        corners: what the corners mean, see this file's first lines.
    Raises:
        DatasetError: a file is missing, damaged or outside of the folder; a box does not fit.
    """
    if not source.is_dir():
        raise DatasetError(f"{source}: no such folder. Give a folder with {IMAGES} and {ANNOTATIONS}.")
    root = _root(source.resolve())
    if (root / ANNOTATIONS).is_dir():
        splits, notes = _by_lists(root, corners)
    else:
        folders = [path for path in sorted(root.iterdir()) if path.is_dir() and split_name(path.name)]
        splits = {split_name(path.name): _flat(inside(path, root), root, corners) for path in folders}
        notes = left_out(root, sum(map(len, splits.values()))) if splits else ()
        splits = splits or {NO_SPLIT: _flat(root, root, corners)}
    splits = {split: splits[split] for split in (*SPLITS, NO_SPLIT) if splits.get(split)}
    if not splits:
        raise DatasetError(f"{source}: no image in it. Give a folder with images and XML annotations.")
    found = {box.name for images in splits.values() for image in images for box in image.boxes}
    if not found:
        raise DatasetError(f"{source}: no image has an object in an XML file. Give a folder with annotations.")
    return LabelledSet(tuple(sorted(found)), splits, notes)


def _root(folder: Path) -> Path:
    if (folder / ANNOTATIONS).is_dir():
        return folder
    below = [path for path in sorted(folder.glob("VOC*")) if (path / ANNOTATIONS).is_dir()]
    if len(below) > 1:
        names = ", ".join(path.name for path in below)
        raise DatasetError(f"{folder}: several sets: {names}. Give one of them, or all with --merge.")
    return below[0] if below else folder


def _flat(folder: Path, root: Path, corners: VocCorners) -> tuple[LabelledImage, ...]:
    """Images with their XML files beside them; an image without one is a frame without objects."""
    images = images_in(folder, root)
    stems = {path.with_suffix("") for path in images}
    for path in files_in(folder, root, (".xml",)):
        if path.with_suffix("") not in stems:
            raise _no_image(path)
    return tuple(
        _image(path, path.relative_to(folder).as_posix(), path.with_suffix(".xml"), root, corners) for path in images
    )


def _by_lists(root: Path, corners: VocCorners) -> tuple[dict[str, tuple[LabelledImage, ...]], tuple[str, ...]]:
    """The splits that `ImageSets/Main` lists; without lists, all images as one."""
    folder = root / IMAGES if (root / IMAGES).is_dir() else root
    files = {path.relative_to(folder).with_suffix("").as_posix(): path for path in images_in(folder, root)}
    labels = {
        path.relative_to(root / ANNOTATIONS).with_suffix("").as_posix(): path
        for path in files_in(root / ANNOTATIONS, root, (".xml",))
    }
    for stem, path in labels.items():
        if stem not in files:
            raise _no_image(path)

    def image(stem: str) -> LabelledImage:
        path = files[stem]
        return _image(path, path.relative_to(folder).as_posix(), root / ANNOTATIONS / f"{stem}.xml", root, corners)

    lists = _lists(root, files)
    if not lists:
        return {NO_SPLIT: tuple(map(image, files))}, ()
    left = len(set(files) - {stem for stems in lists.values() for stem in stems})
    note = f"{left} of {len(files)} images are in no list of {root / LISTS} and were left out."
    return {split: tuple(map(image, stems)) for split, stems in lists.items()}, (note,) if left else ()


def _lists(root: Path, known: Mapping[str, Path]) -> dict[str, list[str]]:
    """The stems in each list; `trainval` counts as train where neither of its parts is listed."""
    folder = next((path for path in (root / LISTS / "Main", root / LISTS) if path.is_dir()), None)
    if folder is None:
        return {}
    files = {path.stem: path for path in files_in(folder, root, (".txt",), recursive=False)}
    found = {split_name(stem): list(_stems(path, known)) for stem, path in files.items() if split_name(stem)}
    if "trainval" in files and not {"train", "valid"} & set(found):
        found["train"] = list(_stems(files["trainval"], known))
    return found


def _stems(path: Path, known: Mapping[str, Path]) -> Iterator[str]:
    seen = set()
    for number, line in enumerate(read_label_text(path, MOST_LIST_BYTES).splitlines(), start=1):
        text = line.strip()
        if not text:
            continue
        stem = text if text in known else text.split()[0]
        if Path(stem).suffix.lower() in IMAGE_SUFFIXES and stem not in known:
            stem = stem[: -len(Path(stem).suffix)]
        if stem not in known:
            raise DatasetError(f"{path}: line {number}: no image {text!r} in {IMAGES}. Correct the list.")
        if stem not in seen:
            yield stem
        seen.add(stem)


def _no_image(path: Path) -> DatasetError:
    return DatasetError(f"{path}: no image belongs to this annotation. Put the image there or take it out.")


def _image(path: Path, name: str, label: Path, root: Path, corners: VocCorners) -> LabelledImage:
    size_wh = upright_size(path)
    if not label.is_file():
        return LabelledImage(path, name, size_wh)
    tree = _parsed(inside(label, root))
    _check_size(label, tree, path, size_wh)
    boxes = tuple(_box(f"{label}: object {n}", item, size_wh, corners) for n, item in enumerate(tree.iter("object"), 1))
    return LabelledImage(path, name, size_wh, boxes)


def _check_size(label: Path, tree: ElementTree.Element, path: Path, size_wh: tuple[int, int]) -> None:
    size = tree.find("size")
    if size is None:
        return
    width, height = (_number(f"{label}: size: {side}", size.findtext(side)) for side in ("width", "height"))
    if (width, height) not in (size_wh, (0, 0)):  # some tools leave zeros
        raise DatasetError(
            f"{label}: size: got {width:g}x{height:g} px, but {path.name} has {size_wh[0]}x{size_wh[1]}. "
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
        return ElementTree.fromstring(data)
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise DatasetError(f"{path}: not readable as XML ({error}). Export the annotation again.") from error
    except OSError as error:
        raise DatasetError(f"{path}: can't be read ({error.strerror}). Give a file that can be read.") from error


def _box(where: str, item: ElementTree.Element, size_wh: tuple[int, int], corners: VocCorners) -> LabelledBox:
    name = (item.findtext("name") or "").strip()
    if not name:
        raise DatasetError(f"{where}: it has no name. Add the class's name.")
    bounds = item.find("bndbox")
    if bounds is None:
        raise DatasetError(f"{where}: it has no bndbox. Add one, or take the object out.")
    difficult = (item.findtext("difficult") or "0").strip()
    if difficult not in ("0", "1"):
        raise DatasetError(f"{where}: difficult: got {difficult!r}, expected 0 or 1. Correct it.")
    values = [_number(f"{where}: {side}", bounds.findtext(side)) for side in _SIDES]
    return box_of(where, name, _edges(where, values, corners), size_wh, ignored=difficult == "1")


def _edges(where: str, values: list[float], corners: VocCorners) -> Corners:
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
