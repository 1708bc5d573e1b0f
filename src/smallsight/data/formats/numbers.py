"""Numbers as tools write them into JSON, XML and YAML: as numbers, as text, and whole ones with decimals."""

from __future__ import annotations

import re
from typing import Any

_WHOLE = re.compile(r"\s*([+-]?)0*([0-9]{1,18})(?:\.0*)?\s*")
_DECIMAL = re.compile(r"\s*[+-]?(?:[0-9]{1,20}\.?[0-9]{0,30}|\.[0-9]{1,30})(?:[eE][+-]?[0-9]{1,3})?\s*")


def is_number(value: Any) -> bool:
    """Whether a JSON value is a finite number within 64 bits; true and false are none."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 2**63


def whole(value: Any) -> int | None:
    """The whole number that a value means: `3`, `3.0`, `"3"`, `"3.0"` and `"0003"` are 3; None for all else.

    A truth value is no number, and a text with other characters than a number's is none either.
    """
    if is_number(value):
        return int(value) if value == int(value) else None
    found = _WHOLE.fullmatch(value) if isinstance(value, str) else None
    return int(found[1] + found[2]) if found else None


def decimal(value: Any) -> int | float | None:
    """The number that a value means, also one that is written as text; None for all else."""
    if is_number(value):
        number: int | float = value
        return number
    meant = float(value) if isinstance(value, str) and _DECIMAL.fullmatch(value) else None
    return meant if is_number(meant) else None
