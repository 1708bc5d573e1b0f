"""The meaning of a box's four numbers, and whether a whole file uses another meaning than its format.

COCO's boxes are left, top, width and height in px. YOLO's are centre, width and height as shares of the image. Scripts
mix them up. A single wrong box is an error of its own. Where boxes of a file are wrong under the format's own reading,
and nearly all are right under another one, the other reading is the cause, and the message names it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np
import numpy.typing as npt

from smallsight.data.box_in_frame import BORDER_TOLERANCE_PX, MIN_SIDE_PX, all_in_frames
from smallsight.errors import DatasetError

BoxForm = Literal["xywh", "corners", "centres"]
FORMS: Mapping[BoxForm, str] = MappingProxyType(
    {
        "xywh": "left, top, width, height",
        "corners": "corners (left, top, right, bottom)",
        "centres": "centres (centre x, centre y, width, height)",
    }
)
SHARES = (1.0, 1.0)
MOST_SIDE = 1e9
_NEARLY_ALL = 0.99
_FEW = 3
"""This many boxes must be wrong before a reading is suspected that could fit by chance."""
_MANY = 0.1
_SLACK = 1e-3
"""A share may leave 0 to 1 by this much."""

Rows = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class BoxReading:
    """How the four numbers of a box are read.

    Attributes:
        form: their order and meaning.
        frame_wh: size of the frame that they are given in; None is the image in px, (1, 1) shares of it.
    """

    form: BoxForm = "xywh"
    frame_wh: tuple[float, float] | None = None

    def options(self, standard: BoxReading) -> str:
        """The options of `smallsight convert` that set this reading, where `standard` is the format's own."""
        boxes = [f"--boxes {self.form}"] if self.form != standard.form else []
        frame = [f"--box-frame {_frame_name(self.frame_wh)}"] if self.frame_wh != standard.frame_wh else []
        return " ".join((*boxes, *frame))


COCO_BOXES = BoxReading("xywh", None)
VOC_BOXES = BoxReading("corners", None)
YOLO_BOXES = BoxReading("centres", SHARES)


def parse_frame(text: str) -> tuple[float, float] | Literal["image"]:
    """`image`, `shares`, or `WxH`; a size as width and height.

    Raises:
        DatasetError: it is none of them.
    """
    if text in ("image", "shares"):
        return "image" if text == "image" else SHARES
    width, _, height = text.partition("x")
    if all(side.isascii() and side.isdigit() and len(side) < 7 and int(side) for side in (width, height)):
        return float(width), float(height)
    raise DatasetError(f"--box-frame: got {text!r}, expected image, shares or WxH, for example 1920x1080. Correct it.")


def _frame_name(frame_wh: tuple[float, float] | None) -> str:
    if frame_wh is None:
        return "image"
    return "shares" if frame_wh == SHARES else f"{frame_wh[0]:g}x{frame_wh[1]:g}"


def boxes_px(values: Rows, sizes_wh: Rows, reading: BoxReading, frames_wh: Rows | None = None) -> Rows:
    """Convert boxes to left, top, width and height in px; COCO's own are returned as they are.

    Args:
        values: (N, 4) as written in the file.
        sizes_wh: (N, 2) px, of each box's image.
        reading: what the values mean.
        frames_wh: (N, 2), the frame that each box is given in, where `reading` has none.
    Returns:
        (N, 4) float64, xywh, px, image frame.
    """
    if reading == COCO_BOXES and frames_wh is None:
        return values
    corners = corners_px(values, sizes_wh, reading, frames_wh)
    return np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)


def corners_px(values: Rows, sizes_wh: Rows, reading: BoxReading, frames_wh: Rows | None = None) -> Rows:
    """The corners of boxes in px, (N, 4) float64, xyxy, image frame; arguments as those of `boxes_px`."""
    first, second = values[:, :2], values[:, 2:]
    if reading.form == "xywh":
        corners = np.concatenate([first, first + second], axis=1)
    elif reading.form == "centres":
        corners = np.concatenate([first - second / 2, first + second / 2], axis=1)
    else:
        corners = values
    frame_wh = frames_wh if reading.frame_wh is None else np.array(reading.frame_wh)
    return corners if frame_wh is None else np.asarray(corners * np.tile(sizes_wh / frame_wh, 2))


@dataclass(frozen=True)
class Suspicion:
    """Another reading that explains the boxes of a file.

    Attributes:
        reading: the other one.
        sentence: the evidence, and the option that reads them so.
    """

    reading: BoxReading
    sentence: str


def suspected(values: Rows, sizes_wh: Rows, standard: BoxReading) -> Suspicion | None:
    """The likely reading of the boxes of a whole file; None where it is the format's own.

    Args:
        values: (N, 4) finite numbers as written in the file.
        sizes_wh: (N, 2) px, of each box's image.
        standard: the format's own reading.
    """
    usable = np.all(np.abs(values) < MOST_SIDE, axis=1)
    values, sizes_wh = values[usable], sizes_wh[usable]
    if not len(values):
        return None
    wrong = int((~_fits(values, sizes_wh, standard)).sum())
    shares = bool(np.mean(np.all((values >= -_SLACK) & (values <= 1 + _SLACK), axis=1)) >= _NEARLY_ALL)
    if standard.frame_wh == SHARES and not shares and np.mean(np.any(values > 1 + _SLACK, axis=1)) < _NEARLY_ALL:
        return None  # some are px, some are shares: no single cause
    frame_wh = SHARES if shares else None
    if not wrong and frame_wh == standard.frame_wh:
        return None
    for reading, enough in _candidates(values, standard, frame_wh):
        left = int((~_fits(values, sizes_wh, reading)).sum())
        if left <= (1 - _NEARLY_ALL) * len(values) and (frame_wh != standard.frame_wh or wrong - left >= enough):
            return Suspicion(reading, _sentence(len(values), wrong, left, standard, reading))
    return _larger_image(values, sizes_wh, standard, wrong)


def _candidates(
    values: Rows, standard: BoxReading, frame_wh: tuple[float, float] | None
) -> Iterator[tuple[BoxReading, int]]:
    """Readings to try, the most telling first, with how many more boxes each must explain."""
    larger = float(np.mean(np.all(values[:, 2:] > values[:, :2], axis=1)))
    sure = larger >= _NEARLY_ALL and (frame_wh == standard.frame_wh or len(values) >= _FEW)
    forms: list[BoxForm] = ["corners"] if sure and standard.form != "corners" else []
    forms += [standard.form, "xywh", "centres"]
    for form in dict.fromkeys(forms):
        reading = BoxReading(form, frame_wh)
        if reading != standard:
            yield reading, 1 if form == "corners" else _FEW


def _fits(values: Rows, sizes_wh: Rows, reading: BoxReading) -> Flags:
    """Which boxes have a size and lie in their image."""
    return all_in_frames(boxes_px(values, sizes_wh, reading), sizes_wh).fits


def _sentence(count: int, wrong: int, left: int, standard: BoxReading, reading: BoxReading) -> str:
    boxes = "the only box looks" if count == 1 else f"the {count:,} boxes look"
    if reading.frame_wh != standard.frame_wh:
        span = "lie between 0 and 1" if reading.frame_wh == SHARES else "reach beyond 1"
        evidence = f"the numbers {span}, where {_unit(standard)} are expected"
        kind = f"{FORMS[reading.form]} in {_unit(reading)}"
    else:
        fit = "none does" if not left else "1 does" if left == 1 else f"{left:,} do"
        evidence = (
            f"as {FORMS[standard.form]}, {wrong:,} of {count:,} leave their image or have no size; read so, {fit}"
        )
        kind = FORMS[reading.form]
    return f"{boxes} like {kind}: {evidence}. To read them so, run smallsight convert with {reading.options(standard)}."


def _unit(reading: BoxReading) -> str:
    return "shares of the image" if reading.frame_wh == SHARES else "px"


def _larger_image(values: Rows, sizes_wh: Rows, standard: BoxReading, wrong: int) -> Suspicion | None:
    """Boxes of a larger image: many leave the frame, and all of them to the right or below."""
    if standard != COCO_BOXES or wrong < max(_FEW, _MANY * len(values)):
        return None
    corners = corners_px(values, sizes_wh, standard)
    sound = np.min(corners[:, 2:] - corners[:, :2], axis=1) >= MIN_SIDE_PX
    if corners[:, :2].min() < -BORDER_TOLERANCE_PX or not sound.all():
        return None
    right, bottom = corners[:, 2].max(), corners[:, 3].max()
    sizes = {(int(width), int(height)) for width, height in sizes_wh}
    size = "{}x{} px".format(*sizes.pop()) if len(sizes) == 1 else f"{len(sizes)} sizes"
    return Suspicion(
        standard,
        f"the boxes look like those of a larger image: {wrong:,} of {len(values):,} leave their image, all to the "
        f"right or below; they reach to {right:g}, {bottom:g}, the images have {size}. If they were resized after "
        "labelling, run smallsight convert with --box-frame WxH, the size at which they were labelled.",
    )
