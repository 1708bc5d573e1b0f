"""Outputs of a foreign class head that nobody knows are tried on labelled frames."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from builders import write_coco_folder
from smallsight.data.coco import Dataset, read_coco
from smallsight.detectors.foreign import ClassOutputs, ForeignFile
from smallsight.detectors.nano.network import NanoDetector
from smallsight.records import Detections
from smallsight.training import class_outputs
from smallsight.training.class_outputs import FRAMES, Trial, settled, try_outputs
from smallsight.training.predict import Prediction

NAN = math.nan
UNKNOWN = ClassOutputs((0,), 3, False, "class head: 3 outputs without names")


@pytest.mark.parametrize(
    ("ap50", "expected"),
    [
        ([[0.1, 0.7, 0.0]], {0: 1}),
        ([[0.0, 0.01, 0.0]], {}),
        ([[0.6, 0.5], [0.7, 0.1]], {0: 1, 1: 0}),  # each output is one class's
        ([[NAN, NAN], [0.3, 0.4]], {1: 1}),  # a class without objects there
        ([[0.5, 0.5]], {0: 0}),
    ],
)
def test_each_class_gets_the_output_that_finds_it_best(ap50: list[list[float]], expected: dict[int, int]) -> None:
    assert Trial(5, np.array(ap50)).assigned() == expected


@pytest.fixture
def data(tmp_path: Path) -> Dataset:
    write_coco_folder(tmp_path / "d", n_images=FRAMES + 20)
    return read_coco(tmp_path / "d")


def foreign(outputs: int) -> ForeignFile:
    torch.manual_seed(0)
    names = tuple(f"c{at}" for at in range(outputs))
    return ForeignFile(Path("f.pth"), NanoDetector(names, width=0.25).state_dict())


def finds(monkeypatch: pytest.MonkeyPatch, right: int) -> list[Any]:
    """Output `right` finds every object, the others find something beside them; returns what was asked for."""
    asked: list[Any] = []

    def predict(detector: Any, frames: Any, resolution: int) -> Prediction:
        asked.append((detector, frames, resolution))
        count, found = len(detector.class_names), []
        for truth in frames.dataset.truths:
            boxes = np.concatenate([truth.boxes + (0 if at == right else 30) for at in range(count)])
            labels = np.repeat(np.arange(count), len(truth))
            found.append(Detections(boxes.astype(np.float32), np.full(len(boxes), 0.5), labels))
        return Prediction(found, NAN)

    monkeypatch.setattr(class_outputs, "predict", predict)
    return asked


@pytest.mark.parametrize("right", [0, 1, 2])
def test_the_output_that_finds_the_objects_is_taken(right: int, data: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = finds(monkeypatch, right)
    detector = NanoDetector(data.class_names, width=0.25)
    found = settled(foreign(3), detector, UNKNOWN, data, 160)
    assert found.taken == (right,) and found.is_known and found.count == 3
    assert f"tried on {FRAMES} labelled frames at 160 px" in found.note and f"output {right} taken" in found.note
    ((whole, frames, resolution),) = asked
    assert resolution == 160 and len(frames.dataset) == FRAMES and all(len(truth) for truth in frames.dataset.truths)
    head = foreign(3).model["head.weight"]
    assert torch.equal(whole.state_dict()["head.weight"], head)


def test_what_is_known_is_not_tried(data: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = finds(monkeypatch, 0)
    known = ClassOutputs((2,), 3, True, "class head: as asked for")
    assert settled(foreign(3), NanoDetector(data.class_names, width=0.25), known, data, 160) is known
    assert not asked


def test_where_no_output_finds_anything_the_likeliest_reading_stays(
    data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    finds(monkeypatch, 7)
    found = settled(foreign(3), NanoDetector(data.class_names, width=0.25), UNKNOWN, data, 160)
    assert found.taken == UNKNOWN.taken and "no output finds anything" in found.note


def test_every_output_is_tried_for_every_class(data: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    finds(monkeypatch, 1)
    trial = try_outputs(foreign(2), NanoDetector(data.class_names, width=0.25), 2, data, 160)
    assert trial.ap50.shape == (len(data.class_names), 2) and trial.frames == FRAMES
    assert trial.ap50[0].tolist() == [0.0, 1.0]
