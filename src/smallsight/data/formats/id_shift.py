"""Recognize ids that are all one too low or too high: annotations count from 0 and the file from 1, or the reverse."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal, get_args

from smallsight.errors import DatasetError

ShiftKey = Literal["image_id", "category_id"]
_MOST = 10**9


def parse_shift(text: str) -> tuple[ShiftKey, int]:
    """Parse `category_id=1`: which id of every annotation is shifted, and the number that is added.

    Raises:
        DatasetError: it is not of this form.
    """
    name, _, number = text.partition("=")
    for key in get_args(ShiftKey):
        digits = number.removeprefix("-").removeprefix("+")
        if name == key and digits.isascii() and digits.isdigit() and int(digits[:20]) <= _MOST:
            return key, int(number)
    raise DatasetError(f"--shift: got {text!r}, expected image_id=N or category_id=N, for example category_id=1.")


@dataclass(frozen=True)
class ShiftFault:
    """All ids of a kind are one too low or too high: `by` corrects them, `sentence` says so."""

    key: ShiftKey
    by: int
    sentence: str


def shift_fault(key: ShiftKey, used: Collection[int], known: Collection[int]) -> ShiftFault | None:
    """The shift that explains unknown ids: one side counts from 0 and the other from 1. None where no shift does.

    Args:
        key: of the annotations.
        used: the ids that annotations name.
        known: the ids that there are.
    """
    if set(used) <= set(known):
        return None
    for by, word, from_0, from_1 in ((1, "low", used, known), (-1, "high", known, used)):
        if 0 in from_0 and 0 not in from_1 and {number + by for number in used} <= set(known):
            return ShiftFault(
                key,
                by,
                f"every {key} is one too {word}: annotations name {_span(used)}, the file has {_span(known)}. "
                f"To add {by} to each, run smallsight convert with --shift {key}={by}.",
            )
    return None


def _span(ids: Collection[int]) -> str:
    low, high = min(ids), max(ids)
    return f"{low}" if low == high else f"{low} to {high}"
