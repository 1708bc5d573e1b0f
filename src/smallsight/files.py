"""Files that appear whole or not at all, and their hashes."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO


def write_atomically(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Let `write` fill a temporary file beside `path`, force it to the disk, then rename it to `path`.

    A crash or a full disk leaves the old file, or none; never half of one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(descriptor, "wb") as handle:
            os.fchmod(handle.fileno(), 0o644)
            write(handle)
            handle.flush()
            os.fsync(handle.fileno())
        Path(name).replace(path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            Path(name).unlink()
        raise
    sync_folder(path.parent)


def write_text_atomically(path: Path, text: str) -> None:
    """`write_atomically` for UTF-8 text."""
    write_atomically(path, lambda handle: handle.write(text.encode()))


def sync_folder(folder: Path) -> None:
    """Force a folder's entries to the disk, so that a rename in it outlives a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, as 64 hex digits."""
    digest = hashlib.sha256()
    with path.open("rb") as handle:
        while block := handle.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def remove_leftovers(folder: Path, pattern: str) -> None:
    """Delete the temporary files below `folder` that a killed writer has left; `pattern` as for `Path.rglob`."""
    for path in folder.rglob(pattern):
        path.unlink(missing_ok=True)


def copy_atomically(source: Path, path: Path) -> str:
    """Copy a file so that `path` is the old one or the whole new one; returns the copy's SHA-256."""
    with source.open("rb") as handle:
        write_atomically(path, lambda target: shutil.copyfileobj(handle, target))
    return sha256_of(path)
