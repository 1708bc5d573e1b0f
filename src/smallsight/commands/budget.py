"""Parse the wall-clock budget of a run."""

from __future__ import annotations

from smallsight.errors import ConfigError

_UNITS_S = {"s": 1, "m": 60, "h": 3600}
_MOST = 1e6


def seconds_of(budget: str | float) -> float:
    """Convert a time such as 90s, 20m or 8h, or a number of seconds, to seconds.

    Raises:
        ConfigError: it is no such time, or its number is not above 0 and below a million.
    """
    unit, value = 1.0, float("nan")
    try:
        if isinstance(budget, str):
            unit, value = _UNITS_S[budget[-1:].lower()], float(budget[:-1])
        else:
            value = float(budget)
    except (KeyError, ValueError):
        pass  # no number: refused below
    if not 0 < value < _MOST:
        raise ConfigError(f"--budget: got {budget!r}, expected a time such as 90s, 20m or 8h.")
    return value * unit
