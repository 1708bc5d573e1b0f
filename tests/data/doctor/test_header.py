from __future__ import annotations

import struct

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.doctor.planted import encoded, flat_cmyk_jpeg, jpeg_with_exif, palette_png, scene
from smallsight.data.doctor.header import Header, read_header

SIZE = (96, 64)
SCENE = scene(1)
SOUND = [
    (encoded(SCENE, ".jpg"), Header("jpeg", SIZE, colour="rgb")),
    (cv2.imencode(".jpg", SCENE, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes(), Header("jpeg", SIZE, colour="rgb")),
    (encoded(SCENE[..., 0], ".jpg"), Header("jpeg", SIZE, colour="grey")),
    (flat_cmyk_jpeg(), Header("jpeg", SIZE, colour="cmyk")),
    (jpeg_with_exif(6), Header("jpeg", SIZE, colour="rgb", orientation=6)),
    (jpeg_with_exif(9), Header("jpeg", SIZE, colour="rgb")),
    (encoded(SCENE, ".jpg") + b"a camera's own", Header("jpeg", SIZE, colour="rgb")),
    (encoded(SCENE, ".png"), Header("png", SIZE, colour="rgb")),
    (encoded(SCENE.astype(np.uint16), ".png"), Header("png", SIZE, bits=16, colour="rgb")),
    (encoded(SCENE[..., 0], ".png"), Header("png", SIZE, colour="grey")),
    (encoded(cv2.cvtColor(SCENE, cv2.COLOR_RGB2RGBA), ".png"), Header("png", SIZE, colour="rgb", alpha=True)),
    (palette_png(), Header("png", SIZE, colour="palette")),
    (encoded(SCENE, ".bmp"), Header("bmp", SIZE, colour="rgb")),
    (encoded(SCENE, ".tiff"), Header("tiff", SIZE, colour="rgb")),
    (encoded(SCENE.astype(np.uint16), ".tiff"), Header("tiff", SIZE, bits=16, colour="rgb")),
    (encoded(SCENE, ".webp"), Header("webp", colour="rgb")),
]


@pytest.mark.parametrize(("data", "expected"), SOUND)
def test_a_sound_file_says_what_it_is(data: bytes, expected: Header) -> None:
    assert read_header(data) == expected


def test_the_hand_made_files_are_ones_that_the_decoder_takes() -> None:
    for data in (flat_cmyk_jpeg(), palette_png(), jpeg_with_exif(6)):
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
        assert image.shape == (64, 96, 3)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
@pytest.mark.parametrize("share", [0.2, 0.5, 0.9, 0.99])
def test_a_cut_file_says_so(suffix: str, share: float) -> None:
    data = encoded(SCENE, suffix)
    header = read_header(data[: int(share * len(data))])
    assert header is not None
    assert header.cut_at


def test_a_wrong_checksum_in_a_png_is_named() -> None:
    data = bytearray(encoded(SCENE, ".png"))
    data[len(data) // 2] ^= 0xFF
    header = read_header(bytes(data))
    assert header is not None
    assert "checksum of chunk IDAT" in header.cut_at


def test_an_unknown_format_has_no_header() -> None:
    assert read_header(b"GIF89a") is None
    assert read_header(b"") is None


@given(st.sampled_from([data for data, _ in SOUND]), st.integers(0, 400), st.binary(max_size=40))
def test_damage_never_raises(data: bytes, at: int, noise: bytes) -> None:
    read_header(data[:at] + noise + data[at + len(noise) :])
    read_header(data[:at])


def test_a_directory_that_points_into_itself_ends() -> None:
    assert read_header(b"II*\0" + struct.pack("<IH", 8, 0xFFFF) + bytes(60)) is not None
