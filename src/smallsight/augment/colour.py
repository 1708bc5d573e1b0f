"""Jitter of exposure and colour, which differ between matches, pitches and cameras: one affine map of the channels."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from smallsight.config.sections import ColorJitter
from smallsight.records import Image

_LUMA = np.array([0.299, 0.587, 0.114])
_TO_YIQ = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])

_Matrix = npt.NDArray[np.float64]


def jitter_colour(image: Image, settings: ColorJitter, generator: np.random.Generator) -> Image:
    """Draw brightness, contrast, saturation, hue and colour cast, and apply them as one affine map of the channels.

    Args:
        image: uint8 (H, W, 3) RGB.
        settings: the largest change of each.
        generator: random source; the number of draws is always the same.
    Returns:
        uint8 (H, W, 3) RGB, a new array, clipped to 0..255.
    """
    bright, contrast, saturation, hue, *cast = generator.uniform(-1, 1, size=7)
    colour = _saturation(1 + settings.saturation * saturation) @ _hue(settings.hue * hue)
    gain = np.diag(1 + settings.cast * np.array(cast)) * (1 + settings.contrast * contrast)
    matrix = gain @ colour
    middle = np.array(cv2.mean(image)[:3])
    offset = middle - (1 + settings.contrast * contrast) * middle + 127.5 * settings.brightness * bright
    return np.asarray(cv2.transform(image, np.column_stack([matrix, offset])), dtype=np.uint8)


def _saturation(factor: float) -> _Matrix:
    """(3, 3) matrix that moves colours away from grey for a factor above 1, and towards grey below 1."""
    return factor * np.eye(3) + (1 - factor) * np.tile(_LUMA, (3, 1))


def _hue(turn: float) -> _Matrix:
    """(3, 3) matrix that rotates all hues by `turn`, a share of the full circle, and keeps the luma."""
    angle = 2 * np.pi * turn
    rotation = np.array(
        [[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]], dtype=np.float64
    )
    return np.asarray(np.linalg.inv(_TO_YIQ) @ rotation @ _TO_YIQ)
