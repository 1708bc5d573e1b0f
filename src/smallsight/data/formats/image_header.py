"""Size and EXIF orientation of an image, from its first bytes, before a pixel is decoded.

Sources: JPEG, ITU-T T.81, B.1 and B.2.2 (markers and frame header); PNG, W3C Recommendation, 11.2.2 (IHDR); WebP, RFC
9649, 2.5 to 2.7; TIFF 6.0, section 2; JPEG 2000, ITU-T T.800, A.5.1 (SIZ) and I.4 (boxes); BMP, BITMAPINFOHEADER; Exif
2.32, 4.6.2 (image file directory) and 4.6.4 (Orientation, tag 0x0112).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from smallsight.errors import DatasetError

UPRIGHT = 1
MOST_PIXELS = 100_000_000
"""Of an image: 300 MB decoded. A file of a few kB can claim any size."""
_WIDTH, _HEIGHT, _ORIENTATION = 0x0100, 0x0101, 0x0112
_MOST_STEPS = 100_000
"""Segments, boxes or bytes between them that are looked at before the size: a large file may hold nothing else."""
_FRAME_HEADERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_STANDALONE = frozenset((0x01, *range(0xD0, 0xD9)))
_SCAN = 0xDA
_J2K = b"\xff\x4f\xff\x51"


@dataclass(frozen=True)
class ImageHeader:
    """`size_wh` in px as stored; `orientation` is EXIF's, 1 for upright and for none."""

    size_wh: tuple[int, int]
    orientation: int = UPRIGHT


def read_header(path: Path) -> ImageHeader:
    """Size and orientation of an image file.

    Raises:
        DatasetError: the file can't be read, is no image of a known format, or has more than `MOST_PIXELS`.
    """
    try:
        with path.open("rb") as handle:
            header = header_of(handle)
    except OSError as error:
        raise DatasetError(f"{path}: can't be read as an image. Replace the file or take it out.") from error
    if header is None:
        raise DatasetError(f"{path}: no image, or a damaged one. Replace the file or take it out.")
    if reason := too_large(header.size_wh):
        raise DatasetError(f"{path}: {reason}. Cut the image into parts or take it out.")
    return header


def too_large(size_wh: tuple[int, int]) -> str:
    """Why an image of that size is not decoded; empty where it is."""
    width, height = size_wh
    if width * height <= MOST_PIXELS:
        return ""
    return f"{width}x{height} px, expected at most {MOST_PIXELS // 10**6} megapixels"


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


def header_of(handle: BinaryIO) -> ImageHeader | None:
    """The header of an open file that is read from its beginning; None for a damaged one and for unknown formats.

    Raises:
        OSError: the file can't be read.
    """
    start = handle.read(30)
    try:
        header = _header(handle, start)
    except struct.error:  # it ends too early
        return None
    return header if header is not None and min(header.size_wh) > 0 else None


def _header(handle: BinaryIO, start: bytes) -> ImageHeader | None:
    if start[:2] == b"\xff\xd8":
        handle.seek(2)
        return _jpeg(handle)
    if start[:8] == b"\x89PNG\r\n\x1a\n":
        return ImageHeader(struct.unpack_from(">II", start, 16))
    if start[:2] == b"BM":
        return ImageHeader(_bmp(start))
    if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
        return ImageHeader(_webp(start))
    if start[:4] in (b"II*\0", b"MM\0*"):
        return _tiff(handle, start)
    if start[:4] == _J2K or start[4:8] == b"jP  ":
        return ImageHeader(_jpeg_2000(handle, start))
    return None


def _jpeg(handle: BinaryIO) -> ImageHeader | None:
    orientation, after_ff = UPRIGHT, False
    for _ in range(_MOST_STEPS):
        mark = handle.read(1)
        code = mark[0] if mark else _SCAN
        marks, after_ff = after_ff and code not in (0, 0xFF), code == 0xFF
        if not mark or (marks and code == _SCAN):
            return None
        if not marks or code in _STANDALONE:
            continue  # fill bytes, and what stands between segments: decoders skip it
        length = struct.unpack(">H", handle.read(2))[0] - 2
        body = handle.read(max(length, 0))
        if length < 0 or len(body) < length:
            return None
        if code in _FRAME_HEADERS:
            height, width = struct.unpack(">HH", body[1:5])
            return ImageHeader((width, height), orientation)
        if code == 0xE1 and body[:6] == b"Exif\0\0":
            orientation = _orientation(body[6:])
    return None


def _bmp(start: bytes) -> tuple[int, int]:
    if struct.unpack_from("<I", start, 14)[0] == 12:  # of OS/2
        return struct.unpack_from("<HH", start, 18)
    width, height = struct.unpack_from("<ii", start, 18)
    return width, abs(height)


def _webp(start: bytes) -> tuple[int, int]:
    if start[12:16] == b"VP8X":
        return 1 + int.from_bytes(start[24:27], "little"), 1 + int.from_bytes(start[27:30], "little")
    if start[12:16] == b"VP8L":
        bits = struct.unpack_from("<I", start, 21)[0]
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    width, height = struct.unpack_from("<HH", start, 26)
    return width & 0x3FFF, height & 0x3FFF


def _tiff(handle: BinaryIO, start: bytes) -> ImageHeader:
    order = "<" if start[:2] == b"II" else ">"
    handle.seek(struct.unpack_from(f"{order}I", start, 4)[0])
    count = struct.unpack(f"{order}H", handle.read(2))[0]
    found = {}
    for _ in range(count):
        entry = handle.read(12)
        tag, form = struct.unpack_from(f"{order}HH", entry)
        found[tag] = struct.unpack_from(f"{order}{'I' if form == 4 else 'H'}", entry, 8)[0]
    orientation = found.get(_ORIENTATION, UPRIGHT)
    size_wh = (found.get(_WIDTH, 0), found.get(_HEIGHT, 0))
    return ImageHeader(size_wh, orientation if 1 <= orientation <= 8 else UPRIGHT)


def _jpeg_2000(handle: BinaryIO, start: bytes) -> tuple[int, int]:
    """From the codestream, which decides, not from the box before it that repeats the size."""
    at = 0
    handle.seek(at)
    for _ in range(_MOST_STEPS if start[:4] != _J2K else 0):
        length, kind = struct.unpack(">I4s", handle.read(8))
        if length == 1:
            length = struct.unpack(">Q", handle.read(8))[0]
        if kind == b"jp2c":
            break
        at += length
        if not 8 <= length <= at < 1 << 40:
            return 0, 0
        handle.seek(at)
    right, bottom, left, top = struct.unpack_from(">IIII", handle.read(24), 8)
    return right - left, bottom - top


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
