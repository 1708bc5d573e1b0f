"""Read JSON strictly: an object must not have a key twice, and a file must not be larger than annotations can be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

MOST_BYTES = 4 << 30


def load_json(path: Path) -> Any:
    """The value in a JSON file in UTF-8, UTF-16 or UTF-32, with a byte order mark or without.

    Raises:
        ValueError: no JSON, nested too deep, a key twice in one object, or larger than an annotation file is.
        OSError: the file can't be read.
    """
    if path.stat().st_size > MOST_BYTES:
        raise ValueError(f"larger than {MOST_BYTES >> 30} GiB")
    try:
        return json.loads(path.read_bytes(), object_pairs_hook=_object)
    except RecursionError as error:
        raise ValueError("nested too deep") from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {next(name for name in content if names.count(name) > 1)!r} is given twice")
    return content
