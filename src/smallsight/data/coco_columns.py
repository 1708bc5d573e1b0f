"""The annotations of a COCO file as arrays, so that rules are checked for all of them at once."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from smallsight.data.formats.coco_content import Entry
from smallsight.data.formats.numbers import is_number, whole

Flags = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Column:
    """One whole number of each annotation; `known` tells where there is one, and `values` is 0 elsewhere."""

    values: Ints
    known: Flags


@dataclass(frozen=True, eq=False)
class AnnotationColumns:
    """The annotations as arrays, (N,) each and in their order.

    Attributes:
        entries: the annotations themselves.
        ids, image_ids, category_ids: whole numbers.
        boxes: (N, 4) as written in the file, NaN where `has_box` is not set.
        has_box: whether the box is four finite numbers.
        areas: px^2 as given, NaN where none is given or it is no number of 0 or more.
        area_fits: whether the area is such a number or not given.
        ignored: COCO's `iscrowd`.
        crowd_fits: whether that is 0, 1 or not given.
    """

    entries: Sequence[Entry]
    ids: Column
    image_ids: Column
    category_ids: Column
    boxes: Floats
    has_box: Flags
    areas: Floats
    area_fits: Flags
    ignored: Flags
    crowd_fits: Flags


def columns_of(annotations: Sequence[Entry]) -> AnnotationColumns:
    """The columns of annotations, as they are meant (see `formats.coco_content`)."""
    boxes, has_box = _boxes([item.get("bbox") for item in annotations])
    areas, area_fits = _areas([item.get("area") for item in annotations])
    crowds = [item.get("iscrowd") for item in annotations]
    crowd_fits = np.array([value in (0, 1, None) for value in crowds], dtype=np.bool_)
    return AnnotationColumns(
        entries=annotations,
        ids=_whole_numbers([item.get("id") for item in annotations]),
        image_ids=_whole_numbers([item.get("image_id") for item in annotations]),
        category_ids=_whole_numbers([item.get("category_id") for item in annotations]),
        boxes=boxes,
        has_box=has_box,
        areas=areas,
        area_fits=area_fits,
        ignored=np.array([bool(value) for value in crowds], dtype=np.bool_) & crowd_fits,
        crowd_fits=crowd_fits,
    )


def _whole_numbers(values: Sequence[Any]) -> Column:
    if set(map(type, values)) <= {int}:  # much faster, and the usual case
        with contextlib.suppress(OverflowError):
            return Column(np.array(values, dtype=np.int64), np.ones(len(values), dtype=np.bool_))
    numbers = [whole(value) for value in values]
    known = np.array([number is not None for number in numbers], dtype=np.bool_)
    return Column(np.array([number or 0 for number in numbers], dtype=np.int64), known)


def is_box(value: Any) -> bool:
    """Whether a JSON value is four numbers."""
    return isinstance(value, list) and len(value) == 4 and all(map(is_number, value))


def _boxes(values: Sequence[Any]) -> tuple[Floats, Flags]:
    has_box = np.array([is_box(value) for value in values], dtype=np.bool_)
    boxes = np.full((len(values), 4), np.nan)
    numbers = itertools.chain.from_iterable(itertools.compress(values, has_box))
    boxes[has_box] = np.fromiter(numbers, dtype=np.float64).reshape(-1, 4)
    return boxes, has_box


def _areas(values: Sequence[Any]) -> tuple[Floats, Flags]:
    sound = np.array([is_number(value) and value >= 0 for value in values], dtype=np.bool_)
    areas = np.full(len(values), np.nan)
    areas[sound] = np.fromiter(itertools.compress(values, sound), dtype=np.float64)
    return areas, sound | np.array([value is None for value in values], dtype=np.bool_)
