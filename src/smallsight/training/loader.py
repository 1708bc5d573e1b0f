"""Training batches: which sample comes when is a pure function of (seed, epoch, position)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from smallsight.augment.pipeline import Chain, Points
from smallsight.config import Config
from smallsight.data.frames import FrameStore
from smallsight.detectors.base import Target
from smallsight.records import Sample
from smallsight.rng import keyed_generator
from smallsight.sections import Training
from smallsight.training.object_sizes import EVEN, SizeWeighting

Batch = tuple[Tensor, list[Target]]


class EpochSamples(Dataset[Sample]):
    """The training samples of one epoch, by position in its order.

    Args:
        frames: the training set.
        chain: makes a sample.
        training: `seed` and `batch_size` of it.
        epoch: its number.
        order: (frame, repeat) of each position.
        hard_xy: by frame, (K, 2) px, image frame: where the detector was wrong.
    """

    def __init__(
        self,
        frames: FrameStore,
        chain: Chain,
        training: Training,
        epoch: int,
        order: Sequence[tuple[int, int]],
        hard_xy: Mapping[int, Points],
    ) -> None:
        self._frames, self._chain, self._order, self._hard_xy = frames, chain, order, hard_xy
        self._key, self._batch_size = (training.seed, epoch), training.micro_batch

    def __len__(self) -> int:
        return len(self._order)

    def __getitem__(self, position: int) -> Sample:
        index, repeat = self._order[position]
        generator = keyed_generator("sample", *self._key, index, repeat)
        batch_generator = keyed_generator("batch", *self._key, position // self._batch_size)
        return self._chain(index, self._frames, self._hard_xy, generator, batch_generator)


class _Positions:
    """Positions of an epoch from `start` on, in order."""

    def __init__(self, start: int, stop: int) -> None:
        self._range = range(start, stop)

    def __iter__(self) -> Iterator[int]:
        return iter(self._range)

    def __len__(self) -> int:
        return len(self._range)


def collate(samples: Sequence[Sample], sizes: SizeWeighting = EVEN) -> Batch:
    """Samples of one size as uint8 (B, 3, H, W) and a target each."""
    images = torch.from_numpy(np.stack([sample.image for sample in samples])).permute(0, 3, 1, 2)
    return images, [target_of(sample, sizes) for sample in samples]


def target_of(sample: Sample, sizes: SizeWeighting = EVEN) -> Target:
    """A sample's truth as tensors."""
    truth = sample.truth
    arrays = truth.boxes, truth.labels, truth.ignored, sizes.weights(truth.areas), sizes.tiny(truth.areas)
    return Target(*(torch.from_numpy(np.ascontiguousarray(array)) for array in arrays))


def epoch_loader(samples: EpochSamples, config: Config, sizes: SizeWeighting, skip_batches: int) -> DataLoader[Sample]:
    """The batches of one epoch; the first `skip_batches`, trained on before a restart, are left out."""
    training = config.training
    return DataLoader(
        samples,
        batch_size=training.micro_batch,
        sampler=_Positions(skip_batches * training.micro_batch, len(samples)),
        collate_fn=partial(collate, sizes=sizes),
        num_workers=training.num_workers,
        pin_memory=config.dataset.pin_memory and torch.cuda.is_available(),
        prefetch_factor=config.dataset.prefetch_factor if training.num_workers else None,
    )
