"""Exposure, colour, sharpness, noise and compression: what differs between matches, cameras and evenings."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from smallsight.records import Image
from smallsight.sections import Augmentation, ColorJitter

_LUMA = np.array([0.299, 0.587, 0.114])
_TO_YIQ = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])

_Matrix = npt.NDArray[np.float64]


def degrade(image: Image, settings: Augmentation, generator: np.random.Generator) -> Image:
    """Colour, blur, noise and compression, each with its own probability, in the order in which a camera adds them.

    Args:
        image: uint8 (H, W, 3) RGB.
        settings: `color_jitter`, `gaussian_blur`, `iso_noise` and `jpeg_compression` of it.
        generator: where the draws come from.
    Returns:
        uint8 (H, W, 3) RGB.
    """
    if generator.random() < settings.color_jitter.chance:
        image = jitter_colour(image, settings.color_jitter, generator)
    if generator.random() < settings.gaussian_blur.chance:
        image = blur(image, 2 * int(generator.integers(1, (settings.gaussian_blur.max_kernel_size - 1) // 2 + 1)) + 1)
    if generator.random() < settings.iso_noise.chance:
        image = add_noise(image, generator.uniform(*settings.iso_noise.noise_level), generator)
    if generator.random() < settings.jpeg_compression.chance:
        low, high = settings.jpeg_compression.quality_range
        image = compress(image, int(generator.integers(low, high + 1)))
    return image


def blur(image: Image, kernel_px: int) -> Image:
    """Gaussian blur with an odd kernel; OpenCV takes sigma = 0.15 kernel + 0.35."""
    return np.asarray(cv2.GaussianBlur(image, (kernel_px, kernel_px), 0), dtype=np.uint8)


def add_noise(image: Image, deviation: float, generator: np.random.Generator) -> Image:
    """Normal noise on each value, its standard deviation as a share of white."""
    noise = generator.standard_normal(image.shape, dtype=np.float32) * np.float32(255 * deviation)
    return np.asarray(np.clip(np.rint(image + noise), 0, 255), dtype=np.uint8)


def compress(image: Image, quality: int) -> Image:
    """What JPEG of this quality (1 to 100) leaves of an RGB image."""
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    _, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR_RGB), dtype=np.uint8)


def jitter_colour(image: Image, settings: ColorJitter, generator: np.random.Generator) -> Image:
    """Draw brightness, contrast, saturation, hue and colour cast, and apply them as one affine map of the channels.

    Args:
        image: uint8 (H, W, 3) RGB.
        settings: how far each may go.
        generator: where the draws come from; the same number of draws every time.
    Returns:
        uint8 (H, W, 3) RGB, a new array, clipped to 0..255.
    """
    bright, contrast, saturation, hue, *cast = generator.uniform(-1, 1, size=7)
    colour = _saturation(1 + settings.saturation * saturation) @ _hue(settings.hue * hue)
    gain = np.diag(1 + settings.cast * np.array(cast)) * (1 + settings.contrast * contrast)
    matrix = gain @ colour
    middle = image.reshape(-1, 3).mean(axis=0)
    offset = middle - (1 + settings.contrast * contrast) * middle + 127.5 * settings.brightness * bright
    return np.asarray(cv2.transform(image, np.column_stack([matrix, offset])), dtype=np.uint8)


def _saturation(factor: float) -> _Matrix:
    """Away from grey for a factor above 1, towards it below."""
    return factor * np.eye(3) + (1 - factor) * np.tile(_LUMA, (3, 1))


def _hue(turn: float) -> _Matrix:
    """Turn all hues by a share of the whole circle, keeping the luma."""
    angle = 2 * np.pi * turn
    rotation = np.array(
        [[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]], dtype=np.float64
    )
    return np.asarray(np.linalg.inv(_TO_YIQ) @ rotation @ _TO_YIQ)
