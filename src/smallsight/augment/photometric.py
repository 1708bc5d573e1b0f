"""Photometric augmentation: differences between matches, cameras and light, in the order in which they arise."""

from __future__ import annotations

import dataclasses

import numpy as np

from smallsight.augment.blur import blur_along, defocus
from smallsight.augment.camera import add_noise, compress, rescale
from smallsight.augment.colour import jitter_colour
from smallsight.config.sections import Augmentation
from smallsight.records import Sample


def degrade(sample: Sample, settings: Augmentation, generator: np.random.Generator) -> Sample:
    """Motion blur, defocus, colour jitter, noise, downscaling and compression, each with its own probability.

    Args:
        sample: any frame; its image is uint8 (H, W, 3) RGB.
        settings: `motion_blur`, `gaussian_blur`, `color_jitter`, `iso_noise`, `downscale` and `jpeg_compression` of it.
        generator: source of all draws.
    Returns:
        The sample, its boxes grown with blur (see `blur_along`). The image is new unless nothing was applied.
    """
    # All are drawn first, so that turning one on or off doesn't change which others are applied.
    moved, defocused, coloured, noisy, rescaled, compressed = generator.random(6)
    if moved < settings.motion_blur.chance:
        length_px = _odd(settings.motion_blur.max_kernel_size, generator)
        sample = blur_along(sample, length_px, generator.uniform(0, np.pi))
    if defocused < settings.gaussian_blur.chance:
        sample = defocus(sample, _odd(settings.gaussian_blur.max_kernel_size, generator))
    image = sample.image
    if coloured < settings.color_jitter.chance:
        image = jitter_colour(image, settings.color_jitter, generator)
    if noisy < settings.iso_noise.chance:
        image = add_noise(image, generator.uniform(*settings.iso_noise.noise_level), generator)
    if rescaled < settings.downscale.chance:
        image = rescale(image, generator.uniform(*settings.downscale.factor_range))
    if compressed < settings.jpeg_compression.chance:
        low, high = settings.jpeg_compression.quality_range
        image = compress(image, int(generator.integers(low, high + 1)))
    return dataclasses.replace(sample, image=image)


def _odd(most: int, generator: np.random.Generator) -> int:
    """An odd number from 3 to `most`."""
    return 2 * int(generator.integers(1, (most - 1) // 2 + 1)) + 1
