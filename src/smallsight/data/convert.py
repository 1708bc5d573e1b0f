"""Convert YOLO, Pascal VOC and COCO sets to this project's COCO layout or to YOLO; choose classes, merge sets.

No input is changed. With `images=link` the new set shares its image files with the source.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Literal

from smallsight.data.coco import ANNOTATION_FILE
from smallsight.data.formats.coco_any import write_coco_own
from smallsight.data.formats.draft import check_output, drafted, refuse_overlap
from smallsight.data.formats.image_transfer import ImageMode, place, planned
from smallsight.data.formats.labelled_set import NO_SPLIT, SPLITS, LabelledBox, LabelledImage, LabelledSet
from smallsight.data.formats.yolo import image_folder, write_yolo
from smallsight.data.sources import Kind, SourceReading, read_source
from smallsight.errors import DatasetError

_CACHE_VERSION = 1
"""To be raised when a conversion gives a different result for the same source."""


@dataclass(frozen=True)
class ConvertOptions:
    """What to keep and how to write it.

    Attributes:
        kind: the sources' format; `auto` detects it.
        to: the format to write.
        class_names: keep these, in this order, under their new names; all where empty.
        rename: new name by old name; two may become one.
        keep_empty: keep frames without objects, which are negatives.
        images: hard-link, copy or resize.
        reading: what the user specifies about the sources.
    """

    kind: Kind = "auto"
    to: Literal["coco", "yolo"] = "coco"
    class_names: tuple[str, ...] = ()
    rename: Mapping[str, str] = field(default_factory=dict)
    keep_empty: bool = True
    images: ImageMode = field(default_factory=ImageMode)
    reading: SourceReading = field(default_factory=SourceReading)


@dataclass(frozen=True)
class Converted:
    """How many images, frames without objects and objects of each class were written per split; notes are sentences."""

    images: Mapping[str, int]
    empty: Mapping[str, int]
    objects: Mapping[str, Mapping[str, int]]
    notes: tuple[str, ...]

    def lines(self) -> tuple[str, ...]:
        """One line per split, then the notes."""
        rows = []
        for split, count in self.images.items():
            found = ", ".join(f"{n} {name}" for name, n in self.objects[split].items()) or "no objects"
            rows.append(f"{split or 'all'}: {count} images ({self.empty[split]} without objects); {found}.")
        return (*rows, *self.notes)


def convert(sources: Sequence[Path], out: Path, options: ConvertOptions | None = None) -> Converted:
    """Write one set from one or more; `out` appears whole or not at all.

    Args:
        sources: folders, or a `data.yaml` or a COCO file each.
        out: a new or an empty folder.
        options: what to keep and how.
    Raises:
        DatasetError: a source can't be read or does not fit the others; `out` is in use; the disk is full.
    """
    options = options or ConvertOptions()
    check_output(out, sources)
    parts = [read_source(source, options.kind, options.reading) for source in sources]
    chosen = select(merge(parts, [_label(source) for source in sources]), options)
    return write_set(out, chosen, options.to, options.images)


def _label(source: Path) -> str:
    source = source.resolve()
    return (source.parent if source.is_file() else source).name or "source"


def merge(parts: Sequence[LabelledSet], labels: Sequence[str]) -> LabelledSet:
    """Join sets: classes and splits by their names. An image whose name is taken goes into the folder `label`.

    Args:
        parts: the sets.
        labels: a name for each.
    Raises:
        DatasetError: one set has splits and another has none.
    """
    if len({NO_SPLIT in part.splits for part in parts}) > 1:
        bare = next(label for part, label in zip(parts, labels, strict=True) if NO_SPLIT in part.splits)
        raise DatasetError(
            f"{bare}: it has no splits, while another source has. Put its images and labels into a folder train/, "
            "or split the result afterwards."
        )
    names = dict.fromkeys(name for part in parts for name in part.class_names)
    splits: dict[str, tuple[LabelledImage, ...]] = {}
    for split in (*SPLITS, NO_SPLIT):
        rows = [
            (label, image) for part, label in zip(parts, labels, strict=True) for image in part.splits.get(split, ())
        ]
        if rows:
            splits[split] = kept_apart(rows)
    return LabelledSet(tuple(names), splits, tuple(note for part in parts for note in part.notes))


def kept_apart(rows: Sequence[tuple[str, LabelledImage]]) -> tuple[LabelledImage, ...]:
    """Give each image a name of its own: one whose name is taken goes into the folder that it is given with.

    Names count as the same when they differ only by suffix (they would share a label file) or by case.
    """
    taken: set[str] = set()
    images = []
    for label, image in rows:
        name, number = image.name, 1
        while (key := str(PurePosixPath(name).with_suffix("")).casefold()) in taken:
            name = f"{label}/{image.name}" if number == 1 else f"{label}_{number}/{image.name}"
            number += 1
        taken.add(key)
        images.append(image if name == image.name else replace(image, name=name))
    return tuple(images)


def select(labelled: LabelledSet, options: ConvertOptions) -> LabelledSet:
    """Rename classes, keep the wanted ones, and drop empty frames where that is asked for.

    Raises:
        DatasetError: a class is not there, or nothing is left.
    """
    known = ", ".join(labelled.class_names)
    for old in options.rename:
        if old not in labelled.class_names:
            raise DatasetError(
                f"--rename {old}={options.rename[old]}: no class {old!r}; the set has {known}. Name one."
            )
    renamed = tuple(dict.fromkeys(options.rename.get(name, name) for name in labelled.class_names))
    for name in options.class_names:
        if name not in renamed:
            raise DatasetError(f"--class {name}: no such class; the set has {', '.join(renamed)}. Name one of them.")
    wanted = dict.fromkeys(options.class_names or renamed)

    def kept(box: LabelledBox) -> LabelledBox | None:
        name = options.rename.get(box.name, box.name)
        return replace(box, name=name) if name in wanted else None

    splits: dict[str, tuple[LabelledImage, ...]] = {}
    for split, images in labelled.splits.items():
        fitting = [replace(image, boxes=tuple(filter(None, map(kept, image.boxes)))) for image in images]
        left = tuple(image for image in fitting if image.boxes or options.keep_empty)
        if left:
            splits[split] = left
    if not splits:
        raise DatasetError("--drop-empty: no image with an object is left. Keep more classes, or keep empty frames.")
    return LabelledSet(tuple(wanted), splits, labelled.notes)


def write_set(out: Path, labelled: LabelledSet, to: Literal["coco", "yolo"], mode: ImageMode) -> Converted:
    """Write a set; `out` appears whole or not at all.

    Raises:
        DatasetError: an image can't be read; the disk is full; `out` can't be written or was filled meanwhile.
    """
    splits: dict[str, tuple[LabelledImage, ...]] = {}
    with drafted(out) as draft:
        for split, images in labelled.splits.items():
            folder = draft / (split if to == "coco" else image_folder(split))
            folder.mkdir(parents=True, exist_ok=True)
            splits[split] = tuple(planned(image, mode) for image in images)
            for image, new in zip(images, splits[split], strict=True):
                place(image, new.size_wh, folder / new.name, mode)
            if to == "coco":
                write_coco_own(folder, labelled.class_names, splits[split])
        written = replace(labelled, splits=splits)
        if to == "yolo":
            write_yolo(draft, written)
    return _counted(written, to)


def _counted(labelled: LabelledSet, to: str) -> Converted:
    notes = list(labelled.notes)
    ignored = sum(box.ignored for images in labelled.splits.values() for image in images for box in image.boxes)
    if to == "yolo" and ignored:
        notes.append(f"{ignored} ignored regions were left out: YOLO can't say them.")
    found = {
        split: Counter(box.name for image in images for box in image.boxes if to == "coco" or not box.ignored)
        for split, images in labelled.splits.items()
    }
    return Converted(
        images={split: len(images) for split, images in labelled.splits.items()},
        empty={split: sum(not image.boxes for image in images) for split, images in labelled.splits.items()},
        objects={split: {name: found[split][name] for name in labelled.class_names} for split in found},
        notes=tuple(notes),
    )


@dataclass(frozen=True)
class CachedSet:
    """The folder of a converted set in the cache, and sentences on how its source was read."""

    folder: Path
    notes: tuple[str, ...]


def cached_conversion(
    source: Path,
    kind: Literal["yolo", "voc"],
    cache_root: Path,
    *,
    split: str = NO_SPLIT,
    reading: SourceReading | None = None,
) -> CachedSet:
    """Convert a YOLO or VOC folder to a COCO folder, once per content.

    The result is stored under a hash of the images' names, sizes and times, of the labels, and of the settings. A
    second process that converts the same source at the same time uses the result of the first. Results that are no
    longer used may be deleted.

    Args:
        source: a folder, or a `data.yaml`; the images of one split, or several of which `split` picks one.
        kind: its format.
        cache_root: where results are kept; may be used by several processes.
        split: `train`, `valid` or `test`, where the source has splits.
        reading: what the user specifies about the source.
    Returns:
        A folder that `read_coco` reads, and the notes on how the source was read.
    Raises:
        DatasetError: the source can't be read or has no such split; the cache can't be written or lies in the source.
    """
    refuse_overlap(cache_root, [source], "the cache")
    labelled = one_split(merge([read_source(source, kind, reading)], [_label(source)]), split, source)
    target = cache_root / f"{_label(source)}-{_content_hash(labelled)}"
    if not (target / ANNOTATION_FILE).is_file():
        try:
            write_set(target, labelled, "coco", ImageMode("link"))
        except DatasetError:
            if not (target / ANNOTATION_FILE).is_file():  # else another process was first
                raise
    return CachedSet(target, labelled.notes)


def one_split(labelled: LabelledSet, split: str, source: Path) -> LabelledSet:
    """The images of one split as a set without splits; `split` is only used where the set has several.

    Raises:
        DatasetError: there is no such split.
    """
    names = list(labelled.splits)
    chosen = names[0] if len(names) == 1 and (not split or not names[0]) else split
    if chosen not in names:
        raise DatasetError(f"{source}: got the splits {', '.join(names)}, expected {split or 'one'}. Give its folder.")
    return replace(labelled, splits={NO_SPLIT: labelled.splits[chosen]})


def _content_hash(labelled: LabelledSet) -> str:
    digest = hashlib.sha256(repr((_CACHE_VERSION, labelled.class_names)).encode())
    for image in labelled.splits[NO_SPLIT]:
        found = image.path.stat()
        digest.update(repr((image.name, image.size_wh, found.st_size, found.st_mtime_ns)).encode())
        digest.update(repr(image.boxes).encode())
    return digest.hexdigest()[:16]
