"""What may import what, what loads with what, and how large files and functions get."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from smallsight.config.detectors import OUR_NAMES
from waiting import HANGS_S

SOURCE = Path(__file__).parents[1] / "src" / "smallsight"
FILES = sorted(SOURCE.rglob("*.py"))
MOST_LINES, MOST_FUNCTION_LINES = 400, 50
PARSER = (
    "typer",
    "click",
    "rich",
    "shellingham",
    "annotated_doc",
    "typing_extensions",
    "pygments",
    "markdown_it",
    "mdurl",
)
"""Typer and what it may load."""

TOP = ("errors", "records", "boxes", "rng", "files", "__version__")
"""What every room may import; each of them imports nothing else of ours, but for what its own row says."""
ROOMS: dict[str, tuple[str, ...]] = {
    # room or module at the top: what of ours it may import beside itself
    "": ("commands.python_api", "commands.read_run"),
    "errors": (),
    "rng": (),
    "files": (),
    "boxes": ("errors",),
    "records": ("boxes",),
    "config": TOP,
    "run": TOP,
    "attempts": (*TOP, "run"),
    "data": (*TOP, "config"),
    "augment": (*TOP, "config"),
    "detectors": (*TOP, "config", "run", "attempts"),
    "evaluation": (*TOP, "config"),
    "doctor": (*TOP, "config", "data"),
    "synth": (*TOP, "config", "data"),
    "training": (*TOP, "config", "attempts", "data", "augment", "detectors", "evaluation", "run"),
    "strategy": (*TOP, "config", "attempts", "run"),
    "report": (*TOP, "config", "attempts", "data", "evaluation", "run", "strategy"),
    "commands": (
        *(*TOP, "config", "attempts", "data", "augment", "detectors", "evaluation", "doctor", "synth", "run"),
        *("training", "strategy", "report"),
    ),
    "cli": (
        *(*TOP, "config", "attempts", "data", "evaluation", "doctor", "synth", "run", "training", "strategy", "report"),
        "commands",
    ),
    "__main__": ("cli",),
}
VENDORS = {
    # package, the files that may import it
    "rfdetr": ("detectors/rfdetr/network.py", "detectors/rfdetr/criterion.py", "detectors/rfdetr/download.py"),
    "pytorch_lightning": ("training/*.py",),
    "torch": ("training/*.py", "detectors/*.py", "detectors/*/*.py"),
    "ray": ("attempts/ray.py",),
    "mlflow": ("training/loggers.py",),
    "typer": ("cli/*.py",),
    "rich": ("cli/*.py", "commands/*.py", "report/summary.py", "doctor/text.py"),
    "jinja2": ("doctor/page.py", "report/html.py"),
    "hotcoco": ("evaluation/*.py",),
    "pycocotools": (),
    "yaml": ("config/yaml_files.py",),
    "sqlite3": ("run/journal.py",),
}


def name_of(file: Path) -> str:
    """`data/coco.py` as `data.coco`; a package's `__init__` as the package, the topmost one as ""."""
    parts = file.relative_to(SOURCE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(text: str) -> Iterator[str]:
    """All absolute names that a file imports, those inside functions too."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"line {node.lineno}: a relative import; write the whole name"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def lies_in(module: str, package: str) -> bool:
    return f"{module}.".startswith(f"{package}.")


def violations(module: str, text: str) -> list[str]:
    room = module.partition(".")[0]
    assert room in ROOMS, f"{module}: {room} is no room of the house; add it to ROOMS"
    allowed = (*ROOMS[room], *([room] if room else []))
    ours = (name.removeprefix("smallsight.") for name in imports_of(text) if lies_in(name, "smallsight"))
    return [f"{module} imports {name}" for name in ours if not any(lies_in(name, other) for other in allowed)]


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_imports_point_one_way(file: Path) -> None:
    assert violations(name_of(file), file.read_text()) == []


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("import smallsight.data.coco", 1),
        ("def f():\n    from smallsight.training import fit", 1),
        ("import smallsight", 1),
        ("from smallsight import cli, config", 1),
        ("import numpy\nfrom smallsight.config.load import Config\nfrom smallsight.strategy import plan", 0),
    ],
)
def test_the_rule_finds_an_import_that_points_the_wrong_way(text: str, count: int) -> None:
    assert len(violations("strategy.tree", text)) == count


@pytest.mark.parametrize("package", VENDORS)
def test_each_vendor_is_talked_to_in_its_own_place(package: str) -> None:
    elsewhere = (file for file in FILES if not any(file.match(pattern) for pattern in VENDORS[package]))
    texts = ((name_of(file), file.read_text()) for file in elsewhere)
    assert [
        name for name, text in texts if package in text and any(lies_in(n, package) for n in imports_of(text))
    ] == []


def python(code: str) -> None:
    """Run a few lines in a fresh interpreter."""
    done = subprocess.run([sys.executable, "-c", code], timeout=HANGS_S, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("modules", "absent"),
    [
        ("smallsight.strategy.runner, smallsight.report.summary", "torch pytorch_lightning cv2 hotcoco matplotlib"),
        (
            "smallsight.commands.train, smallsight.commands.describe",
            "torch pytorch_lightning matplotlib rfdetr",
        ),
        ("smallsight.config.load", "torch numpy cv2 scipy rich typer"),
        ("smallsight.data.coco, smallsight.data.frames, smallsight.augment.pipeline", "torch pytorch_lightning scipy"),
        ("smallsight.evaluation.ap, smallsight.evaluation.verdict", "torch cv2"),
        ("smallsight.attempts.child, smallsight.attempts.failures", "torch pytorch_lightning"),
        ("smallsight.cli", "torch numpy cv2 scipy pydantic yaml"),
        ("smallsight", "torch numpy cv2 scipy pydantic yaml typer rich"),
        ("smallsight.commands.python_api, smallsight.commands.read_run", "torch pytorch_lightning"),
    ],
)
def test_heavy_packages_are_loaded_late(modules: str, absent: str) -> None:
    python(f"import {modules}, sys; found = set({absent.split()}) & set(sys.modules); assert not found, found")


def test_help_is_there_at_once() -> None:
    """It loads nothing but the parser, however long that takes on a machine."""
    python(
        "import sys, runpy; sys.argv = ['smallsight', '--help']\n"
        "before = set(sys.modules)\n"
        "try: runpy.run_module('smallsight', run_name='__main__')\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "else: raise AssertionError('no exit')\n"
        "loaded = {name.partition('.')[0] for name in set(sys.modules) - before} - set(sys.stdlib_module_names)\n"
        f"assert loaded <= {{'smallsight', *{PARSER}}}, loaded"
    )


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_a_detector_is_named_in_its_folder_and_in_its_record_alone(file: Path) -> None:
    """Whoever asks for a name asks for a fact, and facts stand in the record."""
    if name_of(file) == "config.detectors" or file.parent.parent.name == "detectors":
        return
    texts = (node.value for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Constant))
    assert [text for text in texts if text in OUR_NAMES] == []


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_files_and_functions_stay_short(file: Path) -> None:
    text = file.read_text()
    assert len(text.splitlines()) <= MOST_LINES
    functions = (node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    lines = {node.name: (node.end_lineno or 0) - node.lineno + 1 for node in functions}
    assert {name: count for name, count in lines.items() if count > MOST_FUNCTION_LINES} == {}


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_files_begin_with_what_they_are_for(file: Path) -> None:
    assert ast.get_docstring(ast.parse(file.read_text()))


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_no_process_unpickles_what_another_one_sends(file: Path) -> None:
    """Tensors and JSON travel; these functions of torch's send pickled objects."""
    names = {node.attr for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Attribute)}
    pickled = ("broadcast_object_list", "all_gather_object", "gather_object", "scatter_object_list")
    assert names.isdisjoint((*pickled, "send_object_list", "recv_object_list"))
