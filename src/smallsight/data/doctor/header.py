"""What an image file says about itself before a pixel is decoded: size, bits, colours, rotation, end.

Sources: ITU-T T.81 annex B (JPEG markers); W3C PNG, third edition, sections 5 and 11; TIFF 6.0 section 2 and CIPA
DC-008 (Exif) section 4.6 for the orientation.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Colour = Literal["rgb", "grey", "palette", "cmyk", "unknown"]
_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_COLOURS: Mapping[int, tuple[Colour, bool]] = {
    0: ("grey", False),
    2: ("rgb", False),
    3: ("palette", False),
    4: ("grey", True),
    6: ("rgb", True),
}
_TIFF_COLOURS: Mapping[int, Colour] = {0: "grey", 1: "grey", 2: "rgb", 3: "palette", 5: "cmyk"}
_FRAME_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_BARE_MARKERS = frozenset((0x01, *range(0xD0, 0xD9)))
_ORIENTATION = 0x0112
_IFD_FORMATS = {1: "B", 3: "H", 4: "I"}


@dataclass(frozen=True)
class Header:
    """What the file says.

    Attributes:
        format: jpeg, png, tiff, bmp or webp.
        size_wh: px as stored, before any rotation; (0, 0) where the header does not say.
        bits: per channel.
        colour: how colours are stored.
        alpha: whether there is transparency.
        orientation: Exif's, 1 to 8; 1 is upright, 5 to 8 swap width and height.
        cut_at: what is missing at the end, in words; empty for a whole file.
    """

    format: str
    size_wh: tuple[int, int] = (0, 0)
    bits: int = 8
    colour: Colour = "unknown"
    alpha: bool = False
    orientation: int = 1
    cut_at: str = ""


def read_header(data: bytes) -> Header | None:
    """The header of an image file's content, or None where the format is unknown; never fails on damaged content."""
    try:
        if data.startswith(b"\xff\xd8"):
            return _jpeg(data)
        if data.startswith(_PNG):
            return _png(data)
        if data[:4] in (b"II*\0", b"MM\0*"):
            return _tiff(data)
        if data.startswith(b"BM"):
            width, height, _, bits = struct.unpack_from("<iiHH", data, 18)
            return Header("bmp", (width, abs(height)), colour="palette" if bits <= 8 else "rgb")
        if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            return _webp(data)
    except (struct.error, IndexError):
        return Header("unknown", cut_at="the header ends too early")
    return None


def _jpeg(data: bytes) -> Header:
    at, size_wh, bits, parts, orientation = 2, (0, 0), 8, 0, 1
    while at + 4 <= len(data):
        if data[at] != 0xFF:
            return Header("jpeg", size_wh, cut_at="no marker where one has to be")
        marker = data[at + 1]
        if marker == 0xFF or marker in _BARE_MARKERS:
            at += 1 if marker == 0xFF else 2
            continue
        length = struct.unpack_from(">H", data, at + 2)[0]
        if marker in _FRAME_MARKERS:
            bits, height, width, parts = struct.unpack_from(">BHHB", data, at + 4)
            size_wh = (width, height)
        elif marker == 0xE1 and data[at + 4 : at + 10] == b"Exif\0\0":
            orientation = _orientation(data[at + 10 : at + 2 + length])
        elif marker == 0xDA:
            # inside the scan 0xFF is always stuffed, so this marker can only be the end
            cut = "" if data.find(b"\xff\xd9", at) >= 0 else "the JPEG's end marker is missing"
            colours: dict[int, Colour] = {1: "grey", 3: "rgb", 4: "cmyk"}
            return Header("jpeg", size_wh, bits, colours.get(parts, "unknown"), orientation=orientation, cut_at=cut)
        at += 2 + length
    return Header("jpeg", size_wh, bits, orientation=orientation, cut_at="the file ends before the first scan")


def _png(data: bytes) -> Header:
    width, height, bits, kind = struct.unpack_from(">IIBB", data, 16)
    colour, alpha = _PNG_COLOURS.get(kind, ("unknown", False))
    orientation, at, cut = 1, 8, "the PNG's end chunk is missing"
    while at + 12 <= len(data):
        length, name = struct.unpack_from(">I4s", data, at)
        if at + 12 + length > len(data):
            break
        if zlib.crc32(data[at + 4 : at + 8 + length]) != struct.unpack_from(">I", data, at + 8 + length)[0]:
            cut = f"the checksum of chunk {name.decode('ascii', 'replace')} is wrong"
            break
        if name == b"eXIf":
            orientation = _orientation(data[at + 8 : at + 8 + length])
        alpha = alpha or name == b"tRNS"
        if name == b"IEND":
            cut = ""
            break
        at += 12 + length
    return Header("png", (width, height), bits, colour, alpha, orientation, cut)


def _tiff(data: bytes) -> Header:
    tags = _ifd(data)
    bits = tags.get(258, 1)
    colour = _TIFF_COLOURS.get(tags.get(262, -1), "unknown")
    alpha = tags.get(277, 1) in (2, 4) and colour != "cmyk"
    return Header("tiff", (tags.get(256, 0), tags.get(257, 0)), bits, colour, alpha, tags.get(_ORIENTATION, 1))


def _webp(data: bytes) -> Header:
    length = struct.unpack_from("<I", data, 4)[0]
    cut = "the file is shorter than it says" if length + 8 > len(data) else ""
    if data[12:16] != b"VP8X":
        return Header("webp", colour="rgb", cut_at=cut)
    width, height = (1 + int.from_bytes(data[at : at + 3], "little") for at in (24, 27))
    exif = data.find(b"EXIF", 30)
    orientation = _orientation(data[exif + 8 :].removeprefix(b"Exif\0\0")) if exif > 0 else 1
    return Header("webp", (width, height), 8, "rgb", bool(data[20] & 0x10), orientation, cut)


def _orientation(exif: bytes) -> int:
    try:
        value = _ifd(exif).get(_ORIENTATION, 1)
    except (struct.error, IndexError):
        return 1
    return value if 1 <= value <= 8 else 1


def _ifd(data: bytes) -> dict[int, int]:
    """The first value of each integer tag in the first directory of a TIFF structure."""
    order = "<" if data[:2] == b"II" else ">"
    at = struct.unpack_from(f"{order}I", data, 4)[0]
    tags = {}
    for index in range(struct.unpack_from(f"{order}H", data, at)[0]):
        tag, form, count = struct.unpack_from(f"{order}HHI", data, at + 2 + 12 * index)
        if form not in _IFD_FORMATS:
            continue
        size, where = struct.calcsize(_IFD_FORMATS[form]), at + 10 + 12 * index
        if size * count > 4:
            where = struct.unpack_from(f"{order}I", data, where)[0]
        tags[tag] = int(struct.unpack_from(f"{order}{_IFD_FORMATS[form]}", data, where)[0])
    return tags
