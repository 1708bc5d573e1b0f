"""Memory that a process shares with those forked from it: what one of them has made, the others need not make again."""

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
    """Bytes by number, in memory that is only taken where something lies.

    There is no lock to wait for, or to be left held by a process that is killed: an entry that another process is
    writing just now fails its checksum, and is not there yet. Where processes are not forked, each has its own shelf.

    Args:
        room: bytes that each entry may take; from `most_mb` on there is none.
        most_mb: of all of them together.
    """

    def __init__(self, room: Sequence[int], most_mb: float = MOST_MB) -> None:
        self._room, self._most_mb = room, most_mb
        ends = np.cumsum([_MARK.size, *(_MARK.size + size for size in room)])
        self._places = [int(end) for end in ends if end <= most_mb * 1e6]
        self._memory = mmap.mmap(-1, self._places[-1] if self._places else 1)

    def __reduce__(self) -> tuple[type[Shelf], tuple[Sequence[int], float]]:
        return Shelf, (self._room, self._most_mb)

    def put(self, number: int, content: bytes) -> None:
        """Lay something down, where there is room for it."""
        if number + 1 < len(self._places) and len(content) <= self._room[number]:
            at = self._places[number]
            self._memory[at : at + len(content)] = content
            self._memory[at - _MARK.size : at] = _MARK.pack(len(content), zlib.crc32(content))

    def get(self, number: int) -> bytes | None:
        """What lies there; None where nothing does, or not the whole of it."""
        if number + 1 >= len(self._places):
            return None
        at = self._places[number]
        length, checksum = _MARK.unpack(self._memory[at - _MARK.size : at])
        content = self._memory[at : at + length]
        return content if length and zlib.crc32(content) == checksum else None
