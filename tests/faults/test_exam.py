"""The exam of whole runs, with real processes: nothing opens it before the end, and kills around it lose nothing."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from faults.kinds import FaultPlan
from faults.process import TESTS, run_command, start
from smallsight.errors import EXIT_DONE, EXIT_INTERRUPTED
from smallsight.records import to_json
from smallsight.run.fold import read_state
from smallsight.run.folder import RunFolder
from smallsight.run.state import State
from smallsight.strategy.runner import Runner
from training.frames import tiny_settings, write_data, write_discs
from waiting import HANGS_S, until, until_gone

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

STRATEGY = {
    "target": {"stop_at": "never"},
    "verdict": {"confidence": 0.6},
    "baseline": {"epochs": 1},
    "phases": [{"name": "longer", "epochs": 4}],
}


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data, configuration, and a run whose exam was out of reach until training and decisions were over."""
    folder = tmp_path_factory.mktemp("exam")
    write_discs(write_data(folder / "data") / "test", 10, seed=3)
    (folder / "run.yaml").write_text(yaml.safe_dump(tiny_settings(folder / "data")))
    (folder / "strategy.yaml").write_text(yaml.safe_dump(STRATEGY))
    (folder / "faults").mkdir()
    # A process of its own, not a fork of this one: a fork of what has evaluated already can hang.
    words = [sys.executable, "-c", "from faults.test_exam import without_exam; without_exam()", str(folder)]
    paths = os.pathsep.join([str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        words, env={**os.environ, "PYTHONPATH": paths}, timeout=HANGS_S, capture_output=True, text=True
    )
    assert done.returncode == EXIT_DONE, done.stdout + done.stderr
    return folder


def command(ground: Path, run: Path) -> list[str]:
    options = ["--config", str(ground / "run.yaml"), "--strategy", str(ground / "strategy.yaml")]
    return ["optimize", *options, "--output-dir", str(run), "--json"]


def without_exam() -> None:
    """The command, in this process; while it trains, judges and decides, the folder of the exam is away."""
    ground = Path(sys.argv[1])
    exam, hidden, trained = ground / "data/test", ground / "hidden", Runner.optimize

    def out_of_reach(self: Runner, *args: Any) -> State:
        exam.rename(hidden)
        try:
            return trained(self, *args)
        finally:
            hidden.rename(exam)

    Runner.optimize = out_of_reach  # type: ignore[method-assign]
    run_command(FaultPlan(ground / "faults", ()), command(ground, ground / "run"), warm=False)


def looks(run: Path) -> list[Any]:
    found: list[Any] = to_json(read_state(run).exams)
    return found


def test_a_run_trains_judges_and_decides_without_the_exam(ground: Path) -> None:
    (look,) = looks(ground / "run")
    assert look["exam"]["images"] == 10 and look["lifts"]["map_small"]["n"] > 0
    document = json.loads(RunFolder(ground / "run").report.read_text())
    assert document["exam"]["lift"] == look["lifts"]["map_small"] and document["exam"]["looks"] == 1
    told = [json.loads(path.read_text()) for path in (ground / "run/phases").rglob("attempt.json")]
    assert [spec["config"]["dataset"]["exam_path"] for spec in told] == [None, None]


def again(ground: Path, name: str) -> tuple[Path, Callable[[], Any]]:
    """The finished run without its look at the exam, and what starts it once more."""
    run, faults = ground / name, ground / f"{name}_faults"
    shutil.copytree(ground / "run", run)
    shutil.rmtree(RunFolder(run).measurements)
    RunFolder(run).journal.unlink()
    _journal_without_exam(ground / "run", run)
    faults.mkdir()
    return run, lambda: start(FaultPlan(faults, ()), command(ground, run), faults / "output.txt", warm=False)


def _journal_without_exam(source: Path, target: Path) -> None:
    from smallsight.run.journal import Journal

    with (
        Journal(RunFolder(source).journal, read_only=True) as journal,
        Journal(RunFolder(target).journal) as copy,
    ):
        for event in journal.events():
            if event.kind != "exam":
                copy.append(event.kind, **event.content)


def measuring(run: Path, done: int) -> bool:
    """Whether the process that measures has begun, after so many measurements were done."""
    files = [path.name for path in RunFolder(run).measurements.glob("*.json")]
    jobs = [name.removesuffix("_job.json") for name in files if name.endswith("_job.json")]
    begun = [key for key in jobs if f"{key}.json" not in files]
    return bool(begun) and len(files) - len(jobs) == done


@pytest.mark.parametrize("done", [0, 1])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_run_that_ends_while_it_measures_goes_on(ground: Path, number: int, done: int) -> None:
    run, begin = again(ground, f"stopped_{number}_{done}")
    process = begin()
    until(lambda: measuring(run, done), while_true=lambda: process.poll() is None, what="a measurement")
    os.kill(process.pid, number)
    code = process.wait(timeout=HANGS_S)
    assert code == (EXIT_INTERRUPTED if number == signal.SIGTERM else -signal.SIGKILL)
    assert looks(run) == [] and read_state(run).finished, "all training is kept"
    assert begin().wait(timeout=HANGS_S) == EXIT_DONE
    assert looks(run) == looks(ground / "run")
    assert not list(run.rglob("*.tmp")) and not list(RunFolder(run).measurements.glob("*_job.json"))
    until_gone([process.pid])
