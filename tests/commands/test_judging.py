"""How a run judges its phases: by clip where clips are known, each file once."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from smallsight.commands import judging
from smallsight.commands.inputs import Inputs
from smallsight.commands.judging import DetectionsJudge
from smallsight.config.load import Config
from smallsight.data.coco import ANNOTATION_FILE, read_coco
from smallsight.evaluation.detections_file import save_detections
from smallsight.records import Detections
from smallsight.run.given import Origin
from smallsight.strategy.plan import Plan
from training.frames import write_discs

FRAMES_PER_CLIP = 2


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Detections of three epochs on 12 images in 6 clips: all objects found, half of them, none."""
    write_discs(tmp_path / "valid", 12, seed=2)
    path = tmp_path / "valid" / ANNOTATION_FILE
    content = json.loads(path.read_text())
    for number, image in enumerate(content["images"]):
        image["clip"] = f"clip {number // FRAMES_PER_CLIP}"
    path.write_text(json.dumps(content))
    valid = read_coco(tmp_path / "valid")
    written = []
    for epoch, every in enumerate((1, 2, 100), 1):
        boxes = [t.boxes if i % every == 0 else t.boxes[:0] for i, t in enumerate(valid.truths)]
        found = [Detections(b, np.full(len(b), 0.9, np.float32), np.zeros(len(b), np.int64)) for b in boxes]
        written.append(tmp_path / f"valid_epoch_{epoch:03d}.npz")
        save_detections(written[-1], found, [image.id for image in valid.images])
    return written


def inputs(folder: Path, **evaluation: object) -> Inputs:
    config = Config.model_validate({"evaluation": {"replicates": 200, **evaluation}})
    return Inputs(config, "run.yaml", Plan(), read_coco(folder / "valid"), folder, Origin(), (), (), ())


@pytest.mark.parametrize(
    ("how", "over"),
    [
        ("auto", "over 12 images in 6 clips,"),
        ("images", "over 12 images (taken as independent, though they come from 6"),
    ],
)
def test_a_phase_is_judged_by_clip_unless_told_otherwise(files: list[Path], how: str, over: str) -> None:
    verdict = DetectionsJudge(inputs(files[0].parent, resample=how)).phase(files[:1], files[2:], 0.95)
    assert verdict.outcome == "improved" and over in verdict.reason


def test_each_file_is_evaluated_once(files: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Path] = []
    real = judging.detections_on
    monkeypatch.setattr(judging, "detections_on", lambda valid, path: (read.append(path), real(valid, path))[1])
    judge = DetectionsJudge(inputs(files[0].parent))
    first = judge.phase(files[:2], files[2:], 0.95)
    assert judge.phase(files[:2], files[2:], 0.95) == first
    assert judge.phase(files[2:], files[:2], 0.95).outcome == "regressed"
    assert sorted(read) == sorted(files)
