"""A checkpoint measured in a process of its own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from smallsight.attempts.measuring import measure_in_child
from smallsight.attempts.spec import AttemptSpec, MeasureSpec, load_spec
from smallsight.data.coco import read_coco
from smallsight.errors import CheckpointError, DatasetError
from smallsight.evaluation.detections_file import load_detections
from smallsight.training.fit import run_attempt
from training.frames import attempt_spec, tiny_settings, write_data
from training.test_fit import Recorder

pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning's advice


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def checkpoint(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    spec = attempt_spec(tmp_path_factory.mktemp("run"), tiny_settings(data), last=1)
    run_attempt(spec, Recorder())
    return spec.best


def measured(checkpoint: Path, data: Path, folder: Path) -> dict[str, object]:
    spec = MeasureSpec(str(checkpoint), str(data), str(folder / "figures.json"), 100, 10.0, "cpu")
    result = measure_in_child(spec, folder / "job.json", folder / "log")
    assert result.failure == "", result.message
    return dict(json.loads((folder / "figures.json").read_text()))


def test_the_figures_are_in_the_file(checkpoint: Path, data: Path, tmp_path: Path) -> None:
    figures = measured(checkpoint, data / "valid", tmp_path)
    assert figures["checkpoint"] == str(checkpoint) and "map_50" in figures["metrics"]  # type: ignore[operator]


def test_detections_are_kept_under_the_labels_that_are_asked_for(checkpoint: Path, data: Path, tmp_path: Path) -> None:
    found, kept = {}, tmp_path / "d.npz"
    for names in (("ball",), ("goal", "ball"), ("goal",)):
        spec = MeasureSpec(
            str(checkpoint),
            str(data / "valid"),
            str(tmp_path / "figures.json"),
            100,
            4.0,
            "cpu",
            str(kept),
            names,
        )
        assert measure_in_child(spec, tmp_path / "job.json", tmp_path / "log").failure == ""
        detections, ids = load_detections(kept)
        assert ids == [image.id for image in read_coco(data / "valid").images]
        found[names] = [(each.boxes.tolist(), set(each.labels.tolist())) for each in detections]
    plain, second = found[("ball",)], found[("goal", "ball")]
    assert [boxes for boxes, _ in plain] == [boxes for boxes, _ in second] and any(boxes for boxes, _ in plain)
    assert all(labels <= {0} for _, labels in plain) and all(labels <= {1} for _, labels in second)
    assert all(not boxes for boxes, _ in found[("goal",)])


def test_what_can_not_be_used_is_the_callers_error(checkpoint: Path, data: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such file"):
        measured(tmp_path / "gone.pth", data / "valid", tmp_path)
    with pytest.raises(DatasetError, match="gone"):
        measured(checkpoint, tmp_path / "gone", tmp_path)
    assert not (tmp_path / "figures.json").exists()


def test_a_specification_says_which_job_it_is(data: Path, tmp_path: Path) -> None:
    spec = attempt_spec(tmp_path, tiny_settings(data), last=1)
    assert isinstance(load_spec(spec.save()), AttemptSpec)
