"""`kill -9` of the whole process tree, then the same command again: the run ends as if nothing had been."""

from __future__ import annotations

import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
import yaml

from smallsight.detectors.checkpoint import load_checkpoint
from smallsight.errors import EXIT_DONE, EXIT_INTERRUPTED, CheckpointError, RunFolderError
from smallsight.rng import keyed_generator
from smallsight.run.fold import read_state
from smallsight.run.journal import Journal
from smallsight.run.state import State
from training.frames import tiny_settings, write_data
from waiting import HANGS_S, until

STRATEGY = {
    "target": {"stop_at": "never"},
    "phases": [
        {"name": "continue", "epochs": 2},
        {"name": "multi_scale", "epochs": 2, "set": {"training.multi_scale": True}},
    ],
}
EPOCHS, BATCHES = 6, 9
"""Of each of them: 12 images, 3 crops of each, 4 in a batch."""


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("kill")
    settings = tiny_settings(write_data(folder / "data"))
    settings["sampling"]["crops_per_image"] = 3
    settings["checkpoint"] = {"every_steps": 1}
    (folder / "run.yaml").write_text(yaml.safe_dump(settings))
    (folder / "strategy.yaml").write_text(yaml.safe_dump(STRATEGY))
    options = ["--config", str(folder / "run.yaml"), "--strategy", str(folder / "strategy.yaml"), "--json"]
    return [sys.executable, "-m", "smallsight", "optimize", *options, "--output-dir"]


@pytest.fixture(scope="module")
def undisturbed(command: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("undisturbed") / "run"
    assert finish(command, run) == EXIT_DONE
    return run


def start(command: list[str], run: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([*command, str(run)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def finish(command: list[str], run: Path) -> int:
    return start(command, run).wait(timeout=HANGS_S)


def steps_of(run: Path, per_epoch: int) -> int:
    """Batches trained, as far as `checkpoint.pth` knows of them."""
    try:
        content = load_checkpoint(run / "checkpoint.pth")
    except CheckpointError:  # not yet there, or just between two renames
        return 0
    return (int(content["next_epoch"]) - 1) * per_epoch + int(content["skip_batches"])


def kill_tree(process: subprocess.Popen[bytes]) -> None:
    family = [process.pid, *(child.pid for child in psutil.Process(process.pid).children(recursive=True))]
    for pid in family:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    process.wait()


def what_counts(state: State) -> dict[str, Any]:
    """The state without what depends on the clock."""
    clock = {"seconds": 0.0, "images_per_second": 0.0, "peak_memory_mb": 0.0}
    records = [dataclasses.replace(record, **clock) for record in state.records]
    return {
        "records": repr(records),
        "decisions": [run.decision for run in state.runs],
        "verdicts": repr([run.verdict for run in state.runs]),
        "champion": state.champion and (state.champion.phase, state.champion.record.epoch),
        "finished": state.finished,
    }


def assert_same_end(run: Path, expected: Path) -> None:
    assert what_counts(read_state(run)) == what_counts(read_state(expected))
    for name in ("checkpoint.pth", "checkpoint_best.pth"):
        left, right = load_checkpoint(run / name), load_checkpoint(expected / name)
        assert all(torch.equal(left["ema_model"][key], right["ema_model"][key]) for key in left["ema_model"])
    epochs = [line.split(",")[0] for line in (run / "metrics.csv").read_text().splitlines()[1:]]
    assert epochs == [str(record.epoch) for record in read_state(expected).records]


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_killed_at_random_moments(command: list[str], undisturbed: Path, tmp_path: Path, seed: int) -> None:
    """After so many batches, and a little later: in a step, a save, an evaluation, a start of the next phase."""
    run, generator = tmp_path / "run", keyed_generator("kill", seed)
    for after in sorted(generator.integers(0, EPOCHS * BATCHES, size=3).tolist()):
        process = start(command, run)
        until(
            lambda after=after: steps_of(run, BATCHES) > after,  # type: ignore[misc]
            while_true=lambda process=process: process.poll() is None,  # type: ignore[misc]
            what=f"batch {after}",
        )
        time.sleep(float(generator.uniform(0, 1)))
        kill_tree(process)
    assert finish(command, run) == EXIT_DONE
    assert_same_end(run, undisturbed)


RACE = {
    "target": {"stop_at": "never"},
    "baseline": {"epochs": 1},
    "treatments": [{"name": "multi_scale", "set": {"training.multi_scale": True}}],
    "rounds": [{"arms": ["multi_scale"], "epochs": 2, "stop_behind_after": [1]}],
}


def events_of(run: Path) -> int:
    """How many events the journal holds."""
    try:
        with Journal(run / "journal.sqlite", read_only=True) as journal:
            return len(journal.events())
    except RunFolderError:  # not yet there
        return 0


def arms_of(state: State) -> list[tuple[str, str, int, list[float]]]:
    """Each arm with its verdict and its figures."""
    figures = [[record.value("map_small") for record in run.records] for run in state.runs]
    runs = zip(state.runs, figures, strict=True)
    return [(run.name, repr(run.verdict), run.crowned or 0, values) for run, values in runs]


@pytest.mark.slow
def test_a_round_killed_at_random_moments(command: list[str], tmp_path: Path) -> None:
    """Between its segments, in an arm's steps, at the look at the arms: the journal's events say where it stands."""
    strategy = tmp_path / "race.yaml"
    strategy.write_text(yaml.safe_dump(RACE))
    race = [strategy.as_posix() if word.endswith("strategy.yaml") else word for word in command]
    undisturbed, run, generator = tmp_path / "undisturbed", tmp_path / "run", keyed_generator("kill a round", 1)
    assert finish(race, undisturbed) == EXIT_DONE
    for after in sorted(generator.integers(8, events_of(undisturbed) - 4, size=3).tolist()):
        process = start(race, run)
        until(
            lambda after=after: events_of(run) > after,  # type: ignore[misc]
            while_true=lambda process=process: process.poll() is None,  # type: ignore[misc]
            what=f"event {after}",
        )
        time.sleep(float(generator.uniform(0, 1)))
        kill_tree(process)
    assert finish(race, run) == EXIT_DONE
    state, expected = read_state(run), read_state(undisturbed)
    assert what_counts(state) == what_counts(expected) and arms_of(state) == arms_of(expected)
    assert [rung.epoch for begun in state.rounds for rung in begun.rungs] == [2]
    left, right = (load_checkpoint(folder / "checkpoint_best.pth")["ema_model"] for folder in (run, undisturbed))
    assert all(torch.equal(left[key], right[key]) for key in left)


def by_hand(folder: Path) -> list[str]:
    """The mission's own command, in `folder`: it goes on from a checkpoint that it overwrites."""
    settings = tiny_settings(write_data(folder / "data"), epochs=3)
    settings["sampling"]["crops_per_image"] = 6
    (folder / "run.yaml").write_text(yaml.safe_dump(settings))
    options = ["--config", str(folder / "run.yaml"), "--json"]
    command = [sys.executable, "-m", "smallsight", "train", *options]
    assert finish([*command, "training.epochs=1", "--output-dir"], folder / "before") == EXIT_DONE
    for run in ("killed", "undisturbed"):
        (folder / run).mkdir()
        shutil.copyfile(folder / "before" / "checkpoint.pth", folder / run / "checkpoint.pth")
    return command


@pytest.mark.slow
def test_a_phase_by_hand_killed_while_its_start_is_measured_and_later(tmp_path: Path) -> None:
    command, killed = by_hand(tmp_path), tmp_path / "killed"

    def with_start(run: Path) -> list[str]:
        return [*command, "--resume", str(run / "checkpoint.pth"), "--output-dir"]

    given = (killed / "checkpoint.pth").read_bytes()
    moments = (
        killed / "phases" / "01_start" / "start.pth",
        killed / "phases" / "01_start" / "attempt_1" / "best.pth",
        killed / "phases" / "02_run" / "attempt_1" / "attempt.json",
        killed / "checkpoints" / "checkpoint_epoch_2_lightweight.pth",
    )
    for moment in moments:
        process = start(with_start(killed), killed)
        deadline = time.monotonic() + 120
        while not moment.exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        assert process.poll() is None and moment.exists()
        kill_tree(process)
        if "02_run" not in str(moment) and "checkpoints" not in str(moment):
            assert (killed / "checkpoint.pth").read_bytes() == given, "what is only measured leaves it alone"
    assert (killed / "phases" / "01_start" / "start.pth").read_bytes() == given
    assert finish(with_start(killed), killed) == EXIT_DONE
    undisturbed = tmp_path / "undisturbed"
    assert finish(with_start(undisturbed), undisturbed) == EXIT_DONE
    state = read_state(killed)
    assert [(run.name, [r.epoch for r in run.records]) for run in state.runs] == [("start", [1]), ("run", [2, 3])]
    assert repr([run.over_start for run in state.runs]) == repr(
        [run.over_start for run in read_state(undisturbed).runs]
    )
    expected = dataclasses.replace(read_state(undisturbed), runs=())
    assert state.champion and expected.champion and state.champion.record.epoch == expected.champion.record.epoch
    for name in ("checkpoint.pth", "checkpoint_best.pth"):
        left, right = load_checkpoint(killed / name), load_checkpoint(undisturbed / name)
        assert all(torch.equal(left["ema_model"][key], right["ema_model"][key]) for key in left["ema_model"])


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_polite_stop_saves_and_goes_on(command: list[str], undisturbed: Path, tmp_path: Path, number: int) -> None:
    run = tmp_path / "run"
    process = start(command, run)
    until((run / "checkpoint.pth").exists, while_true=lambda: process.poll() is None, what="a checkpoint")
    process.send_signal(number)
    assert process.wait(timeout=HANGS_S) == EXIT_INTERRUPTED
    assert finish(command, run) == EXIT_DONE
    assert_same_end(run, undisturbed)


@pytest.mark.slow
def test_a_second_call_does_nothing(command: list[str], undisturbed: Path) -> None:
    kept = [p for p in undisturbed.rglob("*") if p.suffix in (".pth", ".npz", ".csv")]
    before = {path: path.stat().st_mtime_ns for path in kept if path.name != "metrics.csv"}
    state = what_counts(read_state(undisturbed))
    assert finish(command, undisturbed) == EXIT_DONE
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert what_counts(read_state(undisturbed)) == state


@pytest.mark.slow
def test_evaluate_gives_the_figures_of_the_training(undisturbed: Path) -> None:
    import json

    state = read_state(undisturbed)
    assert state.champion is not None
    data = state.config["dataset"]["coco_val_path"]
    arguments = ["evaluate", str(undisturbed / "checkpoint_best.pth"), data, "--json"]
    output = subprocess.run(
        [sys.executable, "-m", "smallsight", *arguments], check=True, capture_output=True, text=True
    ).stdout
    found = json.loads(output)["metrics"]
    for name, estimate in state.champion.record.metrics.items():
        value = found[name]["value"]
        assert value == pytest.approx(estimate.value, abs=1e-6) if estimate.known else value is None
