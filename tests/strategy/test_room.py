"""What a run and its phases take on the disk, as an upper bound of what `keeping` leaves."""

from __future__ import annotations

import pytest

from smallsight.strategy.keeping import superfluous
from smallsight.strategy.room import RUN_FILES, Need, Sizes, in_bytes, need_of_phase, need_of_run
from strategy.test_keeping import phase, state_of

BASE = Sizes(lightweight=255_000_000, full=510_000_000)


@pytest.mark.parametrize(
    ("need", "expected"),
    [
        (need_of_phase(10, 3), Need(5, 5, 10)),
        (need_of_phase(10, 3, run_files=RUN_FILES), Need(5, 2, 10)),
        (need_of_phase(2, 3, run_files=RUN_FILES), Need(2, 2, 2)),
        (need_of_phase(10, "all", run_files=RUN_FILES), Need(10, 2, 10)),
        (need_of_run([10, 10, 1], 3), Need(8, 7, 21)),
        (need_of_run([1], 3), Need(1, 6, 1)),
        (need_of_run([10, 10, 1], "all"), Need(21, 7, 21)),
    ],
)
def test_how_many_files(need: Need, expected: Need) -> None:
    assert need == expected


@pytest.mark.parametrize("keep", [1, 3, 100])
@pytest.mark.parametrize("best", [0, 3, 7])
def test_no_run_has_more_files_than_was_said(keep: int, best: int) -> None:
    """At any epoch: written so far, less what could go before the latest was written, plus that one."""
    figures = [0.9 if index == best else 0.1 for index in range(8)]
    most = 0
    for second in range(9):
        runs = (phase(1, "a", 1, figures), *((phase(2, "b", 9, figures[:second], closed=False),) if second else ()))
        gone = [path for path in superfluous(state_of(*runs), keep) if path.parent.name == "checkpoints"]
        most = max(most, 8 + second - len(gone))
    assert most <= need_of_run([8, 8], keep).lightweight


def test_in_words() -> None:
    assert need_of_run([10] * 9, 3).in_words(BASE) == (
        "up to 8.9 GB (21 lightweight checkpoints of 255 MB, 7 full ones of 510 MB)"
    )
    need = Need(1, 1, 10)
    assert need.in_words(Sizes(1_000_000, 2_000_000, 100_000)) == (
        "up to 4 MB (1 lightweight checkpoint of 1 MB, 1 full one of 2 MB, 1 MB of detections and logs)"
    )


@pytest.mark.parametrize(
    ("count", "words"), [(0, "0 kB"), (812_345, "812 kB"), (255e6, "255 MB"), (7.94e9, "7.9 GB"), (70e9, "70 GB")]
)
def test_bytes(count: float, words: str) -> None:
    assert in_bytes(count) == words
