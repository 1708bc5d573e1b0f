"""Exposure and colour: what differs between matches, cameras and evenings."""

from __future__ import annotations

import cv2
import numpy as np

from smallsight.config import ColorJitter
from smallsight.records import Image


def jitter_colour(image: Image, settings: ColorJitter, generator: np.random.Generator) -> Image:
    """Draw brightness, contrast, saturation and hue and apply them.

    Args:
        image: uint8 (H, W, 3) RGB.
        settings: how far each factor may go.
        generator: where the draws come from; the same number of draws every time.
    Returns:
        uint8 (H, W, 3) RGB, a new array.
    """
    draws = generator.uniform(-1, 1, size=4)
    gain = 1 + settings.contrast * draws[0]
    offset = 255 * settings.brightness * draws[1] / 2
    saturation = 1 + settings.saturation * draws[2]
    pixels = image.astype(np.float32)
    middle = float(pixels.mean())
    pixels = (pixels - middle) * np.float32(gain) + np.float32(middle + offset)
    if saturation != 1:
        grey = pixels @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
        pixels = grey[..., None] + (pixels - grey[..., None]) * np.float32(saturation)
    result = np.clip(np.rint(pixels), 0, 255).astype(np.uint8)
    return _turn_hue(result, settings.hue * float(draws[3])) if settings.hue else result


def _turn_hue(image: Image, turn: float) -> Image:
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV_FULL)
    hsv[..., 0] = (hsv[..., 0].astype(np.int32) + round(turn * 256)) % 256
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB_FULL), dtype=np.uint8)
