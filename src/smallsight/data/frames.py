"""Decoded frames: from their files, from a bounded store in memory, or from a cache on the disk."""

from __future__ import annotations

import io
import math
from pathlib import Path

import cv2
import numpy as np

from smallsight.data.coco import Dataset, ImageEntry
from smallsight.data.formats.image_sizes import size_difference
from smallsight.data.frame_cache import FrameCache
from smallsight.data.image_header import header_of, too_large
from smallsight.errors import DatasetError
from smallsight.records import Image, Sample

MOST_FILE_BYTES = 1 << 30
"""Largest image file that is read."""


def content_of(path: Path) -> bytes:
    """The bytes of an image file.

    Raises:
        ValueError: it is larger than `MOST_FILE_BYTES`.
        OSError: it can't be read.
    """
    if path.stat().st_size > MOST_FILE_BYTES:
        raise ValueError(f"a file of more than {MOST_FILE_BYTES >> 20} MiB")
    return path.read_bytes()


def pixels(content: bytes, flags: int) -> Image:
    """Decode the content of an image file; one with too many pixels is refused before it is decoded.

    Args:
        content: of the file.
        flags: OpenCV's.
    Raises:
        ValueError: no image of a known format, a damaged or a huge one; with the reason.
    """
    header = header_of(io.BytesIO(content))
    if header is None:
        raise ValueError("can't be decoded")
    if reason := too_large(header.size_wh):
        raise ValueError(reason)
    try:
        image = cv2.imdecode(np.frombuffer(content, dtype=np.uint8), flags | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error as error:
        raise ValueError(f"can't be decoded ({' '.join(str(error).split())})") from error
    if image is None:
        raise ValueError("can't be decoded")
    return np.asarray(image, dtype=np.uint8)


def read_image(path: Path) -> Image:
    """Read any image file as uint8 (H, W, 3) RGB, as its pixels are stored (no rotation by EXIF).

    Raises:
        DatasetError: the file is not there, can't be decoded or is huge.
    """
    try:
        return pixels(content_of(path), cv2.IMREAD_COLOR_RGB)
    except OSError as error:
        raise DatasetError(f"{path}: can't be read ({error.strerror or error}). Check the path.") from error
    except ValueError as error:
        raise DatasetError(f"{path}: {error}. Give another image.") from error


def decode(entry: ImageEntry) -> Image:
    """Read one image as uint8 (H, W, 3) RGB, as its pixels are stored (no rotation by EXIF).

    Raises:
        DatasetError: the file can't be decoded, is huge, or has another size than its annotation says.
    """
    try:
        content = content_of(entry.path)
        header = header_of(io.BytesIO(content))
        if header is not None:
            check_size(entry, header.size_wh)  # before decoding: a small file may claim to be huge
        image = pixels(content, cv2.IMREAD_COLOR_RGB)
    except OSError as error:  # gone since the annotations were read
        raise _unreadable(entry, f"can't be read ({error.strerror or error})") from error
    except ValueError as error:
        raise _unreadable(entry, str(error)) from error
    check_size(entry, (image.shape[1], image.shape[0]))
    return image


def _unreadable(entry: ImageEntry, reason: str) -> DatasetError:
    return DatasetError(f"{entry.path}: image {entry.id}: {reason}. Replace the file or take the image out.")


def check_size(entry: ImageEntry, size_wh: tuple[int, int]) -> None:
    """Refuse a file whose size in px differs from its entry's.

    Raises:
        DatasetError: the sizes differ.
    """
    if different := size_difference(size_wh, entry.size_wh):
        raise DatasetError(
            f"{entry.path}: image {entry.id}: {different}. "
            "Write the image's true size, or rotate the pixels as its EXIF flag says."
        )


class FrameStore:
    """The frames of a dataset by position.

    Decoded frames are kept in memory up to `budget_mb`, except for those that `disk` holds: of these the system keeps
    what it has room for, once for all processes.
    """

    def __init__(self, dataset: Dataset, *, budget_mb: float = 0.0, disk: FrameCache | None = None) -> None:
        self.dataset = dataset
        self._disk = disk
        self._free_bytes = budget_mb * 1e6
        self._kept: dict[int, Image] = {}

    def __len__(self) -> int:
        return len(self.dataset)

    def to_come_mb(self, frames: int | None = None) -> float:
        """Memory that decoded frames will still take in this process, MB.

        Args:
            frames: number of frames that will be decoded; all where None.
        """
        left = [math.prod(entry.size_wh) * 3 for i, entry in enumerate(self.dataset.images) if i not in self._kept]
        wanted = sum(left) * min(1.0, (len(left) if frames is None else frames) / max(1, len(left)))
        on_disk = self._disk.budget_bytes if self._disk else 0.0
        return max(0.0, min(self._free_bytes, wanted - on_disk)) / 1e6

    def keep_at_most(self, mb: float) -> None:
        """Allow at most `mb` more MB of decoded frames in memory; other frames are decoded each time."""
        self._free_bytes = min(self._free_bytes, mb * 1e6)

    def sample(self, index: int) -> Sample:
        """The frame at `index` with its truth.

        Raises:
            DatasetError: see `decode`.
        """
        entry = self.dataset.images[index]
        image = self._kept.get(index)
        if image is None:
            image, on_disk = self._disk.fetch(entry, decode) if self._disk else (decode(entry), False)
            if not on_disk and image.nbytes <= self._free_bytes:
                self._kept[index] = image
                self._free_bytes -= image.nbytes
        return Sample(image, self.dataset.truths[index], entry.id)
