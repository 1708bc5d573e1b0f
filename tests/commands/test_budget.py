"""The wall clock as it is given."""

from __future__ import annotations

import pytest

from smallsight.commands.budget import seconds_of
from smallsight.errors import ConfigError


@pytest.mark.parametrize(("given", "seconds"), [("90s", 90), ("1.5M", 90), ("8h", 28800), (30, 30), (0.5, 0.5)])
def test_a_time_is_seconds(given: str | float, seconds: float) -> None:
    assert seconds_of(given) == seconds


@pytest.mark.parametrize("given", ["", "90", "s", "ten", "nans", "-1s", "0m", "infh", 0, -1, float("nan"), 1e7])
def test_no_time_is_refused(given: str | float) -> None:
    with pytest.raises(ConfigError, match=r"--budget: got .*, expected a time such as 90s, 20m or 8h"):
        seconds_of(given)
