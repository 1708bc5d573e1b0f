"""The readable part of a dataset's split: its images, its valid boxes, its classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from smallsight.data.coco_images import CocoImage
from smallsight.data.coco_objects import CocoObjects
from smallsight.data.data_findings import Where


@dataclass(frozen=True, eq=False)
class ExaminedSplit:
    """The readable part of one split.

    Attributes:
        name: of the folder.
        folder: its path.
        images: one for each entry.
        objects: the valid objects.
        categories: name by id of the categories that are classes, so without placeholders (see `data.coco`).
        groups: clip or match of each image; '' where not known.
    """

    name: str
    folder: Path
    images: tuple[CocoImage, ...]
    objects: CocoObjects
    categories: Mapping[int, str]
    groups: tuple[str, ...] = ()

    def where(self, image: int) -> Where:
        """The place of the image at a position."""
        record = self.images[image]
        return Where(self.name, record.id, record.file_name)

    def where_object(self, index: int) -> Where:
        """The place of one of the `objects`."""
        x1, y1, x2, y2 = (float(value) for value in self.objects.boxes[index])
        box = (x1, y1, x2 - x1, y2 - y1)
        image = int(self.objects.images[index])
        return replace(self.where(image), annotation_id=int(self.objects.ids[index]), box_xywh=box)

    def with_groups(self, groups: Sequence[str]) -> ExaminedSplit:
        """The same split with the clip or match of each image."""
        return replace(self, groups=tuple(groups))
