"""Read the training and the validation set that a configuration names, in any format."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from smallsight.config.load import Config, filled_path
from smallsight.data.coco import Dataset, read_coco
from smallsight.data.convert import CachedSet, cached_conversion
from smallsight.errors import ConfigError

Which = Literal["train", "val"]
_SPLITS = {"train": "train", "val": "valid"}


def read_splits(config: Config) -> tuple[Dataset, Dataset]:
    """The training and the validation set, with the same classes.

    Raises:
        ConfigError: the configuration names no folder or several, or an environment variable is not set.
        DatasetError: a YOLO or VOC folder can't be converted; see `read_coco`.
    """
    names = [config.dataset.category_name] if config.dataset.category_name else None
    train = _read(config, "train", names)
    return train, _read(config, "val", train.class_names)


def _read(config: Config, which: Which, class_names: Sequence[str] | None) -> Dataset:
    found = _split(config, which)
    dataset = read_coco(found.folder, class_names=class_names)
    return replace(dataset, notes=(*found.notes, *dataset.notes))


def _split(config: Config, which: Which) -> CachedSet:
    """The COCO folder of a split, and the notes on its conversion.

    YOLO and VOC folders are converted once per content and kept in the user's cache.

    Raises:
        ConfigError: the configuration names no folder or several, or an environment variable is not set.
        DatasetError: a YOLO or VOC folder can't be converted.
    """
    key = given_key(config, which)
    folder = filled_path(f"dataset.{key}", getattr(config.dataset, key))
    if key.startswith("coco"):
        return CachedSet(folder, ())
    kind: Literal["yolo", "voc"] = "yolo" if key.startswith("yolo") else "voc"
    return cached_conversion(folder, kind, cache_folder() / "converted", split=_SPLITS[which])


def given_key(config: Config, which: Which) -> str:
    """The key of `dataset` that names a split.

    Raises:
        ConfigError: none is given, or several are.
    """
    keys = [f"{kind}_{which}_path" for kind in ("coco", "yolo", "voc")]
    given = [key for key in keys if getattr(config.dataset, key)]
    if not given:
        raise ConfigError(
            f"dataset.{keys[0]}: not given. Add it to the configuration, or pass dataset.{keys[0]}=FOLDER."
        )
    if len(given) > 1:
        raise ConfigError(f"dataset.{given[1]}: beside dataset.{given[0]}; expected one of them. Leave one out.")
    return given[0]


def cache_folder() -> Path:
    """`$XDG_CACHE_HOME/smallsight`, or `~/.cache/smallsight`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "smallsight"
