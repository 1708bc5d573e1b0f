"""A cache in memory shared by forked processes: what one process has stored, the others can read."""

from __future__ import annotations

import mmap
import struct
import zlib
from collections.abc import Sequence

import numpy as np

MOST_MB = 512
_MARK = struct.Struct("<II")
"""Before each entry: its length and its checksum."""


class Shelf:
    """Byte strings by number, in shared memory; a page takes memory only after something is written to it.

    There is no lock, so a killed process can't leave one held. An entry that another process is still writing fails
    its checksum and counts as missing. Processes that are not forked have a cache each.

    Args:
        room: most bytes of each entry. Entries beyond `most_mb` in total are not stored.
        most_mb: size of all entries together.
    """

    def __init__(self, room: Sequence[int], most_mb: float = MOST_MB) -> None:
        self._room, self._most_mb = room, most_mb
        ends = np.cumsum([_MARK.size, *(_MARK.size + size for size in room)])
        self._places = [int(end) for end in ends if end <= most_mb * 1e6]
        self._memory = mmap.mmap(-1, self._places[-1] if self._places else 1)

    def __reduce__(self) -> tuple[type[Shelf], tuple[Sequence[int], float]]:
        return Shelf, (self._room, self._most_mb)

    def put(self, number: int, content: bytes) -> None:
        """Store the bytes under a number, if they fit."""
        if number + 1 < len(self._places) and len(content) <= self._room[number]:
            at = self._places[number]
            self._memory[at : at + len(content)] = content
            self._memory[at - _MARK.size : at] = _MARK.pack(len(content), zlib.crc32(content))

    def get(self, number: int) -> bytes | None:
        """The bytes stored under a number; None where there are none, or not all of them yet."""
        if number + 1 >= len(self._places):
            return None
        at = self._places[number]
        length, checksum = _MARK.unpack(self._memory[at - _MARK.size : at])
        content = self._memory[at : at + length]
        return content if length and zlib.crc32(content) == checksum else None
