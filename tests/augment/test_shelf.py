"""What processes share: whole or not there, whoever wrote it."""

from __future__ import annotations

import multiprocessing
import pickle

import pytest

from smallsight.augment.shelf import Shelf


def test_what_was_laid_down_is_found_and_nothing_else() -> None:
    shelf = Shelf([4, 0, 300])
    assert [shelf.get(number) for number in range(3)] == [None, None, None]
    shelf.put(0, b"abc")
    shelf.put(2, bytes(300))
    assert [shelf.get(number) for number in range(3)] == [b"abc", None, bytes(300)]
    shelf.put(0, b"d")
    assert shelf.get(0) == b"d"


@pytest.mark.parametrize("content", [b"abcde", bytes(400)])
def test_what_is_larger_than_its_room_is_not_kept_and_spoils_nothing(content: bytes) -> None:
    shelf = Shelf([4, 4])
    shelf.put(1, b"next")
    shelf.put(0, content)
    assert shelf.get(0) is None
    assert shelf.get(1) == b"next"


def test_from_the_bound_on_there_is_no_room() -> None:
    shelf = Shelf([1000] * 5, most_mb=0.0021)
    for number in range(5):
        shelf.put(number, b"x")
    assert [shelf.get(number) for number in range(5)] == [b"x", b"x", None, None, None]
    assert Shelf([]).get(0) is None


def test_what_is_half_written_is_not_there() -> None:
    shelf = Shelf([100])
    shelf.put(0, b"a" * 100)
    shelf._memory[50:60] = b"b" * 10
    assert shelf.get(0) is None
    shelf.put(0, b"a" * 100)
    assert shelf.get(0) == b"a" * 100


def test_forked_processes_share_it() -> None:
    shelf = Shelf([100, 100])
    shelf.put(0, b"from the parent")
    worker = multiprocessing.get_context("fork").Process(target=lambda: shelf.put(1, shelf.get(0) or b""))
    worker.start()
    worker.join()
    assert shelf.get(1) == b"from the parent"


def test_others_get_an_empty_one() -> None:
    shelf = Shelf([100, 100])
    shelf.put(0, b"a")
    copy = pickle.loads(pickle.dumps(shelf))
    assert copy.get(0) is None
    copy.put(1, b"b")
    assert copy.get(1) == b"b"
    assert shelf.get(1) is None
