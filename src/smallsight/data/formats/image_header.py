"""Size and EXIF orientation of an image, from its first bytes where the format allows it.

Sources: JPEG, ITU-T T.81, B.1 and B.2.2 (markers and frame header); PNG, W3C Recommendation, 11.2.2 (IHDR); Exif 2.32,
4.6.2 (image file directory) and 4.6.4 (Orientation, tag 0x0112).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np

from smallsight.errors import DatasetError

UPRIGHT = 1
_ORIENTATION = 0x0112
_FRAME_HEADERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_STANDALONE = frozenset((0x01, *range(0xD0, 0xD9)))


@dataclass(frozen=True)
class ImageHeader:
    """`size_wh` in px as stored; `orientation` is EXIF's, 1 for upright and for none."""

    size_wh: tuple[int, int]
    orientation: int = UPRIGHT


def read_header(path: Path) -> ImageHeader:
    """Size and orientation of an image file.

    Raises:
        DatasetError: the file can't be read, or is no image.
    """
    try:
        with path.open("rb") as handle:
            start = handle.read(26)
            if start[:2] == b"\xff\xd8":
                handle.seek(2)
                header = _jpeg(handle)
            elif start[:8] == b"\x89PNG\r\n\x1a\n" and len(start) >= 24:
                header = ImageHeader(struct.unpack(">II", start[16:24]))
            else:
                header = _decoded(path)
    except (OSError, cv2.error, struct.error) as error:
        raise DatasetError(f"{path}: can't be read as an image. Replace the file or take it out.") from error
    if header is None or min(header.size_wh) <= 0:
        raise DatasetError(f"{path}: no image, or a damaged one. Replace the file or take it out.")
    return header


def upright_size(path: Path) -> tuple[int, int]:
    """Width and height, px, of an image whose pixels are stored as they are shown.

    Raises:
        DatasetError: see `read_header`; an EXIF flag turns or mirrors the image, so that labels drawn on what was
            shown don't fit the stored pixels.
    """
    header = read_header(path)
    if header.orientation != UPRIGHT:
        raise DatasetError(
            f"{path}: its EXIF orientation is {header.orientation}, expected 1: the labels may have been drawn on the "
            "turned image. Turn the pixels and clear the flag (for example with exiftran -a)."
        )
    return header.size_wh


def _jpeg(handle: BinaryIO) -> ImageHeader | None:
    orientation = UPRIGHT
    while True:
        mark = handle.read(2)
        if len(mark) < 2 or mark[0] != 0xFF:
            return None
        while mark[1] == 0xFF:  # fill bytes
            mark = mark[:1] + handle.read(1)
            if len(mark) < 2:
                return None
        code = mark[1]
        if code in _STANDALONE:
            continue
        length = struct.unpack(">H", handle.read(2))[0] - 2
        body = handle.read(length)
        if length < 0 or len(body) < length:
            return None
        if code in _FRAME_HEADERS:
            height, width = struct.unpack(">HH", body[1:5])
            return ImageHeader((width, height), orientation)
        if code == 0xE1 and body[:6] == b"Exif\0\0":
            orientation = _orientation(body[6:])


def _orientation(tiff: bytes) -> int:
    """The orientation in an Exif block; upright where the block has none or is damaged."""
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    try:
        if order is None:
            return UPRIGHT
        start = struct.unpack(f"{order}I", tiff[4:8])[0]
        count = struct.unpack(f"{order}H", tiff[start : start + 2])[0]
        for index in range(count):
            at = start + 2 + 12 * index
            tag, _, _, value = struct.unpack(f"{order}HHIH", tiff[at : at + 10])
            if tag == _ORIENTATION:
                return int(value) if 1 <= value <= 8 else UPRIGHT
    except struct.error:
        pass
    return UPRIGHT


def _decoded(path: Path) -> ImageHeader | None:
    data = np.fromfile(path, dtype=np.uint8)
    image = cv2.imdecode(data, cv2.IMREAD_GRAYSCALE | cv2.IMREAD_IGNORE_ORIENTATION) if data.size else None
    return None if image is None else ImageHeader((int(image.shape[1]), int(image.shape[0])))
