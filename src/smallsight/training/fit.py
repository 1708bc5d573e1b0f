"""One attempt of one phase: train with Lightning, end every epoch, stop when asked to."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from pytorch_lightning.strategies import DDPStrategy

from smallsight.attempts.messages import AveragingHorizon, CheckpointSizes, EpochDone, Memory, Note, Step
from smallsight.attempts.spec import AttemptSpec
from smallsight.config.sections import Training
from smallsight.detectors.checkpoint import save_checkpoint
from smallsight.errors import Interrupted
from smallsight.run.folder import AttemptFolder
from smallsight.training.device import precision_of
from smallsight.training.epoch_end import evaluate_start, finish_epoch
from smallsight.training.loader import Batch
from smallsight.training.memory import peak_mb, refuse_above
from smallsight.training.module import NotANumber
from smallsight.training.pace import pace_of
from smallsight.training.predict import largest_pixels
from smallsight.training.probing import kept_frames_mb, try_hardest
from smallsight.training.processes import Channel
from smallsight.training.state import TrainingState


def run_attempt(spec: AttemptSpec, channel: Channel) -> None:
    """Train and evaluate as `spec` says, or continue from its checkpoint.

    Raises:
        Interrupted: a stop was requested; the state is saved.
        SmallsightError: bad data, a checkpoint that does not fit, a loss that is not a number.
    """
    state = TrainingState(spec, channel)
    _train(state)
    state.processes.leave()


def _train(state: TrainingState) -> None:
    spec = state.spec
    for record in state.records:
        state.channel.tell(EpochDone(record))
    if state.records and not state.channel.ask_to_go_on():
        return
    _tell_sizes(state)
    if spec.rehearses:
        _probe(state)
        state.channel.tell(pace_of(state))
        return
    if spec.last_epoch < spec.first_epoch:
        if not state.records:
            evaluate_start(state)
        return
    waits_for_its_end = state.skip_batches >= state.supply.batches
    if waits_for_its_end and not finish_epoch(state, time.monotonic() - state.seconds_before):
        return
    if state.epoch <= spec.last_epoch:
        _tell_settings(state)
        _probe(state)
        _trainer(state).fit(state.module)


def _tell_sizes(state: TrainingState) -> None:
    """Report the sizes of checkpoints: all hold weights and average, full ones also the optimizer's two moments."""
    weights = sum(weight.nbytes for weight in state.detector.state_dict().values())
    moments = 2 * sum(weight.nbytes for weight in state.detector.parameters() if weight.requires_grad)
    state.channel.tell(CheckpointSizes(2 * weights, 2 * weights + moments))


def _tell_settings(state: TrainingState) -> None:
    """Report what was decided for this attempt: the horizon of the average, and the ramp of the learning rate."""
    averaging = state.module.averaging
    horizon_steps, decay = round(averaging.horizon_steps, 1), round(averaging.decay, 6)
    state.channel.tell(AveragingHorizon(averaging.steps_per_epoch, horizon_steps, decay))
    if state.ramp is not None:
        state.channel.tell(state.ramp)


def _probe(state: TrainingState) -> None:
    """Check before training that the largest step fits into memory, and report the expected peak.

    Raises:
        MemoryError, RuntimeError: it does not fit.
    """
    config, device = state.config, state.device
    stores = [state.valid, *(frames for _, frames in state.further)]
    frames = max(stores, key=lambda store: largest_pixels(state.detector, store, config.training.resolution))
    found = try_hardest(state.detector, state.supply, frames, config, device, config.training.micro_batch)
    epochs = state.spec.last_epoch - state.epoch + 1
    kept_mb, wanted_mb = kept_frames_mb(found, state.train, state.valid, config, device, epochs)
    if kept_mb < wanted_mb:
        room = f"more would not fit into the {found.limit_mb:.0f} MB that there are"
        words = f"dataset.cache_mb: {kept_mb:.0f} of {wanted_mb:.0f} MB of decoded frames are kept; {room}."
        state.channel.tell(Note(words))
    state.memory_limit_mb = found.limit_mb
    state.channel.tell(Memory(replace(found, peak_mb=found.peak_mb + kept_mb)))


def _trainer(state: TrainingState) -> pl.Trainer:
    training, device = state.config.training, state.device
    return pl.Trainer(
        max_epochs=state.spec.last_epoch - state.epoch + 1,
        accelerator=device.type,
        **_places(training, device),
        precision=precision_of(training.mixed_precision, device),
        accumulate_grad_batches=training.grad_accum_steps,
        gradient_clip_val=training.gradient_clip or None,
        reload_dataloaders_every_n_epochs=1,
        callbacks=[_Conduct(state)],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=state.spec.folder,
    )


def _places(training: Training, device: torch.device) -> dict[str, Any]:
    """Lightning's arguments for devices and processes: our own processes, already connected, or this one alone.

    On CUDA, a batch norm sees the images of all processes; on the CPU each process sees its own.
    """
    if training.processes == 1:
        return {"devices": [device.index] if device.index is not None else 1}
    return {
        "devices": training.devices,
        "num_nodes": training.num_nodes,
        "strategy": DDPStrategy(cluster_environment=LightningEnvironment()),
        "use_distributed_sampler": False,
        "sync_batchnorm": device.type == "cuda",
    }


class _Conduct(pl.Callback):
    """Callback of Lightning's loop for an attempt: progress, checkpoints, stop requests, the end of an epoch."""

    TELL_EVERY_S = 0.25
    SAVE_EVERY_S = 240.0

    def __init__(self, state: TrainingState) -> None:
        self.state = state
        self.began = time.monotonic()
        self.told = 0.0
        self.saved, self.saved_step = time.monotonic(), state.module.steps_done

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.state.channel.listen_to_signals()

    def on_train_epoch_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.state.module.detector.train()
        self.began = time.monotonic() - self.state.seconds_before

    def on_train_batch_start(
        self, trainer: pl.Trainer, module: pl.LightningModule, batch: Batch, batch_idx: int
    ) -> None:
        self._batch = batch

    def on_before_backward(self, trainer: pl.Trainer, module: pl.LightningModule, loss: torch.Tensor) -> None:
        """Check the memory budget here: a step takes the most memory while it holds the activations."""
        refuse_above(self.state.config.training.memory_budget_mb, self.state.device)

    def on_exception(self, trainer: pl.Trainer, module: pl.LightningModule, exception: BaseException) -> None:
        """Save the batch and the weights that gave a loss that is not finite, for inspection."""
        if isinstance(exception, NotANumber):
            state = self.state
            images, targets = self._batch
            which = f"_{state.processes.rank}" if not state.processes.leads else ""
            content = {
                "epoch": state.epoch,
                "batch": state.module.meter.batches,
                "seed": state.config.training.seed,
                "message": str(exception),
                "images": images.cpu(),
                "targets": [vars(target.to(torch.device("cpu"))) for target in targets],
                "model": state.detector.state_dict(),
            }
            save_checkpoint(AttemptFolder(Path(state.spec.folder)).not_a_number(which), content)

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        state = self.state
        done = state.module.meter.batches
        now = time.monotonic()
        stops = state.processes.any(state.channel.stop_requested())
        if done % state.config.training.grad_accum_steps == 0 and (stops or self._is_time_to_save(now)):
            state.save(state.spec.checkpoint, batches_done=done, seconds=now - self.began)
            self.saved, self.saved_step = now, state.module.steps_done
            if stops:
                state.processes.barrier()  # no process ends before the leader has saved
                raise Interrupted(f"stopped in epoch {state.epoch}, after batch {done}")
        if now - self.told >= self.TELL_EVERY_S:
            self.told = now
            state.channel.tell(_progress(state))

    def _is_time_to_save(self, now: float) -> bool:
        steps = self.state.config.checkpoint.every_steps
        if steps is None:
            return now - self.saved >= self.SAVE_EVERY_S
        return self.state.module.steps_done - self.saved_step >= steps

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if not finish_epoch(self.state, self.began):
            trainer.should_stop = True
        self.saved, self.saved_step = time.monotonic(), self.state.module.steps_done


def _progress(state: TrainingState) -> Step:
    return Step(
        epoch=state.epoch,
        last_epoch=state.spec.last_epoch,
        batch=state.module.meter.batches,
        batches=state.supply.batches,
        losses=state.module.meter.means(),
        learning_rate=state.module.learning_rate,
        memory_mb=peak_mb(state.device),
        memory_limit_mb=state.memory_limit_mb if math.isfinite(state.memory_limit_mb) else None,
    )
