"""Transfer an image to a new set: as a hard link, as a copy, or resized with its boxes."""

from __future__ import annotations

import errno
import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Literal

import cv2

from smallsight.data.coco import ImageEntry
from smallsight.data.formats.labelled_set import LabelledBox, LabelledImage
from smallsight.data.frames import decode
from smallsight.data.image_header import too_large
from smallsight.errors import DatasetError

_NO_LINK = frozenset((errno.EXDEV, errno.EPERM, errno.EACCES, errno.EMLINK, errno.ENOTSUP, errno.ENOSYS))
_MOST_SIDE_PX = 32_768
JPEG_QUALITY = 95


@dataclass(frozen=True)
class ImageMode:
    """How images are transferred to a set; `width_px` is only used for `resize`."""

    kind: Literal["link", "copy", "resize"] = "link"
    width_px: int = 0

    def __str__(self) -> str:
        return f"resize:{self.width_px}" if self.kind == "resize" else self.kind


def parse_image_mode(text: str) -> ImageMode:
    """`link`, `copy` or `resize:W`.

    Raises:
        DatasetError: it is none of them.
    """
    kind, _, width = text.partition(":")
    if text in ("link", "copy"):
        return ImageMode("link" if text == "link" else "copy")
    if kind == "resize" and width.isascii() and width.isdigit() and 1 <= int(width) <= _MOST_SIDE_PX:
        return ImageMode("resize", int(width))
    raise DatasetError(f"--images: got {text!r}, expected link, copy or resize:W (W in px, for example resize:1280).")


def planned(image: LabelledImage, mode: ImageMode) -> LabelledImage:
    """The image as it will be in the new set; `resize` scales its size, boxes and areas.

    A format without an encoder here becomes PNG.

    Raises:
        DatasetError: it becomes too large.
    """
    if mode.kind != "resize":
        return image
    width, height = image.size_wh
    size_wh = (mode.width_px, max(1, round(height * mode.width_px / width)))
    if reason := too_large(size_wh):
        raise DatasetError(f"{image.path}: resized it would have {reason}. Give a smaller width.")
    scale_x, scale_y = size_wh[0] / width, size_wh[1] / height
    boxes = tuple(_scaled(box, scale_x, scale_y) for box in image.boxes)
    name = PurePosixPath(image.name)
    suffix = name.suffix if name.suffix.lower() in (".jpg", ".jpeg", ".png") else ".png"
    return replace(image, name=str(name.with_suffix(suffix)), size_wh=size_wh, boxes=boxes)


def _scaled(box: LabelledBox, scale_x: float, scale_y: float) -> LabelledBox:
    x1, y1, x2, y2 = box.xyxy
    corners = (x1 * scale_x, y1 * scale_y, x2 * scale_x, y2 * scale_y)
    return replace(box, xyxy=corners, area=box.area * scale_x * scale_y)


def place(image: LabelledImage, size_wh: tuple[int, int], target: Path, mode: ImageMode) -> None:
    """Transfer the pixels of `image` to `target`, a new file; `size_wh`, px, is only used for `resize`.

    A link that the file system does not allow becomes a copy.

    Raises:
        DatasetError: the image can't be decoded for resizing.
        OSError: the disk is full or not to be written.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    source = image.path.resolve()
    if mode.kind == "resize":
        target.write_bytes(_resized(image, size_wh, target.suffix))
        return
    if mode.kind == "link":
        try:
            os.link(source, target)
            return
        except OSError as error:
            if error.errno not in _NO_LINK:
                raise
    shutil.copyfile(source, target)


def _resized(image: LabelledImage, size_wh: tuple[int, int], suffix: str) -> bytes:
    pixels = decode(ImageEntry(0, image.path, image.size_wh))
    shrinks = size_wh[0] < image.size_wh[0]
    resized = cv2.resize(pixels, size_wh, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)
    options = [] if suffix.lower() == ".png" else [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    encoded = cv2.imencode(suffix.lower(), cv2.cvtColor(resized, cv2.COLOR_RGB2BGR), options)
    if not encoded[0]:
        raise DatasetError(f"{image.path}: can't be written at {size_wh[0]}x{size_wh[1]} px. Take the image out.")
    return bytes(encoded[1])
