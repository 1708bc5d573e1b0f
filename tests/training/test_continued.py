"""An attempt goes on after a failure, also with another batch size: no sample is trained on twice in an epoch, none is
left out, and what is known to be bad is not gone on from."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from smallsight.attempts.messages import Note
from smallsight.detectors.checkpoint import load_checkpoint, previous_of
from smallsight.errors import CheckpointError, ConfigError, Interrupted
from smallsight.training.fit import run_attempt
from smallsight.training.loader import BatchParts, EpochSamples
from smallsight.training.memory import STEPS
from smallsight.training.module import LossMeter, NotANumber, TrainingModule, accumulation_share
from smallsight.training.state import TrainingState
from training.frames import attempt_spec, tiny_settings, write_data
from training.test_fit import Recorder, same_weights

pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning's advice
Step = tuple[int, list[tuple[int, int]], float]
"""Epoch, samples as (image, repeat), learning rate."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Step]]:
    """Every training step that was taken, in order."""
    taken: list[Step] = []
    fetched: list[tuple[int, tuple[int, int]]] = []
    getitem, step = EpochSamples.__getitem__, TrainingModule.training_step

    def fetching(self: EpochSamples, position: int) -> Any:
        fetched.append((self._key[1], self._order[position]))
        return getitem(self, position)

    def stepping(self: TrainingModule, batch: Any, batch_idx: int) -> torch.Tensor:
        (epoch, *_), samples = zip(*fetched[-len(batch[0]) :], strict=True)  # others were fetched and not trained on
        loss = step(self, batch, batch_idx)
        taken.append((epoch, list(samples), self.learning_rate))
        return loss

    monkeypatch.setattr(EpochSamples, "__getitem__", fetching)
    monkeypatch.setattr(TrainingModule, "training_step", stepping)
    yield taken


def samples_of(steps: list[Step]) -> dict[int, list[tuple[int, int]]]:
    """By epoch, all its samples in the order of training."""
    found: dict[int, list[tuple[int, int]]] = {}
    for epoch, samples, _ in steps:
        found.setdefault(epoch, []).extend(samples)
    return found


def failing_at(monkeypatch: pytest.MonkeyPatch, at: int, error: Exception) -> Callable[[], None]:
    """Let the `at`-th step from now on fail, before it does anything; the answer mends it."""
    step, count = TrainingModule.training_step, 0

    def failing(self: TrainingModule, batch: Any, batch_idx: int) -> torch.Tensor:
        nonlocal count
        count += 1
        if count == at:
            raise error
        return step(self, batch, batch_idx)

    monkeypatch.setattr(TrainingModule, "training_step", failing)
    return lambda: monkeypatch.setattr(TrainingModule, "training_step", step)


@pytest.mark.parametrize("fails_at", [1, 4, 9])
def test_every_sample_is_trained_on_once_where_memory_runs_out(
    data: Path, tmp_path: Path, steps: list[Step], fails_at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Saved after every optimizer step, of two batches of four; then one image at a time, eight to a step."""
    settings = tiny_settings(data, grad_accum_steps=2, warmup_steps=3)
    settings["checkpoint"] = {"every_steps": 1}
    run_attempt(attempt_spec(tmp_path / "whole", settings), Recorder())
    whole, expected = list(steps), samples_of(steps)
    steps.clear()

    spec = attempt_spec(tmp_path / "failing", settings)
    mend = failing_at(monkeypatch, fails_at, RuntimeError("CUDA out of memory"))
    with pytest.raises(RuntimeError, match="out of memory"):
        run_attempt(spec, Recorder())
    mend()
    lost = (fails_at - 1) % 6 % 2  # batches since the last optimizer step: not in the weights, so they come again
    kept = steps[: len(steps) - lost]
    steps.clear()
    smaller = tiny_settings(data, batch_size=1, grad_accum_steps=8, warmup_steps=3)
    again = attempt_spec(tmp_path / "failing", {**smaller, "checkpoint": {"every_steps": 1}})
    channel = Recorder()
    run_attempt(dataclasses.replace(again, setbacks=1), channel)

    assert samples_of([*kept, *steps]) == expected
    assert {len(samples) for _, samples, _ in steps} == {1}
    assert [record["epoch"] for record in channel.records] == [1, 2]
    saved, undisturbed = (load_checkpoint(tmp_path / name / "checkpoint.pth") for name in ("failing", "whole"))
    assert saved["steps_done"] == undisturbed["steps_done"] == 6
    assert {rate for *_, rate in steps} <= {rate for *_, rate in whole}, "the same rate for the same optimizer step"


@given(
    images=st.integers(1, 60),
    batch=st.integers(1, 16),
    accumulate=st.integers(1, 8),
    place=st.floats(0, 1),
)
def test_the_place_in_the_epoch(images: int, batch: int, accumulate: int, place: float) -> None:
    """Whatever the sizes and wherever a save stands: the rest of the epoch is trained with one image at a time."""
    batches = -(-images // batch)
    groups = -(-batches // accumulate)
    done = min(batches, round(place * groups) * accumulate)
    sums = {"loss": 2.0 * done}
    state = SimpleNamespace(
        supply=SimpleNamespace(samples=images, batches=images),
        config=SimpleNamespace(training=SimpleNamespace(images_per_batch=1, warmup_steps=0)),
        module=SimpleNamespace(meter=LossMeter(), steps_done=0),
    )
    content = {"records": [], "next_epoch": 3, "tiny_boost": 1.0, "seconds_before": 1.0, "steps_done": 7}
    content |= {"skip_batches": done, "batch_size": batch, "meter_sums": sums, "meter_tiny": [0.5 * done, done]}
    TrainingState._take_up(state, content)  # type: ignore[arg-type]

    trained = min(images, done * batch)
    assert list(BatchParts(images, 1, state.skip_batches)) == [[place] for place in range(trained, images)]
    meter = state.module.meter
    assert meter.batches == trained and meter.means() == ({"loss": pytest.approx(2.0)} if trained else {"loss": 0.0})
    assert trained % (batch * accumulate) == 0 or trained == images, "an accumulated step begins there"
    # The whole epoch takes as many optimizer steps as before, and the last one is still a mean over what is left.
    assert -(-images // (batch * accumulate)) == groups
    rest = images - (groups - 1) * batch * accumulate
    assert accumulation_share(images - 1, images, batch * accumulate) == batch * accumulate / rest


def test_a_loss_that_is_no_number_goes_on_from_before_with_another_rate(
    data: Path, tmp_path: Path, steps: list[Step], monkeypatch: pytest.MonkeyPatch
) -> None:
    from smallsight.detectors.nano.network import NanoDetector

    settings = tiny_settings(data, warmup_steps=0)
    settings["checkpoint"] = {"every_steps": 2}
    spec = attempt_spec(tmp_path, settings)
    losses, count = NanoDetector.losses, 0

    def broken(self: NanoDetector, *arguments: Any) -> Any:
        nonlocal count
        count += 1
        whole = losses(self, *arguments)
        bad = count == STEPS + 4  # the probe takes the first; the fourth batch
        return dataclasses.replace(whole, parts={k: v * float("inf") for k, v in whole.parts.items()}) if bad else whole

    monkeypatch.setattr(NanoDetector, "losses", broken)
    with pytest.raises(NotANumber):
        run_attempt(spec, Recorder())
    saved = load_checkpoint(spec.checkpoint)
    assert (saved["skip_batches"], saved["next_epoch"]) == (2, 1), "the last good one"
    halved = attempt_spec(tmp_path, {**settings, "training": {**settings["training"], "learning_rate": 0.0015}})
    before = steps[:2]
    steps.clear()
    run_attempt(halved, Recorder())
    assert {rate for *_, rate in before} == {0.003} and {rate for *_, rate in steps} == {0.0015}
    assert [len(samples) for samples in samples_of([*before, *steps]).values()] == [24, 24]
    kept = torch.load(Path(spec.folder) / "not_a_number.pth", weights_only=True)
    assert (kept["epoch"], kept["batch"], kept["seed"]) == (1, 3, 0)


def test_weights_that_are_no_numbers_are_not_saved(
    data: Path, tmp_path: Path, steps: list[Step], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A finite loss may have a gradient that is not; to go on from there would be no use."""
    step = TrainingModule.optimizer_step

    def spoiling(self: TrainingModule, *arguments: Any, **more: Any) -> None:
        step(self, *arguments, **more)
        if self.steps_done == 3:
            next(self.detector.parameters()).data[0] = float("nan")

    monkeypatch.setattr(TrainingModule, "optimizer_step", spoiling)
    settings = tiny_settings(data)
    settings["checkpoint"] = {"every_steps": 1}
    spec = attempt_spec(tmp_path, settings)
    with pytest.raises(NotANumber, match="a weight is not a number"):
        run_attempt(spec, Recorder())
    saved = load_checkpoint(spec.checkpoint)
    assert saved["skip_batches"] == 2 and all(torch.isfinite(w).all() for w in saved["model"].values())


def stopped(data: Path, run: Path, after: int = 9) -> Any:
    """An attempt of two epochs, six batches each, that was stopped after so many batches."""
    spec = attempt_spec(run, tiny_settings(data))
    count = 0

    def stop() -> bool:
        nonlocal count
        count += 1
        return count > 2 * after

    with pytest.raises(Interrupted):
        run_attempt(spec, Recorder(stop))
    return spec


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:1000])


def test_a_damaged_checkpoint_costs_what_came_after_the_one_before(data: Path, tmp_path: Path) -> None:
    whole = attempt_spec(tmp_path / "whole", tiny_settings(data))
    run_attempt(whole, Recorder())
    spec = stopped(data, tmp_path / "damaged")
    assert load_checkpoint(previous_of(spec.checkpoint))["next_epoch"] <= 2
    _cut(spec.checkpoint)
    channel = Recorder()
    run_attempt(spec, channel)
    notes = [message.text for message in channel.of(Note)]
    assert notes == ["checkpoint.pth is damaged or gone, so checkpoint_previous.pth, the one before it, is used."]
    assert [record["epoch"] for record in channel.records] == [1, 2]
    assert same_weights(spec.checkpoint, whole.checkpoint)


def test_two_damaged_checkpoints_are_told(data: Path, tmp_path: Path) -> None:
    spec = stopped(data, tmp_path)
    for path in (spec.checkpoint, previous_of(spec.checkpoint)):
        _cut(path)
    with pytest.raises(CheckpointError, match=r"checkpoint\.pth: .*damaged"):
        run_attempt(spec, Recorder())


@pytest.mark.parametrize(("device", "refused"), [("auto", True), ("cpu", False)])
def test_a_gpu_that_is_gone_is_not_silently_replaced(
    data: Path, tmp_path: Path, device: str, refused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = stopped(data, tmp_path)
    torch.save({**load_checkpoint(spec.checkpoint), "device": "cuda"}, spec.checkpoint)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    again = attempt_spec(tmp_path, tiny_settings(data, device=device))
    if refused:
        with pytest.raises(ConfigError, match=r"training\.device: .*no CUDA device is there now.*training\.device=cpu"):
            run_attempt(again, Recorder())
    else:
        run_attempt(again, Recorder())


def test_two_attempts_of_a_run_are_stopped_and_continued_beside_each_other(data: Path, tmp_path: Path) -> None:
    """Each keeps its own checkpoint, so the other one can't overwrite what it goes on from."""
    rates = {"02_slow": 0.001, "03_fast": 0.003}
    specs = {}
    for name, rate in rates.items():
        spec = attempt_spec(tmp_path / "run", tiny_settings(data, learning_rate=rate))
        folder = str(tmp_path / "run" / "phases" / name / "attempt_1")
        specs[name] = dataclasses.replace(spec, phase=name, folder=folder, beside_others=True)
    for spec in specs.values():
        channel = Recorder()
        channel.stop = lambda channel=channel: len(channel.records) == 1  # type: ignore[misc]
        with pytest.raises(Interrupted, match="stopped in epoch 2, after batch 1"):
            run_attempt(spec, channel)
    for name, spec in specs.items():
        assert load_checkpoint(spec.checkpoint)["phase"] == name
        resumed, undisturbed = Recorder(), Recorder()
        run_attempt(spec, resumed)
        alone = attempt_spec(tmp_path / name, tiny_settings(data, learning_rate=rates[name]))
        run_attempt(dataclasses.replace(alone, phase=name), undisturbed)
        assert resumed.records[-1] == undisturbed.records[-1]
        assert same_weights(spec.checkpoint, alone.checkpoint)
        assert same_weights(spec.lightweight(1), alone.lightweight(1))
    assert not (tmp_path / "run" / "checkpoint.pth").exists() and not (tmp_path / "run" / "checkpoints").exists()
