"""What is wrong with a value, and what may stand in its place: pydantic's complaints in words that teach."""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from pydantic import BaseModel, ValidationError

from smallsight.errors import ConfigError


def raise_first(
    error: ValidationError,
    source: str,
    schema: type[BaseModel],
    overridden: Mapping[str, str] | None = None,
    within: str = "",
) -> NoReturn:
    """Turn pydantic's first complaint into one line that teaches.

    Args:
        source: the file that the values come from.
        overridden: keys whose values come from the command line, each as it was given there.
        within: the dotted key that the values of `schema` stand under.
    Raises:
        ConfigError: always.
    """
    item = error.errors()[0]
    tree, loc = schema.model_json_schema(), [str(part) for part in item["loc"]]
    unknown = item["type"] in ("extra_forbidden", "invalid_key")
    names, node = _place(tree, loc[:-1] if unknown else loc)
    dotted = ".".join([*([within] if within else []), *names, *(loc[-1:] if unknown else [])])
    where = _as_given(dotted, overridden or {}) or (f"{source}: {dotted}" if dotted else source)
    if unknown:
        known = sorted(_resolved(node, tree)["properties"])
        hint = _nearest(loc[-1], known) or f"Known here: {', '.join(known)}."
        raise ConfigError(f"{where}: unknown key. {hint}") from error
    missing = item["type"] == "missing" and isinstance(item["input"], Mapping)
    got = "nothing" if missing else _shown(item["input"])
    if item["type"] == "value_error":  # our own words
        message = item["msg"].removeprefix("Value error, ")
        found = message if isinstance(item["input"], Mapping) else f"{message}; got {got}"
    else:
        found = f"got {got}, expected {_expected(node, tree)}"
    hint = _nearest(str(item["input"]), _words(node)) or node.get("advice") or _example(node)
    raise ConfigError(f"{where}: {found}. {hint}".rstrip()) from error


def _as_given(dotted: str, overridden: Mapping[str, str]) -> str | None:
    """A key as it was given on the command line; None where it was not."""
    for key, given in overridden.items():
        if f"{dotted}.".startswith(f"{key}."):
            return given + dotted[len(key) :]
        if key.startswith(f"{dotted}."):
            return given.removesuffix(key) + dotted if given.endswith(key) else given
    return None


_Node = Mapping[str, Any]
"""A place in a JSON schema: what may stand there."""


def _resolved(node: _Node, tree: _Node) -> _Node:
    return tree["$defs"][node["$ref"].rpartition("/")[2]] if "$ref" in node else node


def _place(tree: _Node, path: Sequence[str]) -> tuple[list[str], _Node]:
    """The place that a path leads to, and the names up to there; what pydantic adds to tell types apart is left out."""
    names: list[str] = []
    node = tree
    for name in path:
        within = _resolved(node, tree)
        inner = within.get("properties", {}).get(name) or within.get("items") or within.get("additionalProperties")
        if not isinstance(inner, Mapping):
            break
        names.append(name)
        node = inner
    return names, node


def _expected(node: _Node, tree: _Node) -> str:
    """What may stand at a place, in words: its description, or its type with its limits."""
    node = _resolved(node, tree)
    if "description" in node:
        return str(node["description"])
    if "anyOf" in node:
        return " or ".join(_expected(each, tree) for each in node["anyOf"] if each != {"type": "null"})
    if words := _words(node):
        return " or ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
    if "prefixItems" in node:
        return f"[low, high], each {_expected(node['prefixItems'][0], tree)}"
    if node.get("type") == "array":
        return f"a list of at most {node['maxItems']} entries" if "maxItems" in node else "a list"
    if node.get("type") in _NUMBERS:
        limits = (f"{word} {node[key]:.12g}" for key, word in _LIMITS.items() if key in node)
        return " ".join([_NUMBERS[node["type"]], *limits])
    return {"string": "a text", "boolean": "true or false"}.get(node.get("type", ""), "keys and values")


_LISTED = 4
"""Entries; longer ones are cut."""
_NUMBERS = {"integer": "a whole number", "number": "a number"}
_LIMITS = {
    "minimum": "from",
    "exclusiveMinimum": "above",
    "maximum": "up to",
    "exclusiveMaximum": "to below",
    "multipleOf": "in steps of",
}


def _words(node: _Node) -> list[str]:
    """The words that may stand at a place."""
    own = [node["const"]] if "const" in node else node.get("enum", [])
    return [str(word) for word in own] + [word for each in node.get("anyOf", []) for word in _words(each)]


def _nearest(word: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f"Did you mean {near[0]}?" if near else ""


def _example(node: _Node) -> str:
    """The default where it is a number, or a low and a high one."""
    default = node.get("default")
    is_number = isinstance(default, (int, float)) and not isinstance(default, bool)
    return f"Use {default}, for example." if is_number or (default and isinstance(default, list)) else ""


def _shown(value: Any) -> str:
    """A value as its YAML would read, cut where it is long."""
    if value is None:
        return "nothing"
    if isinstance(value, list) and len(value) <= _LISTED:
        return f"[{', '.join(map(_shown, value))}]"
    if isinstance(value, dict) and 0 < len(value) <= _LISTED:
        return f"{{{', '.join(f'{key}: {_shown(item)}' for key, item in value.items())}}}"
    return str(value).lower() if isinstance(value, bool) else reprlib.repr(value)
