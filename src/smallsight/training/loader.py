"""Training batches: which sample comes when is a pure function of (seed, epoch, position)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from smallsight.augment.pipeline import Chain, Points
from smallsight.config.load import Config
from smallsight.config.sections import Training
from smallsight.data.frames import FrameStore
from smallsight.detectors.base import Target
from smallsight.records import Sample
from smallsight.rng import keyed_generator
from smallsight.training.object_sizes import EVEN, SizeWeighting

Batch = tuple[Tensor, list[Target]]


class EpochSamples(Dataset[Sample]):
    """The training samples of one epoch, by position in its order.

    Args:
        frames: the training set.
        chain: makes a sample.
        training: `seed`, `batch_size` and number of processes of it.
        epoch: its number.
        order: (frame, repeat) of each position.
        hard_xy: by frame, (K, 2) px, image frame: centres of the detector's false positives.
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
        self._key, self._batch_size = (training.seed, epoch), training.images_per_batch

    def __len__(self) -> int:
        return len(self._order)

    def __getitem__(self, position: int) -> Sample:
        index, repeat = self._order[position]
        generator = keyed_generator("sample", *self._key, index, repeat)
        batch_generator = keyed_generator("batch", *self._key, position // self._batch_size)
        return self._chain(index, self._frames, self._hard_xy, generator, batch_generator)


class BatchParts:
    """Positions of one process's part of each batch of an epoch, in order.

    A batch is divided as evenly as possible. Where it has fewer samples than there are processes, those without a
    sample take its last one, so that all processes make the same number of steps.

    Args:
        samples: number of samples of the epoch.
        size: of a batch, all parts together; the last one may be smaller.
        skip: batches to leave out, because they were trained on before a restart.
        rank, processes: the process that the parts are for, and the number of processes.
    """

    def __init__(self, samples: int, size: int, skip: int = 0, rank: int = 0, processes: int = 1) -> None:
        self._samples, self._size, self._rank, self._processes = samples, size, rank, processes
        self._starts = range(skip * size, samples, size)

    def __iter__(self) -> Iterator[list[int]]:
        for start in self._starts:
            count = min(self._size, self._samples - start)
            first, stop = (count * rank // self._processes for rank in (self._rank, self._rank + 1))
            yield list(range(start + first, start + stop)) or [start + count - 1]

    def __len__(self) -> int:
        return len(self._starts)


def collate(samples: Sequence[Sample], sizes: SizeWeighting = EVEN) -> Batch:
    """Samples of one size as uint8 (B, 3, H, W) and a target each."""
    images = torch.from_numpy(np.stack([sample.image for sample in samples])).permute(0, 3, 1, 2)
    return images, [target_of(sample, sizes) for sample in samples]


def target_of(sample: Sample, sizes: SizeWeighting = EVEN) -> Target:
    """A sample's truth as tensors."""
    truth = sample.truth
    arrays = truth.boxes, truth.labels, truth.ignored, sizes.weights(truth.areas), sizes.tiny(truth.areas)
    return Target(*(torch.from_numpy(np.ascontiguousarray(array)) for array in arrays))


def epoch_loader(
    samples: EpochSamples, config: Config, sizes: SizeWeighting, parts: Iterable[list[int]]
) -> DataLoader[Sample]:
    """A loader of one epoch's batches; each item of `parts` gives the positions of one batch's samples."""
    training = config.training
    return DataLoader(
        samples,
        batch_sampler=parts,
        collate_fn=partial(collate, sizes=sizes),
        num_workers=training.num_workers,
        pin_memory=config.dataset.pin_memory and torch.cuda.is_available(),
        prefetch_factor=config.dataset.prefetch_factor if training.num_workers else None,
    )
