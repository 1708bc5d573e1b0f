"""A tiny dataset on which a detector learns something in seconds: bright discs on a dim, noisy ground."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from smallsight.attempts.spec import AttemptSpec, Start
from smallsight.config.load import Config, build_config
from smallsight.rng import keyed_generator


def write_discs(folder: Path, n_images: int, *, seed: int = 0, side: int = 96) -> None:
    """A COCO folder with one or two discs of 5 to 9 px on each image of `side` px."""
    folder.mkdir(parents=True)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for index in range(n_images):
        generator = keyed_generator("disc", seed, index)
        pixels = generator.integers(40, 90, size=(side, side, 3)).astype(np.uint8)
        for _ in range(int(generator.integers(1, 3))):
            radius = int(generator.integers(2, 5))
            x, y = (int(v) for v in generator.integers(radius + 1, side - radius - 1, size=2))
            cv2.circle(pixels, (x, y), radius, (230, 230, 230), -1)
            box = [x - radius, y - radius, 2 * radius + 1, 2 * radius + 1]
            annotations.append(
                {"id": len(annotations), "image_id": index, "category_id": 1, "bbox": box, "area": box[2] * box[3]}
            )
        name = f"{index:03d}.png"
        cv2.imwrite(str(folder / name), pixels)
        images.append({"id": index, "file_name": name, "width": side, "height": side})
    content = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "ball"}]}
    (folder / "_annotations.coco.json").write_text(json.dumps(content))


def tiny_settings(data: Path, **training: Any) -> dict[str, Any]:
    """A configuration, as it stands in a file, that trains on `data/train` and `data/valid` within seconds."""
    return {
        "model": {"detector": "nano", "width": 0.5},
        "training": {"batch_size": 4, "learning_rate": 0.003, "epochs": 2, "resolution": 96, "threads": 1, **training},
        "sampling": {"crop_px": 64, "crops_per_image": 2, "hard_negative_frames": 4},
        "dataset": {"coco_train_path": str(data / "train"), "coco_val_path": str(data / "valid")},
        "evaluation": {"replicates": 100},
    }


def write_data(folder: Path) -> Path:
    """`train` with 12 images and `valid` with 6."""
    write_discs(folder / "train", 12, seed=1)
    write_discs(folder / "valid", 6, seed=2)
    return folder


def attempt_spec(
    run: Path,
    config: Config | dict[str, Any],
    *,
    first: int = 1,
    last: int = 2,
    start: Start = "scratch",
    path: str = "",
) -> AttemptSpec:
    """An attempt at a phase `demo` in the folder `run`."""
    resolved = config if isinstance(config, Config) else build_config(config, "test")
    return AttemptSpec(
        run_id="test",
        run_folder=str(run),
        folder=str(run / "phases" / "01_demo" / "attempt_1"),
        phase="demo",
        attempt=1,
        config=resolved.to_dict(),
        first_epoch=first,
        last_epoch=last,
        start=start,
        start_path=path,
    )
