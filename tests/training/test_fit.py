"""One attempt in this process: what it leaves, and that a stop at any step changes nothing."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
import torch
from pytorch_lightning.plugins.precision import Precision

from smallsight.attempts.messages import CheckpointSizes, EpochDone, Message, Step
from smallsight.detectors.base import Losses
from smallsight.detectors.checkpoint import load_checkpoint
from smallsight.errors import CheckpointError, ConfigError, Interrupted
from smallsight.evaluation.detections_file import load_detections
from smallsight.records import to_json
from smallsight.training import fit, loader, sampling
from smallsight.training.fit import run_attempt
from smallsight.training.module import NotANumber, TrainingModule
from training.frames import attempt_spec, tiny_settings, write_data

Kind = TypeVar("Kind")

pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning's advice; ours is tested where it arises


class Recorder:
    """A channel that keeps what it is told and stops when `stop` says so."""

    def __init__(self, stop: Callable[[], bool] = lambda: False, epochs: int = 99) -> None:
        self.told: list[Message] = []
        self.stop, self.epochs = stop, epochs

    def tell(self, message: Message) -> None:
        self.told.append(message)

    def of(self, kind: type[Kind]) -> list[Kind]:
        """The messages of one kind, in order."""
        return [message for message in self.told if isinstance(message, kind)]

    def ask_to_go_on(self) -> bool:
        return len(self.records) < self.epochs

    def stop_requested(self) -> bool:
        return self.stop()

    def listen_to_signals(self) -> None:
        return

    @property
    def records(self) -> list[dict[str, Any]]:
        """The epochs' records without what depends on the clock."""
        found: dict[int, dict[str, Any]] = {m.record.epoch: to_json(m.record) for m in self.of(EpochDone)}
        for record in found.values():
            for key in ("seconds", "images_per_second", "peak_memory_mb"):
                del record[key]
        return list(found.values())


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[list[int], float]]]:
    """The image ids and the loss of every training step, in order."""
    steps: list[tuple[list[int], float]] = []
    ids: list[list[int]] = []
    collate, step = loader.collate, TrainingModule.training_step

    def tracing_collate(samples: Any, **more: Any) -> Any:
        ids.append([sample.image_id for sample in samples])
        return collate(samples, **more)

    def tracing_step(self: TrainingModule, batch: Any, batch_idx: int) -> torch.Tensor:
        loss = step(self, batch, batch_idx)
        steps.append((ids[-1], float(loss.detach())))
        return loss

    monkeypatch.setattr(loader, "collate", tracing_collate)
    monkeypatch.setattr(TrainingModule, "training_step", tracing_step)
    yield steps


def stop_after(steps: list[Any], n: int) -> Callable[[], bool]:
    return lambda: len(steps) >= n


def same_weights(a: Path, b: Path) -> bool:
    left, right = load_checkpoint(a), load_checkpoint(b)
    return all(
        torch.equal(left[part][name], right[part][name]) for part in ("model", "ema_model") for name in left[part]
    )


def test_an_attempt_leaves_what_the_design_names(data: Path, tmp_path: Path) -> None:
    channel = Recorder()
    spec = attempt_spec(tmp_path, tiny_settings(data))
    run_attempt(spec, channel)
    assert [record["epoch"] for record in channel.records] == [1, 2]
    for epoch in (1, 2):
        content = load_checkpoint(tmp_path / "checkpoints" / f"checkpoint_epoch_{epoch}_lightweight.pth")
        assert content["epoch"] == epoch and content["class_names"] == ["ball"] and content["resolution"] == 96
        assert content["metrics"]["map_small"]["n"] > 0
        detections, ids = load_detections(spec.detections(epoch))
        assert ids == list(range(6)) and len(detections) == 6
    assert load_checkpoint(spec.checkpoint)["next_epoch"] == 3
    best = max(channel.records, key=lambda r: r["metrics"]["map_small"]["value"])
    assert load_checkpoint(spec.best)["epoch"] == best["epoch"]


def test_the_size_of_checkpoints_is_told_before_the_first_step(data: Path, tmp_path: Path) -> None:
    channel = Recorder()
    spec = attempt_spec(tmp_path, tiny_settings(data))
    run_attempt(spec, channel)
    kinds = [type(message) for message in channel.told]
    assert kinds.index(CheckpointSizes) < kinds.index(Step)
    (told,) = channel.of(CheckpointSizes)
    # Names, records and padding take some more; they don't grow with the weights.
    assert spec.lightweight(1).stat().st_size == pytest.approx(told.lightweight_bytes, abs=100_000)
    assert spec.checkpoint.stat().st_size == pytest.approx(told.full_bytes, abs=200_000)
    assert told.full_bytes > 1.5 * told.lightweight_bytes > 500_000


ALL_ON: dict[str, Any] = {
    "training": {"multi_scale": True, "small_object_loss_weight": 2.0},
    "sampling": {"loss_fed": True, "oversample": "tiny_objects"},
    "augmentation": {"copy_paste": 0.5, "mosaic": 0.5, "motion_blur": 0.5, "iso_noise": 0.5, "zoom": 0.5},
}


@pytest.mark.parametrize(
    ("stop_at", "accumulate", "more"),
    [*((stop_at, accumulate, {}) for stop_at in (1, 5, 6, 7) for accumulate in (1, 2)), (4, 1, ALL_ON), (7, 2, ALL_ON)],
)
def test_a_stop_at_any_step_changes_nothing(
    data: Path, tmp_path: Path, traced: list[Any], stop_at: int, accumulate: int, more: dict[str, Any]
) -> None:
    """Six batches an epoch: a stop within an epoch, at its last batch (during the evaluation), and in the next one."""
    settings = tiny_settings(data, grad_accum_steps=accumulate)
    settings |= {name: {**settings.get(name, {}), **section} for name, section in more.items()}
    if more:
        settings["evaluation"] |= {"sets": {"real": {"path": str(data / "valid"), "guards": True}}}
    whole = attempt_spec(tmp_path / "whole", settings)
    undisturbed = Recorder()
    run_attempt(whole, undisturbed)
    expected = list(traced)
    traced.clear()

    spec = attempt_spec(tmp_path / "stopped", settings)
    with pytest.raises(Interrupted):
        run_attempt(spec, Recorder(stop_after(traced, stop_at)))
    assert len(traced) < len(expected)
    resumed = Recorder()
    run_attempt(spec, resumed)
    assert traced == expected
    assert resumed.records[-1] == undisturbed.records[-1]
    assert same_weights(spec.checkpoint, whole.checkpoint)


def test_the_runner_can_end_a_phase_early(data: Path, tmp_path: Path) -> None:
    channel = Recorder(epochs=1)
    run_attempt(attempt_spec(tmp_path, tiny_settings(data)), channel)
    assert [record["epoch"] for record in channel.records] == [1]


def test_a_finished_attempt_reports_again_and_trains_nothing(data: Path, tmp_path: Path, traced: list[Any]) -> None:
    spec = attempt_spec(tmp_path, tiny_settings(data))
    first, second = Recorder(), Recorder()
    run_attempt(spec, first)
    steps = len(traced)
    run_attempt(spec, second)
    assert len(traced) == steps and second.records == first.records


def test_workers_don_t_change_a_run(data: Path, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = []
        for workers in (0, 2):
            channel = Recorder()
            run_attempt(attempt_spec(tmp_path / str(workers), tiny_settings(data, num_workers=workers)), channel)
            results.append(channel.records)
    assert results[0] == results[1]


def test_a_warm_start_from_a_lightweight_file_goes_on_from_its_weights(data: Path, tmp_path: Path) -> None:
    run_attempt(attempt_spec(tmp_path / "a", tiny_settings(data)), Recorder())
    light = tmp_path / "a" / "checkpoints" / "checkpoint_epoch_2_lightweight.pth"
    channel = Recorder()
    spec = attempt_spec(tmp_path / "b", tiny_settings(data), first=3, last=2, start="warm", path=str(light))
    run_attempt(spec, channel)
    before = load_checkpoint(light)["metrics"]["map_small"]["value"]
    assert [r["metrics"]["map_small"]["value"] for r in channel.records] == [before]
    assert same_weights(spec.best, light)
    assert load_checkpoint(spec.best)["ema_updates"] == 12, "a young average must stay quick to move"
    assert not spec.checkpoint.exists() and not spec.lightweight(2).exists(), "nothing was trained"


def test_a_warm_restart_changes_rate_resolution_and_scales(data: Path, tmp_path: Path) -> None:
    first = attempt_spec(tmp_path / "a", tiny_settings(data))
    run_attempt(first, Recorder())
    changed = tiny_settings(data, learning_rate=0.0015, resolution=112, multi_scale=True, warmup_steps=0)
    channel = Recorder()
    spec = attempt_spec(tmp_path / "b", changed, first=3, last=3, start="warm", path=str(first.best))
    run_attempt(spec, channel)
    (record,) = channel.records
    assert (record["epoch"], record["resolution"]) == (3, 112)
    assert record["learning_rate"] == pytest.approx(0.0015)
    assert load_checkpoint(spec.checkpoint)["optimizer"]["state"][0]["step"] > 6, (
        "the optimizer's state is carried over"
    )


def test_a_checkpoint_of_another_run_is_not_continued(data: Path, tmp_path: Path) -> None:
    """Each run begins with the same phase and attempt: only the run's id tells them apart."""
    spec = attempt_spec(tmp_path, tiny_settings(data))
    run_attempt(spec, Recorder())
    channel = Recorder()
    run_attempt(dataclasses.replace(spec, run_id="another", first_epoch=3, last_epoch=3), channel)
    assert [record["epoch"] for record in channel.records] == [3]


def test_a_stop_in_the_first_epoch_keeps_the_number_of_the_epoch_before(data: Path, tmp_path: Path) -> None:
    spec = attempt_spec(tmp_path, tiny_settings(data), first=41, last=42)
    with pytest.raises(Interrupted):
        run_attempt(spec, Recorder(lambda: True))
    assert load_checkpoint(spec.checkpoint)["epoch"] == 40


def test_hard_negatives_are_carried_over_within_a_run(data: Path, tmp_path: Path) -> None:
    first = attempt_spec(tmp_path, tiny_settings(data))
    run_attempt(first, Recorder())
    found = load_checkpoint(first.best)["hard_xy"]
    changes = {"phase": "next", "first_epoch": 3, "last_epoch": 3, "start": "warm", "start_path": str(first.best)}
    same, other = dataclasses.replace(first, **changes), dataclasses.replace(first, run_id="other", **changes)
    assert found
    run_attempt(same, Recorder())
    assert load_checkpoint(same.checkpoint)["hard_xy"].keys() == found.keys()
    run_attempt(other, Recorder())
    assert not load_checkpoint(other.checkpoint)["hard_xy"]


def test_a_device_that_is_not_there_is_the_users_error(data: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"training\.device: cuda:9"):
        run_attempt(attempt_spec(tmp_path, tiny_settings(data, device="cuda:9")), Recorder())


def test_a_checkpoint_of_other_classes_is_refused(data: Path, tmp_path: Path) -> None:
    first = attempt_spec(tmp_path / "a", tiny_settings(data))
    run_attempt(first, Recorder(epochs=1))
    content = load_checkpoint(first.best)
    torch.save({**content, "class_names": ["puck"]}, tmp_path / "puck.pth")
    spec = attempt_spec(tmp_path / "b", tiny_settings(data), start="warm", path=str(tmp_path / "puck.pth"))
    with pytest.raises(CheckpointError, match=r"puck.*ball"):
        run_attempt(spec, Recorder())


def test_a_loss_that_is_not_a_number_stops_before_the_step(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from smallsight.detectors.nano.network import NanoDetector

    losses = NanoDetector.losses

    def broken(self: NanoDetector, *args: Any) -> Losses:
        whole = losses(self, *args)
        return Losses({name: part * float("nan") for name, part in whole.parts.items()}, whole.tiny_share)

    monkeypatch.setattr(NanoDetector, "losses", broken)
    spec = attempt_spec(tmp_path, tiny_settings(data))
    with pytest.raises(NotANumber, match=r"learning_rate"):
        run_attempt(spec, Recorder())
    kept = torch.load(Path(spec.folder) / "not_a_number.pth", weights_only=True)
    assert (kept["epoch"], kept["batch"]) == (1, 0) and kept["images"].shape == (4, 3, 64, 64)


def test_it_learns(data: Path, tmp_path: Path) -> None:
    """Bright discs on a dim ground: a detector that can't find these can't find a ball."""
    channel = Recorder()
    settings = tiny_settings(data, epochs=12, ema_decay=0.9)
    settings["sampling"]["crops_per_image"] = 8
    run_attempt(attempt_spec(tmp_path, settings, last=12), channel)
    assert channel.records[-1]["metrics"]["map_50"]["value"] > 0.9
    assert channel.records[-1]["train_loss"] < 0.3 * channel.records[0]["train_loss"]


@pytest.mark.parametrize("stop_at", [4, 6, 7, 9, 13])
def test_a_stop_changes_nothing_where_the_loss_feeds_the_order(
    data: Path, tmp_path: Path, traced: list[Any], stop_at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a threshold that no share reaches, every epoch takes more tiny objects than the one before."""
    monkeypatch.setattr(sampling, "STARVED", 10.0)
    settings = tiny_settings(data, epochs=3, small_object_loss_weight=2.0)
    settings["sampling"].update(loss_fed=True, oversample="tiny_objects")
    whole = attempt_spec(tmp_path / "whole", settings, last=3)
    run_attempt(whole, Recorder())
    expected = list(traced)
    traced.clear()
    spec = attempt_spec(tmp_path / "stopped", settings, last=3)
    with pytest.raises(Interrupted):
        run_attempt(spec, Recorder(stop_after(traced, stop_at)))
    run_attempt(spec, Recorder())
    assert traced == expected
    assert load_checkpoint(spec.checkpoint)["tiny_boost"] == load_checkpoint(whole.checkpoint)["tiny_boost"] == 4.0
    assert same_weights(spec.checkpoint, whole.checkpoint)


class Scaling(Precision):
    """A precision whose state moves with every step, as float16's loss scaling does; on a CPU there is no float16."""

    def __init__(self) -> None:
        super().__init__()
        self.steps = 0

    def optimizer_step(self, *args: Any, **options: Any) -> Any:
        self.steps += 1
        return super().optimizer_step(*args, **options)

    def state_dict(self) -> dict[str, Any]:
        return {"steps": self.steps}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.steps = state_dict["steps"]


def test_the_scaling_of_the_loss_goes_on_where_it_stood(
    data: Path, tmp_path: Path, traced: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, scalings = fit._trainer, []

    def trainer(state: Any) -> Any:
        made = plain(state)
        scalings.append(Scaling())
        made.strategy.precision_plugin = scalings[-1]
        return made

    monkeypatch.setattr(fit, "_trainer", trainer)
    spec = attempt_spec(tmp_path, tiny_settings(data))
    with pytest.raises(Interrupted):
        run_attempt(spec, Recorder(stop_after(traced, 4)))
    assert load_checkpoint(spec.checkpoint)["scaling"] == {"steps": 4}
    run_attempt(spec, Recorder())
    assert [scaling.steps for scaling in scalings] == [4, 12]
