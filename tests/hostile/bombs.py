"""Small files that unpack to something huge, or say so."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np


def png(width: int, height: int) -> bytes:
    """A PNG of one colour: a few bytes for each thousand of its own."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    row = zlib.compressobj(9)
    packed = b"".join(row.compress(bytes(width + 1)) for _ in range(height)) + row.flush()
    parts = ((b"IHDR", header), (b"IDAT", packed), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in parts)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def headers(width: int, height: int) -> Mapping[str, bytes]:
    """The beginning of a file of each format, which claims that size, and nothing after it."""
    siz = struct.pack(">HHHIIII", 0xFF51, 41, 0, width, height, 0, 0) + bytes(20)
    tags = struct.pack("<HHII", 256, 4, 1, width) + struct.pack("<HHII", 257, 4, 1, height)
    mark = min(width, 0xFFFF), min(height, 0xFFFF)
    return {
        "a.png": b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
        "a.jpg": b"\xff\xd8\xff\xc0" + struct.pack(">HBHHB", 17, 8, mark[1], mark[0], 3) + bytes(99),
        "a.bmp": b"BM" + struct.pack("<IIIIiiHHI", 99, 0, 54, 40, width, height, 1, 24, 0) + bytes(99),
        "a.webp": b"RIFF" + struct.pack("<I4s4sIB3x", 99, b"WEBP", b"VP8X", 10, 0)
        + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little") + bytes(99),
        "a.tif": b"II*\0" + struct.pack("<IH", 8, 2) + tags + bytes(99),
        "a.jp2": struct.pack(">I4sI", 12, b"jP  ", 0x0D0A870A) + struct.pack(">I4s", 0, b"jp2c") + b"\xff\x4f" + siz,
    }  # fmt: skip


def npz(shape: tuple[int, ...], held: int, **others: Any) -> bytes:
    """An archive of detections whose boxes say that they have a shape, and hold so many bytes of zeros."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, value in {"scores": [], "labels": [], "counts": [], "image_ids": [], **others}.items():
            part = io.BytesIO()
            np.save(part, np.array(value, np.int64))
            archive.writestr(f"{name}.npy", part.getvalue())
        head = io.BytesIO()
        np.lib.format.write_array_header_1_0(head, {"descr": "<f4", "fortran_order": False, "shape": shape})
        with archive.open("boxes.npy", "w", force_zip64=True) as boxes:
            boxes.write(head.getvalue())
            for _ in range(held >> 20):
                boxes.write(bytes(1 << 20))
    return target.getvalue()


def packed_checkpoint(megabytes: int) -> bytes:
    """A checkpoint with compressed members that unpack to so much."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/version", "3\n")
        with archive.open("archive/data.pkl", "w", force_zip64=True) as member:
            member.write(b"\x80\x02]")
            for _ in range(megabytes):
                member.write(b"N0" * (1 << 19))
            member.write(b".")
    return target.getvalue()


class Call:
    """Pickles as a call of a function, which is made when it is read."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


def pickled(value: object) -> bytes:
    """A checkpoint that holds this value and no tensor."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(value, protocol=2))
        archive.writestr("archive/version", "3\n")
    return target.getvalue()
