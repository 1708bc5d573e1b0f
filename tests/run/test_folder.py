"""The names of a run's files stand in one place."""

from __future__ import annotations

import ast
from pathlib import Path

from smallsight.run.folder import AttemptFolder, RunFolder, epoch_of_lightweight

SOURCE = Path(__file__).parents[2] / "src" / "smallsight"


def names() -> set[str]:
    """The names of all files and folders that `RunFolder` and `AttemptFolder` know."""
    run, attempt = RunFolder(Path()), AttemptFolder(Path())
    plain = (getattr(each, name) for each in (run, attempt) for name in dir(each) if not name.startswith("_"))
    return {path.name for path in plain if isinstance(path, Path) and path.name}


def literals(file: Path) -> set[str]:
    """The texts in a file that name a path: the last part of each."""
    found = (node.value for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Constant))
    return {text.rpartition("/")[2] for text in found if isinstance(text, str) and "." in text}


def test_no_other_file_writes_out_the_name_of_a_file() -> None:
    known = {name for name in names() if "." in name}
    assert {"journal.sqlite", "checkpoint.pth", "best.pth", "attempt.json", ".lock"} <= known
    spelt = {str(file.relative_to(SOURCE)): literals(file) & known for file in SOURCE.rglob("*.py")}
    assert {file: found for file, found in spelt.items() if found and file != "run/folder.py"} == {}


def test_paths_are_those_of_the_documentation() -> None:
    run = RunFolder(Path("models"))
    assert run.lightweight(39) == Path("models/checkpoints/checkpoint_epoch_39_lightweight.pth")
    attempt = run.attempt(1, "baseline", 2)
    assert attempt.best == Path("models/phases/01_baseline/attempt_2/best.pth")
    assert attempt.detections(7, other=True).name == "valid_epoch_007_other.npz"
    assert run.start(1, "baseline") == Path("models/phases/01_baseline/start.pth")


def test_the_epoch_of_a_lightweight_file_is_in_its_name() -> None:
    assert epoch_of_lightweight(RunFolder(Path()).lightweight(39)) == 39
    assert epoch_of_lightweight(Path("checkpoint.pth")) is None


def test_a_file_that_the_run_overwrites_is_known(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    assert run.overwrites(tmp_path / "sub" / ".." / "checkpoint.pth")
    assert not run.overwrites(tmp_path / "other.pth") and not run.overwrites(tmp_path / "sub" / "checkpoint.pth")


def test_only_a_champion_that_is_there_is_recommended(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    assert run.to_build_on() == ""
    run.champion.write_text("weights")
    assert run.to_build_on() == f", with --resume {run.champion} to build on what was reached"
