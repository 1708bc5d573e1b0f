"""How fast an examination is, and how much memory it takes: 10,000 JPEGs of 640x360 by default.

The images are rendered for this (100 scenes with a ball that moves, under noise), outside the project, and removed at
the end. The examination runs in a process of its own, so that the peak memory is its own.

    python benchmarks/doctor.py [--images 10000] [--near] [--workers 2]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np

WIDTH, HEIGHT, SCENES = 640, 360, 100
_EXAMINE = """
import json, resource, sys, time
from pathlib import Path
from smallsight.doctor.examine import Options, examine
began = time.perf_counter()
found = examine(Path(sys.argv[1]), Options(near_duplicates=sys.argv[2] == "near", workers=int(sys.argv[3])))
seconds = time.perf_counter() - began
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({"seconds": seconds, "peak_mib": peak, "findings": len(found.findings)}))
"""


def write_images(root: Path, count: int) -> None:
    """Nine tenths of the images into train, the rest into valid; scenes are not shared."""
    noise = np.random.default_rng(0).normal(0, 5, (8, HEIGHT, WIDTH, 3)).astype(np.int16)
    shares = {"train": range(count * 9 // 10), "valid": range(count * 9 // 10, count)}
    for split, numbers in shares.items():
        (root / split).mkdir(parents=True)
        images, annotations = [], []

        def write(number: int, split: str = split) -> tuple[int, float, float]:
            scene = number * SCENES // count
            x, y = (float(v) for v in np.random.default_rng(number).uniform((20, 20), (WIDTH - 30, HEIGHT - 30)))
            frame = _scene(scene).astype(np.int16) + noise[number % len(noise)]
            image = np.clip(frame, 0, 255).astype(np.uint8)
            cv2.circle(image, (int(x) + 3, int(y) + 3), 3, (240, 240, 240), -1, cv2.LINE_AA)
            path = root / split / f"scene_{scene:03d}_{number:06d}.jpg"
            path.write_bytes(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 85])[1].tobytes())
            return scene, x, y

        with ThreadPoolExecutor(max_workers=2) as pool:
            for number, (scene, x, y) in zip(numbers, pool.map(write, numbers), strict=True):
                name = f"scene_{scene:03d}_{number:06d}.jpg"
                images.append({"id": number, "file_name": name, "width": WIDTH, "height": HEIGHT})
                box = [int(x), int(y), 7, 7]
                annotations.append({"id": number, "image_id": number, "category_id": 1, "bbox": box, "area": 49})
        content = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "ball"}]}
        (root / split / "_annotations.coco.json").write_text(json.dumps(content))


def _scene(number: int) -> np.ndarray:
    coarse = np.random.default_rng(number).uniform(40, 200, (9, 16, 3)).astype(np.float32)
    return cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)


def main() -> None:
    """Write the images, examine them, print the figures."""
    parser = argparse.ArgumentParser(description="Speed and memory of an examination.")
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--near", action="store_true", help="look for nearly equal images too")
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="doctor_benchmark_") as folder:
        began = time.perf_counter()
        write_images(Path(folder), given.images)
        size = sum(path.stat().st_size for path in Path(folder).rglob("*.jpg")) / given.images / 1000
        print(f"{given.images} images of {size:.0f} kB written in {time.perf_counter() - began:.0f} s", flush=True)
        command = [sys.executable, "-c", _EXAMINE, folder, "near" if given.near else "exact", str(given.workers)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    result = json.loads(done.stdout)
    rate = given.images / result["seconds"]
    print(f"{result['seconds']:.1f} s, {rate:.0f} images/s, peak {result['peak_mib']:.0f} MiB", flush=True)


if __name__ == "__main__":
    main()
