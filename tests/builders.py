"""Small datasets for tests, written in milliseconds."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from smallsight.boxes import area, as_boxes
from smallsight.records import Sample, Truth

ANNOTATIONS = "_annotations.coco.json"
GRASS_RGB = (40, 110, 50)
BALL_RGB = (245, 245, 235)
RECORDED_MAP_SMALL: dict[int, float] = dict(
    zip(
        (*range(20, 36), 39),
        (
            *(0.527, 0.552, 0.522, 0.538, 0.559, 0.556, 0.569, 0.586, 0.575),
            *(0.588, 0.577, 0.568, 0.580, 0.600, 0.573, 0.591, 0.598),
        ),
        strict=True,
    )
)
"""By epoch, of the run that the strategy document speaks of; three epochs were not recorded."""


def draw_ball(image: npt.NDArray[np.uint8], box_xyxy: Sequence[float]) -> None:
    """Draw a bright disc that fills a box, with soft edges, into an RGB image."""
    x1, y1, x2, y2 = box_xyxy
    ys, xs = np.ogrid[: image.shape[0], : image.shape[1]]
    distance = np.hypot((xs + 0.5 - (x1 + x2) / 2) / ((x2 - x1) / 2), (ys + 0.5 - (y1 + y2) / 2) / ((y2 - y1) / 2))
    cover = np.clip((1 - distance) * min(x2 - x1, y2 - y1) / 2 + 0.5, 0, 1)[..., None]
    image[:] = np.rint(image * (1 - cover) + np.array(BALL_RGB) * cover).astype(np.uint8)


def write_coco_folder(
    folder: Path,
    n_images: int = 4,
    size_wh: tuple[int, int] = (96, 64),
    *,
    ball_px: tuple[float, float] = (5.0, 9.0),
    seed: int = 0,
    suffix: str = ".jpg",
    empty_every: int = 0,
    frames_per_clip: int = 0,
    categories: Sequence[Mapping[str, Any]] = ({"id": 1, "name": "ball", "supercategory": "none"},),
) -> dict[str, Any]:
    """Write images with one bright ball each on noisy grass, and `_annotations.coco.json`.

    Args:
        folder: made where it is missing.
        n_images: named frame_000.jpg on; image ids from 1, annotation ids from 1.
        size_wh: of each image, px.
        ball_px: smallest and largest diameter of a ball.
        seed: the same seed gives the same files.
        suffix: `.jpg` or `.png`.
        empty_every: each n-th image has no ball; 0 for none.
        frames_per_clip: images that share a `clip` entry; 0 for no such entry.
        categories: the balls belong to the last one.
    Returns:
        The content of the annotation file, to be changed and written again with `write_annotations`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(seed)
    width, height = size_wh
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for index in range(n_images):
        noise = generator.normal(0, 6, (height, width, 1))
        image = np.clip(np.array(GRASS_RGB) + noise, 0, 255).astype(np.uint8)
        side = float(generator.uniform(*ball_px))
        x, y = (float(v) for v in np.round(generator.uniform(1, (width - side - 1, height - side - 1)), 2))
        entry = {"id": index + 1, "file_name": f"frame_{index:03d}{suffix}", "width": width, "height": height}
        if frames_per_clip:
            entry["clip"] = f"clip_{seed}_{index // frames_per_clip:03d}"
        if not empty_every or (index + 1) % empty_every:
            draw_ball(image, (x, y, x + side, y + side))
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": index + 1,
                    "category_id": categories[-1]["id"],
                    "bbox": [x, y, side, side],
                    "area": side * side,
                    "iscrowd": 0,
                }
            )
        write_image(folder / entry["file_name"], image)
        images.append(entry)
    content = {"images": images, "annotations": annotations, "categories": [dict(item) for item in categories]}
    write_annotations(folder, content)
    return content


def write_image(path: Path, image_rgb: npt.NDArray[np.uint8]) -> None:
    """Write an RGB image in the format of the path's suffix; JPEG at quality 95."""
    done, data = cv2.imencode(path.suffix, image_rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])
    assert done
    path.write_bytes(data.tobytes())


def write_annotations(folder: Path, content: object) -> Path:
    """Write `content` as the folder's annotation file, NaN and infinity as Python writes them."""
    path = folder / ANNOTATIONS
    path.write_text(json.dumps(content))
    return path


def make_truth(boxes: Sequence[Sequence[float]], labels: Sequence[int] = (), ignored: Sequence[bool] = ()) -> Truth:
    """The truth of an image from boxes; one class and nothing ignored by default."""
    array = as_boxes([list(box) for box in boxes])
    return Truth(
        boxes=array,
        labels=np.array(labels or [0] * len(array), dtype=np.int64),
        areas=area(array),
        ignored=np.array(ignored or [False] * len(array), dtype=np.bool_),
    )


def make_sample(size_wh: tuple[int, int], boxes: Sequence[Sequence[int]], *, image_id: int = 1) -> Sample:
    """A dark frame in which each box, on whole pixels, is filled with white."""
    image = np.full((size_wh[1], size_wh[0], 3), 20, dtype=np.uint8)
    for x1, y1, x2, y2 in boxes:
        image[max(0, y1) : y2, max(0, x1) : x2] = 220
    return Sample(image, make_truth(boxes), image_id)
