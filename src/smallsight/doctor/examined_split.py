"""A split of a dataset as far as it can be read: its images, its sound boxes, its classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from smallsight.boxes import Boxes
from smallsight.doctor.findings import Where


@dataclass(frozen=True)
class ImageRecord:
    """An image entry: `path` is None where there is no such file inside the folder, `size_wh` where none is given."""

    id: int | None
    file_name: str
    size_wh: tuple[int, int] | None
    path: Path | None
    columns: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Objects:
    """The sound boxes of a split.

    Attributes:
        boxes: (N, 4) float32, xyxy, px, image frame.
        images: (N,) position of each box's image in the split.
        categories: (N,) category id.
        ids: (N,) the annotation file's own id.
    """

    boxes: Boxes
    images: npt.NDArray[np.int64]
    categories: npt.NDArray[np.int64]
    ids: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.boxes)

    def sides_px(self) -> npt.NDArray[np.float64]:
        """Side of the square with each box's area, (N,) px, image frame."""
        wide, high = (self.boxes[:, 2:] - self.boxes[:, :2]).astype(np.float64).T
        return np.asarray(np.sqrt(wide * high))


@dataclass(frozen=True, eq=False)
class ExaminedSplit:
    """One split as far as it can be read.

    Attributes:
        name: of the folder.
        categories: name by id, those that are classes: a placeholder (see `data.coco`) is none.
        groups: clip or match of each image; '' where not known.
    """

    name: str
    folder: Path
    images: tuple[ImageRecord, ...]
    objects: Objects
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
