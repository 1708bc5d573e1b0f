"""RF-DETR as its users know it: the mission's commands, from a file in the format that version 1.3 wrote."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml

from builders import write_coco_folder
from detectors.rfdetr.test_files import checkpoint_of_1_3, weights
from in_turn import one_at_a_time
from smallsight.attempts.messages import Caution, EpochDone, Memory, Message, Note
from smallsight.attempts.spec import AttemptResult, AttemptSpec
from smallsight.commands.train import train_one_phase
from smallsight.data.coco import read_coco
from smallsight.detectors.checkpoint import load_checkpoint, save_checkpoint
from smallsight.detectors.rfdetr.network import RFDetrDetector
from smallsight.errors import EXIT_DONE, CheckpointError
from smallsight.records import EpochRecord
from smallsight.run.fold import read_state
from smallsight.training.fit import run_attempt
from smallsight.training.start import own_checkpoint
from training.test_kill import assert_same_end, finish, kill_tree, start, steps_of
from waiting import until

pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning's advice, and what the library says of its own

CONFIGS = Path(__file__).parents[2] / "configs"
QUICK = [
    *("model.rfdetr_size=tiny", "training.resolution=64", "training.grad_accum_steps=1", "training.num_workers=0"),
    *("training.device=cpu", "training.threads=1", "evaluation.replicates=100"),
]
SHIFT = 1e-3
"""Between the file's averaged weights and its raw ones."""


class InThisProcess:
    """The trainer without its child process."""

    def __init__(self, on_progress: object) -> None:
        pass

    def __call__(
        self, spec: AttemptSpec, on_epoch: Callable[[EpochRecord], bool], on_fact: Callable[..., None]
    ) -> AttemptResult:
        spec.save()
        run_attempt(spec, _Direct(on_epoch, on_fact))
        return AttemptResult()


class _Direct:
    def __init__(self, on_epoch: Callable[[EpochRecord], bool], on_fact: Callable[..., None]) -> None:
        self._on_epoch, self._on_fact, self._go_on = on_epoch, on_fact, True

    def tell(self, message: Message) -> None:
        if isinstance(message, EpochDone):
            self._go_on = self._on_epoch(message.record)
        elif isinstance(message, (Note, Caution, Memory)):
            self._on_fact(message)

    def ask_to_go_on(self) -> bool:
        return self._go_on

    def stop_requested(self) -> bool:
        return False

    def listen_to_signals(self) -> None:
        return


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder as the mission's user has it: data, and `models/checkpoint.pth` of 38 epochs; no network."""
    write_coco_folder(tmp_path / "data" / "train", 4, (96, 64), seed=1)
    write_coco_folder(tmp_path / "data" / "valid", 2, (96, 64), seed=2)
    (tmp_path / "models").mkdir()
    torch.manual_seed(0)
    detector = RFDetrDetector(("ball",), size="tiny")
    content = checkpoint_of_1_3(detector) | {"epoch": 37, "ema_model": weights(detector, SHIFT)}
    torch.save(content, tmp_path / "models" / "checkpoint.pth")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SMALLSIGHT_DATA", "data")
    monkeypatch.setattr("smallsight.commands.workers.LocalTrainer", one_at_a_time(InThisProcess))
    monkeypatch.setattr(socket.socket, "connect", _no_network)
    return tmp_path


def _no_network(*_: object) -> None:
    raise AssertionError("asked the network")


def go_on(name: str, resume: str, *overrides: str) -> list[EpochRecord]:
    """`train` with a configuration that is shipped; the records of the whole history so far."""
    train_one_phase(CONFIGS / f"{name}.yaml", [*QUICK, *overrides], Path("models"), Path(resume))
    return list(read_state(Path("models")).records)


def lightweight(epoch: int) -> Path:
    return Path(f"models/checkpoints/checkpoint_epoch_{epoch}_lightweight.pth")


def test_the_missions_chain_from_an_old_checkpoint(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Phase 1 in two steps, phase 2 and phase 3A, with the shipped files, a smaller network and shorter phases."""
    first = ("checkpoint.start_epoch=38", "training.epochs=40")
    records = go_on("resume_20_epochs_low_memory", "models/checkpoint.pth", *first)
    assert [(record.epoch, record.phase) for record in records] == [
        (38, "start"),
        (39, "resume_20_epochs_low_memory"),
        (40, "resume_20_epochs_low_memory"),
    ]
    shown = capsys.readouterr().out
    assert "WARNING: The checkpoint has AP50 0.000 on the validation images before any training; its file does not" in (
        " ".join(shown.split())
    )
    for said in ("the optimizer's state", "the schedule of the learning rate", "ball is output 1", "in float32 on cpu"):
        assert shown.count(said) == 1
    facts = read_state(Path("models")).runs[0].attempts[0].facts
    notes = [content["text"] for kind, content in facts if kind == "note"]
    assert len(notes) == 4 and all(note in shown.replace("\n", " ") for note in notes)
    assert Path("models/phases/01_start/start.pth").is_file()

    go_on("resume_20_epochs_low_memory", "models/checkpoint.pth", "training.epochs=41")
    assert "Given checkpoint" not in (shown := capsys.readouterr().out) and "in float32" not in shown
    go_on("resume_with_multiscale", str(lightweight(41)), "checkpoint.start_epoch=41", "training.epochs=42")
    larger = ("checkpoint.start_epoch=42", "training.epochs=43", "training.resolution=96")
    records = go_on("resume_with_higher_resolution", str(lightweight(42)), *larger)
    resolutions = {38: 64, 39: 64, 40: 64, 41: 64, 42: 64, 43: 96}
    assert {record.epoch: record.resolution for record in records} == resolutions
    assert [epoch for epoch in resolutions if not lightweight(epoch).is_file()] == [38], "nothing was trained then"
    runs = read_state(Path("models")).runs
    again = [(run.start.epoch, run.records[0].resolution) for run in runs if run.start and not run.trains]
    assert again == [(42, 96)], "the only start whose figures were not known: at another resolution"
    assert [run.start.epoch for run in runs if run.start and run.trains] == [38, 40, 41, 42]
    assert all(run.over_start is not None for run in runs if run.trains)
    assert [run.decision.settings["training.multi_scale"] for run in runs if run.trains] == [False, False, True, True]
    assert load_checkpoint(lightweight(43))["resolution"] == 96


def test_raw_and_averaged_weights_carry_over_each_for_itself(project: Path) -> None:
    """Trained at a rate of nearly nothing, both are still what the old file held."""
    given = torch.load("models/checkpoint.pth", weights_only=False)
    still = ("training.epochs=39", "training.learning_rate=1.0e-9", "training.ema_epochs=1000")
    go_on("resume_20_epochs_low_memory", "models/checkpoint.pth", "checkpoint.start_epoch=38", *still)
    found, key = load_checkpoint(lightweight(39)), "transformer.decoder.layers.0.linear1.weight"
    assert torch.allclose(found["model"][f"model.{key}"], given["model"][key], atol=1e-7)
    apart = found["ema_model"][f"model.{key}"] - found["model"][f"model.{key}"]
    assert torch.allclose(apart, torch.full_like(apart, SHIFT), rtol=0.02)


def test_the_run_overwrites_no_checkpoint_but_the_one_it_starts_from(project: Path) -> None:
    given, other = Path("models/checkpoint.pth"), Path("models/other.pth")
    other.write_bytes(given.read_bytes())
    for begin in (given, other):
        assert own_checkpoint(given, begin) is None
    other.write_bytes(b"another")
    for begin in (other, None):
        with pytest.raises(CheckpointError, match=r"checkpoint.pth: not written by smallsight, or damaged, and"):
            own_checkpoint(given, begin)
    assert own_checkpoint(Path("models/none.pth"), None) is None
    content = {"detector": {}, "class_names": ["ball"], "resolution": 64, "epoch": 1, "model": {}, "ema_model": {}}
    save_checkpoint(given, content)
    for begin in (given, None):
        own = own_checkpoint(given, begin)
        assert own is not None and own["epoch"] == 1


@pytest.mark.slow
def test_the_missions_command(project: Path) -> None:
    """Phase 1's command, in processes of its own."""
    command = [sys.executable, str(CONFIGS.parent / "scripts" / "train_ball.py"), "--output-dir", "models"]
    command += ["--config", str(CONFIGS / "resume_20_epochs_low_memory.yaml"), "--resume", "models/checkpoint.pth"]
    shorter = [*QUICK, "checkpoint.start_epoch=38", "training.epochs=39"]
    done = subprocess.run([*command, *shorter], capture_output=True, text=True, env=dict(os.environ))
    assert done.returncode == 0, done.stderr
    assert "epochs 39 to 39, from models/checkpoint.pth" in done.stdout
    assert "Given checkpoint: class head" in done.stdout
    assert "Traceback" not in done.stderr
    assert lightweight(39).is_file() and list(json.loads(Path("models/status.json").read_text()))


@pytest.mark.slow
def test_killed_in_the_middle_twice(project: Path) -> None:
    """In an epoch of the baseline, then in an epoch of a later phase: the run ends as one that nothing disturbed."""
    frames = len(read_coco(Path("data/train")))
    content = {
        "model": {"rfdetr_size": "tiny"},
        "training": {"batch_size": 1, "epochs": 1, "resolution": 64, "threads": 1, "learning_rate": 0.001},
        "dataset": {"coco_train_path": "data/train", "coco_val_path": "data/valid"},
        "augmentation": {"mosaic": {"enabled": True, "off_last_epochs": 0}},
        "evaluation": {"replicates": 100},
        "checkpoint": {"every_steps": 1},
    }
    Path("run.yaml").write_text(yaml.safe_dump(content))
    plan = {"target": {"stop_at": "never"}, "phases": [{"name": "continue", "epochs": 1}]}
    Path("strategy.yaml").write_text(yaml.safe_dump(plan))
    options = ["--config", "run.yaml", "--strategy", "strategy.yaml", "--json", "--output-dir"]
    command, run = [sys.executable, "-m", "smallsight", "optimize", *options], Path("run")
    assert finish(command, Path("undisturbed")) == EXIT_DONE
    for epoch_done in (0, 1):
        process = start(command, run)
        until(
            lambda after=epoch_done * frames: steps_of(run, frames) > after,  # type: ignore[misc]
            while_true=lambda process=process: process.poll() is None,  # type: ignore[misc]
            what=f"a batch of epoch {epoch_done + 1}",
        )
        kill_tree(process)
    assert finish(command, run) == EXIT_DONE
    assert_same_end(run, Path("undisturbed"))
