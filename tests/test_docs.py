"""Documents: every configuration key is named with its default, links lead somewhere, and named files are there."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
import yaml

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


def paths_in(text: str) -> list[str]:
    """What stands in backquotes and looks like a file or a folder of the repository."""
    words = re.findall(r"`([\w./-]+)`", text)
    return [word for word in words if ("/" in word or re.search(r"\.(py|md|yaml|toml)$", word)) and word != ".venv"]


def place(name: str) -> Path:
    """A path as CONTRIBUTING has it: from the root, or from the package."""
    return ROOT / name if (ROOT / name).exists() else ROOT / "src" / "smallsight" / name


def test_each_file_that_contributing_names_is_there() -> None:
    named = paths_in((ROOT / "CONTRIBUTING.md").read_text())
    assert len(named) > 25 and "strategy/tree.py" in named
    assert [name for name in named if not place(name).exists()] == []


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("metric_definitions", "evaluation/ap.py"),
        ("AREA_RANGES", "evaluation/ap.py"),
        ("centre_curves", "evaluation/matching.py"),
        ("When", "strategy/plan.py"),
        ("_checks", "strategy/conditions.py"),
        ("IsoNoise", "config/sections.py"),
        ("LabelledSet", "data/formats/labelled_set.py"),
        ("read_source", "data/sources.py"),
        ("detect_kind", "data/sources.py"),
        ("test_conditions", "tests/strategy/test_tree.py"),
        ("OURS", "config/detectors.py"),
        ("KEYS_OF_SOME", "config/detector_kind.py"),
        ("VENDORS", "tests/test_architecture.py"),
        ("IOU_THRESHOLDS", "evaluation/matching.py"),
        ("EpochRecord", "records.py"),
        ("_METRIC", "report/recorded_files.py"),
        ("_needs_a_setback", "report/timeline.py"),
        ("Augmentation", "config/sections.py"),
        ("degrade", "augment/photometric.py"),
        ("NAMES", "tests/augment/test_photometric.py"),
        ("DatasetPaths", "config/sections.py"),
        ("cached_conversion", "data/convert.py"),
        ("READERS", "tests/hostile/readers.py"),
    ],
)
def test_each_name_that_contributing_sends_to_is_there(name: str, file: str) -> None:
    assert f"`{name}`" in (ROOT / "CONTRIBUTING.md").read_text()
    assert re.search(rf"^(def|class) {name}\b|^{name}\b.*=", place(file).read_text(), flags=re.MULTILINE)


def rule(target: str) -> list[str]:
    """The words of a rule's commands in the Makefile."""
    text = (ROOT / "Makefile").read_text().replace("\\\n", " ")
    variables = dict(re.findall(r"^(\w+) \??= *(.*)$", text, flags=re.MULTILINE))
    (body,) = re.findall(rf"^{target}:.*\n((?:\t.*\n)+)", text, flags=re.MULTILINE)
    for _ in range(3):
        body = re.sub(r"\$\((\w+)\)", lambda found: variables[found[1]], body)
    return shlex.split(body)


def test_the_fast_tests_are_there() -> None:
    named = [word for word in rule("fast") if word.startswith("tests/")]
    assert len(named) > 5 and [name for name in named if not (ROOT / name).exists()] == []
    assert not any("training" in name or "faults" in name for name in named)


def test_a_commit_is_checked_as_make_lint_does_and_fetches_nothing() -> None:
    text = (ROOT / ".pre-commit-config.yaml").read_text()
    content = yaml.safe_load(text)
    hooks = [hook for repository in content["repos"] for hook in repository["hooks"]]
    assert {repository["repo"] for repository in content["repos"]} == {"local"} and "://" not in text
    assert {hook["language"] for hook in hooks} == {"system"} and not any("additional_dependencies" in h for h in hooks)
    called = [hook["entry"].removesuffix(" --force-exclude").split() for hook in hooks]
    linted = [word for word in rule("lint") if word not in (".", "--check")]
    assert [word for call in called for word in call] == linted
