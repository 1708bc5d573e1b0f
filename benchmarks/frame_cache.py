"""What a frame costs, decoded and from the cache on the disk: 1920x1080 JPEGs by default.

The images are rendered for this (smooth scenes under noise), in a temporary folder that is removed at the end. Each
frame is taken in each way in turn, in changing order, so that other work on the machine strikes all ways alike. "warm":
file and entry are in the system's page cache. "cold": they were dropped from it just before (asked for with
POSIX_FADV_DONTNEED; a virtual machine's host may still hold them). A crop is 192 px at a random place, copied; the
whole frame is copied too.

    python benchmarks/frame_cache.py [--frames 40] [--rounds 3] [--folder DIR]
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from smallsight.data.coco import ImageEntry
from smallsight.data.frame_cache import FrameCache
from smallsight.data.frames import decode
from smallsight.records import Image

WIDTH, HEIGHT, CROP_PX = 1920, 1080, 192
WHOLE = (slice(None), slice(None))
WAYS = ("decoded, crop", "cached, crop", "decoded, whole", "cached, whole")


def write_frames(folder: Path, count: int) -> list[ImageEntry]:
    """JPEGs at quality 90."""
    entries = []
    for number in range(count):
        generator = np.random.default_rng(number)
        scene = cv2.resize(generator.uniform(40, 200, (27, 48, 3)).astype(np.float32), (WIDTH, HEIGHT))
        noise = cv2.GaussianBlur(generator.normal(0, 8, (HEIGHT, WIDTH, 3)).astype(np.float32), (3, 3), 0)
        image = np.clip(scene + noise, 0, 255).astype(np.uint8)
        path = folder / f"{number:04d}.jpg"
        path.write_bytes(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes())
        entries.append(ImageEntry(number, path, (WIDTH, HEIGHT)))
    return entries


def drop_from_memory(folder: Path) -> None:
    """Ask the system to forget the content of the files in `folder`."""
    for path in folder.iterdir():
        with path.open("rb") as handle:
            os.posix_fadvise(handle.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def refuse(entry: ImageEntry) -> Image:
    """Stands for `decode` where each frame must be in the cache."""
    raise RuntimeError(f"{entry.path} is not in the cache: not enough room in the folder?")


def milliseconds(take: Callable[[ImageEntry], Image], entry: ImageEntry, window: tuple[slice, slice]) -> float:
    """Time to take a frame and copy a part of it."""
    began = time.perf_counter()
    take(entry)[window].copy()
    return (time.perf_counter() - began) * 1000


def measure(entries: list[ImageEntry], cache: FrameCache, rounds: int) -> dict[tuple[str, str], list[float]]:
    """Milliseconds per frame by (warm or cold, way); one round is cold."""
    found: dict[tuple[str, str], list[float]] = {(state, way): [] for state in ("warm", "cold") for way in WAYS}
    generator = np.random.default_rng(0)
    for entry in entries:
        decode(entry), cache.fetch(entry, refuse)[0].copy()
    for state in ["warm"] * rounds + ["cold"]:
        for entry in entries:
            for way in generator.permutation(WAYS):
                if state == "cold":
                    drop_from_memory(entry.path.parent)
                    drop_from_memory(cache.folder)
                x, y = (int(generator.integers(side - CROP_PX)) for side in (WIDTH, HEIGHT))
                crop = (slice(y, y + CROP_PX), slice(x, x + CROP_PX))
                take = decode if way.startswith("decoded") else lambda e: cache.fetch(e, refuse)[0]
                found[state, way].append(milliseconds(take, entry, crop if way.endswith("crop") else WHOLE))
    return found


def main() -> None:
    """Write the frames, fill the cache, print the figures."""
    parser = argparse.ArgumentParser(description="Milliseconds per frame, decoded and from the cache.")
    parser.add_argument("--frames", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where the temporary folder is made: the disk to be measured")
    given = parser.parse_args()
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory(prefix="frame_cache_benchmark_", dir=given.folder) as name:
        (Path(name) / "images").mkdir()
        entries = write_frames(Path(name) / "images", given.frames)
        cache = FrameCache(Path(name) / "cache", budget_mb=1e6)
        filling = [milliseconds(lambda e: cache.fetch(e, decode)[0], e, (slice(1), slice(1))) for e in entries]
        os.sync()  # what is not on the disk yet can't be dropped from memory
        kilobytes = sum(e.path.stat().st_size for e in entries) / len(entries) / 1000
        megabytes = WIDTH * HEIGHT * 3 / 1e6
        print(f"{given.frames} frames of {WIDTH}x{HEIGHT}: JPEG {kilobytes:.0f} kB, entry {megabytes:.1f} MB")
        found = measure(entries, cache, given.rounds)
    print(f"decoded and written: {np.median(filling):.2f} ms (n = {len(filling)})")
    print("ms per frame: median (10th to 90th percentile), n; ratio: decoded over cached, of the medians")
    for (state, way), times in found.items():
        low, middle, high = np.percentile(times, (10, 50, 90))
        ratio = ""
        if way.startswith("cached"):
            ratio = f", ratio {np.median(found[state, way.replace('cached', 'decoded')]) / middle:.1f}"
        print(f"{state}, {way}: {middle:.2f} ({low:.2f} to {high:.2f}), n = {len(times)}{ratio}")


if __name__ == "__main__":
    main()
