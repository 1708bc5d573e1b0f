"""A few hundred hostile files for every reader; `make fuzz MINUTES=10` tries many more."""

from __future__ import annotations

import pytest

from hostile.fuzz import fuzz
from hostile.readers import READERS
from hostile.watchdog import Watched

EXAMPLES = 40


@pytest.mark.parametrize("name", READERS)
def test_hostile_files_are_read_or_refused(watched: Watched, name: str) -> None:
    tally = fuzz(watched, name, EXAMPLES)
    assert tally.kinds.total() == EXAMPLES
    assert tally.kinds["refused"] > 0, "no example was hostile"
    assert [(files, outcome) for files, outcome in tally.failures] == []
