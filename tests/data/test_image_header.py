"""Sizes, colours and orientations without decoding."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Pillow

from data.labelled import write_picture
from doctor.planted import encoded, flat_cmyk_jpeg, jpeg_with_exif, palette_png, scene
from smallsight.data.image_header import ImageHeader, header_of, read_header, upright_size
from smallsight.errors import DatasetError

SIZE = (96, 64)
SCENE = scene(1)


def exif(orientation: int) -> bytes:
    return b"II*\0" + struct.pack("<IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)


def png_with(name: bytes, body: bytes) -> bytes:
    """A PNG with a chunk between its first one and its pixels."""
    data, chunk = encoded(SCENE, ".png"), name + body
    return data[:33] + struct.pack(">I", len(body)) + chunk + struct.pack(">I", zlib.crc32(chunk)) + data[33:]


def extended_webp(flags: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """A WebP of several chunks; what its pixels would be is left out."""
    sides = b"".join((side - 1).to_bytes(3, "little") for side in SIZE)
    parts = ((b"VP8X", struct.pack("<B3x", flags) + sides), *chunks)
    body = b"".join(name + struct.pack("<I", len(part)) + part + bytes(len(part) % 2) for name, part in parts)
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


FILES = [
    (encoded(SCENE, ".jpg"), ImageHeader("jpeg", SIZE, colour="rgb")),
    (
        cv2.imencode(".jpg", SCENE, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes(),
        ImageHeader("jpeg", SIZE, colour="rgb"),
    ),
    (encoded(SCENE[..., 0], ".jpg"), ImageHeader("jpeg", SIZE, colour="grey")),
    (flat_cmyk_jpeg(), ImageHeader("jpeg", SIZE, colour="cmyk")),
    (jpeg_with_exif(6), ImageHeader("jpeg", SIZE, colour="rgb", orientation=6)),
    (jpeg_with_exif(9), ImageHeader("jpeg", SIZE, colour="rgb")),
    (encoded(SCENE, ".png"), ImageHeader("png", SIZE, colour="rgb")),
    (encoded(SCENE.astype(np.uint16), ".png"), ImageHeader("png", SIZE, bits=16, colour="rgb")),
    (encoded(SCENE[..., 0], ".png"), ImageHeader("png", SIZE, colour="grey")),
    (encoded(cv2.cvtColor(SCENE, cv2.COLOR_RGB2RGBA), ".png"), ImageHeader("png", SIZE, colour="rgb", alpha=True)),
    (palette_png(), ImageHeader("png", SIZE, colour="palette")),
    (png_with(b"tRNS", bytes(6)), ImageHeader("png", SIZE, colour="rgb", alpha=True)),
    (png_with(b"eXIf", exif(8)), ImageHeader("png", SIZE, colour="rgb", orientation=8)),
    (encoded(SCENE, ".bmp"), ImageHeader("bmp", SIZE, colour="rgb")),
    (encoded(SCENE, ".tiff"), ImageHeader("tiff", SIZE, colour="rgb")),
    (encoded(SCENE.astype(np.uint16), ".tiff"), ImageHeader("tiff", SIZE, bits=16, colour="rgb")),
    (encoded(SCENE, ".webp"), ImageHeader("webp", SIZE, colour="rgb")),
    (
        cv2.imencode(".webp", cv2.cvtColor(SCENE, cv2.COLOR_RGB2RGBA), [cv2.IMWRITE_WEBP_QUALITY, 101])[1].tobytes(),
        ImageHeader("webp", SIZE, colour="rgb"),
    ),
    (extended_webp(0x10), ImageHeader("webp", SIZE, colour="rgb", alpha=True)),
    (
        extended_webp(0x08, (b"VP8 ", bytes(9)), (b"EXIF", b"Exif\0\0" + exif(6))),
        ImageHeader("webp", SIZE, colour="rgb", orientation=6),
    ),
    (encoded(SCENE, ".jp2"), ImageHeader("jpeg2000", SIZE)),
]


@pytest.mark.parametrize(("data", "expected"), FILES)
def test_a_file_says_what_it_is(data: bytes, expected: ImageHeader) -> None:
    assert header_of(io.BytesIO(data)) == expected


FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF", "JPEG2000")
COLOURS = {"RGB": "rgb", "RGBA": "rgb", "L": "grey", "LA": "grey", "P": "palette", "CMYK": "cmyk"}


def pictures() -> Iterator[tuple[str, str, int, bytes]]:
    """Format, mode, orientation and content of files that Pillow writes."""
    modes = {"JPEG": "RGB L CMYK", "PNG": "RGB RGBA L LA P", "BMP": "RGB P", "WEBP": "RGB RGBA", "TIFF": "RGB L RGBA P"}
    for form, names in {**modes, "JPEG2000": "RGB L"}.items():
        for mode in names.split():
            for orientation in (1, 6) if form in ("JPEG", "PNG", "WEBP") else (1,):
                exif = Pillow.Exif()
                exif[0x0112] = orientation
                options = {"exif": exif} if orientation > 1 else {}
                target = io.BytesIO()
                Pillow.fromarray(SCENE).convert(mode).save(target, form, **options)
                yield form, mode, orientation, target.getvalue()


@pytest.mark.parametrize(("form", "mode", "orientation", "data"), tuple(pictures()))
def test_pillow_says_the_same(form: str, mode: str, orientation: int, data: bytes) -> None:
    found = header_of(io.BytesIO(data))
    with Pillow.open(io.BytesIO(data), formats=FORMATS) as other:
        assert found is not None and found.size_wh == other.size
        assert found.format == (other.format or "").lower()
        assert found.orientation == other.getexif().get(0x0112, 1) == orientation
        if form != "JPEG2000":
            assert found.colour == COLOURS[other.mode]
            assert found.alpha == other.mode.endswith("A")


def test_the_size_of_jpeg_2000_is_that_of_what_is_decoded() -> None:
    data = encoded(SCENE, ".jp2")
    at = data.index(b"ihdr") + 4
    lying = data[:at] + struct.pack(">II", 12, 10) + data[at + 8 :]
    found = header_of(io.BytesIO(lying))
    assert found is not None and found.size_wh == SIZE


def test_the_hand_made_files_are_ones_that_the_decoder_takes() -> None:
    for data in (flat_cmyk_jpeg(), palette_png(), jpeg_with_exif(6), png_with(b"eXIf", exif(8))):
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
        assert image.shape == (64, 96, 3)


@pytest.mark.parametrize("data", [b"GIF89a", b"", b"II*\0" + struct.pack("<IH", 8, 0xFFFF) + bytes(60)])
def test_an_unknown_format_and_a_directory_that_points_into_itself_have_no_header(data: bytes) -> None:
    assert header_of(io.BytesIO(data)) is None


@given(st.sampled_from([data for data, _ in FILES]), st.integers(0, 400), st.binary(max_size=40))
def test_damage_never_raises(data: bytes, at: int, noise: bytes) -> None:
    header_of(io.BytesIO(data[:at] + noise + data[at + len(noise) :]))
    header_of(io.BytesIO(data[:at]))


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
