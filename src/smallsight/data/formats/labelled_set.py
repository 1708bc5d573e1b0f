"""The common form of labelled sets of all formats, and the check of a box that their readers make.

Boxes are xyxy, px, edges exclusive, in the frame of the stored pixels. They are 64-bit floats, so that a conversion and
its inverse move no edge.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from smallsight.data.box_in_frame import MIN_SIDE_PX, in_frame
from smallsight.errors import DatasetError

SPLITS = ("train", "valid", "test")
NO_SPLIT = ""
"""The name of the only split of a set that is not split."""
_SPLIT_OF = {"val": "valid", "validation": "valid", "valid": "valid", "train": "train", "training": "train"}
_SPLIT_OF |= {"test": "test", "testing": "test"}

Corners = tuple[float, float, float, float]


class BoxFault(DatasetError):
    """A box does not fit its image. Many such boxes may mean that their numbers have another meaning."""


@dataclass(frozen=True)
class LabelledBox:
    """One object: `ignored` regions count neither for nor against; `area` is px^2."""

    name: str
    xyxy: Corners
    area: float
    ignored: bool = False


@dataclass(frozen=True)
class LabelledImage:
    """One image and its objects.

    Attributes:
        path: the file with the pixels.
        name: its posix path relative to the images of its split.
        size_wh: px, as stored.
        boxes: its objects.
        facts: whatever else is known, as plain values (`clip`, `match`).
    """

    path: Path
    name: str
    size_wh: tuple[int, int]
    boxes: tuple[LabelledBox, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class LabelledSet:
    """Images by split (`train`, `valid`, `test`, or `NO_SPLIT` alone), and the classes in their order.

    `notes` are whole sentences on how the set was read, and on what was left out.
    """

    class_names: tuple[str, ...]
    splits: Mapping[str, tuple[LabelledImage, ...]]
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return sum(map(len, self.splits.values()))


def split_name(name: str) -> str:
    """The split that a folder, a key or a list is named for, '' where it is none; `val` is `valid`."""
    return _SPLIT_OF.get(name.lower(), NO_SPLIT)


def checked_box(where: str, xyxy: Corners, size_wh: tuple[int, int]) -> Corners:
    """The part of a box that lies in its frame.

    Args:
        where: begins the message.
        xyxy: px, edges exclusive.
        size_wh: px, the frame.
    Raises:
        BoxFault: a side is not finite or has no length; the box leaves the frame by more than the rounding of
            annotation tools does.
    """
    x1, y1, x2, y2 = xyxy
    width, height = size_wh
    if not all(map(math.isfinite, xyxy)):
        raise BoxFault(f"{where}: the box holds a value that is no number. Correct the box.")
    shown = f"{x1:.6g}, {y1:.6g} to {x2:.6g}, {y2:.6g} px"
    found = in_frame(x1, y1, x2 - x1, y2 - y1, size_wh)
    if found.is_outside:
        raise BoxFault(
            f"{where}: the box {shown} leaves the image of {width}x{height} px. "
            "Clip the box, or check that image and label belong together."
        )
    if found.is_thin:
        raise BoxFault(
            f"{where}: the box {shown} has no size in the image, expected {MIN_SIDE_PX} px or more both ways. "
            "Correct the box or take it out."
        )
    return max(x1, 0.0), max(y1, 0.0), min(x2, float(width)), min(y2, float(height))


def box_of(where: str, name: str, xyxy: Corners, size_wh: tuple[int, int], *, ignored: bool = False) -> LabelledBox:
    """A checked box with the area of its rectangle.

    Raises:
        BoxFault: see `checked_box`.
    """
    x1, y1, x2, y2 = inside = checked_box(where, xyxy, size_wh)
    return LabelledBox(name, inside, (x2 - x1) * (y2 - y1), ignored)
