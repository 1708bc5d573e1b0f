"""Words that come from data, made safe to show."""

from __future__ import annotations


def visible(words: str) -> str:
    """`words` with control characters and bytes that are no UTF-8 as their escapes."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in words)
