"""Decoded frames on the disk, shared by all processes and runs that name the same folder.

An entry is the frame as a `.npy` file. Its name is a hash of the image file (path, size and times) and of the decoder,
so that the entry of a file that has changed is never used. Entries are written to a temporary file and renamed: a
mapped frame does not change, and two processes can write the same entry.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import io
import math
import mmap
import os
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from smallsight.config.load import Config, filled_path
from smallsight.data.coco import ImageEntry
from smallsight.records import Image

_FORMAT = f"1 rgb uint8, OpenCV {cv2.__version__}"
"""Part of each entry's name; the number goes up when a file decodes to other pixels."""
_KEEP_FREE_BYTES = 2e9
"""Left free on the disk, because a run needs room for its checkpoints."""
_RECOUNT_SHARE = 0.02
"""Share of the budget that a process writes before it measures the size of the whole cache again."""
_STALE_S = 3600
_TEMPORARY = ".tmp"


def open_cache(config: Config) -> FrameCache | None:
    """The cache that a configuration asks for with `dataset.cache_dir`, prepared; None where it asks for none.

    Raises:
        ConfigError: an environment variable in the folder's name is not set.
    """
    given = config.dataset
    if not given.cache_dir:
        return None
    cache = FrameCache(filled_path("dataset.cache_dir", given.cache_dir), budget_mb=given.cache_disk_mb)
    cache.prepare()
    return cache


class FrameCache:
    """Frames stored in `folder`, up to `budget_mb`; where it can't be written, frames are decoded each time.

    Nothing is removed: when the budget is reached, the existing entries are still read.
    """

    def __init__(self, folder: Path, *, budget_mb: float) -> None:
        self.folder = folder
        self.budget_bytes = budget_mb * 1e6
        self._used_bytes = 0
        self._unseen_bytes = math.inf  # written since the folder was looked at
        self._writable = True

    def prepare(self) -> None:
        """Create the folder, test it and measure its size, so that a warning comes once and not from each worker."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.folder):
                self._count()
        except OSError as error:
            self._give_up(error)

    def fetch(self, entry: ImageEntry, decode: Callable[[ImageEntry], Image]) -> tuple[Image, bool]:
        """The frame of `entry`, and whether the disk holds it now; one from the disk is mapped and can't be written to.

        Raises:
            DatasetError: from `decode`.
        """
        try:
            path = self._path(entry)  # before decoding: should the file change meanwhile, the entry is never looked up
        except OSError:  # gone; decoding says so
            return decode(entry), False
        kept = _read(path, entry.size_wh)
        if kept is not None:
            return kept, True
        image = decode(entry)
        return image, self._write(path, image)

    def _path(self, entry: ImageEntry) -> Path:
        file = entry.path.resolve()
        stat = file.stat()  # the change time detects a replaced file of the same size and age
        told = (_FORMAT, os.fspath(file), stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
        return self.folder / f"{hashlib.sha256(repr(told).encode()).hexdigest()[:40]}.npy"

    def _write(self, path: Path, image: Image) -> bool:
        if not self._writable:
            return False
        header = _header(image.shape)
        size = len(header) + image.nbytes
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if self._unseen_bytes > self.budget_bytes * _RECOUNT_SHARE:
                self._count()
            if self._used_bytes + size > self.budget_bytes:
                return False
            if shutil.disk_usage(self.folder).free - size < _KEEP_FREE_BYTES:
                self._give_up(f"less than {_KEEP_FREE_BYTES / 1e9:g} GB would be left on the disk")
                return False
            _replace(path, header, image)
        except OSError as error:
            self._give_up(error)
            return False
        self._used_bytes += size
        self._unseen_bytes += size
        return True

    def _count(self) -> None:
        """Measure the size of the folder, and remove temporary files of killed processes."""
        self._used_bytes, self._unseen_bytes = 0, 0
        with os.scandir(self.folder) as items:
            for item in items:
                with contextlib.suppress(FileNotFoundError):  # renamed or removed by another process
                    stat = item.stat(follow_symlinks=False)
                    if item.name.endswith(_TEMPORARY) and time.time() - stat.st_mtime > _STALE_S:
                        Path(item.path).unlink()
                    else:
                        self._used_bytes += stat.st_size

    def _give_up(self, reason: object) -> None:
        """Write no more, and warn once."""
        if self._writable:
            self._writable = False
            warnings.warn(
                f"dataset.cache_dir: {self.folder}: can't be written ({reason}). The run goes on and decodes what is "
                "not there. Make room, or name another folder.",
                stacklevel=2,
            )


def _read(path: Path, size_wh: tuple[int, int]) -> Image | None:
    """A complete frame of that size, mapped; None where the file is missing, incomplete or of another size."""
    shape = (size_wh[1], size_wh[0], 3)
    header = _header(shape)
    try:
        with path.open("rb") as handle:
            if os.fstat(handle.fileno()).st_size != len(header) + math.prod(shape):
                return None
            content = mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError:
        return None
    if content[: len(header)] != header:
        return None
    return np.frombuffer(content, dtype=np.uint8, offset=len(header)).reshape(shape)


def _replace(path: Path, header: bytes, image: Image) -> None:
    """Write an entry under its name at once; it is not synced to the disk, because it can be made again."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}.", suffix=_TEMPORARY)
    try:
        with os.fdopen(descriptor, "wb") as handle:
            os.fchmod(handle.fileno(), 0o644)
            handle.write(header)
            handle.write(np.ascontiguousarray(image).data)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


@functools.lru_cache(maxsize=64)
def _header(shape: tuple[int, ...]) -> bytes:
    """The header of a `.npy` file of uint8 (H, W, 3), which precedes the pixels."""
    target = io.BytesIO()
    np.lib.format.write_array_header_1_0(target, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return target.getvalue()
