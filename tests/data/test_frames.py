"""Decoded frames: RGB, as stored, of the annotated size; a store that keeps to its budget."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from builders import BALL_RGB, write_coco_folder, write_image
from smallsight.data import frames
from smallsight.data.coco import ImageEntry, read_coco
from smallsight.data.frame_cache import FrameCache
from smallsight.data.frames import FrameStore, decode
from smallsight.errors import DatasetError

RED = np.zeros((12, 20, 3), dtype=np.uint8) + np.array([250, 10, 30], dtype=np.uint8)


def with_exif_rotation(jpeg: bytes) -> bytes:
    """The JPEG with an EXIF header that asks to turn it by 90 degrees."""
    entry = struct.pack(">HHIHH", 0x0112, 3, 1, 6, 0)
    tiff = b"MM\0*" + struct.pack(">IH", 8, 1) + entry + struct.pack(">I", 0)
    block = b"Exif\0\0" + tiff
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + jpeg[2:]


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds no pixel."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".webp"])
def test_pixels_come_as_rgb(tmp_path: Path, suffix: str) -> None:
    write_image(tmp_path / f"red{suffix}", RED)
    image = decode(ImageEntry(1, tmp_path / f"red{suffix}", (20, 12)))
    assert (image.shape, image.dtype) == ((12, 20, 3), np.uint8)
    assert np.abs(image.astype(int) - RED).max() <= (0 if suffix in (".png", ".bmp") else 6)


def test_the_rotation_of_exif_is_ignored(tmp_path: Path) -> None:
    pixels = RED.copy()
    pixels[:6] = 0
    write_image(tmp_path / "a.jpg", pixels)
    turned = with_exif_rotation((tmp_path / "a.jpg").read_bytes())
    assert cv2.imdecode(np.frombuffer(turned, np.uint8), cv2.IMREAD_COLOR).shape == (20, 12, 3)  # it would turn
    (tmp_path / "b.jpg").write_bytes(turned)
    plain, ignored = (decode(ImageEntry(1, tmp_path / name, (20, 12))) for name in ("a.jpg", "b.jpg"))
    assert np.array_equal(plain, ignored)


@pytest.mark.parametrize(
    "pixels",
    [
        np.arange(240, dtype=np.uint8).reshape(12, 20),
        np.arange(240, dtype=np.uint16).reshape(12, 20) * 256,
        np.dstack([np.arange(240, dtype=np.uint8).reshape(12, 20)] * 3 + [np.zeros((12, 20), dtype=np.uint8)]),
    ],
    ids=["grey", "16 bit", "alpha"],
)
def test_other_pixels_become_three_channels_of_8_bits(tmp_path: Path, pixels: np.ndarray) -> None:
    (tmp_path / "a.png").write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
    image = decode(ImageEntry(1, tmp_path / "a.png", (20, 12)))
    assert (image.shape, image.dtype) == ((12, 20, 3), np.uint8)
    assert np.array_equal(image, np.dstack([np.arange(240).reshape(12, 20)] * 3))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "can't be decoded"),
        (b"no image", "can't be decoded"),
        (b"\xff\xd8\xff\xe0 cut off", "can't be decoded"),
        (png_header(20, 12), "can't be decoded"),
        (None, "can't be read (No such file"),
    ],
    ids=["empty", "text", "cut off", "no pixels", "gone"],
)
def test_what_can_not_be_decoded_is_named(tmp_path: Path, data: bytes | None, reason: str) -> None:
    path = tmp_path / "a.png"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(DatasetError) as caught:
        decode(ImageEntry(7, path, (20, 12)))
    message = str(caught.value)
    assert message.startswith(f"{path}: image 7: {reason}")
    assert message.endswith("Replace the file or take the image out.")
    assert "\n" not in message


def test_another_size_than_annotated_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    write_image(path, RED)
    with pytest.raises(DatasetError) as caught:
        decode(ImageEntry(7, path, (12, 20)))
    expected = f"{path}: image 7: the file has 20x12 px, the annotation says 12x20; width and height are swapped. "
    assert str(caught.value) == expected + ("Write the image's true size, or rotate the pixels as its EXIF flag says.")


# The store


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Ids of the images that were decoded, in order."""
    ids: list[int] = []
    real = frames.decode

    def watched(entry: ImageEntry) -> np.ndarray:
        ids.append(entry.id)
        return real(entry)

    monkeypatch.setattr(frames, "decode", watched)
    return ids


FRAME_MB = 40 * 30 * 3 / 1e6


@pytest.mark.parametrize(("budget", "kept"), [(0, 0), (0.9, 0), (1, 1), (2.5, 2), (4, 4), (100, 4)])
def test_a_store_keeps_as_many_frames_as_fit(tmp_path: Path, decoded: list[int], budget: float, kept: int) -> None:
    write_coco_folder(tmp_path, 4, (40, 30))
    store = FrameStore(read_coco(tmp_path), budget_mb=budget * FRAME_MB)
    assert decoded == []
    for _ in range(3):
        for index in range(4):
            store.sample(index)
    assert decoded == [1, 2, 3, 4] + [key for key in (1, 2, 3, 4) if key > kept] * 2


@pytest.mark.parametrize(
    ("budget", "looked_at", "to_come"),
    [(100, None, 3), (2.5, None, 1.5), (1, None, 0), (0, None, 0), (100, 0, 0), (100, 2, 2), (100, 9, 3)],
)
def test_what_a_store_will_take_is_known(tmp_path: Path, budget: float, looked_at: int | None, to_come: float) -> None:
    """One of four frames is kept already, where there is room for one."""
    write_coco_folder(tmp_path, 4, (40, 30))
    store = FrameStore(read_coco(tmp_path), budget_mb=budget * FRAME_MB)
    store.sample(2)
    assert store.to_come_mb(looked_at) == pytest.approx(to_come * FRAME_MB)


@pytest.mark.parametrize(("more", "kept"), [(5, 4), (1.2, 2), (0, 1)])
def test_a_store_can_be_told_to_keep_less(tmp_path: Path, decoded: list[int], more: float, kept: int) -> None:
    write_coco_folder(tmp_path, 4, (40, 30))
    store = FrameStore(read_coco(tmp_path), budget_mb=100)
    store.sample(0)
    store.keep_at_most(more * FRAME_MB)
    assert store.to_come_mb() == pytest.approx(min(more, 3) * FRAME_MB)
    for _ in range(2):
        for index in range(4):
            store.sample(index)
    assert decoded == [1, 2, 3, 4] + [key for key in (1, 2, 3, 4) if key > kept]


def test_frames_that_the_disk_holds_take_no_memory(tmp_path: Path) -> None:
    write_coco_folder(tmp_path / "data", 4, (40, 30))
    dataset = read_coco(tmp_path / "data")
    for budget, to_come in ((0, 4), (1.5, 2.5), (9, 0)):
        disk = FrameCache(tmp_path / "cache", budget_mb=budget * FRAME_MB)
        assert FrameStore(dataset, budget_mb=100, disk=disk).to_come_mb() == pytest.approx(to_come * FRAME_MB)


def test_kept_and_decoded_frames_are_the_same(tmp_path: Path) -> None:
    write_coco_folder(tmp_path, 3, (40, 30), suffix=".png")
    dataset = read_coco(tmp_path)
    kept, fresh = FrameStore(dataset, budget_mb=1), FrameStore(dataset)
    assert len(kept) == len(fresh) == 3
    for index in (2, 0, 1, 2):
        a, b = kept.sample(index), fresh.sample(index)
        assert np.array_equal(a.image, b.image)
        assert a.truth is b.truth is dataset.truths[index]
        assert a.image_id == b.image_id == dataset.images[index].id
        assert a.size_wh == (40, 30)


def test_the_ball_is_where_its_box_says(tmp_path: Path) -> None:
    write_coco_folder(tmp_path, 6, (64, 48), suffix=".png")
    store = FrameStore(read_coco(tmp_path))
    for index in range(6):
        sample = store.sample(index)
        ((x1, y1, x2, y2),) = sample.truth.boxes
        centre = sample.image[int((y1 + y2) / 2), int((x1 + x2) / 2)]
        assert np.abs(centre.astype(int) - BALL_RGB).max() <= 2
