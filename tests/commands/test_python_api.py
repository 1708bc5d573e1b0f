"""Functions for other programs: values instead of text, and the words of the command line for what is wrong."""

from __future__ import annotations

import signal
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import smallsight
from builders import write_coco_folder
from smallsight.errors import Interrupted, RunFolderError, SmallsightError, as_message
from test_cli import WRONG, Cli, FakeChild, cli, content_of, project

__all__ = ["cli", "project"]
OPTIONS = {"--config": "config", "--strategy": "strategy", "--output-dir": "output_dir", "--budget": "budget"}


def call(arguments: Sequence[str]) -> Any:
    """The call that does what a command does."""
    command, *rest = arguments
    if command == "status":
        return smallsight.Run(rest[0]).state
    options: dict[str, Any] = {}
    while rest and rest[0] in OPTIONS:
        name, value, *rest = rest
        options[OPTIONS[name]] = value
    return smallsight.optimize(**options, overrides=rest)


COMMANDS = [arguments for arguments, _ in WRONG if arguments[0] in ("optimize", "status")]


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_what_is_wrong_is_said_as_on_the_command_line(project: Path, cli: Cli, arguments: Sequence[str]) -> None:
    before = content_of(project)
    said = cli(*arguments)
    with pytest.raises(SmallsightError) as caught:
        call(arguments)
    assert as_message(caught.value) == (said.err.rstrip("\n"), said.code)
    assert content_of(project) == before


def test_evaluate_says_what_is_wrong_as_the_command_does(project: Path, cli: Cli) -> None:
    (project / "a.pth").write_text("")
    for checkpoint, data, more in (("no.pth", "data/valid", {}), ("a.pth", "data/valid", {"device": "gpu"})):
        options = [word for name, value in more.items() for word in (f"--{name}", value)]
        said = cli("evaluate", checkpoint, data, *options)
        with pytest.raises(SmallsightError) as caught:
            smallsight.evaluate(checkpoint, data, **more)
        assert as_message(caught.value) == (said.err.rstrip("\n"), said.code)


@pytest.mark.parametrize(
    "overrides", [{"training.seed": 5, "training.threads": 1}, ["training.seed=5"], "training.seed=5"]
)
def test_a_strategy_runs_and_its_run_comes_back(
    project: Path, capsys: pytest.CaptureFixture[str], overrides: Any
) -> None:
    run = smallsight.optimize("run.yaml", "strategy.yaml", overrides=overrides, output_dir="out", budget=600)
    assert run.path == Path("out") and run.state.config["training"]["seed"] == 5 and run.state.budget_s == 600
    written = capsys.readouterr()
    assert written.out == "" and "epoch 1" in written.err
    calls = FakeChild.calls
    again = smallsight.optimize("run.yaml", "strategy.yaml", overrides=overrides, output_dir="out")
    assert again.records == run.records and FakeChild.calls == calls, "nothing was left to do"


def test_the_folder_of_the_configuration_is_taken(project: Path) -> None:
    assert smallsight.optimize(project / "run.yaml", Path("strategy.yaml")).path == Path("runs/run")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_a_request_to_stop_interrupts_and_the_same_call_goes_on(
    project: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    before = signal.getsignal(number)
    with monkeypatch.context() as patch:
        patch.setattr(FakeChild, "__call__", lambda *_: signal.raise_signal(number))
        with pytest.raises(Interrupted, match="stopped by the"):
            smallsight.optimize("run.yaml", "strategy.yaml", output_dir="out")
    assert signal.getsignal(number) is before
    run = smallsight.Run("out")
    assert not run.running and not run.state.finished
    smallsight.optimize("run.yaml", "strategy.yaml", output_dir="out")
    assert run.records == () and run.refresh().state.finished


def test_it_refuses_to_run_where_a_stop_could_not_be_heard(project: Path) -> None:
    said: list[BaseException] = []

    def work() -> None:
        try:
            smallsight.optimize("run.yaml", "strategy.yaml", output_dir="out")
        except SmallsightError as error:
            said.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert "in another thread than the main one" in str(said[0]) and not (project / "out").exists()


@pytest.mark.parametrize(("error", "code"), [(PermissionError(13, "Denied", "x"), 2), (OSError(28, "Full", "x"), 1)])
def test_errors_of_the_system_become_ours(
    project: Path, monkeypatch: pytest.MonkeyPatch, error: OSError, code: int
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("smallsight.commands.train.optimize", refuse)
    with pytest.raises(SmallsightError) as caught:
        smallsight.optimize("run.yaml")
    assert as_message(caught.value) == as_message(error) and caught.value.exit_code == code


def test_a_data_set_is_read_from_its_folder_and_from_its_file(tmp_path: Path) -> None:
    write_coco_folder(tmp_path / "set", 3)
    folder = smallsight.read_coco(str(tmp_path / "set"))
    (tmp_path / "set" / "_annotations.coco.json").rename(tmp_path / "set" / "labels.json")
    file = smallsight.read_coco(tmp_path / "set" / "labels.json", class_names=["ball"])
    assert folder.images == file.images and folder.root == file.root and len(file) == 3


def test_a_place_for_results_that_is_a_folder_is_refused_before_the_work(project: Path) -> None:
    with pytest.raises(SmallsightError, match="data: is a folder, expected a file to write"):
        smallsight.evaluate("no.pth", "data/valid", results="data")


def test_a_run_that_is_none_is_told_when_it_is_asked(project: Path) -> None:
    run = smallsight.Run("nowhere")
    assert repr(run) == "Run('nowhere')" and not run.running
    with pytest.raises(RunFolderError, match=r"nowhere: no journal\.sqlite, so no run"):
        run.records  # noqa: B018
