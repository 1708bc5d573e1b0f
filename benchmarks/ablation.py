"""What each augmentation, and the loss weight, brings on few training images, trained from scratch, against none.

Every run takes the same number of optimizer steps on the same images and is judged by its last epoch on the validation
set. The test set is not touched. An interval is a bootstrap over the validation images and the seeds at once; a
difference to "none" is paired: the same images and seeds are drawn for both.

    python benchmarks/ablation.py FOLDER [--images 130] [--seeds 3] [--epochs 4] [--resolution 640] [--out FOLDER]

FOLDER holds train/ and valid/ (COCO). Runs that are done are not done again; `--table` only prints.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from smallsight.attempts.spec import AttemptSpec
from smallsight.config.load import build_config
from smallsight.data.coco import read_coco
from smallsight.evaluation.ap import evaluate
from smallsight.evaluation.bootstrap import draw_images, replicate_values
from smallsight.evaluation.detections_file import load_detections
from smallsight.rng import keyed_generator

REPLICATES = 1000
METRICS = ("map_small", "map_50", "centre_ap")
DOMAIN = {
    "color_jitter": {"prob": 0.9, "brightness": 0.3, "contrast": 0.4, "saturation": 0.4, "cast": 0.25, "hue": 0.02},
    "motion_blur": {"prob": 0.15, "max_kernel_size": 7},
    "gaussian_blur": {"prob": 0.15, "max_kernel_size": 5},
    "iso_noise": {"prob": 0.3, "noise_level": 0.04},
    "jpeg_compression": {"prob": 0.2, "quality_range": [30, 90]},
    "downscale": {"prob": 0.15, "factor_range": [0.6, 0.9]},
}
NONE = {"augmentation": {"color_jitter": False}}
VARIANTS: dict[str, dict[str, Any]] = {
    "none": NONE,
    "4A copy-paste": {"augmentation": {"color_jitter": False, "copy_paste": 0.5}},
    "4B mosaic": {"augmentation": {"color_jitter": False, "mosaic": 0.5}},
    "4C loss weight": {**NONE, "training": {"small_object_loss_weight": 2.0}},
    "default colour": {"augmentation": {}},
    "domain": {"augmentation": DOMAIN},
    "4A + domain": {"augmentation": {**DOMAIN, "copy_paste": 0.5}},
    "all": {
        "augmentation": {**DOMAIN, "copy_paste": 0.5, "mosaic": 0.5},
        "training": {"small_object_loss_weight": 2.0},
    },
}


@dataclass(frozen=True)
class Job:
    """One training."""

    variant: str
    seed: int
    folder: Path

    @property
    def done(self) -> Path:
        """Written when it has ended."""
        return self.folder / "done.json"


def subset(source: Path, images: int, folder: Path) -> Path:
    """A training set of `images` images, evenly taken from `source` in the order of their file names."""
    content = json.loads((source / "_annotations.coco.json").read_text())
    ordered = sorted(content["images"], key=lambda image: image["file_name"])
    chosen = [ordered[i] for i in np.linspace(0, len(ordered) - 1, min(images, len(ordered))).round().astype(int)]
    ids = {image["id"] for image in chosen}
    folder.mkdir(parents=True, exist_ok=True)
    for image in chosen:
        (folder / image["file_name"]).write_bytes((source / image["file_name"]).read_bytes())
    kept = [annotation for annotation in content["annotations"] if annotation["image_id"] in ids]
    (folder / "_annotations.coco.json").write_text(json.dumps({**content, "images": chosen, "annotations": kept}))
    return folder


def settings_of(options: argparse.Namespace, train: Path, job: Job) -> dict[str, Any]:
    """The configuration of a run."""
    variant = VARIANTS[job.variant]
    return {
        "model": {"detector": "nano"},
        "training": {
            "batch_size": 16,
            "learning_rate": 0.002,
            "epochs": options.epochs,
            "resolution": options.resolution,
            "multi_scale": True,
            "schedule": "cosine",
            "seed": job.seed,
            "threads": 1,
            **variant.get("training", {}),
        },
        "sampling": {"crop_px": 192, "crops_per_image": options.crops},
        "dataset": {"coco_train_path": str(train), "coco_val_path": str(options.folder / "valid")},
        "augmentation": variant.get("augmentation", {}),
        "evaluation": {"replicates": 100},
    }


def train(options: argparse.Namespace, data: Path, job: Job) -> None:
    """Train in a process of its own, so that no run can touch another."""
    if job.done.is_file():
        return
    config = build_config(settings_of(options, data, job), "ablation").to_dict()
    folder = str(job.folder)
    AttemptSpec("ablation", folder, folder, "ablation", 1, config, 1, options.epochs, "scratch").save()
    subprocess.run(
        [sys.executable, __file__, "--child", folder], check=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )


class Quiet:
    """Hears an attempt and always lets it go on; only the last epoch counts."""

    def tell(self, event: Mapping[str, Any]) -> None:
        """Nothing to do."""

    def ask_to_go_on(self) -> bool:
        """Always."""
        return True

    def stop_requested(self) -> bool:
        """Never."""
        return False

    def listen_to_signals(self) -> None:
        """Nothing to do."""


def child(folder: Path) -> None:
    """The training itself; writes how much processor time it took."""
    from smallsight.training.fit import run_attempt

    began = time.process_time()
    run_attempt(AttemptSpec.load(folder / "attempt.json"), Quiet())
    (folder / "done.json").write_text(json.dumps({"processor_s": time.process_time() - began}))


def replicates_of(jobs: list[Job], options: argparse.Namespace) -> dict[tuple[str, int], dict[str, np.ndarray]]:
    """By variant and seed: each metric's (1 + REPLICATES,) values, the first on the images as they are."""
    truths = read_coco(options.folder / "valid")
    draws = draw_images(len(truths), replicates=REPLICATES, seed=0)
    draws = np.concatenate([np.ones((len(truths), 1)), draws], axis=1)
    found = {}
    for job in jobs:
        detections, _ = load_detections(job.folder / "detections" / f"valid_epoch_{options.epochs:03d}.npz")
        evaluation = evaluate(truths.truths, detections, len(truths.class_names))
        found[job.variant, job.seed] = replicate_values(evaluation, METRICS, draws)
    return found


def table(options: argparse.Namespace, jobs: list[Job]) -> str:
    """Markdown: each variant's metrics and its difference to none, mean of the seeds with 95 % intervals."""
    values = replicates_of(jobs, options)
    seeds = range(options.seeds)
    picks = [keyed_generator("seeds", r).integers(0, len(seeds), len(seeds)) for r in range(REPLICATES)]

    def interval(by_seed: np.ndarray) -> str:
        drawn = [by_seed[pick, 1 + r].mean() for r, pick in enumerate(picks)]
        low, high = np.percentile(drawn, [2.5, 97.5])
        return f"{by_seed[:, 0].mean():+.3f} [{low:+.3f}, {high:+.3f}]"

    cost = {job.variant: [] for job in jobs}
    for job in jobs:
        cost[job.variant].append(json.loads(job.done.read_text())["processor_s"])
    lines = [
        "| variant | map_small (seeds) | against none | AP50 | against none | processor time |",
        "|---|---|---|---|---|---|",
    ]
    for name in dict.fromkeys(job.variant for job in jobs):
        cells = [name]
        for metric in METRICS[:2]:
            own = np.stack([values[name, seed][metric] for seed in seeds])
            none = np.stack([values["none", seed][metric] for seed in seeds])
            each = ", ".join(f"{value:.3f}" for value in own[:, 0])
            cells += [f"{own[:, 0].mean():.3f} ({each})", "" if name == "none" else interval(own - none)]
        lines.append(f"| {' | '.join(cells)} | {np.mean(cost[name]) / np.mean(cost['none']):.2f} |")
    return "\n".join(lines)


def main() -> None:
    """Parse, train what is missing, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="holds train/ and valid/")
    parser.add_argument("--images", type=int, default=130, help="training images")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--crops", type=int, default=16, help="crops per image and epoch")
    parser.add_argument("--resolution", type=int, default=640)
    parser.add_argument("--variants", nargs="*", default=list(VARIANTS), choices=list(VARIANTS))
    parser.add_argument("--jobs", type=int, default=2, help="trainings at a time, one thread each")
    parser.add_argument("--out", type=Path, default=Path("runs/ablation"))
    parser.add_argument("--table", action="store_true", help="print the table of what is there")
    options = parser.parse_args()
    jobs = [
        Job(name, seed, options.out / name.replace(" ", "_") / str(seed))
        for seed in range(options.seeds)
        for name in options.variants
    ]
    if not options.table:
        data = subset(options.folder / "train", options.images, options.out / "train")
        with ThreadPoolExecutor(options.jobs) as pool:
            list(pool.map(lambda job: train(options, data, job), jobs))
    print(table(options, [job for job in jobs if job.done.is_file()]))


if __name__ == "__main__":
    child(Path(sys.argv[2])) if sys.argv[1:2] == ["--child"] else main()
