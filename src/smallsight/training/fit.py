"""One attempt of one phase: train, evaluate after every epoch, checkpoint, report; stop when asked to.

The order of an epoch's outcome: detections, lightweight file, `best.pth`, `checkpoint.pth`, then the report to the
runner. `checkpoint.pth` carries the attempt's records, so a crash between any two of them loses nothing and counts
nothing twice.
"""

from __future__ import annotations

import math
import resource
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from smallsight.attempts import AttemptSpec
from smallsight.augment.pipeline import CropChain, Points
from smallsight.config import Config, build_config, dataset_folder, training_scales
from smallsight.data.coco import Dataset, read_coco
from smallsight.data.frames import FrameStore
from smallsight.detectors.base import Detector
from smallsight.detectors.build import build_detector
from smallsight.errors import Interrupted
from smallsight.evaluation.ap import evaluate
from smallsight.evaluation.bootstrap import with_intervals
from smallsight.evaluation.detections_file import save_detections
from smallsight.files import copy_atomically
from smallsight.records import EpochRecord, Sample, epoch_record_from_json, to_json
from smallsight.rng import keyed_generator
from smallsight.training.checkpoint import check_classes, load_checkpoint, load_weights, save_checkpoint
from smallsight.training.loader import Batch, epoch_loader
from smallsight.training.module import LossMeter, TrainingModule
from smallsight.training.predict import hard_points, predict

VALID_CACHE_SHARE = 0.3
"""Share of the memory for decoded frames that the validation set gets."""


class Channel(Protocol):
    """How an attempt speaks with whoever runs it."""

    def tell(self, event: Mapping[str, Any]) -> None:
        """Report something; returns at once."""

    def ask_to_go_on(self) -> bool:
        """After a reported epoch: wait for the answer whether to train another one."""

    def stop_requested(self) -> bool:
        """Whether the attempt shall save its state and end now."""

    def listen_to_signals(self) -> None:
        """Take SIGTERM and SIGINT as stop requests, whoever else had claimed them."""


class Attempt:
    """The state of an attempt: datasets, detector, records, and what a restart needs."""

    def __init__(self, spec: AttemptSpec, channel: Channel) -> None:
        self.spec, self.channel = spec, channel
        self.config: Config = build_config(spec.config, f"{spec.folder}/attempt.json")
        if self.config.training.threads:
            torch.set_num_threads(self.config.training.threads)
        self.train, self.valid = _frames(self.config)
        self.detector = build_detector(self.config, self.train.dataset.class_names, spec.folder)
        self.records: list[EpochRecord] = []
        self.hard_xy: dict[int, Points] = {}
        self.epoch = spec.first_epoch
        self.skip_batches = 0
        self.seconds_before = 0.0
        self.module = self._module()
        self._restore()

    @property
    def samples(self) -> int:
        """Training samples of an epoch."""
        return len(self.train) * self.config.sampling.crops_per_image

    @property
    def batches(self) -> int:
        """Batches of an epoch."""
        return math.ceil(self.samples / self.config.training.batch_size)

    def finish_epoch(self, began: float) -> bool:
        """Evaluate and report the epoch just trained; whether to train another one.

        Raises:
            Interrupted: a stop was requested; what was trained is saved.
        """
        try:
            finish_epoch(self, self.epoch, self.module.meter, began, self.samples)
        except Interrupted:
            self.save_within_epoch(self.batches, time.monotonic() - began)
            raise
        return self.channel.ask_to_go_on()

    def save_within_epoch(self, batches_done: int, seconds: float) -> None:
        """Write the state in the middle of an epoch, so that it goes on with the next batch."""
        path = self.spec.checkpoint
        self.save_state(path, next_epoch=self.epoch, skip_batches=batches_done, seconds_before=seconds)

    def _module(self) -> TrainingModule:
        training = self.config.training
        steps = math.ceil(self.batches / training.grad_accum_steps)
        epochs = max(0, self.spec.last_epoch - self.spec.first_epoch + 1)
        return TrainingModule(self.detector, training, steps * epochs, self._loader)

    def _loader(self, nth: int) -> DataLoader[Sample]:
        scales = training_scales(self.config, self.detector.resolution_step)
        chain = CropChain(self.config.sampling, self.config.augmentation, scales)
        return epoch_loader(self.train, chain, self.config, self.epoch, self.hard_xy, self.skip_batches)

    def _restore(self) -> None:
        """Continue this very attempt where its checkpoint is there; else start as told."""
        spec, module = self.spec, self.module
        if spec.checkpoint.is_file():
            content = load_checkpoint(spec.checkpoint)
            if (content.get("phase"), content.get("attempt")) == (spec.phase, spec.attempt):
                self._load(content, spec.checkpoint)
                module.steps_done = content["steps_done"]
                self.records = [epoch_record_from_json(item) for item in content["records"]]
                self.hard_xy = {int(key): value.numpy() for key, value in content["hard_xy"].items()}
                self.epoch, self.skip_batches = content["next_epoch"], content["skip_batches"]
                module.meter.sums, module.meter.batches = dict(content["meter_sums"]), content["skip_batches"]
                self.seconds_before = content["seconds_before"]
                return
        if spec.start == "warm":
            self._load(load_checkpoint(Path(spec.start_path)), Path(spec.start_path))

    def _load(self, content: Mapping[str, Any], path: Path) -> None:
        check_classes(path, content, self.detector.class_names)
        load_weights(self.module.detector, content["model"], path)
        load_weights(self.module.ema, content["ema_model"], path)
        self.module.ema_updates = int(content.get("ema_updates", 10_000))
        self.module.optimizer_state = content.get("optimizer")

    def save_state(self, path: Path, *, next_epoch: int, skip_batches: int, seconds_before: float = 0.0) -> None:
        """Write everything needed to go on exactly from the given place."""
        optimizer = self.module.optimizer
        state = optimizer.state_dict() if optimizer else self.module.optimizer_state
        content = {
            **self.weights(self.records[-1].epoch if self.records else self.spec.evaluated_epoch),
            "phase": self.spec.phase,
            "attempt": self.spec.attempt,
            "optimizer": state,
            "ema_updates": self.module.ema_updates,
            "steps_done": self.module.steps_done,
            "next_epoch": next_epoch,
            "skip_batches": skip_batches,
            "seconds_before": seconds_before,
            "meter_sums": dict(self.module.meter.sums) if skip_batches else {},
            "hard_xy": {str(key): torch.from_numpy(value) for key, value in self.hard_xy.items()},
            "records": [to_json(record) for record in self.records],
        }
        save_checkpoint(path, content)

    def weights(self, epoch: int) -> dict[str, Any]:
        """What a lightweight file holds."""
        return {
            "detector": dict(self.detector.description()),
            "class_names": list(self.detector.class_names),
            "resolution": self.config.training.resolution,
            "epoch": epoch,
            "model": self.module.detector.state_dict(),
            "ema_model": self.module.ema.state_dict(),
            "metrics": {name: to_json(item) for name, item in self.records[-1].metrics.items()} if self.records else {},
        }


def run_attempt(spec: AttemptSpec, channel: Channel) -> None:
    """Train and evaluate as `spec` says.

    Raises:
        Interrupted: a stop was requested; the state is saved.
        SmallsightError: bad data, a checkpoint that does not fit, a loss that is not a number.
    """
    attempt = Attempt(spec, channel)
    for record in attempt.records:
        channel.tell({"event": "epoch", "record": to_json(record)})
    if attempt.records and not channel.ask_to_go_on():
        return
    if spec.last_epoch < spec.first_epoch:
        if not attempt.records:
            finish_epoch(attempt, spec.evaluated_epoch, LossMeter(), time.monotonic(), 0)
        return
    if attempt.skip_batches >= attempt.batches and not attempt.finish_epoch(time.monotonic() - attempt.seconds_before):
        return
    epochs = spec.last_epoch - attempt.epoch + 1
    if epochs <= 0:
        return
    accelerator, devices = _device(attempt.config.training.device)
    trainer = pl.Trainer(
        max_epochs=epochs,
        accelerator=accelerator,
        devices=devices,
        precision="bf16-mixed" if attempt.config.training.mixed_precision and accelerator == "cuda" else "32-true",
        accumulate_grad_batches=attempt.config.training.grad_accum_steps,
        gradient_clip_val=attempt.config.training.gradient_clip or None,
        reload_dataloaders_every_n_epochs=1,
        callbacks=[_Conduct(attempt)],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=spec.folder,
    )
    trainer.fit(attempt.module)


class _Conduct(pl.Callback):
    """Ties an attempt to Lightning's loop: progress, stop requests, the end of an epoch."""

    TELL_EVERY_S = 0.25

    def __init__(self, attempt: Attempt) -> None:
        self.attempt = attempt
        self.began = time.monotonic()
        self.told = 0.0

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.attempt.channel.listen_to_signals()

    def on_train_epoch_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.attempt.module.detector.train()
        self.began = time.monotonic() - self.attempt.seconds_before

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        attempt = self.attempt
        done = attempt.skip_batches + batch_idx + 1
        at_a_step = done % attempt.config.training.grad_accum_steps == 0
        if attempt.channel.stop_requested() and at_a_step:
            attempt.save_within_epoch(done, time.monotonic() - self.began)
            raise Interrupted(f"stopped in epoch {attempt.epoch}, after {done} batches")
        now = time.monotonic()
        if now - self.told >= self.TELL_EVERY_S:
            self.told = now
            attempt.channel.tell(_progress(attempt, done, attempt.skip_batches + int(trainer.num_training_batches)))

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        attempt = self.attempt
        if not attempt.finish_epoch(self.began):
            trainer.should_stop = True


def _progress(attempt: Attempt, done: int, batches: int) -> dict[str, Any]:
    return {
        "event": "step",
        "epoch": attempt.epoch,
        "last_epoch": attempt.spec.last_epoch,
        "batch": done,
        "batches": batches,
        "losses": attempt.module.meter.means(),
        "learning_rate": attempt.module.learning_rate,
        "memory_mb": peak_memory_mb(),
    }


def finish_epoch(attempt: Attempt, epoch: int, meter: LossMeter, began: float, samples: int) -> None:
    """Evaluate, look for hard negatives, write the epoch's files, report."""
    config, spec = attempt.config, attempt.spec
    trained_s = time.monotonic() - began
    attempt.channel.tell({"event": "evaluating", "epoch": epoch})
    detector = attempt.module.ema
    resolution = config.training.resolution
    found = predict(
        detector,
        attempt.valid,
        resolution,
        batch_size=config.evaluation.batch_size,
        with_losses=True,
        stop_requested=attempt.channel.stop_requested,
    )
    ids = [image.id for image in attempt.valid.dataset.images]
    save_detections(spec.detections(epoch), found.detections, ids)
    metrics = _metrics(config, attempt.valid.dataset, found.detections)
    if epoch < spec.last_epoch:
        attempt.hard_xy.update(_mine(attempt, detector, epoch, resolution))
    means = meter.means()
    record = EpochRecord(
        epoch=epoch,
        phase=spec.phase,
        attempt=spec.attempt,
        metrics=metrics,
        train_loss=sum(means.values()) if means else math.nan,
        val_loss=found.loss,
        loss_parts=means,
        learning_rate=attempt.module.learning_rate if means else math.nan,
        seconds=time.monotonic() - began,
        images_per_second=samples / trained_s if samples else math.nan,
        peak_memory_mb=peak_memory_mb(),
        resolution=resolution,
    )
    _keep(attempt, record)
    attempt.channel.tell({"event": "epoch", "record": to_json(record)})


def _metrics(config: Config, dataset: Dataset, detections: list[Any]) -> dict[str, Any]:
    settings = config.evaluation
    evaluation = evaluate(
        dataset.truths,
        detections,
        len(dataset.class_names),
        max_dets=settings.max_dets,
        centre_hit_px=settings.centre_hit_px,
    )
    return with_intervals(evaluation, replicates=settings.replicates)


def _mine(attempt: Attempt, detector: Detector, epoch: int, resolution: int) -> dict[int, Points]:
    """False alarms on a few training frames, chosen by the epoch."""
    count = min(attempt.config.sampling.hard_negative_frames, len(attempt.train))
    if not count or not attempt.config.sampling.hard_negative_share:
        return {}
    generator = keyed_generator("hard", attempt.config.training.seed, epoch)
    chosen = generator.choice(len(attempt.train), size=count, replace=False)
    return hard_points(detector, attempt.train, [int(index) for index in chosen], resolution)


def _keep(attempt: Attempt, record: EpochRecord) -> None:
    spec = attempt.spec
    before = max((r.value(spec.target_metric) for r in attempt.records), default=-math.inf)
    attempt.records.append(record)
    attempt.epoch, attempt.skip_batches, attempt.seconds_before = record.epoch + 1, 0, 0.0
    save_checkpoint(spec.lightweight(record.epoch), attempt.weights(record.epoch))
    value = record.value(spec.target_metric)
    is_best = value > before or len(attempt.records) == 1
    where = spec.best if is_best else spec.checkpoint
    attempt.module.meter = LossMeter()
    attempt.save_state(where, next_epoch=attempt.epoch, skip_batches=0)
    if is_best:
        copy_atomically(spec.best, spec.checkpoint)


def _frames(config: Config) -> tuple[FrameStore, FrameStore]:
    names = [config.dataset.category_name] if config.dataset.category_name else None
    train = read_coco(dataset_folder(config, "train"), class_names=names)
    valid = read_coco(dataset_folder(config, "val"), class_names=train.class_names)
    budget = config.dataset.cache_mb
    return (
        FrameStore(train, budget_mb=budget * (1 - VALID_CACHE_SHARE)),
        FrameStore(valid, budget_mb=budget * VALID_CACHE_SHARE),
    )


def _device(wanted: str) -> tuple[str, Any]:
    """Lightning's accelerator and devices for a configured device."""
    if wanted == "auto":
        return ("cuda", 1) if torch.cuda.is_available() else ("cpu", 1)
    name, _, number = wanted.partition(":")
    return name, [int(number)] if number else 1


def peak_memory_mb() -> float:
    """Highest memory so far: the CUDA allocator's where there is one, else this process's resident size."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
