"""Training batches: which sample comes when is a pure function of (seed, epoch, position)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from smallsight.augment.pipeline import CropChain, Points
from smallsight.config import Config
from smallsight.data.frames import FrameStore
from smallsight.detectors.base import Target
from smallsight.records import Sample
from smallsight.rng import keyed_generator

Batch = tuple[Tensor, list[Target]]
NO_POINTS: Points = np.zeros((0, 2), dtype=np.float32)


def epoch_order(seed: int, epoch: int, n_images: int, repeats: int) -> list[tuple[int, int]]:
    """The samples of an epoch as (image index, repeat), each image `repeats` times, shuffled."""
    order = keyed_generator("order", seed, epoch).permutation(n_images * repeats)
    return [(int(i) % n_images, int(i) // n_images) for i in order]


class EpochSamples(Dataset[Sample]):
    """The training samples of one epoch, by position in its order."""

    def __init__(
        self, frames: FrameStore, chain: CropChain, seed: int, epoch: int, repeats: int, hard_xy: Mapping[int, Points]
    ) -> None:
        self._frames, self._chain, self._hard_xy = frames, chain, hard_xy
        self._key = ("sample", seed, epoch)
        self._order = epoch_order(seed, epoch, len(frames), repeats)

    def __len__(self) -> int:
        return len(self._order)

    def __getitem__(self, position: int) -> Sample:
        index, repeat = self._order[position]
        generator = keyed_generator(*self._key, index, repeat)
        return self._chain(self._frames.sample(index), self._hard_xy.get(index, NO_POINTS), generator)


class _Positions:
    """Positions of an epoch from `start` on, in order."""

    def __init__(self, start: int, stop: int) -> None:
        self._range = range(start, stop)

    def __iter__(self) -> Iterator[int]:
        return iter(self._range)

    def __len__(self) -> int:
        return len(self._range)


def collate(samples: Sequence[Sample]) -> Batch:
    """Samples of one size as uint8 (B, 3, H, W) and a target each."""
    images = torch.from_numpy(np.stack([sample.image for sample in samples])).permute(0, 3, 1, 2)
    return images, [target_of(sample) for sample in samples]


def target_of(sample: Sample) -> Target:
    """A sample's truth as tensors."""
    truth = sample.truth
    return Target(*(torch.from_numpy(np.ascontiguousarray(a)) for a in (truth.boxes, truth.labels, truth.ignored)))


def epoch_loader(
    frames: FrameStore, chain: CropChain, config: Config, epoch: int, hard_xy: Mapping[int, Points], skip_batches: int
) -> DataLoader[Sample]:
    """The batches of one epoch; the first `skip_batches`, trained on before a restart, are left out."""
    training = config.training
    samples = EpochSamples(frames, chain, training.seed, epoch, config.sampling.crops_per_image, hard_xy)
    return DataLoader(
        samples,
        batch_size=training.batch_size,
        sampler=_Positions(skip_batches * training.batch_size, len(samples)),
        collate_fn=collate,
        num_workers=training.num_workers,
        pin_memory=config.dataset.pin_memory and torch.cuda.is_available(),
        prefetch_factor=config.dataset.prefetch_factor if training.num_workers else None,
    )
