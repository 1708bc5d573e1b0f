"""The camera's effects on the image: lens blur, sharpening, exposure, colour, noise and JPEG quality."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

from smallsight.records import Image
from smallsight.rng import keyed_generator

_NOISE_SIDE = 512


@dataclass(frozen=True, eq=False)
class Lens:
    """The camera of a clip.

    Attributes:
        blur_px: standard deviation of the point spread.
        sharpening: strength of the camera's sharpening, which causes halos.
        exposure_s: how long the shutter is open.
        tones: (1, 256, 3) uint8, tone curve: the output for each level of R, G and B.
        vignette: how much darker the corners are.
        noise: standard deviation, levels.
        jpeg_quality: 0 to 100.
    """

    blur_px: float
    sharpening: float
    exposure_s: float
    tones: Image
    vignette: float
    noise: float
    jpeg_quality: int


def draw_lens(rng: np.random.Generator, size_wh: tuple[int, int]) -> Lens:
    """The camera of a clip."""
    levels = np.arange(256) / 255
    gain, gamma, contrast = rng.uniform(0.95, 1.2), rng.uniform(0.75, 1.05), rng.uniform(0.85, 1.1)
    cast = 1 + rng.normal(size=3) * 0.04
    curve = ((levels**gamma * gain)[:, None] * cast - 0.45) * contrast + 0.45 + rng.uniform(-0.02, 0.03)
    return Lens(
        blur_px=float(rng.uniform(0.45, 1.05) * (size_wh[0] / 640) ** 0.7),
        sharpening=float(rng.choice([0.0, rng.uniform(0.2, 0.9)])),
        exposure_s=float(1 / np.exp(rng.uniform(np.log(40), np.log(220)))),
        tones=(curve * 255).clip(0, 255).astype(np.uint8)[None],
        vignette=float(rng.uniform(0, 0.25)),
        noise=float(rng.choice([rng.uniform(0.5, 2.5), rng.uniform(2.5, 7)], p=[0.7, 0.3])),
        jpeg_quality=int(rng.integers(62, 96)),
    )


def spread_point(image: npt.NDArray[np.float32], blur_px: float) -> npt.NDArray[np.float32]:
    """A (h, w) map after lens blur: a Gaussian point spread of standard deviation `blur_px`."""
    return np.asarray(cv2.GaussianBlur(image, (0, 0), blur_px, borderType=cv2.BORDER_CONSTANT), dtype=np.float32)


def smear(image: Image, motion_xy: tuple[float, float]) -> Image:
    """The picture with motion blur of a straight camera motion, px, during the exposure."""
    length = float(np.hypot(*motion_xy))
    if length < 0.7:
        return image
    side = 2 * int(np.ceil(length / 2)) + 1
    kernel = np.zeros((side, side), np.float32)
    for share in np.linspace(-0.5, 0.5, 4 * side):
        x, y = (side // 2 + share * value for value in motion_xy)
        column, row = int(np.floor(x)), int(np.floor(y))
        for dx, dy in ((0, 0), (1, 0), (0, 1), (1, 1)):
            if row + dy < side and column + dx < side:
                kernel[row + dy, column + dx] += (1 - abs(x - column - dx)) * (1 - abs(y - row - dy))
    return np.asarray(cv2.filter2D(image, -1, kernel / kernel.sum()))


def expose(canvas: Image, lens: Lens, rng: np.random.Generator) -> Image:
    """The picture that the camera outputs, (H, W, 3) uint8."""
    size = round(lens.blur_px * 6) | 1
    image = np.asarray(cv2.GaussianBlur(canvas, (size, size), lens.blur_px))
    if lens.sharpening:
        soft = cv2.GaussianBlur(image, (0, 0), lens.blur_px * 1.3)
        image = np.asarray(cv2.addWeighted(image, 1 + lens.sharpening, soft, -lens.sharpening, 0))
    if lens.vignette > 0.03:
        image = np.asarray(
            cv2.multiply(
                image, _vignette((image.shape[1], image.shape[0]), round(lens.vignette * 20) / 20), scale=1 / 255
            )
        )
    image = np.asarray(cv2.LUT(image, lens.tones))
    height, width = image.shape[:2]
    left, top = (int(value) for value in rng.integers(0, _NOISE_SIDE, 2))
    noise = _noise(((width + _NOISE_SIDE - 1) // _NOISE_SIDE + 1, (height + _NOISE_SIDE - 1) // _NOISE_SIDE + 1))
    amount = lens.noise / 32
    part = noise[top : top + height, left : left + width]
    return np.asarray(cv2.addWeighted(image, 1, part, amount, -128 * amount))


@lru_cache(maxsize=8)
def _vignette(size_wh: tuple[int, int], amount: float) -> Image:
    x, y = (np.linspace(-1, 1, side) for side in size_wh)
    fall = 1 - amount * (x[None, :] ** 2 + y[:, None] ** 2) / 2
    return np.repeat((fall * 255).astype(np.uint8)[..., None], 3, axis=2)


@lru_cache(maxsize=2)
def _noise(tiles_wh: tuple[int, int]) -> Image:
    """Sensor noise, 128 the mean, 32 its standard deviation, its colour softened, repeated over `tiles_wh`."""
    rng = keyed_generator("sensor noise")
    raw = rng.standard_normal((_NOISE_SIDE, _NOISE_SIDE, 3), dtype=np.float32)
    bright = rng.standard_normal((_NOISE_SIDE, _NOISE_SIDE, 1), dtype=np.float32)
    colour = cv2.GaussianBlur(raw, (0, 0), 1.0)
    mixed = 0.9 * bright + 0.45 * colour / colour.std()
    tile = (128 + 32 * mixed).clip(0, 255).astype(np.uint8)
    return np.tile(tile, (tiles_wh[1], tiles_wh[0], 1))
