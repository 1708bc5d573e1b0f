"""Format figures, counts, settings and texts for people."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from smallsight.records import Estimate, shown


def visible(words: str) -> str:
    """`words` with control characters and bytes that are no UTF-8 as their escapes."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in words)


def counted(n: int, noun: str) -> str:
    """`1 epoch`, `2 epochs`."""
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def written(figure: float | Estimate, spec: str = ".3f") -> str:
    """A figure, with its interval where it has one; `n/a` where it is not known. What rounds to zero has no minus."""
    if isinstance(figure, Estimate):
        interval = "" if math.isnan(figure.low) or not figure.known else f" [{ends(figure, spec)}]"
        return written(figure.value, spec) + interval
    return shown(figure, spec)


def ends(figure: Estimate, spec: str = ".3f") -> str:
    """The two ends of an interval."""
    return f"{written(figure.low, spec)}, {written(figure.high, spec)}"


def ends_of(values: tuple[float, float], spec: str = ".3f") -> str:
    """`0.62 to 0.64`; one figure where both are written alike."""
    low, high = (written(value, spec) for value in values)
    return low if low == high else f"{low} to {high}"


Rows = tuple[tuple[str, ...], ...]


def filled(head: tuple[str, ...], rows: Rows) -> tuple[tuple[str, ...], Rows]:
    """A table without the columns in which all cells are empty."""
    kept = [index for index in range(len(head)) if any(row[index] for row in rows)]
    return tuple(head[i] for i in kept), tuple(tuple(row[i] for i in kept) for row in rows)


def setting(value: Any) -> str:
    """A value of a configuration as its file writes it; `not set` for None, `none` for an empty list or table."""
    if value is None:
        return "not set"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {setting(item)}" for key, item in value.items()) or "none"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(setting, value)) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)
