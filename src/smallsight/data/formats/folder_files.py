"""Look for files in a user's folder: no link may lead out of it, and every name must be valid UTF-8."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from smallsight.errors import DatasetError

IMAGE_SUFFIXES = frozenset((".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".jp2"))
MOST_LABEL_BYTES, MOST_LIST_BYTES = 8 << 20, 64 << 20
_MOST_FOLDERS = 50
"""Deepest nesting of folders."""


def files_in(folder: Path, root: Path, suffixes: Iterable[str], *, recursive: bool = True) -> list[Path]:
    """Files with one of the suffixes, sorted by path; hidden ones (`.DS_Store`, `._a.jpg`) are left out.

    Args:
        folder: where to look.
        root: the folder that no link may lead out of.
        suffixes: lower case, with their dot.
        recursive: look into folders below, too.
    Raises:
        DatasetError: a name is not UTF-8; a link leads out of `root` or to a folder; a folder can't be read, or is
            nested too deep; something with such a suffix is no file.
    """
    wanted = frozenset(suffixes)
    found = sorted(path for path in _walk(folder, root.resolve(), recursive) if path.suffix.lower() in wanted)
    for path in found:
        if not path.is_file():  # reading a pipe may never end
            raise DatasetError(f"{path}: neither a file nor a folder. Take it out.")
    return found


def _walk(folder: Path, real_root: Path, recursive: bool, depth: int = 0) -> Iterator[Path]:
    if depth > _MOST_FOLDERS:
        raise DatasetError(f"{folder}: more than {_MOST_FOLDERS} folders in each other. Give a folder with images.")
    try:
        with os.scandir(folder) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise DatasetError(f"{folder}: can't be read ({error.strerror}). Give a folder that can be read.") from error
    for entry in found:
        if entry.name.startswith((".", "__MACOSX")):
            continue
        check_name(folder, entry.name)
        path = folder / entry.name
        if entry.is_symlink():
            inside(path, real_root)
            if entry.is_dir():
                raise DatasetError(f"{path}: a link to a folder, which is not followed. Put the folder itself there.")
        if entry.is_dir():
            if recursive:
                yield from _walk(path, real_root, recursive, depth + 1)
        else:
            yield path


def check_name(folder: Path, name: str) -> None:
    """Refuse a name that no annotation file can hold.

    Raises:
        DatasetError: the name is not UTF-8.
    """
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise DatasetError(
            f"{ascii(str(folder))[1:-1]}: the file name {name!a} is not UTF-8. Rename the file."
        ) from error


def inside(path: Path, root: Path) -> Path:
    """`path`, if it lies in `root` when all links are followed.

    Raises:
        DatasetError: it leads out of `root`, or it can't be looked up.
    """
    try:
        within = path.resolve().is_relative_to(root.resolve())
    except (OSError, RuntimeError, ValueError) as error:  # too long, a link to itself, a zero byte
        raise DatasetError(f"{str(path)!r}: can't be looked up. Correct the name.") from error
    if not within:
        raise DatasetError(f"{path}: leads out of {root}. Put the file itself there.")
    return path


def within(path: Path, root: Path) -> Path:
    """A path that lies in `root`, written so that it starts with it."""
    plain = Path(os.path.normpath(path))
    return plain if plain.is_relative_to(root) else path.resolve()


def name_in(root: Path, path: Path) -> str:
    """A file's posix path relative to `root`: as written where it starts with `root`, else with all links followed."""
    if path.is_relative_to(root) and ".." not in path.relative_to(root).parts:
        return path.relative_to(root).as_posix()
    return path.resolve().relative_to(root.resolve()).as_posix()


def left_out(folder: Path, count: int) -> tuple[str, ...]:
    """A note where a folder holds more images than the `count` that were read from its splits.

    Raises:
        DatasetError: see `files_in`.
    """
    left = len(files_in(folder, folder, IMAGE_SUFFIXES)) - count
    return (f"{left} images of {folder} are in no split and were left out.",) if left > 0 else ()


def images_in(folder: Path, root: Path, *, recursive: bool = True) -> list[Path]:
    """All images in a folder, sorted by path.

    Raises:
        DatasetError: see `files_in`; two images share a label file, because they differ by suffix alone.
    """
    found = files_in(folder, root, IMAGE_SUFFIXES, recursive=recursive)
    seen: dict[Path, Path] = {}
    for path in found:
        other = seen.setdefault(path.with_suffix(""), path)
        if other != path:
            raise DatasetError(f"{path}: {other.name} differs by its suffix alone. Rename one, with its label.")
    return found


def read_label_text(path: Path, most_bytes: int = MOST_LABEL_BYTES) -> str:
    """The text of a label file, or of a list with `MOST_LIST_BYTES`, without a byte order mark.

    Raises:
        DatasetError: unreadable, not UTF-8, or far larger than such a file is.
    """
    try:
        if path.stat().st_size > most_bytes:
            raise DatasetError(f"{path}: larger than {most_bytes >> 20} MiB. Is it a label file?")
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise DatasetError(f"{path}: can't be read ({error.strerror}). Give a file that can be read.") from error
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path}: not UTF-8 text ({error.reason}). Save it as UTF-8.") from error
