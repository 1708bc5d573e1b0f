r"""Find the image file that a name in a label file means, also where the set was moved or made on another system.

If a name is the path of a file, that file is meant. Otherwise backslashes are read as slashes (`images\a.png`), and
then the source is searched for files with the same last parts, so that `/home/someone/set/images/a.png` or a bare
`a.png` is found in any folder. In this search, upper and lower case are equal, and so are the two encodings of an
accent. Nothing outside of the source is found.
"""

from __future__ import annotations

import itertools
import os
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath
from reprlib import repr as short
from typing import Literal

from smallsight.data.formats.folder_files import IMAGE_SUFFIXES
from smallsight.errors import DatasetError, visible

How = Literal["named", "slashes", "case", "elsewhere"]
_DRIVE = re.compile(r"^[A-Za-z]:")
_MOST_FOLDERS = 50
"""Deepest nesting of folders."""
_MOST_FILES = 2_000_000
"""Most files that are searched below a source."""


class NotThere(DatasetError):
    """No file of the source is meant by a name; `reason` is the message without the remedy."""

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(f"{reason}. {remedy}")
        self.reason = visible(reason)


class LeadsOut(NotThere):
    """A name or a link leads out of the source."""


def slashed(name: str) -> str:
    r"""A name with the folders of other systems: `images\a.png` as `images/a.png`."""
    return name.replace("\\", "/")


class Files:
    """The image files in a folder and its subfolders, by file name; the folder is searched on first use."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @cached_property
    def real_root(self) -> Path:
        """The folder with all links followed."""
        return self.root.resolve()

    @cached_property
    def _by_name(self) -> dict[str, list[Path]]:
        found: dict[str, list[Path]] = {}
        for path in sorted(_files_below(self.root)):
            found.setdefault(_folded(path.name), []).append(path)
        return found

    @cached_property
    def folders(self) -> frozenset[str]:
        """Names of the folders that hold images, or folders with images."""
        paths = {path.parent.relative_to(self.root) for found in self._by_name.values() for path in found}
        return frozenset(_folded(part) for path in paths for part in path.parts)

    @property
    def count(self) -> int:
        """Number of image files."""
        return sum(map(len, self._by_name.values()))

    def all(self) -> Iterator[Path]:
        """All image files, in the order of their names."""
        return itertools.chain.from_iterable(self._by_name.values())

    def named(self, name: str) -> Sequence[Path]:
        """The files whose last part is `name`, sorted; upper and lower case alike."""
        return self._by_name.get(_folded(name), ())

    def siblings(self, name: str) -> Sequence[Path]:
        """The files that differ from `name` by their suffix alone."""
        stem = PurePosixPath(name).stem
        return [path for suffix in sorted(IMAGE_SUFFIXES) for path in self.named(stem + suffix)]


def _files_below(root: Path) -> Iterator[Path]:
    """Image files in a folder and below; hidden ones, links to folders and what can't be read are left out."""
    waiting, count = [(root, 0)], 0
    while waiting:
        folder, depth = waiting.pop()
        try:
            with os.scandir(folder) as entries:
                found = list(entries)
        except OSError:
            continue
        for entry in found:
            count += 1
            if count > _MOST_FILES:
                raise DatasetError(f"{root}: more than {_MOST_FILES:,} files below it. Give the folder of one set.")
            if entry.name.startswith((".", "__MACOSX")):
                continue
            if entry.is_dir(follow_symlinks=False):
                if depth < _MOST_FOLDERS:
                    waiting.append((folder / entry.name, depth + 1))
            elif PurePosixPath(entry.name).suffix.lower() in IMAGE_SUFFIXES:
                yield folder / entry.name


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


@dataclass
class Places:
    """Finds the files that the names in one label file mean, and counts the names that had to be interpreted.

    Attributes:
        folder: where the names start.
        files: below the source, which no name may lead out of.
        hints: folder names that distinguish files of the same name (`train`), lower case.
        key: the label file's key for a name, for messages.
        counts: number of names that were interpreted in each way, with an example.
    """

    folder: Path
    files: Files
    hints: frozenset[str] = frozenset()
    key: str = "file_name"
    counts: dict[How, tuple[int, str, Path]] = field(default_factory=dict)

    def find(self, name: str) -> Path:
        """The file that a name means.

        Raises:
            NotThere: there is none, or it leads out of the source.
            DatasetError: it can't be looked up, or may be one of several.
        """
        given = self.folder / name
        inside, exists = self._look(name, given)
        if inside and exists:
            return given
        if exists:
            raise self._leads_out(name)
        rewritten = slashed(name)
        if rewritten != name and all(self._look(name, self.folder / rewritten)):
            return self._counted("slashes", name, self.folder / rewritten)
        found = self._elsewhere(name, rewritten)
        if found is None and not inside:
            raise self._leads_out(name)
        if found is None:
            others = self.files.siblings(PurePosixPath(rewritten).name)
            near = f"; {_shown(others[0], self.files.root)} is there, with another suffix" if others else ""
            raise NotThere(f"no file {given}{near}", "Put the image there, or take it out of the annotation file.")
        return found

    def _leads_out(self, name: str) -> LeadsOut:
        link = "is a link that " if (self.folder / name).is_symlink() else ""
        return LeadsOut(f"{self.key} {name!r} {link}leads out of the folder", f"Move the image into {self.files.root}.")

    def _look(self, name: str, path: Path) -> tuple[bool, bool]:
        """Whether a path lies in the source when all links are followed, and whether it is a file."""
        try:
            return path.resolve().is_relative_to(self.files.real_root), path.is_file()
        except (OSError, RuntimeError, ValueError) as error:  # too long, a link to itself, not a name on this system
            raise DatasetError(f"{self.key}: {short(name)} can't be looked up. Correct the file.") from error

    def _elsewhere(self, name: str, rewritten: str) -> Path | None:
        """The file below the source that shares most of its last parts with the name."""
        wanted = [part for part in _DRIVE.sub("", rewritten).split("/") if part not in ("", ".", "..")]
        if not wanted:
            return None
        candidates = [path for path in self.files.named(wanted[-1]) if all(self._look(name, path))]
        folder = _folded(wanted[-2]) if len(wanted) > 1 else ""
        if folder in self.files.folders:  # the name's own folder exists, so a file in another folder is a different one
            candidates = [path for path in candidates if folder in map(_folded, path.parts[:-1])]
        for better in (self._shared(wanted, _folded), self._shared(wanted, str), self._hinted):
            scores = [better(path) for path in candidates]
            candidates = [path for path, score in zip(candidates, scores, strict=True) if score == max(scores)]
        if not candidates:
            return None
        if len(candidates) > 1:
            one, other = (_shown(path, self.files.root) for path in candidates[:2])
            raise DatasetError(
                f"{self.key} {name!r} may be {one} or {other}. Write the folder into the name, or rename one of them."
            )
        path = candidates[0]
        same = _folded(str(self.folder / rewritten)) == _folded(str(path))
        return self._counted("case" if same else "elsewhere", name, path)

    def _shared(self, wanted: Sequence[str], key: Callable[[str], str]) -> Callable[[Path], int]:
        """How many of the last parts of a path are those of the name."""

        def count(path: Path) -> int:
            pairs = zip(reversed(wanted), reversed(path.relative_to(self.files.root).parts), strict=False)
            return next((number for number, (a, b) in enumerate(pairs) if key(a) != key(b)), len(wanted))

        return count

    def _hinted(self, path: Path) -> int:
        return int(any(part.casefold() in self.hints for part in path.relative_to(self.files.root).parts[:-1]))

    def _counted(self, how: How, name: str, path: Path) -> Path:
        count, first, found = self.counts.get(how, (0, name, path))
        self.counts[how] = (count + 1, first, found)
        return path

    def notes(self) -> tuple[str, ...]:
        """A sentence for each way in which names were interpreted."""
        return tuple(
            f"{count:,} {_SAID[how][count > 1]} ({name} is {_shown(path, self.files.root)}, for example)."
            for how, (count, name, path) in sorted(self.counts.items())
        )


_SAID: dict[How, tuple[str, str]] = {
    "slashes": ("name has backslashes and is read with slashes", "names have backslashes and are read with slashes"),
    "case": (
        "name differs from its file in upper and lower case or accents",
        "names differ from their files in upper and lower case or accents",
    ),
    "elsewhere": (
        "image lies elsewhere than its name says and was found by name",
        "images lie elsewhere than their names say and were found by name",
    ),
}
"""Texts of the notes, for one name and for several."""


def _shown(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)


def hints_of(words: Iterable[str]) -> frozenset[str]:
    """Lower-case words of a label file's name, with the other spellings of a split (`val` and `valid`)."""
    found = {word.casefold() for word in words if word}
    for spellings in ({"val", "valid", "validation"}, {"train", "training"}, {"test", "testing"}):
        if found & spellings:
            found |= spellings
    return frozenset(found)
