"""The public face: docs/python.md and the examples in docstrings run, and nothing is loaded before it is used."""

from __future__ import annotations

import doctest
import inspect
import json
import os
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

import smallsight
from smallsight.cli import app
from smallsight.records import to_json
from smallsight.training.loaded import LoadedDetector
from test_architecture import python
from training.frames import write_data

ROOT = Path(__file__).parents[1]


def blocks(kind: str, page: str = "docs/python.md") -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", (ROOT / page).read_text(), flags=re.DOTALL)


@contextmanager
def inside(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


class Frame:
    """As much of `pandas.DataFrame` as the page uses; it refuses what would be no table."""

    def __init__(self, rows: list[dict[str, object]]) -> None:
        assert rows and all(row.keys() == rows[0].keys() for row in rows)
        self.columns = list(rows[0])

    def set_index(self, name: str) -> Frame:
        self.columns.remove(name)
        return self

    def __getitem__(self, names: list[str]) -> Frame:
        assert set(names) <= set(self.columns)
        return self


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """A working directory in which all examples of the page were run, one after the other, and their names."""
    folder = tmp_path_factory.mktemp("page")
    write_data(folder / "data")
    for block in blocks("yaml"):
        (folder / block.splitlines()[0].removeprefix("# ")).write_text(block)
    names: dict[str, Any] = {}
    with inside(folder), pytest.MonkeyPatch.context() as patch:
        if "pandas" not in sys.modules:
            patch.setitem(sys.modules, "pandas", SimpleNamespace(DataFrame=Frame))
        for number, block in enumerate(blocks("python"), 1):
            exec(compile(block, f"docs/python.md, block {number}", "exec"), names)
    return SimpleNamespace(folder=folder, names=names)


def test_the_page_runs(page: SimpleNamespace) -> None:
    names = page.names
    assert [record.epoch for record in names["run"].records] == [1, 2]
    assert len(names["rows"]) == 2 and len(names["everything"]) == 6
    log = (page.folder / "runs" / "mine" / "run.log").read_text()
    command = "smallsight optimize --config mine.yaml --strategy short.yaml --output-dir runs/mine --budget 1200s"
    assert f"Began: {command} training.learning_rate=0.003" in log


def test_the_figures_are_those_of_the_command(page: SimpleNamespace) -> None:
    with inside(page.folder):
        command = ["evaluate", "runs/mine/checkpoint_best.pth", "data/valid", "--device", "cpu", "--json"]
        said = json.loads(CliRunner().invoke(app, command).output)
        file = smallsight.evaluate("runs/mine/checkpoint_best.pth", "data/valid/_annotations.coco.json", device="cpu")
    assert to_json(page.names["measured"]) == said
    assert file.metrics == page.names["measured"].metrics


def test_what_the_readme_shows_runs(page: SimpleNamespace) -> None:
    shutil.copy(page.folder / "data" / "valid" / "000.png", page.folder / "frame.jpg")
    (block,) = blocks("python", "README.md")
    names: dict[str, Any] = {}
    with inside(page.folder):
        exec(compile(block, "README.md", "exec"), names)
    assert names["found"].boxes.shape[1] == 4


def documented() -> list[tuple[str, Any]]:
    """Everything public that is a function, a class, or a method or property of one."""
    found = [(name, getattr(smallsight, name)) for name in smallsight.__all__ if name != "__version__"]
    for owner in (smallsight.Run, LoadedDetector):
        found += [(f"{owner.__name__}.{name}", item) for name, item in vars(owner).items() if not name.startswith("_")]
    return [(name, item) for name, item in found if callable(item) or isinstance(item, property)]


NO_EXAMPLE = {"LoadedDetector.class_names"}
"""What another example shows."""


@pytest.mark.parametrize(("name", "item"), documented(), ids=lambda item: item if isinstance(item, str) else "")
def test_each_public_docstring_has_an_example_that_runs(page: SimpleNamespace, name: str, item: Any) -> None:
    text = inspect.getdoc(item) or ""
    example = doctest.DocTestParser().get_doctest(text, {}, name, None, None)
    assert example.examples or name in NO_EXAMPLE, f"{name} shows no example"
    said: list[str] = []
    with inside(page.folder):
        failed, _ = doctest.DocTestRunner(verbose=False).run(example, out=said.append)
    assert not failed, "".join(said)


def test_reading_a_run_changes_nothing_in_its_folder(page: SimpleNamespace) -> None:
    def look() -> dict[Path, tuple[int, bytes]]:
        files = (path for path in sorted((page.folder / "runs" / "read").rglob("*")) if path.is_file())
        return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in files}

    with inside(page.folder):
        shutil.copytree("runs/mine", "runs/read")
        Path("runs/read/checkpoint_best.pth").unlink()  # would be put back by a command
        before, run = look(), smallsight.Run("runs/read")
        assert run.report()["champion"]["path"] == str(run.champion_path)
        assert run.records and run.verdicts and run.decisions and run.champion and not run.running
    assert look() == before


def test_torch_is_loaded_when_it_is_used() -> None:
    python(
        "from smallsight import Run, evaluate, load_detector, optimize, read_coco\n"
        "import sys; assert not {'torch', 'pytorch_lightning'} & set(sys.modules)"
    )


def test_names_are_those_that_are_promised() -> None:
    assert sorted(smallsight.__all__) == smallsight.__all__ and set(smallsight.__all__) <= set(dir(smallsight))
    assert all(hasattr(smallsight, name) for name in smallsight.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'lod_detector'"):
        smallsight.lod_detector  # type: ignore[attr-defined] # noqa: B018
    said = CliRunner().invoke(app, ["--version"])
    assert (said.exit_code, said.output) == (0, f"smallsight {smallsight.__version__}\n")
