"""Images of odd formats, written byte by byte, and ways to put them into a dataset."""

from __future__ import annotations

import json
import struct
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from builders import ANNOTATIONS, write_annotations

Content = dict[str, Any]


def replace_image(root: Path, data: bytes, suffix: str, *, size_wh: tuple[int, int] = (96, 64), index: int = 0) -> None:
    """Put `data` in the place of an image of the train split, under its name with another suffix."""
    content = read(root)
    entry = content["images"][index]
    (root / "train" / entry["file_name"]).unlink()
    entry.update(file_name=f"{Path(entry['file_name']).stem}{suffix}", width=size_wh[0], height=size_wh[1])
    (root / "train" / entry["file_name"]).write_bytes(data)
    write_annotations(root / "train", content)


def read(root: Path, split: str = "train") -> Content:
    """The split's annotations, to be changed and written again."""
    content: Content = json.loads((root / split / ANNOTATIONS).read_text())
    return content


def scene(seed: int, size_wh: tuple[int, int] = (96, 64)) -> npt.NDArray[np.uint8]:
    """An RGB image with large light and dark regions, as a real frame has."""
    coarse = np.random.default_rng(seed).uniform(30, 220, (5, 7, 3)).astype(np.float32)
    return np.asarray(cv2.resize(coarse, size_wh, interpolation=cv2.INTER_CUBIC).clip(0, 255), dtype=np.uint8)


def encoded(image: npt.NDArray[Any], suffix: str) -> bytes:
    """An image in OpenCV's channel order as the content of a file."""
    return cv2.imencode(suffix, image)[1].tobytes()


def jpeg_with_exif(orientation: int, size_wh: tuple[int, int] = (96, 64)) -> bytes:
    """A JPEG whose Exif says that it is to be rotated."""
    tiff = b"II*\0" + struct.pack("<IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)
    exif = b"Exif\0\0" + tiff
    plain = encoded(scene(1, size_wh), ".jpg")
    return plain[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + plain[2:]


def flat_cmyk_jpeg(size_wh: tuple[int, int] = (96, 64)) -> bytes:
    """A baseline JPEG of four components, all of middle value: each block is two one-bit codes."""
    width, height = size_wh
    segments = [
        (0xDB, b"\0" + bytes([1] * 64)),
        (0xC0, struct.pack(">BHHB", 8, height, width, 4) + b"".join(bytes([i, 0x11, 0]) for i in range(1, 5))),
        *((0xC4, bytes([table, 1, *[0] * 15, 0])) for table in (0x00, 0x10)),
        (0xDA, b"\4" + b"".join(bytes([i, 0]) for i in range(1, 5)) + b"\0\x3f\0"),
    ]
    head = b"".join(b"\xff" + bytes([marker]) + struct.pack(">H", len(body) + 2) + body for marker, body in segments)
    return b"\xff\xd8" + head + bytes(width * height // 64) + b"\xff\xd9"


def palette_png(size_wh: tuple[int, int] = (96, 64)) -> bytes:
    """A PNG whose pixels point into a palette of two colours."""
    width, height = size_wh
    rows = b"".join(b"\0" + bytes((x // 16 + y // 16) % 2 for x in range(width)) for y in range(height))
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)),
        (b"PLTE", bytes([20, 90, 30, 240, 240, 240])),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in chunks
    )
