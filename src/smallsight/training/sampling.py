"""Which images an epoch takes, how often and in which order: pure functions of keys, truths and past losses."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from smallsight.records import Truth
from smallsight.rng import keyed_generator

Oversample = Literal["none", "rare_classes", "tiny_objects"]
ImageWeights = npt.NDArray[np.float64]

TINY_FACTOR = 2.0
"""How much more often images with tiny objects are drawn: the mildest of the factors that the source tried.
Source: Kisantal et al., "Augmentation for small object detection", 2019, section 4.1."""
STARVED = 0.25
"""Tiny objects get too little training where their share of the loss is below this multiple of their share of objects.
Source: Chen et al., "Stitcher: Feedback-driven Data Provider for Object Detection", 2020, take 0.1 of the loss on COCO,
where 41 % of the objects are small. Relative to their number, it holds for sets of other sizes too."""
LARGEST_STEP = 2.0
"""Largest factor by which the boost changes from one epoch to the next."""
LARGEST_BOOST = 4.0
"""The strongest oversampling that Kisantal et al. tried."""


def epoch_order(
    seed: int, epoch: int, n_images: int, repeats: int, weights: ImageWeights | None = None
) -> list[tuple[int, int]]:
    """The samples of an epoch as (image index, repeat), shuffled; no pair comes twice.

    Args:
        seed, epoch: the key of the draw.
        n_images: of the training set.
        repeats: samples per image, on average.
        weights: (n_images,), above 0; the number of samples of an image is proportional to its weight, rounded up or
            down at random. Equal by default: each image comes `repeats` times.
    Source: systematic resampling; Kitagawa, "Monte Carlo Filter and Smoother", 1996.
    """
    length = n_images * repeats
    generator = keyed_generator("order", seed, epoch)
    order = generator.permutation(length)
    upto = np.cumsum(np.ones(n_images) if weights is None else weights / weights.max())
    bounds = np.ceil(upto * (length / upto[-1]) - generator.random()).astype(np.int64)
    bounds[-1] = length  # in spite of rounding
    counts = np.diff(bounds, prepend=0)
    pairs = [(int(i), repeat) for repeat in range(int(counts.max())) for i in np.flatnonzero(counts > repeat)]
    return [pairs[i] for i in order]


def image_weights(
    oversample: Oversample, truths: Sequence[Truth], has_tiny: npt.NDArray[np.bool_], boost: float = 1.0
) -> ImageWeights:
    """Sampling weight of each image.

    Args:
        oversample: which images to draw more often.
        truths: of the images.
        has_tiny: (images,), whether a tiny object that counts is on it.
        boost: factor for images with tiny objects, see `next_boost`.
    Returns:
        (images,), above 0.
    """
    if oversample == "rare_classes":
        weights = _repeat_factors(truths)
    elif oversample == "tiny_objects":
        weights = np.where(has_tiny, TINY_FACTOR, 1.0)
    else:
        weights = np.ones(len(truths))
    return weights * np.where(has_tiny, boost, 1.0)


def _repeat_factors(truths: Sequence[Truth]) -> ImageWeights:
    """sqrt(t / f) of an image's rarest class, 1 at least; f is the share of images with the class.

    t is 1 / classes, the share that each would have if an image showed one class and all were equally frequent; for the
    1203 classes of LVIS, that is the 0.001 of the source.
    Source: repeat factor sampling in Gupta et al., "LVIS: A Dataset for Large Vocabulary Instance Segmentation", 2019.
    """
    classes = [np.unique(truth.labels[~truth.ignored]) for truth in truths]
    names, images = np.unique(np.concatenate([*classes, np.zeros(0, dtype=np.int64)]), return_counts=True)
    factor = {name: math.sqrt(max(1.0, len(truths) / (len(names) * n))) for name, n in zip(names, images, strict=True)}
    return np.array([max((factor[name] for name in found), default=1.0) for found in classes])


def next_boost(boost: float, tiny_share: float, tiny_objects: float) -> float:
    """Factor by which the next epoch draws images with tiny objects more often, in [1, `LARGEST_BOOST`].

    The target is that tiny objects' share of the loss is `STARVED` times their share of the objects. The boost rises
    where their share of the loss was lower and falls back to 1 where it was higher, by at most a factor of
    `LARGEST_STEP` per epoch. Chen et al. switch between two kinds of batches instead; a factor converges, and the noise
    of one epoch changes it little.

    Args:
        boost: of the epoch that ended; 1 at first.
        tiny_share: share of the loss at objects that tiny ones took in it; NaN where no object was seen.
        tiny_objects: share of tiny ones among the training objects that count. Where it is 0 (no object is tiny or all
            have one size), the boost stays 1.
    """
    if math.isnan(tiny_share) or tiny_objects == 0:
        return boost
    factor = np.clip(STARVED * tiny_objects / max(tiny_share, 1e-9), 1 / LARGEST_STEP, LARGEST_STEP)
    return float(np.clip(boost * factor, 1.0, LARGEST_BOOST))
