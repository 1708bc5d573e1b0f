"""Whether pixels tell rendered frames from real ones: the best statistic that was found, and why it is not used.

The statistic is the contrast of a frame's busy parts to that of its calm ones: standard deviations of grey values in
blocks of 8x8 px, the 90th percentile over the 10th. Rendered frames are evenly textured. Printed are the median over
the frames of each set and the range from the 5th to the 95th percentile, as the frames are and after what other cameras
and tools do to them.

    python benchmarks/rendered_or_real.py rendered=DATA/train real=OTHER/valid [--frames 40]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from smallsight.rng import keyed_generator

Frame = npt.NDArray[np.uint8]
BLOCK = 8


def noisy(sd: float) -> Callable[[Frame], Frame]:
    """With the noise of a sensor."""
    return lambda image: np.clip(image + keyed_generator("noise").normal(0, sd, image.shape), 0, 255).astype(np.uint8)


def compressed(quality: int) -> Callable[[Frame], Frame]:
    """Written as JPEG once more."""

    def change(image: Frame) -> Frame:
        data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), dtype=np.uint8)

    return change


CHANGES: Mapping[str, Callable[[Frame], Frame]] = {
    "as they are": lambda image: image,
    "noise 4": noisy(4),
    "noise 8": noisy(8),
    "JPEG 40": compressed(40),
    "noise 4, JPEG 70": lambda image: compressed(70)(noisy(4)(image)),
}


def statistic(image: Frame) -> float:
    """The 90th percentile of the blocks' standard deviations over the 10th (0.1 or more)."""
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY).astype(np.float32)
    rows, columns = (side // BLOCK for side in grey.shape)
    blocks = grey[: rows * BLOCK, : columns * BLOCK].reshape(rows, BLOCK, columns, BLOCK)
    spread = blocks.std(axis=(1, 3))
    return float(np.quantile(spread, 0.9) / max(float(np.quantile(spread, 0.1)), 0.1))


def frames_of(folder: Path, count: int) -> list[Frame]:
    """So many frames of a folder, drawn by a fixed key."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".jpg", ".png"))
    chosen = keyed_generator("rendered or real").permutation(len(paths))[:count]
    return [np.asarray(cv2.imread(str(paths[index])), dtype=np.uint8) for index in chosen]


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("sets", nargs="+", metavar="NAME=FOLDER")
    parser.add_argument("--frames", type=int, default=40)
    arguments = parser.parse_args()
    print(f"| set | n | {' | '.join(CHANGES)} |\n|{'---|' * (len(CHANGES) + 2)}")
    for item in arguments.sets:
        name, _, folder = item.partition("=")
        frames = frames_of(Path(folder), arguments.frames)
        cells = []
        for change in CHANGES.values():
            values = [statistic(change(frame)) for frame in frames]
            low, middle, high = np.quantile(values, (0.05, 0.5, 0.95))
            cells.append(f"{middle:.1f} ({low:.1f} to {high:.1f})")
        print(f"| {name} | {len(frames)} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
