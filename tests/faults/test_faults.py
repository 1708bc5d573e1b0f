"""The fault harness itself: its plans, that it notices what is lost, and two faults in real processes."""

from __future__ import annotations

import itertools
import shutil
import sqlite3
from collections import Counter
from pathlib import Path

import pytest
import torch

from faults.harness import BATCHES, EPOCHS, Ground, Lost, _losses, _same_weights, _sound_journal, plan_of
from faults.kinds import IN_JOURNAL, IN_TRAINING, KINDS, FaultPlan
from faults.soak import OUT_OF_MEMORY, draw_kinds, table
from smallsight.detectors.checkpoint import save_checkpoint
from smallsight.run.journal import Journal
from waiting import HANGS_S

ELSEWHERE = {"data loader dies", "clock jumps"}


def test_every_kind_is_carried_out_somewhere() -> None:
    assert {*IN_TRAINING, *IN_JOURNAL, *ELSEWHERE} == set(KINDS) and len(KINDS) >= 12


def test_a_plan_is_a_function_of_its_seed(tmp_path: Path) -> None:
    kinds = list(KINDS)[:EPOCHS]
    one, same, other = (plan_of(tmp_path / name, seed, kinds) for name, seed in (("a", 1), ("b", 1), ("c", 2)))
    assert one.faults == same.faults != other.faults
    assert FaultPlan.load(one.save()) == one
    assert sorted(fault.epoch for fault in one.faults) == list(range(1, EPOCHS + 1))
    assert all(0 <= fault.batch < BATCHES for fault in one.faults)


def test_a_fault_happens_once(tmp_path: Path) -> None:
    plan = plan_of(tmp_path / "plan", 0, ["SIGTERM", "power cut"])
    first, second = plan.faults
    assert plan.take(first) and not plan.take(first) and plan.happened() == [first]
    assert plan.take(second) and plan.happened() == [first, second]


def test_every_kind_comes_and_none_that_would_end_a_phase_comes_twice() -> None:
    runs = list(itertools.islice(draw_kinds(0), 40))
    counts = Counter(kind for kinds in runs for kind in kinds)
    assert set(counts) == set(KINDS)
    assert all(len(kinds) <= EPOCHS and len(set(kinds)) == len(kinds) for kinds in runs)
    assert all(len(set(kinds) & set(OUT_OF_MEMORY)) <= 1 for kinds in runs)
    survived = Counter({("SIGTERM", True): 2, ("power cut", True): 1, ("power cut", False): 3})
    assert table(survived, 4).splitlines()[-3:] == [
        "| SIGTERM | 2 | 2 |",
        "| power cut | 4 | 1 |",
        "| **2 kinds, 4 runs** | **6** | **3** |",
    ]


def test_a_step_that_is_done_again_with_another_loss_is_noticed(tmp_path: Path) -> None:
    plan = FaultPlan(tmp_path, ())
    (tmp_path / "steps.txt").write_text("1 0 0x1.8p+1\n1 1 0x1.0p+0\n1 0 0x1.8p+1\n")
    assert _losses(plan) == {"1 0": "0x1.8p+1", "1 1": "0x1.0p+0"}
    (tmp_path / "steps.txt").write_text("1 0 0x1.8p+1\n1 0 0x1.9p+1\n")
    with pytest.raises(Lost, match="epoch and batch 1 0"):
        _losses(plan)


def test_other_weights_are_noticed(tmp_path: Path) -> None:
    content = {"detector": {}, "class_names": [], "resolution": 1, "epoch": 1}
    for name, value in (("a", 1.0), ("b", 1.0), ("c", 1.0000001)):
        weights = {"w": torch.tensor([value])}
        save_checkpoint(tmp_path / name, {**content, "model": weights, "ema_model": weights})
    _same_weights(tmp_path / "a", tmp_path / "b")
    with pytest.raises(Lost, match=r"weights that differ: got \['w'\]"):
        _same_weights(tmp_path / "a", tmp_path / "c")


def test_an_unsound_journal_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    with Journal(path) as journal:
        journal.append("a")
        journal.append("b")
    _sound_journal(path)
    with sqlite3.connect(path) as connection:
        connection.execute("update events set elapsed_s = 1e9 where number = 1")
    connection.close()
    with pytest.raises(Lost, match="clock"):
        _sound_journal(path)


@pytest.mark.slow
def test_faults_in_real_processes(tmp_path: Path) -> None:
    """As `make soak --cold` does: every process is started anew."""
    ground = Ground.lay(tmp_path / "ground", warm=False, hang_timeout_s=HANGS_S)
    plan = plan_of(tmp_path / "faults", 3, ["worker crashes", "checkpoint with a flipped bit"])
    ground.run_through(plan, tmp_path / "run")
    assert len(plan.happened()) == 2
    ground.check(plan, tmp_path / "run")
    earlier = min((ground.undisturbed / "checkpoints").glob("*_epoch_?_lightweight.pth"))
    shutil.copy(earlier, tmp_path / "run" / "checkpoint.pth")
    with pytest.raises(Lost, match="weights that differ"):
        ground.check(plan, tmp_path / "run")
