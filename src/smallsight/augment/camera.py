"""Degradations of a picture after the lens: sensor noise, downscaling, JPEG compression."""

from __future__ import annotations

from statistics import NormalDist

import cv2
import numpy as np

from smallsight.augment.geometry import resize
from smallsight.records import Image


def _normal_bytes() -> Image:
    """Look-up table from uniform random bytes to normally distributed ones: mean 127.5, scaled to fill 0..255."""
    quantiles = np.array([NormalDist().inv_cdf((byte + 0.5) / 256) for byte in range(256)])
    return np.asarray(np.rint(127.5 * (1 + quantiles / quantiles[-1])), dtype=np.uint8)


_NORMAL_BYTES = _normal_bytes()
_DEVIATION = float(_NORMAL_BYTES.std())


def add_noise(image: Image, deviation: float, generator: np.random.Generator) -> Image:
    """Add Gaussian noise to each value, independent of its neighbours and of the other channels.

    The noise is made from one random byte per value, many times as fast as normal draws: it has 256 levels, none
    beyond 2.9 standard deviations.

    Args:
        image: uint8 (H, W, 3).
        deviation: standard deviation as a share of white (255).
        generator: source of the random bytes.
    Returns:
        uint8 (H, W, 3), a new array, rounded and clipped to 0..255.
    """
    words = generator.bit_generator.random_raw(-(-image.size // 8)).astype("<u8", copy=False)
    noise = words.view(np.uint8)[: image.size].reshape(image.shape)
    cv2.LUT(noise, _NORMAL_BYTES, dst=noise)  # in place: a new array of this size costs more than the look-up
    factor = 255 * deviation / _DEVIATION
    return np.asarray(cv2.addWeighted(image, 1, noise, factor, -127.5 * factor, dst=noise), dtype=np.uint8)


def rescale(image: Image, factor: float) -> Image:
    """Shrink a uint8 (H, W, 3) image by `factor` and enlarge it to its size again, so that it loses detail."""
    height, width = image.shape[:2]
    return resize(resize(image, (max(1, round(width * factor)), max(1, round(height * factor)))), (width, height))


def compress(image: Image, quality: int) -> Image:
    """Encode a uint8 (H, W, 3) RGB image as JPEG of this quality (1 to 100) and decode it again."""
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    _, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR_RGB), dtype=np.uint8)
