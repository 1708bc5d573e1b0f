"""The watchdog notices whatever a reader does; without that, no fuzzing would mean anything."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hostile.misbehaving import READERS
from hostile.watchdog import Watched
from waiting import HANGS_S


@pytest.fixture(scope="module")
def watched() -> Iterator[Watched]:
    with Watched(READERS, limit_s=HANGS_S, limit_mb=100) as started:
        yield started


@pytest.mark.parametrize(
    ("reader", "kind", "detail"),
    [
        ("reads", "read", ""),
        ("refuses", "refused", "is empty. Give another."),
        ("raises", "raised", "KeyError: 'images'"),
        ("swells", "raised", "MemoryError"),
        ("dies", "died", "ended with -6"),
        ("reads", "read", ""),
    ],
)
def test_what_a_reader_does_is_noticed(watched: Watched, tmp_path: Path, reader: str, kind: str, detail: str) -> None:
    outcome = watched(reader, tmp_path)
    assert (outcome.kind, outcome.sound) == (kind, kind in ("read", "refused"))
    assert detail in outcome.detail


def test_a_reader_that_hangs_is_noticed_and_replaced(tmp_path: Path) -> None:
    with Watched(READERS, limit_s=1) as watched:
        outcome = watched("hangs", tmp_path)
        assert (outcome.kind, outcome.sound, outcome.detail) == ("hung", False, "no answer in 1 s")
        watched.limit_s = HANGS_S
        assert watched("reads", tmp_path).kind == "read"


def test_memory_is_counted(watched: Watched, tmp_path: Path) -> None:
    assert watched("grows", tmp_path).mb > 25
    assert watched("reads", tmp_path).mb < 5
