"""A cut-out object with its opacity: scaled, blurred, motion-blurred, and pasted over another image.

Layers are (H, W, 4) float32: red, green and blue multiplied by opacity, in grey levels, then opacity, 0 to 1. Their
box is (4,) float32 xyxy px in the frame of the layers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from smallsight.augment.blur import streak_growth
from smallsight.records import Floats, Image


@dataclass(frozen=True, eq=False)
class Layers:
    """Pixels (H, W, 4) and box, see above. Pasted over an image they give colour + (1 - opacity) * image."""

    pixels: Floats
    box: Floats

    def scaled(self, factor: float, *, flips: bool) -> Layers:
        """Scaled to whole pixels near `factor`, and mirrored left and right if `flips`."""
        pixels, box = self.pixels, self.box
        height, width = pixels.shape[:2]
        if flips:
            pixels = np.ascontiguousarray(pixels[:, ::-1])
            box = np.array([width - box[2], box[1], width - box[0], box[3]], dtype=np.float32)
        size = max(1, round(width * factor)), max(1, round(height * factor))
        method = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
        factors = np.array([size[0] / width, size[1] / height] * 2, dtype=np.float32)
        return Layers(np.asarray(cv2.resize(pixels, size, interpolation=method), np.float32), box * factors)

    def softened(self, deviation_px: float) -> Layers:
        """With a Gaussian blur of this standard deviation; the size of the box does not change."""
        if not deviation_px:
            return self
        wider = self._padded(int(np.ceil(2.5 * deviation_px)))
        return replace(wider, pixels=np.asarray(cv2.GaussianBlur(wider.pixels, (0, 0), deviation_px), np.float32))

    def streaked(self, way_xy: Floats) -> Layers:
        """With motion blur: the object moves by `way_xy`, (2,) px, at constant speed during the exposure.

        The box ends at half maximum, as in `blur_along`. Opacity is blurred with the colour, so the ground shows
        through the streak.
        """
        if not way_xy.any():
            return self
        reach = int(np.ceil(np.abs(way_xy).max() / 2)) + 1
        places = np.linspace(-0.5, 0.5, 4 * reach + 1)[:, None] * way_xy + reach
        low = np.floor(places).astype(int)
        right, down = (places - low).T
        kernel = np.zeros((2 * reach + 1, 2 * reach + 1), np.float32)
        for dx, across in ((0, 1 - right), (1, right)):
            for dy, along in ((0, 1 - down), (1, down)):
                np.add.at(kernel, (low[:, 1] + dy, low[:, 0] + dx), across * along)
        wider = self._padded(reach)
        half = streak_growth(np.diff(wider.box.reshape(2, 2), axis=0), np.abs(way_xy))[0] / 2
        pixels = cv2.filter2D(wider.pixels, -1, kernel / kernel.sum(), borderType=cv2.BORDER_CONSTANT)
        box = np.concatenate([wider.box[:2] - half, wider.box[2:] + half])
        return Layers(np.asarray(pixels, np.float32), np.asarray(box, np.float32))

    def lit(self, gain: Floats) -> Layers:
        """With each colour channel multiplied by its `gain`, (3,)."""
        return replace(self, pixels=self.pixels * np.append(gain, 1).astype(np.float32))

    def noisy(self, deviation: float, generator: np.random.Generator) -> Layers:
        """With white noise of this standard deviation, grey levels, weighted by opacity."""
        if not deviation:
            return self
        noise = generator.standard_normal((*self.pixels.shape[:2], 3), dtype=np.float32) * np.float32(deviation)
        pixels = self.pixels.copy()
        pixels[..., :3] += noise * pixels[..., 3:]
        return replace(self, pixels=pixels)

    def lay_over(self, image: Image, corner_xy: tuple[int, int]) -> None:
        """Blend into `image` (H, W, 3) in place, which the caller must own; parts outside the image are dropped."""
        under = part_of(image, corner_xy, self.pixels.shape[:2])
        x, y = (max(0, -c) for c in corner_xy)
        over = self.pixels[y : y + under.shape[0], x : x + under.shape[1]]
        under[:] = np.clip(np.rint(over[..., :3] + (1 - over[..., 3:]) * under), 0, 255).astype(np.uint8)

    def _padded(self, margin: int) -> Layers:
        return Layers(np.pad(self.pixels, ((margin, margin), (margin, margin), (0, 0))), self.box + np.float32(margin))


def part_of(image: Image, corner_xy: tuple[int, int], shape: tuple[int, ...]) -> Image:
    """View of the part of an image with `shape` (height, width) at `corner_xy`, clipped to the image."""
    (x, y), (height, width) = corner_xy, shape
    return image[max(0, y) : max(0, y + height), max(0, x) : max(0, x + width)]
