"""Every epoch is measured on the further sets, with the weights that are judged; a restart changes nothing."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from smallsight.attempts.messages import EpochDone
from smallsight.data.coco import read_coco
from smallsight.data.frames import FrameStore
from smallsight.detectors.build import detector_from_description
from smallsight.detectors.checkpoint import load_checkpoint, load_weights
from smallsight.evaluation.detections_file import load_detections
from smallsight.records import epoch_record_from_json, to_json
from smallsight.run.folder import detections_of_set
from smallsight.training import fit
from smallsight.training.fit import run_attempt
from smallsight.training.loggers import figures_of
from smallsight.training.predict import predict
from training.frames import attempt_spec, tiny_settings, write_data, write_discs
from training.test_fit import Recorder

pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning's advice


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set that guards with frames of another size, and frames without labels."""
    folder = write_data(tmp_path_factory.mktemp("data"))
    write_discs(folder / "real", 5, seed=3, side=128)
    write_discs(folder / "video", 4, seed=4)
    (folder / "video" / "_annotations.coco.json").unlink()
    return folder


def settings(data: Path, **training: Any) -> dict[str, Any]:
    sets = {"real": {"path": str(data / "real"), "guards": True}, "video": str(data / "video")}
    content = tiny_settings(data, **training)
    return {**content, "evaluation": {**content["evaluation"], "sets": sets}}


def test_every_epoch_has_the_figures_and_keeps_what_was_found(data: Path, tmp_path: Path) -> None:
    channel = Recorder()
    spec = attempt_spec(tmp_path, settings(data))
    run_attempt(spec, channel)
    for record in channel.records:
        assert record["sets"]["real"].keys() == record["metrics"].keys()
        assert record["sets"]["real"]["map_small"]["n"] > 0 and record["sets"]["video"]["found_10"]["n"] == 4
        for name, count in (("real", 5), ("video", 4)):
            found, ids = load_detections(detections_of_set(spec.detections(record["epoch"]), name))
            assert len(found) == count and len(ids) == count
    names = sorted(path.name for path in spec.detections(1).parent.iterdir())
    assert names[:2] == ["set_real_epoch_001.npz", "set_real_epoch_002.npz"]


def test_the_weights_that_are_judged_are_measured(data: Path, tmp_path: Path) -> None:
    """In an epoch that raw weights win, too: the average hardly moves here."""
    channel = Recorder()
    stuck = {"ema_decay": 0.9999, "ema_epochs": 1000, "epochs": 6}
    spec = attempt_spec(tmp_path, settings(data, **stuck), last=6)
    run_attempt(spec, channel)
    kinds = set()
    for record in channel.records:
        content = load_checkpoint(spec.lightweight(record["epoch"]))
        detector = detector_from_description(content["detector"], "test").eval()
        load_weights(detector, content["model" if record["weights"] == "raw" else "ema_model"], tmp_path)
        found = predict(detector, FrameStore(read_coco(data / "real")), 96).detections
        kept, _ = load_detections(detections_of_set(spec.detections(record["epoch"]), "real"))
        assert [len(each) for each in kept] == [len(each) for each in found]
        assert all((one.scores == other.scores).all() for one, other in zip(kept, found, strict=True))
        kinds.add(record["weights"])
    assert "raw" in kinds


def test_a_start_is_measured_there_too(data: Path, tmp_path: Path) -> None:
    first = attempt_spec(tmp_path / "a", tiny_settings(data), last=1)
    run_attempt(first, Recorder())
    channel = Recorder()
    start = str(first.lightweight(1))
    run_attempt(attempt_spec(tmp_path / "b", settings(data), first=2, last=1, start="warm", path=start), channel)
    assert set(channel.records[0]["sets"]) == {"real", "video"}


def test_the_largest_frames_of_all_sets_are_tried_before(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[Path] = []
    shutil.copytree(data, tmp_path / "data")
    shutil.rmtree(tmp_path / "data" / "real")
    write_discs(tmp_path / "data" / "real", 2, seed=5, side=64)
    known = fit.try_hardest

    def trying(detector: Any, supply: Any, frames: FrameStore, *more: Any) -> Any:
        tried.append(frames.dataset.root)
        return known(detector, supply, frames, *more)

    monkeypatch.setattr(fit, "try_hardest", trying)
    monkeypatch.setattr(fit, "largest_pixels", lambda _, frames, resolution: len(frames.dataset))
    run_attempt(attempt_spec(tmp_path / "run", settings(tmp_path / "data"), last=1), Recorder())
    assert tried == [tmp_path / "data" / "valid"], "the set with the most pixels, here the one with the most frames"


def test_a_record_goes_to_json_and_back(data: Path, tmp_path: Path) -> None:
    channel = Recorder()
    run_attempt(attempt_spec(tmp_path, settings(data), last=1), channel)
    told = to_json(channel.of(EpochDone)[0].record)
    record = epoch_record_from_json(told)
    assert to_json(record) == told and record.sets["video"]["found_10"].n == 4
    del told["sets"]
    assert epoch_record_from_json(told).sets == {}, "a journal of an earlier version"
    logged = figures_of(record)
    assert logged["sets/real/map_small"] == record.sets["real"]["map_small"].value and "sets/video/found_40" in logged
