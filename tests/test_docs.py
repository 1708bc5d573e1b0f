"""Documents: every configuration key is named with its default, and links lead somewhere."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from smallsight.config.load import Config
from smallsight.config.section import Section

ROOT = Path(__file__).parents[1]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]


def keys() -> list[tuple[str, object]]:
    found: list[tuple[str, object]] = []
    for name in Config.model_fields:
        section = getattr(Config(), name)
        found += [(f"{name}.{key}", getattr(section, key)) for key in type(section).model_fields]
    return found


@pytest.mark.parametrize(("key", "value"), keys(), ids=lambda item: item if isinstance(item, str) else "")
def test_every_key_is_documented_with_its_default(key: str, value: object) -> None:
    text = (ROOT / "docs" / "configuration.md").read_text()
    (line,) = (line for line in text.splitlines() if line.startswith(f"| `{key}` |"))
    if isinstance(value, Section):
        assert all(f"{name}: {json.dumps(getattr(value, name))}" in line for name in type(value).model_fields)
    else:
        assert line == f"| `{key}` | {json.dumps(value)} |"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(\s*([^)#\s]+)", page.read_text())
    inner = [link for link in links if "://" not in link]
    assert [link for link in inner if not (page.parent / link).exists()] == []
