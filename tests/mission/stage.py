"""The author's situation in small: rendered frames, the document's configurations, and an old checkpoint of epoch 39.

RF-DETR can't learn on a CPU in minutes, so the embedded detector takes its place, wrapped in a file of the old layout:
`model`, `ema_model`, `optimizer`, `lr_scheduler`, `epoch` (counted from 0) and `args` as a Namespace.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from builders import RECORDED_MAP_SMALL
from mission.document import (
    BEFORE_FIRST,
    BEFORE_LAST,
    CONFIGS,
    NOT_RECORDED,
    RECORDED_OVERALL,
)
from smallsight.config.yaml_files import to_yaml

REPOSITORY = Path(__file__).parents[2]
SCALE = 3.5
"""The frames are so much smaller than the author's, and so is the resolution."""


@dataclass(frozen=True)
class Size:
    """How large the stand-in is.

    Attributes:
        images: rendered, in all splits.
        later_epochs: of each phase that the document gives no epochs for.
        budget_s: for `optimize`.
    """

    images: int = 120
    later_epochs: int = 2
    budget_s: float = 60


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    command: str
    code: int
    out: str
    err: str

    @property
    def text(self) -> str:
        """All that it said."""
        return self.out + self.err


@dataclass(frozen=True)
class Stage:
    """A working directory as the author has it."""

    folder: Path

    def run(self, command: str, *, stdin: str = "", timeout_s: float = 1200) -> Outcome:
        """Run a command line of the document as it stands there; `python` is this interpreter."""
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        environment = {**os.environ, "PATH": path, "COLUMNS": "120"}
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=self.folder,
            env=environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout_s,
        )
        return Outcome(command, done.returncode, done.stdout, done.stderr)

    def path(self, name: str) -> Path:
        """A file in the working directory."""
        return self.folder / name

    def json(self, name: str) -> Any:
        """A JSON file in the working directory."""
        return json.loads(self.path(name).read_text())


def lay(folder: Path, size: Size) -> Stage:
    """Render the frames, write the configurations, train up to epoch 39 and leave what the author has."""
    stage = Stage(folder)
    folder.mkdir(parents=True)
    (folder / "scripts").symlink_to(REPOSITORY / "scripts")
    must(stage.run(f"smallsight synth data --images {size.images} --size 320x180 --seed 1"))
    (folder / "configs").mkdir()
    for name, changes in CONFIGS.items():
        write_config(stage, name, **changes)
    write_config(stage, "before", start_epoch=BEFORE_FIRST, epochs=BEFORE_LAST, resolution=1120, multi_scale=False)
    must(stage.run("smallsight train --config configs/before.yaml --output-dir before"))
    (folder / "models").mkdir()
    write_old_checkpoint(folder / "before" / "checkpoint.pth", folder / "models" / "checkpoint.pth")
    write_old_history(folder / "before", folder / "training_evaluation_detailed.json")
    write_authors_history(folder / "author.json")
    return stage


def must(outcome: Outcome) -> Outcome:
    """A command that prepares, or a failure with what it said."""
    assert outcome.code == 0, f"{outcome.command}: exit code {outcome.code}\n{outcome.text[-2000:]}"
    return outcome


def write_config(stage: Stage, name: str, *, start_epoch: int, epochs: int, resolution: int, multi_scale: bool) -> None:
    """One of the document's configurations, for the embedded detector and small frames."""
    content = {
        "model": {"detector": "nano", "num_classes": 1},
        "training": {
            "batch_size": 4,
            "grad_accum_steps": 2,
            "learning_rate": 0.002,
            "weight_decay": 0.0001,
            "gradient_clip": 5.0,
            "epochs": epochs,
            "resolution": round(resolution / SCALE),
            "multi_scale": multi_scale,
            "num_workers": 0,
        },
        "sampling": {"crop_px": 128, "crops_per_image": 1},
        "dataset": {"coco_train_path": "data/train", "coco_val_path": "data/valid", "category_name": "ball"},
        "checkpoint": {"start_epoch": start_epoch},
        "output": {"output_dir": "models"},
    }
    stage.path(f"configs/{name}.yaml").write_text(to_yaml(content))


def write_old_checkpoint(ours: Path, path: Path) -> None:
    """The weights of a file of ours in the layout that the author's trainer wrote."""
    content = torch.load(ours, map_location="cpu", weights_only=True)
    old = {
        "model": content["model"],
        "ema_model": content["ema_model"],
        "optimizer": {"state": {}, "param_groups": []},
        "lr_scheduler": {"last_epoch": BEFORE_LAST},
        "epoch": BEFORE_LAST - 1,
        "args": argparse.Namespace(resolution=content["resolution"], class_names=list(content["class_names"])),
    }
    torch.save(old, path)


def write_authors_history(path: Path) -> None:
    """What the author recorded, of RF-DETR on frames of matches."""
    metrics = {
        str(epoch): {"map_small": small, "map_50_95": RECORDED_OVERALL} for epoch, small in RECORDED_MAP_SMALL.items()
    }
    path.write_text(json.dumps({"metrics": metrics}, indent=1))


def write_old_history(run: Path, path: Path) -> None:
    """The recorded figures as the author's own script wrote them: no intervals, three epochs missing."""
    rows = json.loads((run / "training_evaluation_detailed.json").read_text())["metrics"]
    kept = ("map_50_95", "map_50", "map_small", "train_loss", "val_loss")
    metrics = {
        epoch: {name: row[name] for name in kept} for epoch, row in rows.items() if int(epoch) not in NOT_RECORDED
    }
    path.write_text(json.dumps({"metrics": metrics}, indent=1))
