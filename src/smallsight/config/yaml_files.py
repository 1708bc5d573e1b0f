"""YAML in and out: safe, bounded, no key twice, numbers as people write them (`2e-4` is a number here)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from smallsight.errors import ConfigError

MAX_BYTES = 1_000_000
MAX_DEPTH = 30
MAX_NODES = 30_000
"""Values in a document, keys included: a few seconds of reading."""
MAX_NUMBER = 100
"""Characters of a number: YAML's notation to the base of 60 takes time by the square of its length."""


class _Loader(yaml.SafeLoader):
    """Safe loader that reads floats as YAML 1.2 does, refuses aliases, tags and a key given twice."""

    depth = nodes = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        self.depth, self.nodes = self.depth + 1, self.nodes + 1
        if self.depth > MAX_DEPTH:
            raise yaml.YAMLError(f"nested deeper than {MAX_DEPTH} levels")
        if self.nodes > MAX_NODES:
            raise yaml.YAMLError(f"more than {MAX_NODES} values")
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases (*name) are not allowed")
        if tag := getattr(self.peek_event(), "tag", None):  # type: ignore[no-untyped-call]
            raise yaml.YAMLError(f"tags ({tag}) are not allowed")
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        if node.tag.endswith((":int", ":float")) and len(node.value) > MAX_NUMBER:
            raise yaml.YAMLError(f"a number of {len(node.value)} characters, expected at most {MAX_NUMBER}")
        return super().construct_object(node, deep)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            name = str(getattr(key, "value", key))
            if name in seen:
                line = key.start_mark.line + 1
                raise yaml.YAMLError(f"line {line}: the key {name!r} is given twice")
            seen.add(name)
        return super().construct_mapping(node, deep)


class _Dumper(yaml.SafeDumper):
    """Safe dumper that quotes what `_Loader` would take for a number."""


for _side in (_Loader, _Dumper):
    _side.add_implicit_resolver(
        "tag:yaml.org,2002:float",
        re.compile(r"^[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)[eE][-+]?[0-9]+$"),
        list("-+.0123456789"),
    )


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file; an empty file is an empty mapping.

    Raises:
        ConfigError: the file is missing, too large, not YAML, or no mapping.
    """
    if not path.is_file():
        raise ConfigError(f"{path}: no such file. Give the path of a YAML file.")
    if path.stat().st_size > MAX_BYTES:
        raise ConfigError(f"{path}: {path.stat().st_size} bytes, expected at most {MAX_BYTES}. Is it a YAML file?")
    content = parse_yaml(path.read_bytes(), str(path))
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: got {type(content).__name__} at the top, expected keys and values.")
    return content


def parse_yaml(text: bytes | str, where: str) -> Any:
    """Any YAML value.

    Raises:
        ConfigError: not YAML; `where` begins the message.
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
        raise ConfigError(f"{where}: not readable as YAML: {_reason(error)}. Correct it there.") from error


def _reason(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    if isinstance(error, yaml.MarkedYAMLError) and mark is not None:
        words = ", ".join(filter(None, (error.context, error.problem)))
        return f"line {mark.line + 1}, column {mark.column + 1}: {words}"
    return re.sub(r' in "<[^>]*>"', "", " ".join(str(error).split()))


def to_yaml(content: Any) -> str:
    """Plain values as YAML, in the given order."""
    return str(yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120))
