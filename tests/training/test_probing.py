"""`batch_size: auto`, and the probe as an attempt meets it: it changes nothing that is trained."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from smallsight.attempts.messages import Memory, Note, Probe, Step
from smallsight.config.load import build_config
from smallsight.data.coco import read_coco
from smallsight.data.frames import FrameStore
from smallsight.detectors.checkpoint import load_checkpoint
from smallsight.training import fit, probing
from smallsight.training.fit import run_attempt
from smallsight.training.probing import kept_frames_mb
from training.frames import attempt_spec, tiny_settings, write_data
from training.test_fit import Recorder, same_weights

pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning's advice


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("data"))


def test_an_attempt_is_the_same_with_and_without_a_probe(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = tiny_settings(data, multi_scale=True, epochs=1)
    one, other = attempt_spec(tmp_path / "with", settings, last=1), attempt_spec(tmp_path / "without", settings, last=1)
    probed, plain = Recorder(), Recorder()
    run_attempt(one, probed)
    monkeypatch.setattr(fit, "_probe", lambda state: None)
    run_attempt(other, plain)
    assert probed.records == plain.records and same_weights(one.checkpoint, other.checkpoint)
    (told,) = [message.probe for message in probed.of(Memory)]
    assert told.batch_size == 4 and 0 < told.peak_mb < told.limit_mb
    steps = probed.of(Step)
    assert steps and all(message.memory_limit_mb == told.limit_mb for message in steps)
    assert not plain.of(Memory)


def test_frames_that_do_not_fit_are_said(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Room for a tenth of a MB is left beside the steps."""
    monkeypatch.setattr(fit, "try_hardest", lambda *_: Probe(4, 899.9, 1000.0))
    channel = Recorder()
    run_attempt(attempt_spec(tmp_path, tiny_settings(data), last=1), channel)
    (note,) = [message.text for message in channel.of(Note)]
    assert note == (
        "dataset.cache_mb: 0 of 0 MB of decoded frames are kept; more would not fit into the 1000 MB that there are."
    )


def limited_to(size: int, tried: list[int]) -> Any:
    def instead(*arguments: Any) -> Probe:
        tried.append(arguments[-1])
        if arguments[-1] > size:
            raise MemoryError
        return Probe(arguments[-1], 1.0, 1000.0)

    return instead


def test_the_batch_is_chosen_once_and_kept(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[int] = []
    monkeypatch.setattr(probing, "try_hardest", limited_to(3, tried))
    settings = tiny_settings(data, batch_size="auto", effective_batch=6)
    spec = attempt_spec(tmp_path, settings, last=1)
    run_attempt(spec, Recorder())
    assert tried == [1, 2, 3, 6]
    assert json.loads((Path(spec.folder) / "batch_size.json").read_text()) == {"batch_size": 3}
    saved = load_checkpoint(spec.checkpoint)
    assert (saved["batch_size"], saved["steps_done"]) == (3, 4), "24 samples, 6 per optimizer step"
    monkeypatch.setattr(probing, "try_hardest", limited_to(0, tried))
    run_attempt(spec, Recorder())  # another batch would be another training
    assert tried == [1, 2, 3, 6]


def test_a_batch_that_is_given_is_taken(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[int] = []
    monkeypatch.setattr(probing, "try_hardest", limited_to(99, tried))
    run_attempt(attempt_spec(tmp_path, tiny_settings(data), last=0), Recorder())
    assert tried == []


def test_a_budget_that_nothing_fits_into_is_told_before_the_first_step(data: Path, tmp_path: Path) -> None:
    for batch in (4, "auto"):
        spec = attempt_spec(tmp_path / str(batch), tiny_settings(data, memory_budget_mb=10.0, batch_size=batch))
        with pytest.raises(MemoryError, match=r"training\.memory_budget_mb"):
            run_attempt(spec, Recorder())
        assert not spec.checkpoint.exists()


def test_the_largest_batch_on_this_machine(data: Path, tmp_path: Path) -> None:
    spec = attempt_spec(tmp_path, tiny_settings(data, batch_size="auto", effective_batch=4), last=1)
    channel = Recorder()
    run_attempt(spec, channel)
    assert load_checkpoint(spec.checkpoint)["batch_size"] == 4 and [r["epoch"] for r in channel.records] == [1]


FRAME_MB = 96 * 96 * 3 / 1e6


def stores(data: Path) -> tuple[FrameStore, FrameStore]:
    """12 frames to train on, 6 to validate on."""
    return tuple(FrameStore(read_coco(data / split), budget_mb=100) for split in ("train", "valid"))  # type: ignore


@pytest.mark.parametrize(
    ("room", "training", "device", "frames"),
    [
        (100, {}, "cpu", 18),
        (7.5, {}, "cpu", 7.5),
        (3, {}, "cpu", 3),
        (-1, {}, "cpu", 0),
        (100, {"num_workers": 2}, "cpu", 6 + 8),
        (100, {}, "cuda", 0),
    ],
)
def test_frames_are_kept_as_far_as_there_is_room(
    data: Path, room: float, training: dict[str, Any], device: str, frames: float
) -> None:
    """Loader processes keep their own; in this one, four frames of each of two epochs are looked at then."""
    config = build_config(tiny_settings(data, **training), "test")
    train, valid = stores(data)
    taken = Probe(4, 90.0 - room * FRAME_MB, 100.0)
    kept, wanted = kept_frames_mb(taken, train, valid, config, torch.device(device), 2)
    assert kept == pytest.approx(frames * FRAME_MB)
    assert wanted == pytest.approx({"cuda": 0, "cpu": 14 if training else 18}[device] * FRAME_MB)
    if device == "cpu" and not training:
        assert valid.to_come_mb() + train.to_come_mb() == pytest.approx(frames * FRAME_MB), "no more will be kept"


@pytest.mark.parametrize(("count", "added"), [(1, 0.18), (1000, 180.0)])
def test_the_judging_of_many_images_is_reckoned(
    data: Path, monkeypatch: pytest.MonkeyPatch, count: int, added: float
) -> None:
    """1.8 kB for each of the 100 detections of an image; it comes when the memory of a step is free again."""
    monkeypatch.setattr(probing, "probe", lambda *_, **__: Probe(4, 1000.0, 9000.0))
    monkeypatch.setattr(probing, "resident_mb", lambda: 1000.0)
    config = build_config(tiny_settings(data), "test")
    many = range(count)
    supply = SimpleNamespace(hardest=lambda n: None)
    found = probing.try_hardest(None, supply, many, config, torch.device("cpu"), 4)  # type: ignore[arg-type]
    assert found.peak_mb == pytest.approx(1000.0 + added)
    on_gpu = probing.try_hardest(None, supply, many, config, torch.device("cuda"), 4)  # type: ignore[arg-type]
    assert on_gpu.peak_mb == 1000.0
