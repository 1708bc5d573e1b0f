"""The disk under a run: what is said of it before a phase and at the end, and when there is no room at all."""

from __future__ import annotations

import shutil
from collections import namedtuple
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from smallsight.attempts.jobs import Job, OneAfterAnother
from smallsight.attempts.messages import CheckpointSizes, Fact, Note
from smallsight.attempts.spec import AttemptResult, AttemptSpec
from smallsight.commands.disk import Disk, taken
from smallsight.config.load import Config
from smallsight.errors import TrainingError
from smallsight.run.state import State
from smallsight.strategy.plan import Plan
from strategy.lab import write_checkpoint
from strategy.test_keeping import A, state_of
from training.frames import attempt_spec

Usage = namedtuple("Usage", "total used free")
PLAN = Plan.model_validate({"phases": [{"name": "one", "epochs": 10}, {"name": "two", "epochs": 10}]})
SIZES = CheckpointSizes(lightweight_bytes=100_000_000, full_bytes=200_000_000)


class Bench:
    """A run folder on a disk with `free` bytes left."""

    def __init__(self, folder: Path, plan: Plan | None = PLAN, state: State | None = None) -> None:
        self.lines: list[str] = []
        self.facts: list[Fact] = []
        self.folder = folder
        folder.mkdir(exist_ok=True)
        config = Config.model_validate({"training": {"epochs": 10}})
        now = state or State(config=config.to_dict(), plan=PLAN.to_dict())
        self.disk = Disk(folder, config, plan, lambda: now, self.lines.append)

    def attempt(self, epochs: int = 10) -> AttemptResult:
        spec = attempt_spec(self.folder, Config(), first=1, last=epochs)
        ended: list[AttemptResult] = []
        train = self.disk.watched(OneAfterAnother(self._train))
        train([Job(spec, lambda record: True, self.facts.append, ended.append)])
        return ended[0]

    def _train(self, spec: AttemptSpec, on_epoch: object, on_fact: Callable[[Fact], None]) -> AttemptResult:
        on_fact(Note("hello"))
        on_fact(SIZES)
        return AttemptResult()


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    def leave(count: float) -> None:
        monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(0, 0, int(count)))

    return leave


def test_the_start_says_what_the_run_will_take(tmp_path: Path, free: Callable[[float], None]) -> None:
    free(70e9)
    bench = Bench(tmp_path)
    bench.attempt()
    bench.attempt()
    assert bench.lines == [
        "Disk: the whole run takes up to 2.3 GB (9 lightweight checkpoints of 100 MB, 7 full ones of 200 MB) with "
        "checkpoint.keep 3; 70 GB are free."
    ]
    assert bench.facts == [Note("hello"), SIZES] * 2, "what the training tells goes on to the journal"


def test_a_phase_by_hand_says_what_it_adds(tmp_path: Path, free: Callable[[float], None]) -> None:
    free(70e9)
    bench = Bench(tmp_path, plan=None)
    bench.attempt(epochs=2)
    assert bench.lines == [
        "Disk: this phase adds up to 1.2 GB (2 lightweight checkpoints of 100 MB, 5 full ones of 200 MB) with "
        "checkpoint.keep 3; 70 GB are free."
    ]


def test_a_start_that_is_only_measured_adds_no_epochs(tmp_path: Path, free: Callable[[float], None]) -> None:
    free(70e9)
    bench = Bench(tmp_path, plan=None)
    bench.attempt(epochs=0)
    assert bench.lines == []
    bench.attempt(epochs=2)
    assert "this phase adds up to" in bench.lines[0], "it is said of the phase that trains"


def test_a_disk_that_is_nearly_full_is_said_before_each_phase(tmp_path: Path, free: Callable[[float], None]) -> None:
    free(1.4e9)
    bench = Bench(tmp_path)
    bench.attempt()
    bench.attempt()
    _, first, second = bench.lines
    assert first == second
    assert first == (
        f"Warning: {tmp_path}: the disk is nearly full. Phase demo may add up to 1.5 GB (5 lightweight checkpoints of "
        "100 MB, 5 full ones of 200 MB); 1.4 GB are free. Make room, or lower checkpoint.keep (now 3)."
    )


def test_what_is_there_needs_no_room(tmp_path: Path, free: Callable[[float], None]) -> None:
    free(1.0e9)
    bench = Bench(tmp_path)
    for name in ("checkpoint.pth", "checkpoint_previous.pth", "checkpoint_best.pth"):
        (tmp_path / name).write_bytes(b"x")
    bench.attempt()
    assert not any("nearly full" in line for line in bench.lines), "0.9 GB are needed"


def test_no_room_for_the_first_checkpoint_is_an_error(tmp_path: Path, free: Callable[[float], None]) -> None:
    free(150e6)
    bench = Bench(tmp_path)
    with pytest.raises(TrainingError) as caught:
        bench.attempt()
    assert str(caught.value) == (
        f"{tmp_path}: the disk has no room for the first checkpoint of phase demo; got 150 MB free, expected 200 MB. "
        "Make room, then run the same command again."
    )


@pytest.mark.parametrize(
    ("says", "stays"),
    [
        ("weights", False),  # as earlier versions wrote it
        ("trained_in run 1", False),
        ("trained_in run 2", True),
    ],
)
def test_a_file_of_another_run_under_the_name_of_ours_stays(tmp_path: Path, says: str, stays: bool) -> None:
    (tmp_path / "checkpoints").mkdir()
    file = tmp_path / "checkpoints" / "checkpoint_epoch_1_lightweight.pth"
    write_checkpoint(file, says)
    state = state_of(A, run_id="run 1")
    Bench(tmp_path, state=state).disk.prune(state)
    assert file.exists() == stays


def test_what_a_run_has_taken(tmp_path: Path) -> None:
    """Files of others in the folder don't count."""
    (tmp_path / "checkpoints").mkdir()
    for epoch in (1, 2, 38):
        write_checkpoint(tmp_path / "checkpoints" / f"checkpoint_epoch_{epoch}_lightweight.pth", "x" * 5000)
    attempt = tmp_path / "phases" / "01_a" / "attempt_1"
    (attempt / "detections").mkdir(parents=True)
    (attempt / "best.pth").write_bytes(b"b" * 20_000)
    (attempt / "detections" / "valid_epoch_001.npz").write_bytes(b"d" * 3000)
    (tmp_path / "checkpoint.pth").write_bytes(b"c" * 20_000)
    (tmp_path / "holiday.mp4").write_bytes(b"v" * 10_000_000)
    found = taken(tmp_path, state_of(A))
    assert len(found.lightweight) == 2 and found.full == (20_000, 20_000) and found.rest == 3000
    assert found.in_words() == (
        "Disk: the run takes 53 kB: 10 kB in 2 lightweight checkpoints, 40 kB in 2 full ones, 3 kB in detections, logs "
        "and the journal."
    )


def test_arms_that_train_at_the_same_time_need_room_together(tmp_path: Path, free: Callable[[float], None]) -> None:
    """Three arms of ten epochs each: four of 200 MB and five lightweight ones of each arm are more than 4 GB."""
    free(4.0e9)
    bench = Bench(tmp_path)
    bench.attempt()
    assert not any("nearly full" in line for line in bench.lines)
    jobs = [
        Job(
            replace(attempt_spec(tmp_path, Config(), last=10), phase=name),
            lambda _: True,
            lambda _: None,
            lambda _: None,
        )
        for name in ("a", "b", "c")
    ]
    bench.disk.watched(OneAfterAnother(bench._train))(jobs)
    assert sum("nearly full" in line for line in bench.lines) == 3


def test_lightweight_checkpoints_of_arms_are_counted_as_such(tmp_path: Path) -> None:
    arm = tmp_path / "phases" / "02_arm" / "attempt_1"
    for file, size in ((arm / "checkpoints" / "checkpoint_epoch_3_lightweight.pth", 10), (arm / "best.pth", 30)):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x" * size)
    found = taken(tmp_path, State())
    assert (found.lightweight, found.full) == ((10,), (30,))
