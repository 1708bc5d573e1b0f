"""YOLO folders, v5 to v11: images, a text file of labels for each, and a description (`data.yaml`) with the classes.

Without a description, or with one that names no splits, the folder itself is searched: `images/` beside `labels/`, or
text files beside their images, at the top or in `train/`, `val/`, `test/`; its classes come from `classes.txt` or the
like, else they are called `class_0` and so on. A file without labels is a frame without objects.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from reprlib import repr as short
from typing import Any

from smallsight.data.formats.base import NO_SPLIT, SPLITS, LabelledBox, LabelledImage, LabelledSet, split_name
from smallsight.data.formats.image_header import upright_size
from smallsight.data.formats.tree import MOST_LIST_BYTES, files_in, images_in, inside, left_out, read_label_text
from smallsight.data.formats.yolo_lines import label_text, read_labels
from smallsight.errors import ConfigError, DatasetError
from smallsight.yaml_files import read_yaml, to_yaml

DESCRIPTIONS = ("data.yaml", "dataset.yaml", "data.yml", "dataset.yml")
_CLASS_FILES = ("classes.txt", "obj.names", "_darknet.labels", "labels.txt")
_KEYS = {"train": "train", "val": "valid", "valid": "valid", "test": "test"}
_MOST_CLASSES = 100_000


@dataclass(frozen=True)
class _Source:
    """Where to look and what is known before: `root` bounds it; `names` is empty where no file gives the classes."""

    root: Path
    names: Mapping[int, str]
    keypoints: bool = False


@dataclass(frozen=True)
class _Found:
    """An image, the label file that belongs to it (there or not), and its name among the images of its split."""

    image: Path
    label: Path
    name: str


def description_in(folder: Path) -> Path | None:
    """The description of a YOLO set in a folder, None where there is none.

    Raises:
        DatasetError: there are several and none has a usual name.
    """
    for name in DESCRIPTIONS:
        if (folder / name).is_file():
            return folder / name
    found = [path for path in files_in(folder, folder, (".yaml", ".yml"), recursive=False) if _describes(path)]
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise DatasetError(f"{folder}: several descriptions: {names}. Give the path of one of them.")
    return found[0] if found else None


def _describes(path: Path) -> bool:
    try:
        return "names" in read_yaml(path)
    except ConfigError:
        return False


def read_yolo(source: Path) -> LabelledSet:
    """Read a YOLO set.

    Args:
        source: a folder, or its description.
    Raises:
        DatasetError: a file is missing, damaged or outside of the folder; a label does not fit; see `read_labels`.
    """
    source = source.resolve()
    description = source if source.is_file() else description_in(source) if source.is_dir() else None
    if description is None:
        return _read_folder(source, _Source(_root_of(source), _names_near(source)))
    content = _content(description)
    root = description.parent
    known = _Source(root, _names(description, content), keypoints="kpt_shape" in content)
    keys = [key for key in _KEYS if content.get(key)]
    if not keys:
        return _read_folder(root, known)
    found: dict[str, list[_Found]] = {}
    for key in keys:
        for path in _parts(f"{description}: {key}", root, content.get("path"), content[key]):
            found.setdefault(_KEYS[key], []).extend(_listed(path, known) if path.is_file() else _scanned(path, known))
    return _labelled(found, known)


def _parts(where: str, root: Path, base: object, value: object) -> Iterator[Path]:
    """The files and folders that a key of a description names, each once."""
    seen: set[Path] = set()
    for part in value if isinstance(value, list) else [value]:
        if not isinstance(part, str):
            raise DatasetError(f"{where}: got {part!r}, expected a path or a list of paths. Correct it.")
        try:
            path = _resolved(where, root, base, part)
        except (OSError, ValueError) as error:  # too long, a zero byte
            raise DatasetError(f"{where}: {short(part)} can't be looked up. Correct the path.") from error
        if path not in seen:
            yield path
        seen.add(path)


def _root_of(folder: Path) -> Path:
    """The folder above `images/` and `labels/` where `folder` lies in such an `images/`, else itself."""
    for place in (folder, *folder.parents):
        if place.name == "images" and (place.parent / "labels").is_dir():
            return place.parent
    return folder


def _content(description: Path) -> dict[str, Any]:
    try:
        return read_yaml(description)
    except ConfigError as error:
        raise DatasetError(str(error)) from error


def _names(description: Path, content: Mapping[str, Any]) -> dict[int, str]:
    value = content.get("names")
    rows = list(enumerate(value)) if isinstance(value, list) else list(value.items()) if isinstance(value, dict) else []
    try:
        names = {int(key): str(name) for key, name in rows}
    except (TypeError, ValueError, OverflowError) as error:
        raise DatasetError(f"{description}: names: a key is no class index ({error}). Number the classes.") from error
    if not names:
        raise DatasetError(f"{description}: names: missing; expected a list or a mapping of class names. Add it.")
    if len(set(names.values())) < len(names):
        raise DatasetError(f"{description}: names: a name is used twice. Give each class its own name.")
    if "nc" in content and content["nc"] != len(names):
        raise DatasetError(f"{description}: nc: got {content['nc']!r}, but there are {len(names)} names. Correct one.")
    return dict(sorted(names.items()))


def _resolved(where: str, root: Path, base: object, part: str) -> Path:
    """The file or folder that a path in a description means.

    Descriptions travel: `path` is often a folder of another machine, and Roboflow writes `../train/images` for
    `train/images`; so the description's own folder is tried as well, and leading `../` are taken off.
    """
    stripped = part
    while stripped.startswith("../"):
        stripped = stripped[3:]
    bases = [root / str(base), root] if base else [root]
    outside = None
    for candidate in (folder / text for folder in bases for text in dict.fromkeys((part, stripped))):
        if candidate.exists():
            if candidate.resolve().is_relative_to(root):
                return _within(candidate, root)
            outside = outside or candidate
    if outside is not None:
        raise DatasetError(f"{where}: {part!r} leads out of {root}. Put the description above images and labels.")
    raise DatasetError(f"{where}: no file or folder {part!r} in {bases[0]}. Correct the path.")


def _within(path: Path, root: Path) -> Path:
    """A path that lies in `root`, written so that it starts with it."""
    plain = Path(os.path.normpath(path))
    return plain if plain.is_relative_to(root) else path.resolve()


def _listed(path: Path, source: _Source) -> Iterator[_Found]:
    """The images that a list file names, one a line, relative to the list (`./`) or to the root."""
    for number, line in enumerate(read_label_text(path, MOST_LIST_BYTES).splitlines(), start=1):
        text = line.strip()
        if not text:
            continue
        where = f"{path}: line {number}"
        try:
            image = next((file for folder in (path.parent, source.root) if (file := folder / text).is_file()), None)
        except OSError as error:  # too long
            raise DatasetError(f"{where}: {short(text)} can't be looked up. Correct the list.") from error
        if image is None:
            raise DatasetError(f"{where}: no image {text!r}. Correct the list.")
        try:
            inside(image, source.root)
        except DatasetError as error:
            raise DatasetError(f"{where}: {error}") from error
        yield _found(_within(image, source.root), source.root, source)


def _scanned(folder: Path, source: _Source) -> Iterator[_Found]:
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


def _found(image: Path, base: Path, source: _Source) -> _Found:
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
    return _Found(image, label, "/".join(name))


def _read_folder(folder: Path, source: _Source) -> LabelledSet:
    """A set by its folders alone."""
    if not folder.is_dir():
        raise DatasetError(f"{folder}: no such folder. Give a folder with images and labels, or a data.yaml.")
    found: dict[str, list[_Found]] = {}
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
            if (place / name).is_file() and _describes(place / name):
                return _names(place / name, _content(place / name))
    return {}


def _labelled(found: Mapping[str, Sequence[_Found]], source: _Source, notes: tuple[str, ...] = ()) -> LabelledSet:
    every = [item for items in found.values() for item in items]
    if not every:
        raise DatasetError(f"{source.root}: no image in it. Give a folder with images and labels.")
    if not any(item.label.is_file() for item in every):
        raise DatasetError(
            f"{source.root}: none of {len(every)} images has labels; looked for {every[0].label}, for example. "
            "Put the labels in labels/ beside images/, or beside the images."
        )
    names = source.names or {index: f"class_{index}" for index in range(_MOST_CLASSES)}
    splits = {
        split: tuple(_image(item, names, source) for item in dict.fromkeys(found[split]))
        for split in (*SPLITS, NO_SPLIT)
        if found.get(split)
    }
    if source.names:
        return LabelledSet(tuple(source.names.values()), splits, notes)
    used = {box.name for images in splits.values() for image in images for box in image.boxes}
    ordered = tuple(sorted(used, key=lambda name: int(name.removeprefix("class_"))))
    return LabelledSet(ordered, splits, (*notes, f"{source.root} names no classes; they are {', '.join(ordered)}."))


def _image(item: _Found, names: Mapping[int, str], source: _Source) -> LabelledImage:
    size_wh = upright_size(item.image)
    boxes: tuple[LabelledBox, ...] = ()
    if item.label.is_file():
        inside(item.label, source.root)
        boxes = read_labels(item.label, names, size_wh, keypoints=source.keypoints)
    return LabelledImage(item.image, item.name, size_wh, boxes)


def write_yolo(folder: Path, labelled: LabelledSet) -> None:
    """Write the label files and `data.yaml` of a set whose images lie in `folder/image_folder(split)`.

    Ignored regions can't be said in this format and are left out.

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
    """Where the images of a split lie, relative to the set."""
    return f"images/{'val' if split == 'valid' else split}".rstrip("/")
