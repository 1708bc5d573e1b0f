from __future__ import annotations

import cv2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from doctor.planted import encoded, flat_cmyk_jpeg, jpeg_with_exif, palette_png, scene
from smallsight.doctor.ending import missing_end

SCENE = scene(1)
SOUND = [
    encoded(SCENE, ".jpg"),
    cv2.imencode(".jpg", SCENE, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes(),
    flat_cmyk_jpeg(),
    jpeg_with_exif(6),
    encoded(SCENE, ".jpg") + b"a camera's own",
    encoded(SCENE, ".png"),
    palette_png(),
    *(encoded(SCENE, suffix) for suffix in (".bmp", ".tiff", ".webp")),
    b"GIF89a",
    b"",
]


@pytest.mark.parametrize("data", SOUND)
def test_a_whole_file_and_one_of_another_format_lack_nothing(data: bytes) -> None:
    assert missing_end(data) == ""


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
@pytest.mark.parametrize("share", [0.2, 0.5, 0.9, 0.99])
def test_a_cut_file_says_so(suffix: str, share: float) -> None:
    data = encoded(SCENE, suffix)
    assert missing_end(data[: int(share * len(data))])


def test_a_wrong_checksum_in_a_png_is_named() -> None:
    data = bytearray(encoded(SCENE, ".png"))
    data[len(data) // 2] ^= 0xFF
    assert "checksum of chunk IDAT" in missing_end(bytes(data))


@given(st.sampled_from(SOUND), st.integers(0, 400), st.binary(max_size=40))
def test_damage_never_raises(data: bytes, at: int, noise: bytes) -> None:
    missing_end(data[:at] + noise + data[at + len(noise) :])
    missing_end(data[:at])
