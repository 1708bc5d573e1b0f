"""Several processes train as one does with the same batches, and a run survives the end of any of them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from run.test_state import CREATED
from smallsight.attempts.child import ChildTrainer
from smallsight.attempts.messages import Failed
from smallsight.attempts.rendezvous import Rendezvous, announced, open_door
from smallsight.attempts.spec import AttemptResult, AttemptSpec
from smallsight.commands.join import join
from smallsight.detectors.base import Losses, Target
from smallsight.detectors.nano import network as nano
from smallsight.errors import ConfigError, Interrupted
from smallsight.evaluation.detections_file import load_detections
from smallsight.records import Decision, EpochRecord, to_json
from smallsight.run.journal import Journal
from smallsight.training.loader import BatchParts
from smallsight.training.processes import ALONE, Processes
from training.frames import attempt_spec, tiny_settings, write_discs
from waiting import HANGS_S


@given(st.integers(1, 60), st.integers(1, 9), st.integers(1, 4), st.integers(0, 3))
def test_the_parts_of_a_batch_are_the_batch(samples: int, per_process: int, processes: int, skip: int) -> None:
    size = per_process * processes
    whole = list(BatchParts(samples, size, skip))
    parts = [list(BatchParts(samples, size, skip, rank, processes)) for rank in range(processes)]
    assert {len(each) for each in parts} == {len(whole)}, "all make the same steps"
    for batch, *shares in zip(whole, *parts, strict=True):
        together = [position for share in shares for position in share]
        assert sorted(set(together)) == batch and min(len(share) for share in shares) >= 1
        assert max(map(len, shares)) - min(map(len, shares)) <= 1
        if len(batch) >= processes:
            assert together == batch, "none comes twice"
        else:
            assert set(together[len(batch) :]) <= set(batch)


def test_the_place_of_a_process_comes_from_its_environment() -> None:
    assert Processes.from_environment({}) == ALONE
    meeting = Rendezvous.of(Path("attempt.json"), {"devices": 2, "num_nodes": 3})
    places = [Processes.from_environment(env) for node in range(3) for env in meeting.environments(node)]
    assert places == [Processes(rank, 6, rank % 2) for rank in range(6)]


def test_a_process_alone_inherits_nobody_elses_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where smallsight itself was started by torchrun."""
    monkeypatch.setenv("RANK", "3")
    monkeypatch.setenv("WORLD_SIZE", "4")
    (environment,) = Rendezvous.of(Path("attempt.json"), {}).environments()
    assert Processes.from_environment(environment) == ALONE


def test_the_address_is_the_users_where_it_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASTER_ADDR", "10.0.0.5")
    with socket.create_server(("", 0)) as free:
        port = free.getsockname()[1]
        monkeypatch.setenv("MASTER_PORT", str(port))
        with pytest.raises(ConfigError, match=f"MASTER_PORT: {port} can't be listened on"):
            open_door({"devices": 1, "num_nodes": 2})
    meeting = Rendezvous.of(Path("attempt.json"), {"devices": 1, "num_nodes": 2})
    assert meeting.address == "10.0.0.5"


@pytest.mark.parametrize("training", [{"devices": 2}, {"num_nodes": 2}])
def test_nobody_else_takes_the_port_of_a_meeting(training: dict[str, int]) -> None:
    door = open_door(training)
    assert door is not None
    with door:
        port = Rendezvous.of(Path("attempt.json"), training, door).port
        with pytest.raises(OSError, match="in use"):
            socket.create_server(("127.0.0.1", port)).close()
        with socket.create_connection(("127.0.0.1", port)):
            pass  # who comes early waits at the door
    assert open_door({"devices": 1}) is None


def test_a_meeting_is_announced_and_found(tmp_path: Path) -> None:
    assert announced(tmp_path) is None
    meeting = Rendezvous.of(tmp_path / "attempt.json", {"devices": 1, "num_nodes": 2})
    meeting.announce(tmp_path)
    assert announced(tmp_path) == meeting
    assert meeting.failure_of_others() is None
    meeting.write_failure(1, 1, Failed("MemoryError"))
    assert meeting.failure_of_others() == (1, Failed("MemoryError"))


BALLS = [[20.0, 20.0, 26.0, 27.0], [50.0, 12.0, 55.0, 17.0], [8.0, 40.0, 16.0, 47.0]]


@pytest.mark.parametrize("shared", [[0, 2], [1, 1], [2, 3], [3, 0]], ids=str)
def test_the_embedded_detectors_loss_over_parts_is_that_of_the_batch(
    shared: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With no, one or several objects in a part."""
    generator = torch.Generator().manual_seed(0)
    logits, boxes = torch.randn(2, 1, 32, 32, generator=generator) - 3, torch.randn(2, 4, 32, 32, generator=generator)
    targets = [_target(BALLS[:count], 1.0 + index) for index, count in enumerate(shared)]
    seen: list[torch.Tensor] = []

    def sums_of_all(sums: torch.Tensor) -> tuple[torch.Tensor, int]:
        seen.append(sums)
        return sums, 1

    monkeypatch.setattr(nano, "over_processes", sums_of_all)
    whole = nano._losses(logits, boxes, targets, 2)
    monkeypatch.setattr(nano, "over_processes", lambda sums: (seen[0], 2))
    parts = [nano._losses(logits[[i]], boxes[[i]], [targets[i]], 2) for i in range(2)]
    for name in ("heatmap", "box"):
        mean = sum(float(part.parts[name]) for part in parts) / 2
        assert mean == pytest.approx(float(whole.parts[name]), rel=1e-5)


def _target(boxes: list[list[float]], weight: float) -> Target:
    n = len(boxes)
    return Target(
        torch.tensor(boxes).reshape(n, 4),
        torch.zeros(n, dtype=torch.int64),
        torch.zeros(n, dtype=torch.bool),
        torch.full((n,), weight),
        torch.zeros(n, dtype=torch.bool),
    )


def test_alone_nothing_is_exchanged() -> None:
    losses = Losses({"box": torch.tensor(2.0)}, torch.tensor(0.5))
    assert (
        ALONE.leads and ALONE.own_part([1, 2]) == [1, 2] and ALONE.broadcast(3) == 3 and ALONE.merged({1: 2}) == {1: 2}
    )
    assert float(ALONE.mean(losses).total) == 2.0 and ALONE.any(True) and not ALONE.any(False)


# Real processes


@pytest.fixture
def data(tmp_path: Path) -> Path:
    write_discs(tmp_path / "data" / "train", 10, seed=1)
    write_discs(tmp_path / "data" / "valid", 5, seed=2)
    return tmp_path / "data"


def rfdetr(data: Path, **training: Any) -> dict[str, Any]:
    """Four images a batch; the third and last batch of an epoch has two."""
    settings = tiny_settings(data, resolution=64, gradient_clip=0.1, learning_rate=0.0005, **training)
    return {**settings, "model": {"detector": "rfdetr", "rfdetr_size": "tiny"}, "augmentation": {"zoom": 0.5}}


def train(
    run: Path, settings: dict[str, Any], on_epoch: Callable[[EpochRecord], bool] | None = None
) -> tuple[AttemptResult, dict[int, EpochRecord], AttemptSpec]:
    """An attempt in processes of its own."""
    spec = attempt_spec(run, settings)
    Path(spec.folder).mkdir(parents=True, exist_ok=True)
    records: dict[int, EpochRecord] = {}

    def keep(record: EpochRecord) -> bool:
        records[record.epoch] = record
        return on_epoch is None or on_epoch(record)

    result = ChildTrainer(lambda *_: None)(spec, keep, lambda fact: None)
    return result, records, spec


def detections(spec: AttemptSpec, epoch: int) -> list[Any]:
    return [found.boxes for found in load_detections(spec.detections(epoch))[0]]


@pytest.mark.slow
def test_two_processes_have_the_losses_of_one_with_the_same_batches(data: Path, tmp_path: Path) -> None:
    sets = {"evaluation": {"replicates": 100, "sets": {"again": {"path": str(data / "valid"), "guards": True}}}}
    one, alone, spec_1 = train(tmp_path / "one", {**rfdetr(data, batch_size=4, multi_scale=True), **sets})
    two, shared, spec_2 = train(tmp_path / "two", {**rfdetr(data, batch_size=2, multi_scale=True, devices=2), **sets})
    assert one == two == AttemptResult(), (one, two)
    assert set(alone) == set(shared) == {1, 2}
    for epoch in (1, 2):
        for name, value in alone[epoch].loss_parts.items():
            assert shared[epoch].loss_parts[name] == pytest.approx(value, rel=1e-4), (epoch, name)
        assert shared[epoch].val_loss == pytest.approx(alone[epoch].val_loss, rel=1e-4)
        pairs = zip(detections(spec_1, epoch), detections(spec_2, epoch), strict=True)
        assert all(np.allclose(mine, theirs, atol=0.05) for mine, theirs in pairs), "each image once, in its place"
        for record in (alone[epoch], shared[epoch]):
            assert repr(record.sets["again"]) == repr(dict(record.metrics)), "the same frames, the same weights"


@pytest.mark.slow
def test_an_attempt_whose_processes_are_killed_or_stopped_goes_on_as_if_nothing_had_been(
    data: Path, tmp_path: Path
) -> None:
    settings = {**rfdetr(data, batch_size=2, devices=2), "checkpoint": {"every_steps": 1}}
    _, undisturbed, _ = train(tmp_path / "undisturbed", settings)
    run = tmp_path / "disturbed"

    def kill_the_second(record: EpochRecord) -> bool:
        os.kill(_follower(run), signal.SIGKILL)
        return True

    broken, first, _ = train(run, settings, kill_the_second)
    assert broken.failure == "out_of_memory", "what the system's killer does most often"
    assert set(first) == {1}

    def stop(record: EpochRecord) -> bool:
        signal.raise_signal(signal.SIGTERM)
        return True

    with pytest.raises(Interrupted, match="stopped in epoch 2, after batch 1"):
        train(run, settings, stop)
    result, records, _ = train(run, settings)
    assert result == AttemptResult()
    assert {epoch: record.train_loss for epoch, record in records.items()} == pytest.approx(
        {epoch: record.train_loss for epoch, record in undisturbed.items()}, rel=1e-5
    )


@pytest.mark.slow
def test_another_machine_takes_part_and_says_why_it_failed(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second machine is a process of its own on this one."""
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setattr("smallsight.attempts.child.WORD_WITHIN_S", HANGS_S)
    settings = {**rfdetr(data, batch_size=2, num_nodes=2), "checkpoint": {"every_steps": 1}}
    run = tmp_path / "run"
    command = [sys.executable, "-m", "smallsight", "join", str(run), "--node", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as machine:

        def kill_the_second(record: EpochRecord) -> bool:
            os.kill(_follower(run), signal.SIGKILL)
            return True

        broken, first, _ = train(run, settings, kill_the_second)
        assert set(first) == {1} and broken.failure == "out_of_memory", "not just a lost connection"
        result, records, _ = train(run, settings)
        assert result == AttemptResult() and set(records) == {1, 2}
        assert announced(run) is None
        with Journal(run / "journal.sqlite") as journal:
            journal.append("created", **CREATED)
            journal.append("decided", decision=to_json(Decision("stop", "all done")))
        said = machine.communicate(timeout=HANGS_S)[0]
    assert machine.returncode == 0
    assert said.count("machine 1 of 0 to 1 takes part") == 2 and "exit code -9" in said
    assert said.endswith("Done.\nThe run has ended.\n")


WAITS = """\
import sys
from pathlib import Path
from smallsight.attempts.spec import AttemptSpec
from smallsight.errors import Interrupted
from smallsight.attempts.child import ChildTrainer

say = lambda spec, message: print(type(message).__name__, flush=True)
try:
    ChildTrainer(say)(AttemptSpec.load(Path(sys.argv[1])), lambda record: True, lambda fact: None)
except Interrupted as error:
    print(f"Interrupted: {error}")
"""


@pytest.mark.slow
def test_waiting_for_another_machine_is_no_hanging_and_can_be_stopped(data: Path, tmp_path: Path) -> None:
    """It says again and again that it is alive. The runner is a process of its own, which is the one to be stopped."""
    spec = attempt_spec(tmp_path / "run", rfdetr(data, batch_size=2, num_nodes=2, hang_timeout_s=HANGS_S))
    Path(spec.folder).mkdir(parents=True)
    command = [sys.executable, "-c", WAITS, str(spec.save())]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as runner:
        assert runner.stdout is not None
        assert [runner.stdout.readline() for _ in range(2)] == ["Alive\n"] * 2
        runner.terminate()
        *signs, last = runner.communicate(timeout=HANGS_S)[0].splitlines()
    assert set(signs) <= {"Alive", "Stopping"}
    assert last == "Interrupted: stopped before all processes had joined"


def test_a_machine_of_a_number_that_the_run_has_not_is_refused(tmp_path: Path) -> None:
    Rendezvous.of(tmp_path / "attempt.json", {"devices": 1, "num_nodes": 2}).announce(tmp_path)
    with pytest.raises(ConfigError, match=r"--node: this run has machines 0 to 1, 0 is the runner's; got 2"):
        join(tmp_path, 2, lambda line: None)


def _follower(run: Path) -> int:
    """The process of rank 1 that works on the run."""
    for folder in Path("/proc").iterdir():
        try:
            command, environment = (folder / "cmdline").read_bytes(), (folder / "environ").read_bytes()
        except OSError:
            continue
        if b"training.worker" in command and str(run).encode() in command and b"\0RANK=1\0" in environment:
            return int(folder.name)
    raise AssertionError("no process of rank 1")
