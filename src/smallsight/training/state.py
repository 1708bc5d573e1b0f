"""The state of an attempt: datasets, detector, records, its place in the epoch; how it is restored and saved."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader

from smallsight.attempts.messages import Note, Ramp
from smallsight.attempts.spec import AttemptSpec
from smallsight.augment.pipeline import Points
from smallsight.config.load import Config, build_config
from smallsight.data.configured_sets import read_splits
from smallsight.data.every_epoch_sets import FurtherSet, sets_of_every_epoch
from smallsight.data.frame_cache import open_cache
from smallsight.data.frames import FrameStore
from smallsight.detectors.build import build_detector
from smallsight.detectors.checkpoint import load_weights, newest_whole, save_checkpoint
from smallsight.errors import ConfigError, Interrupted
from smallsight.files import remove_leftovers
from smallsight.records import EpochRecord, Sample, epoch_record_from_json, to_json
from smallsight.run.folder import AttemptFolder
from smallsight.training.averaging import MATURE
from smallsight.training.device import precision_of, resolve_device
from smallsight.training.loggers import EpochLog
from smallsight.training.module import NotANumber, TrainingModule
from smallsight.training.probing import with_batch_size
from smallsight.training.processes import Channel, LeadersChannel, Processes
from smallsight.training.ramp import conditions, ramp_for
from smallsight.training.start import own_checkpoint, read_start
from smallsight.training.supply import Supply

VALID_CACHE_SHARE = 0.3
"""Share of the memory for decoded frames that the validation set gets."""


class TrainingState:
    """What an attempt works on and what a restart needs.

    Attributes:
        processes: this process's rank among those that train together.
        further: the further evaluation sets of every epoch, with their frames.
        epoch: the epoch in training, or the next one.
        skip_batches: how many of its batches were trained before a restart.
        seconds_before: how long it took until then.
        boost: how much more often the epoch draws images with tiny objects.
        memory_limit_mb: memory that the attempt may take; infinite until it is measured.
        hard_xy: by training frame, centres (K, 2) px, image frame, of the detector's false positives.
        ramp: of the learning rate, decided when the attempt begins; None after a restart, which continues the ramp.
        start: what the file that it starts from records (`metrics`, `resolution`, `trained_in`); empty where it was
            not read.
    """

    def __init__(self, spec: AttemptSpec, channel: Channel) -> None:
        self.spec, self.processes = spec, Processes.from_environment()
        self.channel: Channel = LeadersChannel(channel, self.processes)
        self.config: Config = build_config(spec.config, str(AttemptFolder(Path(spec.folder)).spec))
        if self.config.training.threads:
            torch.set_num_threads(self.config.training.threads)
        self.device = resolve_device(self.config.training.device, self.processes)
        if self.config.training.mixed_precision and precision_of(True, self.device) == "32-true":
            self._note(f"training.mixed_precision: stays in float32 on {self.device}, where float16 is no faster.")
        self.train, self.valid, self.further = _frames(self.config)
        self.detector = build_detector(
            self.config,
            self.train.dataset.class_names,
            spec.folder,
            pretrained=spec.start == "scratch",
        ).to(self.device)
        if self.processes.leads:
            remove_leftovers(spec.checkpoint.parent, ".*.pth.*.tmp")
            self._choose_batch_size()
        self.processes.join(self.config.training.hang_timeout_s, self._wait)
        if not self.processes.leads:
            self._choose_batch_size()
        if spec.config["training"]["batch_size"] == "auto":
            chosen = self.config.training
            self._note(f"training.batch_size: {chosen.batch_size} fits, accumulated {chosen.grad_accum_steps} times.")
        self.records: list[EpochRecord] = []
        self.hard_xy: dict[int, Points] = {}
        self.supply = Supply(self.train, self.detector, self.config, self.processes.rank)
        self.boost = 1.0
        self.epoch = spec.first_epoch
        self.skip_batches = 0
        self.seconds_before = 0.0
        self.memory_limit_mb = math.inf
        self.ramp: Ramp | None = None
        self.start: Mapping[str, Any] = {}
        self.module = self._module()
        self._restore()
        if self.processes.leads:
            self.log = EpochLog(spec, self.config.logging, self.epoch)

    def _wait(self) -> None:
        if self.channel.stop_requested():
            raise Interrupted("stopped before all processes had joined")

    def _choose_batch_size(self) -> None:
        """The leader tries batch sizes alone; the others call this later and read what it chose."""
        self.config = with_batch_size(
            self.config, self.detector, self.train, self.valid, self.device, Path(self.spec.folder)
        )

    def _note(self, text: str) -> None:
        """Send the user a note."""
        self.channel.tell(Note(text))

    def _module(self) -> TrainingModule:
        training = self.config.training
        steps = math.ceil(self.supply.batches / training.grad_accum_steps)
        epochs = max(0, self.spec.last_epoch - self.spec.first_epoch + 1)
        batches = self.supply.batches
        return TrainingModule(self.detector, training, steps * epochs, batches, self._loader, self.processes)

    def _loader(self) -> DataLoader[Sample]:
        left = self.spec.last_epoch - self.epoch
        with_mosaic = left >= self.config.augmentation.mosaic.off_last_epochs
        return self.supply.loader(
            self.epoch, self.hard_xy, self.boost, with_mosaic=with_mosaic, skip_batches=self.skip_batches
        )

    def _restore(self) -> None:
        """Continue this attempt from its own checkpoint where there is one; else start as `spec.start` says."""
        spec = self.spec
        own = (spec.run_id, spec.phase, spec.attempt)
        path = Path(spec.start_path)
        latest = newest_whole(spec.checkpoint)
        if latest != spec.checkpoint:
            self._note(f"{spec.checkpoint.name} is damaged or gone, so {latest.name}, the one before it, is used.")
        saved = own_checkpoint(latest, path if spec.start == "warm" else None)
        if saved and (saved.get("run_id"), saved.get("phase"), saved.get("attempt")) == own:
            self._load(saved, spec.checkpoint)
            self._take_up(saved)
            return
        content: Mapping[str, Any] = {}
        if spec.start == "warm":
            content, notes = read_start(path, self.detector, self.train.dataset, self.config)
            for note in notes:
                self._note(f"Given checkpoint: {note}.")
            self._load(content, path)
            self.start = {key: content[key] for key in ("metrics", "resolution", "trained_in") if key in content}
        self.ramp = ramp_for(
            self.config.training,
            self.module.total_steps,
            content.get("trained_with"),
            has_optimizer_state=content.get("optimizer") is not None,
        )
        self.module.ramp_steps = self.ramp.steps

    def _take_up(self, content: Mapping[str, Any]) -> None:
        """Continue the checkpoint's epoch at its position, also with another batch size than it was written with."""
        self.records = [epoch_record_from_json(item) for item in content["records"]]
        self.epoch, self.boost = content["next_epoch"], content["tiny_boost"]
        self.seconds_before = content["seconds_before"]
        done, before = content["skip_batches"], content["batch_size"]
        self.skip_batches = math.ceil(min(done * before, self.supply.samples) / self.config.training.images_per_batch)
        meter, per_batch = self.module.meter, self.skip_batches / max(1, done)
        meter.batches = self.skip_batches
        meter.sums = {name: value * per_batch for name, value in content["meter_sums"].items()}
        meter.tiny_sum, meter.tiny_batches = content["meter_tiny"]
        self.module.steps_done = content["steps_done"]
        self.module.ramp_steps = content.get("ramp_steps", self.config.training.warmup_steps)

    def _load(self, content: Mapping[str, Any], path: Path) -> None:
        load_weights(self.module.detector, content["model"], path)
        load_weights(self.module.ema, content["ema_model"], path)
        self.module.ema_updates = int(content.get("ema_updates", MATURE))
        self.module.optimizer_state = content.get("optimizer")
        self.module.scaling_state = content.get("scaling", {})
        if content.get("run_id") == self.spec.run_id:
            self._refuse_lost_device(content)
            self.hard_xy = {int(key): value.numpy() for key, value in content["hard_xy"].items()}

    def _refuse_lost_device(self, content: Mapping[str, Any]) -> None:
        if content.get("device") == "cuda" and self.device.type == "cpu" and self.config.training.device == "auto":
            raise ConfigError(
                "training.device: the run has trained with CUDA so far, and no CUDA device is there now. Bring it "
                "back, or set training.device=cpu to go on without."
            )

    def save(self, path: Path, *, batches_done: int = 0, seconds: float = 0.0) -> None:
        """Write everything needed to continue exactly; only the leader writes.

        Args:
            path: the file.
            batches_done: of the epoch in training; 0 between two epochs.
            seconds: that it has taken so far.
        Raises:
            NotANumber: a weight is not finite, so training could not continue from the file.
        """
        if not self.processes.leads:
            return
        module = self.module
        if not torch.stack([weight.detach().isfinite().all() for weight in module.detector.parameters()]).all():
            raise NotANumber("a weight is not a number after the last steps. Lower training.learning_rate.")
        done = self.records[-1].epoch if self.records else self.spec.first_epoch - 1
        content = {
            **self.weights(done),
            "run_id": self.spec.run_id,
            "phase": self.spec.phase,
            "attempt": self.spec.attempt,
            "device": self.device.type,
            "optimizer": module.optimizer.state_dict() if module.optimizer else module.optimizer_state,
            "scaling": module.scaling(),
            "steps_done": module.steps_done,
            "ramp_steps": module.ramp_steps,
            "trained_with": conditions(self.config.training, module.learning_rate),
            "next_epoch": self.epoch,
            "skip_batches": batches_done,
            "batch_size": self.config.training.images_per_batch,
            "seconds_before": seconds,
            "meter_sums": dict(module.meter.sums) if batches_done else {},
            "meter_tiny": [module.meter.tiny_sum, module.meter.tiny_batches] if batches_done else [0.0, 0],
            "tiny_boost": self.boost,
            "hard_xy": {str(key): torch.from_numpy(value) for key, value in self.hard_xy.items()},
            "records": [to_json(record) for record in self.records],
        }
        save_checkpoint(path, content, keep_previous=path == self.spec.checkpoint)

    def weights(self, epoch: int) -> dict[str, Any]:
        """The content of a lightweight checkpoint."""
        metrics = self.records[-1].metrics if self.records else {}
        return {
            "detector": dict(self.detector.description()),
            "class_names": list(self.detector.class_names),
            "resolution": self.config.training.resolution,
            "epoch": epoch,
            "model": self.module.detector.state_dict(),
            "ema_model": self.module.ema.state_dict(),
            "judged": self.records[-1].weights if self.records else "average",
            "ema_updates": self.module.ema_updates,
            "trained_in": {"run_id": self.spec.run_id, "phase": self.spec.phase, "attempt": self.spec.attempt},
            "metrics": {name: to_json(item) for name, item in metrics.items()},
        }


def _frames(config: Config) -> tuple[FrameStore, FrameStore, tuple[tuple[FurtherSet, FrameStore], ...]]:
    train, valid = read_splits(config)
    budget, disk = config.dataset.cache_mb / config.training.devices, open_cache(config)
    return (
        FrameStore(train, budget_mb=budget * (1 - VALID_CACHE_SHARE), disk=disk),
        FrameStore(valid, budget_mb=budget * VALID_CACHE_SHARE, disk=disk),
        tuple((each, FrameStore(each.dataset, disk=disk)) for each in sets_of_every_epoch(config, train.class_names)),
    )
