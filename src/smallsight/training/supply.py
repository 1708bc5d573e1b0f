"""The training samples of an epoch: how many there are, which frames they show, and how they are made."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from torch.utils.data import DataLoader

from smallsight.augment.copy_paste import Patches
from smallsight.augment.object_bank import ObjectBank
from smallsight.augment.pipeline import Chain, Points
from smallsight.config.load import Config, training_scales
from smallsight.config.sections import Augmentation
from smallsight.data.frames import FrameStore
from smallsight.detectors.base import Detector
from smallsight.records import Sample
from smallsight.rng import keyed_generator
from smallsight.training.loader import Batch, BatchParts, EpochSamples, collate, epoch_loader
from smallsight.training.object_sizes import model_areas, size_weighting
from smallsight.training.sampling import epoch_order, image_weights, next_boost


class Supply:
    """The training samples of every epoch.

    Args:
        frames: the training set.
        detector: whose input the samples are made for.
        config: of the run.
        rank: of this process, among `training.processes`.
    """

    def __init__(self, frames: FrameStore, detector: Detector, config: Config, rank: int = 0) -> None:
        self.frames, self._config, self._rank = frames, config, rank
        self._step, self._keeps_aspect = detector.resolution_step, detector.keeps_aspect
        self._crop_px = config.sampling.crop_px if detector.trains_on_crops else None
        self._repeats = config.sampling.crops_per_image if detector.trains_on_crops else 1
        self._sizes_wh = [entry.size_wh for entry in frames.dataset.images]
        areas = model_areas(
            frames.dataset.truths, self._sizes_wh, config.training.resolution, keeps_aspect=self._keeps_aspect
        )
        self.sizes = size_weighting(areas, config.training.small_object_loss_weight)
        tiny = [self.sizes.tiny(each) for each in areas]
        self._has_tiny = np.array([each.any() for each in tiny], dtype=np.bool_)
        every = np.concatenate([*tiny, np.zeros(0, dtype=np.bool_)])
        self._tiny_objects = float(every.mean()) if len(every) else 0.0
        self._patches = self._objects_to_paste()

    @property
    def samples(self) -> int:
        """Training samples of an epoch."""
        return len(self.frames) * self._repeats

    @property
    def batches(self) -> int:
        """Batches of an epoch."""
        return math.ceil(self.samples / self._config.training.images_per_batch)

    def loader(
        self, epoch: int, hard_xy: Mapping[int, Points], boost: float, *, with_mosaic: bool, skip_batches: int
    ) -> DataLoader[Sample]:
        """This process's part of each batch of an epoch.

        Args:
            epoch: its number; with the configured seed it determines every random draw.
            hard_xy: by frame, (K, 2) px, image frame: centres of the detector's false positives.
            boost: how much more often images with tiny objects are drawn, see `next_boost`.
            with_mosaic: whether mosaics may be made.
            skip_batches: batches to leave out, because they were trained on before a restart.
        """
        config, seed = self._config, self._config.training.seed
        truths = self.frames.dataset.truths
        weights = image_weights(config.sampling.oversample, truths, self._has_tiny, boost)
        order = epoch_order(seed, epoch, len(self.frames), self._repeats, weights)
        samples = EpochSamples(self.frames, self._chain(boost, with_mosaic), config.training, epoch, order, hard_xy)
        training = config.training
        parts = BatchParts(len(samples), training.images_per_batch, skip_batches, self._rank, training.processes)
        return epoch_loader(samples, config, self.sizes, parts)

    def hardest(self, count: int) -> Batch:
        """A batch at the largest scale, of the frames with the most objects."""
        truths = self.frames.dataset.truths
        busiest = sorted(range(len(truths)), key=lambda index: -int((~truths[index].ignored).sum()))[:count]
        largest = max(training_scales(self._config, self._step))
        chain = Chain(self._config.sampling, Augmentation(), [largest], self._crop_px)
        drawn = (keyed_generator("hardest", place) for place in range(count))
        samples = [
            chain(busiest[place % len(busiest)], self.frames, {}, generator, generator)
            for place, generator in enumerate(drawn)
        ]
        return collate(samples, self.sizes)

    def next_boost(self, boost: float, tiny_share: float) -> float:
        """The boost of the epoch after one with `boost` in which tiny objects took `tiny_share` of the loss."""
        return next_boost(boost, tiny_share, self._tiny_objects) if self._config.sampling.loss_fed else 1.0

    def _chain(self, boost: float, with_mosaic: bool) -> Chain:
        return Chain(
            sampling=self._config.sampling,
            augmentation=self._config.augmentation,
            resolutions=training_scales(self._config, self._step),
            crop_px=self._crop_px,
            patches=self._patches,
            with_mosaic=with_mosaic,
            tiny_px=self.sizes.reference_px,
            tiny_boost=boost,
        )

    def _objects_to_paste(self) -> Patches | None:
        settings = self._config.augmentation.copy_paste
        if not settings.chance:
            return None
        bank = ObjectBank.of(self.frames.dataset.truths, self._sizes_wh, settings.max_side_px)
        return Patches(bank, self.frames.sample)
