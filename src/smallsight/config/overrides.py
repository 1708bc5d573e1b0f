"""`section.key=value` from the command line or a strategy, and how it is laid over nested values."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from smallsight.config.yaml_files import parse_yaml
from smallsight.errors import ConfigError

STRATEGY = "strategy."
"""Begins the keys of overrides that belong to the strategy."""


def parse_overrides(overrides: Sequence[str]) -> dict[str, Any]:
    """`["training.epochs=5"]` to `{"training.epochs": 5}`; values are read as YAML.

    Raises:
        ConfigError: one has no `=` or no section.
    """
    given: dict[str, Any] = {}
    for item in overrides:
        key, equals, value = item.partition("=")
        if not equals or not re.fullmatch(r"\w+(\.[\w-]+)+", key):
            raise ConfigError(f"{item}: not an override; expected section.key=value, for example training.epochs=20.")
        given[re.sub(r"^augmentation\.train\.", "augmentation.", key)] = parse_yaml(value, item)
    return given


def split_overrides(overrides: Sequence[str]) -> tuple[list[str], list[str]]:
    """Those of the configuration, and those of the strategy (`strategy.KEY=VALUE`)."""
    strategy = [item for item in overrides if item.startswith(STRATEGY)]
    return [item for item in overrides if item not in strategy], strategy


def place(content: dict[str, Any], dotted: str, value: Any) -> None:
    """Put a value where its dotted key says; the mappings on the way are copied, not changed.

    Raises:
        ConfigError: what lies on the way has no keys.
    """
    *path, last = dotted.split(".")
    for depth, name in enumerate(path):
        inner = content.get(name)
        opened = inner
        if path[0] == "augmentation" and depth == 1:
            opened = as_switch(inner)
        elif path[:2] == ["evaluation", "sets"] and depth == 2:
            opened = as_set(inner)
        if not isinstance(opened, Mapping | None):
            where = ".".join(path[: depth + 1])
            raise ConfigError(f"{dotted}: can't be set; {where} is {inner!r}, expected keys and values. Correct it.")
        content[name] = dict(opened or {})
        content = content[name]
    content[last] = value


def as_switch(value: object) -> object:
    """A bare number is a probability, a bare truth value switches on or off; a probability given switches on."""
    if isinstance(value, bool):
        return {"enabled": value}
    if isinstance(value, (int, float)):
        return {"enabled": value > 0, "prob": value}
    if isinstance(value, Mapping) and "prob" in value:
        return {"enabled": value["prob"] != 0, **value}
    return value


def as_set(value: object) -> object:
    """A bare text is the folder of an evaluation set."""
    return {"path": value} if isinstance(value, str) else value


def as_exam(value: object) -> object:
    """`none` is no exam, and neither is an empty text."""
    return None if value in ("none", "") else value


def unwrap_train(augmentation: Any) -> Any:
    """`augmentation.train.X` as `augmentation.X`; what stands under `val` or `valid` beside it is dropped.

    Anything of another shape is returned as it is.
    """
    if not isinstance(augmentation, Mapping) or not isinstance(augmentation.get("train", 0), Mapping | None):
        return augmentation
    rest = {key: item for key, item in augmentation.items() if key not in ("train", "val", "valid")}
    return {**rest, **(augmentation["train"] or {})}
