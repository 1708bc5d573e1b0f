"""The strategies that come with the package."""

from __future__ import annotations

from functools import cache
from importlib.resources import as_file, files

from smallsight.strategy.plan import Plan, load_plan

DEFAULT_STRATEGY = "small_objects"
_FOLDER = files("smallsight") / "strategies"


def is_shipped(name: str) -> bool:
    """Whether there is a strategy of that name."""
    return (_FOLDER / f"{name}.yaml").is_file()


@cache
def shipped_plan(name: str = DEFAULT_STRATEGY) -> Plan:
    """The strategy of that name.

    Raises:
        ConfigError: there is none.
    """
    with as_file(_FOLDER / f"{name}.yaml") as file:
        return load_plan(file)
