"""Files are the old ones or whole new ones."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import BinaryIO

import pytest

from smallsight.files import copy_atomically, fingerprint_of, sha256_of, write_atomically, write_text_atomically


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_text_is_written_as_utf8_and_folders_are_made(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "note.txt"
    write_text_atomically(path, "Größe: 4 px\n")
    assert path.read_bytes() == "Größe: 4 px\n".encode()
    assert names(path.parent) == ["note.txt"]
    assert path.stat().st_mode & 0o777 == 0o644


class Failure(Exception):
    pass


def breaks_half_way(handle: BinaryIO) -> None:
    handle.write(b"half")
    raise Failure


@pytest.mark.parametrize("before", [None, b"old"])
def test_a_failure_leaves_the_old_file_or_none(tmp_path: Path, before: bytes | None) -> None:
    path = tmp_path / "state.pth"
    if before is not None:
        path.write_bytes(before)
    with pytest.raises(Failure):
        write_atomically(path, breaks_half_way)
    assert names(tmp_path) == ([] if before is None else ["state.pth"])
    assert before is None or path.read_bytes() == before


def test_an_interrupt_while_writing_leaves_nothing_behind(tmp_path: Path) -> None:
    def interrupted(handle: BinaryIO) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / "x", interrupted)
    assert names(tmp_path) == []


def test_the_old_file_stays_until_the_new_one_is_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"old")
    seen: list[str] = []
    fsync = os.fsync

    def watched(descriptor: int) -> None:
        kind = "folder" if os.path.isdir(f"/proc/self/fd/{descriptor}") else "file"  # noqa: PTH112
        seen.append(f"{kind}, {path.read_bytes().decode()}")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", watched)
    write_atomically(path, lambda handle: handle.write(b"new"))
    assert seen == ["file, old", "folder, new"]


def test_a_copy_has_the_hash_that_it_returns(tmp_path: Path) -> None:
    content = bytes(range(256)) * 9000  # more than one block
    source = tmp_path / "a"
    source.write_bytes(content)
    digest = copy_atomically(source, tmp_path / "b")
    assert digest == sha256_of(source) == hashlib.sha256(content).hexdigest()
    assert (tmp_path / "b").read_bytes() == content


def test_copying_nothing_leaves_the_target(tmp_path: Path) -> None:
    (tmp_path / "b").write_bytes(b"old")
    with pytest.raises(FileNotFoundError):
        copy_atomically(tmp_path / "missing", tmp_path / "b")
    assert names(tmp_path) == ["b"]
    assert (tmp_path / "b").read_bytes() == b"old"


def test_a_fingerprint_tells_a_changed_set(tmp_path: Path) -> None:
    def write(folder: Path, **changes: bytes) -> list[Path]:
        folder.mkdir()
        contents = {f"{number:02d}.png": b"image %d" % (number % 10) for number in range(40)}
        contents |= {f"{name}.png": content for name, content in changes.items()}
        for name, content in contents.items():
            (folder / name).write_bytes(content)
        return sorted(folder.iterdir())

    whole = fingerprint_of(write(tmp_path / "a"))
    os.utime(tmp_path / "a" / "01.png", (0, 0))
    copied = write(tmp_path / "b")
    assert fingerprint_of(copied) == whole and fingerprint_of(copied[:-1]) != whole != fingerprint_of(copied[::-1])
    assert fingerprint_of(write(tmp_path / "c", **{"17": b"another"})) != whole, "another size"
    assert fingerprint_of(write(tmp_path / "d", **{"00": b"IMAGE 0"})) != whole, "one that is read"
    assert fingerprint_of(write(tmp_path / "e", **{"01": b"IMAGE 1"})) == whole, "the price of not reading all"
    assert fingerprint_of(write(tmp_path / "f", **{"01": b"IMAGE 1"}), read=40) != whole
    assert fingerprint_of([]) == fingerprint_of([])
