"""Read every image file once: header, content hash, and a small grey picture of it.

A file is read completely and decoded at an eighth of its size where the format allows it (JPEG), which is several times
faster than full decoding. This does not detect damage inside the compressed data that the decoder repairs silently.
"""

from __future__ import annotations

import hashlib
import io
import os
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
import numpy.typing as npt

from smallsight.data.coco_images import CocoImage
from smallsight.data.data_findings import ANNOTATION_FILE, DataFinding, Where
from smallsight.data.formats.image_sizes import SizePair, size_difference, size_fault
from smallsight.data.frames import content_of, pixels
from smallsight.data.image_header import UPRIGHT, ImageHeader, header_of
from smallsight.doctor.ending import missing_end
from smallsight.doctor.examined_split import ExaminedSplit
from smallsight.doctor.kinds import finding

SUFFIXES = {
    "jpeg": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "png": (".png",),
    "tiff": (".tif", ".tiff"),
    "bmp": (".bmp", ".dib"),
    "webp": (".webp",),
}
"""File name suffixes of the formats that are examined."""
THUMB_PX = 32
"""Side of the small picture that duplicates are compared on."""
DAMAGED_GREY = 128
"""Grey level that libjpeg fills in where the data ends too early."""
_REDUCED = (
    (8, cv2.IMREAD_REDUCED_GRAYSCALE_8),
    (4, cv2.IMREAD_REDUCED_GRAYSCALE_4),
    (2, cv2.IMREAD_REDUCED_GRAYSCALE_2),
)
_FORMATS = {suffix: name for name, suffixes in SUFFIXES.items() for suffix in suffixes}

Grey = npt.NDArray[np.uint8]
T = TypeVar("T")
S = TypeVar("S")


@dataclass(frozen=True, eq=False)
class ImageFacts:
    """Facts about one file.

    Attributes:
        header: None where the format is unknown, or the header is damaged.
        size_wh: px as stored; (0, 0) where the file can't be read.
        digest: of the file's content; empty where it can't be read.
        thumb: (32, 32) grey, or None where nothing can be decoded.
        grey_rows: share of the rows, at the lower end, that are filled with the decoder's grey.
        fault: why it can't be decoded; empty for a valid file.
        is_cut: whether that is because its end is missing.
    """

    header: ImageHeader | None = None
    size_wh: tuple[int, int] = (0, 0)
    digest: bytes = b""
    thumb: Grey | None = None
    grey_rows: float = 0.0
    fault: str = ""
    is_cut: bool = False


def in_order(work: Callable[[T], S], items: Sequence[T], workers: int) -> Iterator[S]:
    """`work` on each item in threads (OpenCV and file reads release the interpreter); results in the order of items."""
    with ThreadPoolExecutor(max_workers=max(1, workers)) as pool:
        yield from pool.map(work, items)


def look_at(path: Path | None) -> ImageFacts:
    """The facts of one file; a file that can't be read has a `fault`. None stands for a missing file."""
    if path is None:
        return ImageFacts(fault="there is no file")
    try:
        data = content_of(path)
    except OSError as error:
        return ImageFacts(fault=error.strerror or str(error))
    except ValueError as error:
        return ImageFacts(fault=str(error))
    if not data:
        return ImageFacts(fault="the file is empty")
    header = header_of(io.BytesIO(data))
    digest = hashlib.blake2b(data, digest_size=16).digest()
    size_wh = header.size_wh if header is not None else (0, 0)
    if missing := missing_end(data):
        return ImageFacts(header, size_wh, digest, fault=missing, is_cut=True)
    flag = next((f for by, f in _REDUCED if min(size_wh) >= by * THUMB_PX), cv2.IMREAD_GRAYSCALE)
    try:
        grey = pixels(data, flag)
    except ValueError as error:
        return ImageFacts(header, size_wh, digest, fault=str(error))
    thumb = cv2.resize(grey, (THUMB_PX, THUMB_PX), interpolation=cv2.INTER_AREA)
    return ImageFacts(header, size_wh, digest, np.asarray(thumb, np.uint8), _grey_rows(grey))


def _grey_rows(grey: npt.NDArray[np.uint8]) -> float:
    """Share of rows, from the lowest up, in the decoder's grey; 0 where the first row is too (a frame with bars)."""
    flat = np.all(grey == DAMAGED_GREY, axis=1)
    if not flat[-1] or flat[0]:
        return 0.0
    return float(np.argmin(flat[::-1])) / len(flat)


def image_findings(split: ExaminedSplit, image: int, facts: ImageFacts) -> Iterator[DataFinding]:
    """Findings on one file, by itself and compared with its entry."""
    record = split.images[image]
    where = split.where(image)
    if record.path is None:
        return
    odd = _odd_name(record.file_name)
    if odd:
        yield finding("name_odd", where, odd)
    header = facts.header
    if facts.fault:
        kind = "image_truncated" if facts.is_cut else "image_unreadable"
        yield finding(kind, where, facts.fault)
        return
    if facts.grey_rows:
        yield finding(
            "image_damaged", where, f"the lower {facts.grey_rows:.0%} is the decoder's grey, without a picture"
        )
    if header is not None:
        yield from _header_findings(where, record, header)
    different = size_difference(facts.size_wh, record.size_wh) if record.size_wh is not None else ""
    if different and not _explained(record, facts):
        yield finding("image_size_wrong", where, different)


def common_size_fault(split: ExaminedSplit, facts: Sequence[ImageFacts]) -> DataFinding | None:
    """The finding that nearly all sizes are wrong for the same reason; None where that is not so.

    Rotation by an EXIF flag is reported for each image.
    """
    pairs = [
        SizePair(record.size_wh, fact.header)
        for record, fact in zip(split.images, facts, strict=True)
        if record.size_wh is not None and fact.header is not None and not _explained(record, fact)
    ]
    fault = size_fault(pairs)
    return finding("image_sizes_other", Where(split.name, file=ANNOTATION_FILE), fault) if fault else None


def _header_findings(where: Where, record: CocoImage, header: ImageHeader) -> Iterator[DataFinding]:
    if header.colour == "cmyk":
        yield finding("image_cmyk", where, f"four inks in a {header.format.upper()} file")
    if header.bits > 8:
        yield finding("image_16_bit", where, f"{header.bits} bits per channel; 8 of them are used")
    if header.alpha:
        yield finding("image_alpha", where, "has an alpha channel")
    if header.colour == "grey":
        yield finding("image_greyscale", where, "has one grey channel")
    if header.colour == "palette":
        yield finding("image_palette", where, "its pixels point into a palette")
    expected = _FORMATS.get(Path(record.file_name).suffix.lower())
    if expected is not None and expected != header.format:
        yield finding("image_format", where, f"named as {expected}, holds {header.format}")
    if header.orientation != UPRIGHT:
        yield _rotated(where, record, header)


def _rotated(where: Where, record: CocoImage, header: ImageHeader) -> DataFinding:
    stored, turned = header.size_wh, header.size_wh[::-1] if header.orientation >= 5 else header.size_wh
    said = f"EXIF orientation {header.orientation}, stored {stored[0]}x{stored[1]} px"
    if stored == turned:
        return finding(
            "image_rotated", where, f"{said}: the size can't tell how the annotator saw it; look at its boxes"
        )
    if record.size_wh == stored:
        return finding("image_rotated", where, f"{said}: the annotator saw the stored pixels, other tools rotate them")
    if record.size_wh == turned:
        message = (
            f"{said}: the annotator saw it rotated ({turned[0]}x{turned[1]} px), boxes don't fit the stored pixels"
        )
        return finding("image_rotated", where, message, "error")
    return finding("image_rotated", where, f"{said}: the annotation's size fits neither")


def _explained(record: CocoImage, facts: ImageFacts) -> bool:
    """Whether the EXIF rotation explains the size in the entry."""
    turns = facts.header is not None and facts.header.orientation >= 5
    return turns and record.size_wh == facts.size_wh[::-1]


def _odd_name(name: str) -> str:
    """What may cause problems in a name with other systems and tools; empty for nothing."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return "its bytes are no UTF-8"
    if not name.isprintable():
        return "it holds a control character or an invisible one"
    if "\\" in name:
        return "it holds a backslash, which is a folder on other systems"
    if any(part != part.strip() for part in name.split("/")):
        return "it begins or ends with a blank"
    if name != unicodedata.normalize("NFC", name):
        return "its accents are written apart (NFD); other systems join them"
    return ""


def unlisted(split: ExaminedSplit) -> Iterator[DataFinding]:
    """Image files in the folder that the annotation file does not name; links are not followed.

    Nothing is reported for a split without a readable image entry, because another finding covers it.
    """
    if not split.images:
        return
    listed = {path for record in split.images for path in (record.path, split.folder / record.file_name)}
    for folder, inner, names in os.walk(split.folder):
        inner.sort()
        for name in sorted(names):
            path = Path(folder) / name
            relative = path.relative_to(split.folder).as_posix()
            if path.suffix.lower() in _FORMATS and path not in listed:
                yield finding(
                    "image_unlisted", Where(split.name, file=relative), "the annotation file does not list it"
                )
