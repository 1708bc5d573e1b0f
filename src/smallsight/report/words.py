"""Figures, counts, settings and words that come from data, as people read them."""

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


def setting(value: Any) -> str:
    """A value of a configuration as its file has it; what is empty in words."""
    if value is None:
        return "not set"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {setting(item)}" for key, item in value.items()) or "none"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(setting, value)) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)
