r"""The description of a YOLO set (`data.yaml`): its classes, and the folders of each split's images.

Descriptions are often made on another machine. `path` is then a folder that does not exist here, Roboflow writes
`../train/images` for `train/images`, and Windows writes `train\images`. So the description's own folder is tried as
well, a leading `../` is removed, backslashes become slashes, and of an absolute path the longest end that exists here
is used. A `test` that does not exist here is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from reprlib import repr as short
from typing import Any

from smallsight.config.yaml_files import read_yaml
from smallsight.data.formats.folder_files import files_in, within
from smallsight.data.formats.numbers import whole
from smallsight.data.formats.places import slashed
from smallsight.errors import ConfigError, DatasetError

DESCRIPTIONS = ("data.yaml", "dataset.yaml", "data.yml", "dataset.yml")
_KEYS = ("train", "val", "valid", "test")


class _Missing(DatasetError):
    """No file or folder that a path of a description could mean exists."""


@dataclass(frozen=True)
class Description:
    """The content of a description.

    Attributes:
        names: class name by index.
        splits: the folders and list files of each key that names some, in the order of the keys.
        keypoints: whether the lines of the labels hold keypoints.
        notes: whole sentences on paths that were not used as written.
    """

    names: Mapping[int, str]
    splits: Mapping[str, tuple[Path, ...]]
    keypoints: bool
    notes: tuple[str, ...]


def description_in(folder: Path) -> Path | None:
    """The description of a YOLO set in a folder, None where there is none.

    Raises:
        DatasetError: there are several and none has a usual name.
    """
    for name in DESCRIPTIONS:
        if (folder / name).is_file():
            return folder / name
    found = [path for path in files_in(folder, folder, (".yaml", ".yml"), recursive=False) if describes(path)]
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise DatasetError(f"{folder}: several descriptions: {names}. Give the path of one of them.")
    return found[0] if found else None


def describes(path: Path) -> bool:
    """Whether a YAML file names classes."""
    try:
        return "names" in read_yaml(path)
    except ConfigError:
        return False


def class_names(path: Path) -> dict[int, str]:
    """The class names in a description, by index.

    Raises:
        DatasetError: it can't be read; names are missing or used twice.
    """
    return _names(path, _content(path))


@dataclass(frozen=True)
class _SplitPlace:
    """The file or folder that a path of a description means; `is_guess` where only the end of the path was found."""

    text: str
    path: Path
    is_guess: bool = False
    has_backslashes: bool = False


def read_description(path: Path) -> Description:
    """Read a description.

    Raises:
        DatasetError: it can't be read; names are missing or used twice; the images of train or val are not here, or a
            path leads out of the description's folder.
    """
    content = _content(path)
    splits: dict[str, tuple[Path, ...]] = {}
    notes: list[str] = []
    guessed: dict[Path, str] = {}
    for key in _KEYS:
        if not content.get(key):
            continue
        try:
            places = list(_places(f"{path}: {key}", path.parent, content.get("path"), content[key]))
        except _Missing as error:
            if key != "test":
                raise DatasetError(str(error)) from error
            notes.append(f"{path}: test was left out: {short(content[key])} is not there.")
            continue
        for place in (place for place in places if place.is_guess):
            if (other := guessed.setdefault(place.path, key)) != key:
                raise DatasetError(
                    f"{path}: {key}: {place.text!r} is not there, and {place.path} is {other} already. "
                    "Correct the path."
                )
            notes.append(f"{path}: {key}: {place.text!r} is not there; {place.path} was read in its place.")
        for place in (place for place in places if place.has_backslashes):
            notes.append(f"{path}: {key}: {place.text!r} has backslashes; {place.path} was read.")
        splits[key] = tuple(dict.fromkeys(place.path for place in places))
    return Description(_names(path, content), splits, "kpt_shape" in content, tuple(notes))


def _content(path: Path) -> dict[str, Any]:
    try:
        return read_yaml(path)
    except ConfigError as error:
        raise DatasetError(str(error)) from error


def _names(path: Path, content: Mapping[str, Any]) -> dict[int, str]:
    value = content.get("names")
    rows = list(enumerate(value)) if isinstance(value, list) else list(value.items()) if isinstance(value, dict) else []
    names: dict[int, str] = {}
    for key, name in rows:
        if (index := whole(key)) is None or index in names:
            raise DatasetError(f"{path}: names: {short(key)} is no class index of its own. Number the classes.")
        names[index] = str(name)
    if not names:
        raise DatasetError(f"{path}: names: missing; expected a list or a mapping of class names. Add it.")
    if len(set(names.values())) < len(names):
        raise DatasetError(f"{path}: names: a name is used twice. Give each class its own name.")
    if "nc" in content and whole(content["nc"]) != len(names):
        raise DatasetError(f"{path}: nc: got {content['nc']!r}, but there are {len(names)} names. Correct one.")
    return dict(sorted(names.items()))


def _places(where: str, root: Path, base: object, value: object) -> Iterator[_SplitPlace]:
    """The files and folders that a key of a description names, each text once."""
    seen: set[str] = set()
    for part in value if isinstance(value, list) else [value]:
        if not isinstance(part, str):
            raise DatasetError(f"{where}: got {part!r}, expected a path or a list of paths. Correct it.")
        if part not in seen:
            try:
                yield _place(where, root, base, part)
            except (OSError, ValueError) as error:  # too long, a zero byte
                raise DatasetError(f"{where}: {short(part)} can't be looked up. Correct the path.") from error
        seen.add(part)


def _place(where: str, root: Path, base: object, part: str) -> _SplitPlace:
    """The file or folder that a path in a description means."""
    bases = [root / str(base), root / slashed(str(base)), root] if base else [root]
    outside = False
    for candidate, text in _candidates(bases, root, part):
        if candidate.exists():
            if candidate.resolve().is_relative_to(root):
                return _SplitPlace(
                    part, within(candidate, root), not text, "\\" in part and bool(text) and text != part
                )
            outside = True
    if outside:
        raise DatasetError(f"{where}: {part!r} leads out of {root}. Put the description above images and labels.")
    raise _Missing(f"{where}: no file or folder {part!r} in {bases[0]}. Correct the path.")


def _candidates(bases: Iterable[Path], root: Path, part: str) -> Iterator[tuple[Path, str]]:
    """Candidates for a path, the one as written first, each with the path as it was read; '' for a guess."""
    plain = slashed(part)
    stripped = plain
    while stripped.startswith("../"):
        stripped = stripped[3:]
    for text in dict.fromkeys((part, plain, stripped)):
        yield from ((base / text, text) for base in bases)
    if plain.startswith("/") or PureWindowsPath(part).drive:
        parts = [name for name in plain.split("/")[1:] if name not in ("", ".", "..")]
        yield from ((root.joinpath(*parts[at:]), "") for at in range(1, len(parts)))
