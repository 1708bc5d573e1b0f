"""`strategy.KEY=VALUE` from the command line, laid over a strategy.

A key is named as in the strategy file: `strategy.target.stop_at`. A phase is named by its name, not by its place:
`strategy.phases.copy_paste.epochs`. Where one section alone has a key, the section may be left out: `strategy.stop_at`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from smallsight.config.messages import raise_first
from smallsight.config.overrides import STRATEGY
from smallsight.config.section import Section
from smallsight.errors import ConfigError
from smallsight.strategy.plan import Phase, Plan

_DOTTED = ("set", "scale")
"""Of a phase: what follows is one key of the configuration."""
_ANY_PHASE = "phases.NAME"


def with_overrides(plan: Plan, given: Mapping[str, Any], source: str) -> Plan:
    """The plan with other values.

    Args:
        given: values by keys as they were given, `strategy.` included.
        source: the strategy's name, for messages.
    Raises:
        ConfigError: a key is unknown or belongs to several sections, or a value does not fit.
    """
    if not given:
        return plan
    content, names = plan.to_dict(), {}
    for key, value in given.items():
        path = _path(key, plan)
        names[".".join(path)] = key
        _put(content, path, key, value)
    try:
        return Plan.model_validate(content)
    except ValidationError as error:
        raise_first(error, source, Plan, names)


def _path(key: str, plan: Plan) -> list[str]:
    """Where a value belongs in the plan's plain values."""
    first, *rest = key.removeprefix(STRATEGY).split(".")
    if first == "phases" and rest:
        return ["phases", *_in_phase(key, rest, [phase.name for phase in plan.phases])]
    if first in Plan.model_fields:
        return [first, *rest]
    sections = {name: [*type(value).model_fields] for name, value in plan if isinstance(value, Section)}
    homes = [name for name, keys in (*sections.items(), (_ANY_PHASE, [*Phase.model_fields])) if first in keys]
    if not homes:
        short = (name for keys in sections.values() for name in keys)
        raise ConfigError(f"{key}: unknown key. {_nearest(first, [*Plan.model_fields, *short], Plan.model_fields)}")
    if len(homes) > 1 or homes == [_ANY_PHASE]:
        whole = (".".join([home, first, *rest]) for home in homes)
        raise ConfigError(f"{key}: part of a key. Write {' or '.join(f'{STRATEGY}{name}' for name in whole)}.")
    return [homes[0], first, *rest]


def _in_phase(key: str, rest: Sequence[str], names: Sequence[str]) -> list[str]:
    name, *inner = rest
    if name not in names:
        raise ConfigError(f"{key}: unknown phase {name}. {_nearest(name, names, names)}")
    if len(inner) > 1 and inner[0] in _DOTTED:
        inner = [inner[0], ".".join(inner[1:])]
    return [str(names.index(name)), *inner]


def _nearest(word: str, known: Sequence[str], listed: Iterable[str]) -> str:
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f"Did you mean {near[0]}?" if near else f"Known here: {', '.join(sorted(listed))}."


def _put(content: dict[str, Any], path: Sequence[str], key: str, value: Any) -> None:
    *way, last = path
    inner: Any = content
    for name in way:
        inner = inner[int(name)] if isinstance(inner, list) else inner.setdefault(name, {})
        if not isinstance(inner, dict) and inner is not content["phases"]:
            raise ConfigError(f"{key}: {name} has no keys of its own. Set {name} as a whole.")
    inner[int(last) if isinstance(inner, list) else last] = value
