"""Several processes train as one does with the same batches, and a run survives the end of any of them."""

from __future__ import annotations

import json
import math
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from hypothesis import given
from hypothesis import strategies as st

from smallsight.attempts.child import ChildTrainer
from smallsight.attempts.rendezvous import LOOPBACK_INTERFACE, Rendezvous, open_door
from smallsight.attempts.spec import AttemptResult, AttemptSpec
from smallsight.detectors.base import Losses, Target
from smallsight.detectors.nano import network as nano
from smallsight.errors import ConfigError, Interrupted
from smallsight.evaluation.detections_file import load_detections
from smallsight.records import EpochRecord
from smallsight.training.loader import BatchParts
from smallsight.training.processes import ALONE, Processes
from training.frames import attempt_spec, tiny_settings, write_discs


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


def test_processes_talk_over_the_interface_that_the_user_names() -> None:
    """Those of one machine over its own loopback, unless another one is named."""
    (alone,) = Rendezvous.of(Path("attempt.json"), {}).environments()
    assert "GLOO_SOCKET_IFNAME" not in alone or alone["GLOO_SOCKET_IFNAME"] == os.environ.get("GLOO_SOCKET_IFNAME")
    for training, name in (({"devices": 2}, LOOPBACK_INTERFACE), ({"devices": 2, "interface": "eth7"}, "eth7")):
        for environment in Rendezvous.of(Path("attempt.json"), training).environments():
            assert environment["GLOO_SOCKET_IFNAME"] == environment["NCCL_SOCKET_IFNAME"] == name


def test_an_interface_that_is_not_there_is_refused_with_those_that_are() -> None:
    with pytest.raises(ConfigError, match=rf"training.interface: eth77 has no IPv4 address.* {LOOPBACK_INTERFACE}"):
        open_door({"devices": 2, "interface": "eth77"})


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


def _say(rank: int, count: int, store: str, out: Path) -> None:
    """One of several processes that tell each other JSON and arrays."""
    dist.init_process_group("gloo", store=dist.FileStore(store, count), rank=rank, world_size=count)
    processes = Processes(rank, count, rank)
    told = processes.broadcast({"a": [1, 0.1, None, "x"]} if rank == 0 else None)
    arrays = processes.merged_arrays({rank: np.full((rank, 2), 0.1 + rank, np.float32)} if rank != 1 else {})
    figures = processes.merged({rank: math.nan if rank else 1 / 3})
    flags = [processes.any(rank == 2), processes.any(False)]
    seen = {key: [list(a.shape), a.dtype.str, a.tolist()] for key, a in sorted(arrays.items())}
    (out / f"{rank}.json").write_text(json.dumps([told, seen, figures, flags]))
    dist.destroy_process_group()


def test_what_processes_tell_each_other_arrives_as_it_is(tmp_path: Path) -> None:
    """Also where one of them has nothing to tell, or an array without rows."""
    mp.spawn(_say, (3, str(tmp_path / "store"), tmp_path), nprocs=3)
    said = [(tmp_path / f"{rank}.json").read_text() for rank in range(3)]
    assert len(set(said)) == 1
    told, arrays, figures, flags = json.loads(said[0])
    tenth = float(np.float32(2.1))
    assert told == {"a": [1, 0.1, None, "x"]} and flags == [True, False]
    assert arrays == {"0": [[0, 2], "<f4", []], "2": [[2, 2], "<f4", [[tenth] * 2] * 2]}
    assert figures["0"] == 1 / 3 and math.isnan(figures["1"]) and math.isnan(figures["2"])


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


NO_PICKLE = """\
import torch.distributed.distributed_c10d as c10d

def refuse(*arguments, **options):
    raise AssertionError("a pickled object would travel")

c10d._object_to_tensor = c10d._tensor_to_object = refuse
"""


@pytest.fixture
def no_pickle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes that are started in the test neither pickle nor unpickle what they tell each other."""
    (tmp_path / "first").mkdir()
    (tmp_path / "first" / "sitecustomize.py").write_text(NO_PICKLE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "first"), prepend=os.pathsep)


@pytest.mark.slow
def test_two_processes_have_the_losses_of_one_with_the_same_batches(
    data: Path, tmp_path: Path, no_pickle: None
) -> None:
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
