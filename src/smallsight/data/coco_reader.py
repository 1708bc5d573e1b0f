"""Read the content of a COCO file once: report each finding, and return what is valid.

The strict reading (`coco`) raises at the first error that is reported; the doctor collects all findings.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from reprlib import repr as short
from types import MappingProxyType

from smallsight.data.coco_images import CocoImage, read_images, whole_id
from smallsight.data.coco_objects import CocoObjects, ObjectReading, read_objects
from smallsight.data.data_findings import READ_AS_MEANT, Report, Where, coco_finding
from smallsight.data.formats.box_forms import BoxReading
from smallsight.data.formats.coco_content import CocoContent, Entry, is_word, plain
from smallsight.data.formats.id_shift import ShiftKey
from smallsight.data.formats.image_sizes import SizeRule, sampled_size_fault
from smallsight.data.formats.places import Places


@dataclass(frozen=True)
class CocoReading:
    """What the user specifies about a file, because the file itself does not tell it.

    Attributes:
        boxes: what the four numbers of a box mean; None takes COCO's meaning and refuses boxes that look different.
        shift: number to add to the ids in annotations.
        sizes: what to do where the size in an entry differs from its image's.
    """

    boxes: BoxReading | None = None
    shift: Mapping[ShiftKey, int] = field(default_factory=lambda: MappingProxyType({}))
    sizes: SizeRule = "check"


@dataclass(frozen=True)
class Category:
    """A category of a file; `parent` is its supercategory, empty for none."""

    name: str
    parent: str = ""


@dataclass(frozen=True, eq=False)
class CocoSet:
    """The valid content of a COCO file.

    Attributes:
        images: one for each entry.
        categories: by id, in the order of the ids.
        objects: those whose image, category and box are valid.
        class_ids: the categories that are classes, see `class_ids_of`.
    """

    images: tuple[CocoImage, ...]
    categories: Mapping[int, Category]
    objects: CocoObjects
    class_ids: tuple[int, ...]


def read_entries(
    content: CocoContent,
    places: Places,
    report: Report,
    reading: CocoReading | None = None,
    *,
    is_strict: bool = False,
) -> CocoSet:
    """Read the content of a COCO file.

    Args:
        content: what is in the file.
        places: finds the images.
        report: called with each finding; reading stops where it raises.
        reading: what the user specifies about the file.
        is_strict: check the headers of a few images, and leave out warnings and infos on single annotations.
    Raises:
        DatasetError: an image file can't be read and its size is asked for.
    """
    reading = reading or CocoReading()
    for note in content.notes:
        report(coco_finding(READ_AS_MEANT, Where(), note))
    categories = _categories(content.categories, report)
    images = read_images(content.images, places, report, reading.sizes)
    if is_strict:
        _check_sample(images, report)
    how = ObjectReading(reading.boxes, reading.shift, reading.sizes == "scale", is_strict)
    objects, used = read_objects(content.annotations, images, categories, report, how)
    for note in places.notes():
        report(coco_finding(READ_AS_MEANT, Where(), note))
    class_ids = class_ids_of(categories, used)
    _check_classes(categories, class_ids, content.is_whole, report)
    return CocoSet(images, categories, objects, class_ids)


def _categories(items: Sequence[Entry], report: Report) -> dict[int, Category]:
    found: dict[int, Category] = {}
    for index, item in enumerate(items):
        key = whole_id(item.get("id"), f"categories[{index}]: id", Where(), report)
        if key is None:
            continue
        given = item.get("name", key)
        name = plain(given)
        if not is_word(given):
            report(coco_finding("category_name_invalid", Where(), f"category {key}: name", short(given), "a text"))
        if key in found:
            names = f"{short(found[key].name)} and {short(name)}"
            report(coco_finding("category_id_duplicate", Where(), f"category id {key} is used twice, by {names}"))
            continue
        found[key] = Category(name, plain(item.get("supercategory")))
    return dict(sorted(found.items()))


def _check_sample(images: Sequence[CocoImage], report: Report) -> None:
    """Report sizes that differ from the files in nearly all of a few images."""
    known = [(image.path, image.size_wh) for image in images if image.path is not None and image.size_wh is not None]
    if fault := sampled_size_fault(known):
        report(coco_finding("image_sizes_other", Where(), fault, remedy=""))


def class_ids_of(categories: Mapping[int, Category], used: Collection[int]) -> tuple[int, ...]:
    """The categories that are classes, in the order of their ids.

    A category without a single annotation whose name is the supercategory of another one (as Roboflow's `objects`) is
    none.

    Args:
        categories: by id.
        used: ids that annotations name.
    """
    children = Counter(category.parent for category in categories.values())
    return tuple(
        key
        for key, category in categories.items()
        if key in used or children[category.name] == int(category.parent == category.name)  # no child but itself
    )


def _check_classes(
    categories: Mapping[int, Category], class_ids: Sequence[int], is_whole: bool, report: Report
) -> None:
    by_name: dict[str, int] = {}
    for key, category in categories.items():
        name = short(category.name)
        if key not in class_ids:
            wrong = f"{name} (id {key}) is the parent of others and has no object; it is no class"
            report(coco_finding("category_unused", Where(), wrong, severity="info"))
        elif (first := by_name.setdefault(category.name, key)) != key:
            wrong = f"category name {name} is used twice, by the ids {first} and {key}"
            report(coco_finding("category_name_duplicate", Where(), wrong))
    if not class_ids and is_whole:
        remedy = "Add the categories that the boxes belong to."
        report(coco_finding("category_id_unknown", Where(), "categories: the set has no class", remedy=remedy))
