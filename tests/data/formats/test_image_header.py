"""Sizes and orientations without decoding."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from data.labelled import write_picture
from smallsight.data.formats.image_header import read_header, upright_size
from smallsight.errors import DatasetError


def turned(path: Path, orientation: int, order: str = "<") -> None:
    """Put an Exif block with an orientation into a JPEG file."""
    mark = b"II" if order == "<" else b"MM"
    entry = struct.pack(f"{order}HHIHH", 0x0112, 3, 1, orientation, 0)
    tiff = mark + struct.pack(f"{order}HIH", 42, 8, 1) + entry + struct.pack(f"{order}I", 0)
    block = b"Exif\0\0" + tiff
    data = path.read_bytes()
    path.write_bytes(data[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + data[2:])


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".webp", ".tif"])
def test_sizes(tmp_path: Path, suffix: str) -> None:
    assert upright_size(write_picture(tmp_path / f"a{suffix}", (37, 21))) == (37, 21)


@pytest.mark.parametrize("order", ["<", ">"])
def test_an_orientation_is_found_and_refused(tmp_path: Path, order: str) -> None:
    upright, sideways = (write_picture(tmp_path / name, (37, 21)) for name in ("a.jpg", "b.jpg"))
    turned(upright, 1, order)
    turned(sideways, 6, order)
    assert upright_size(upright) == (37, 21)
    assert read_header(sideways).size_wh == (37, 21)
    with pytest.raises(DatasetError, match="orientation is 6"):
        upright_size(sideways)


@pytest.mark.parametrize("data", [b"", b"\xff\xd8", b"\xff\xd8\xff\xc0\x00\x02", b"\x89PNG\r\n\x1a\n", b"text" * 20])
def test_what_is_no_image_is_an_error(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(data)
    with pytest.raises(DatasetError, match=r"a\.jpg"):
        read_header(path)


def test_a_damaged_exif_block_counts_as_none(tmp_path: Path) -> None:
    path = write_picture(tmp_path / "a.jpg", (37, 21))
    turned(path, 6)
    path.write_bytes(path.read_bytes().replace(b"II*\0\x08\0\0\0", b"II*\0\xff\xff\0\0", 1))
    assert read_header(path).orientation == 1
