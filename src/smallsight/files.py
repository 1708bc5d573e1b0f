"""Files that appear whole or not at all, and their hashes."""

from __future__ import annotations

import contextlib
import hashlib
import os
import pickle
import re
import shutil
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO

UNREADABLE = (
    *(RuntimeError, EOFError, zipfile.BadZipFile, ValueError, LookupError, TypeError, AttributeError, OSError),
    *(MemoryError, AssertionError, struct.error, zlib.error),
)
"""What readers of archives and checkpoints raise for files that are none, or damaged."""


def why(error: BaseException) -> str:
    """The first line of what an error says, or else its type's name; of a refused pickle, what it asks for.

    PyTorch's own words on a refused pickle advise to load it with code of the file's run, coloured for a terminal.
    """
    if isinstance(error, pickle.UnpicklingError):
        wanted = asked_to_run(error)
        return f"it asks for {wanted} to be run" if wanted else "it is no pickle of plain values"
    return next(iter(str(error).splitlines()), "") or type(error).__name__


def asked_to_run(error: pickle.UnpicklingError) -> str:
    """What a refused pickle asks to be run while it is read; empty where it asks for nothing."""
    wanted = re.search(r"GLOBAL ([\w.]+)", str(error))
    return wanted[1] if wanted else ""


def write_atomically(path: Path, write: Callable[[BinaryIO], object], previous: Path | None = None) -> None:
    """Let `write` fill a temporary file beside `path`, force it to the disk, then rename it to `path`.

    A crash or a full disk leaves the old file, or none; never half of one.

    Args:
        path: the file.
        write: gets the temporary file.
        previous: in the same folder; the old file is kept there. A crash in between leaves this one alone.
    Raises:
        OSError: it can't be written; it names the file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(descriptor, "wb") as handle:
            os.fchmod(handle.fileno(), 0o644)
            write(handle)
            handle.flush()
            os.fsync(handle.fileno())
        if previous is not None:
            with contextlib.suppress(FileNotFoundError):
                path.replace(previous)
        Path(name).replace(path)
    except BaseException as error:
        with contextlib.suppress(FileNotFoundError):
            Path(name).unlink()
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(path)
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


def unpacked_bytes(path: Path) -> int:
    """How much the members of a zip archive say that they unpack to.

    Raises:
        zipfile.BadZipFile, OSError, ValueError: it is no archive.
    """
    with zipfile.ZipFile(path) as archive:
        return sum(member.file_size for member in archive.infolist())


def says(path: Path, word: str) -> bool:
    """Whether a file is a stored archive of `torch.save` whose pickle holds `word`; nothing in it is run."""
    try:
        if unpacked_bytes(path) > path.stat().st_size:
            return False
        with zipfile.ZipFile(path) as archive:
            name = next(name for name in archive.namelist() if name.endswith("/data.pkl"))
            return word.encode() in archive.read(name)
    except (OSError, zipfile.BadZipFile, StopIteration, RuntimeError, ValueError):
        return False


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, as 64 hex digits."""
    digest = hashlib.sha256()
    with path.open("rb") as handle:
        while block := handle.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def fingerprint_of(paths: Sequence[Path], *, read: int = 16) -> str:
    """What tells a set of files from a changed one, in the time that a look at each takes.

    Args:
        paths: in a fixed order.
        read: so many of them, evenly spread, are read whole. A change that keeps a file's size is found there alone.
    Returns:
        SHA-256 over names, sizes and what was read. Times don't count: a copy of the files is the same set.
    """
    digest = hashlib.sha256()
    for path in paths:
        digest.update(f"{path.name}\0{path.stat().st_size}\0".encode())
    for number in range(min(read, len(paths))):
        digest.update(sha256_of(paths[number * len(paths) // min(read, len(paths))]).encode())
    return digest.hexdigest()


def remove_leftovers(folder: Path, pattern: str) -> None:
    """Delete the temporary files below `folder` that a killed writer has left; `pattern` as for `Path.rglob`."""
    for path in folder.rglob(pattern):
        path.unlink(missing_ok=True)


def copy_atomically(source: Path, path: Path, previous: Path | None = None) -> str:
    """Copy a file so that `path` is the old one or the whole new one; returns the copy's SHA-256.

    Args:
        source, path: from and to.
        previous: see `write_atomically`.
    """
    with source.open("rb") as handle:
        write_atomically(path, lambda target: shutil.copyfileobj(handle, target), previous)
    return sha256_of(path)
