"""Decoded frames: from their files, from a bounded store in memory, or from a cache on the disk."""

from __future__ import annotations

import cv2
import numpy as np

from smallsight.data.coco import Dataset, ImageEntry
from smallsight.data.frame_cache import FrameCache
from smallsight.errors import DatasetError
from smallsight.records import Image, Sample


def decode(entry: ImageEntry) -> Image:
    """Read one image as uint8 (H, W, 3) RGB, as its pixels are stored (no rotation by EXIF).

    Raises:
        DatasetError: the file can't be decoded, or has another size than its annotation says.
    """
    flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        data = np.fromfile(entry.path, dtype=np.uint8)
        image = cv2.imdecode(data, flags) if data.size else None
    except (OSError, cv2.error) as error:  # gone since the annotations were read; more pixels than OpenCV takes
        reason = " ".join(str(error).split())
        raise DatasetError(
            f"{entry.path}: image {entry.id}: can't be read ({reason}). Replace the file or take the image out."
        ) from error
    if image is None:
        raise DatasetError(f"{entry.path}: image {entry.id}: can't be decoded. Replace the file or take the image out.")
    height, width = image.shape[:2]
    if (width, height) != entry.size_wh:
        expected = f"{entry.size_wh[0]}x{entry.size_wh[1]}"
        raise DatasetError(
            f"{entry.path}: image {entry.id}: the file has {width}x{height} px, the annotation says {expected}. "
            "Write the image's true size, or rotate the pixels as its EXIF flag says."
        )
    return np.asarray(image, dtype=np.uint8)


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
