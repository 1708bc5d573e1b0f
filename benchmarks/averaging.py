"""Which weights to judge: the trained ones, or their average, and over how many steps.

A phase of ten epochs goes on from an older checkpoint, with so many optimizer steps in all. Several averages follow the
same training; each set of weights is measured on `valid`, where a run chooses, and on `test`, where nothing is chosen.

    smallsight synth FRAMES --images 800 --seed 5
    OMP_NUM_THREADS=1 python benchmarks/averaging.py FRAMES --out averaging.json
"""

from __future__ import annotations

import argparse
import copy
import itertools
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from smallsight.config.load import build_config
from smallsight.config.sections import Training
from smallsight.data.coco import Dataset, read_coco
from smallsight.data.frames import FrameStore
from smallsight.detectors.base import Detector
from smallsight.detectors.build import build_detector
from smallsight.evaluation.ap import evaluate
from smallsight.training.averaging import MATURE, Averaging
from smallsight.training.loader import Batch
from smallsight.training.module import BETAS
from smallsight.training.predict import predict
from smallsight.training.supply import Supply

PHASES = (7, 20, 70, 200, 700, 2000)
EPOCHS = 10
HORIZONS = (0.5, 1.0, 2.0, 4.0)
FIXED = Averaging(0, 0.998)
"""The average before: 500 steps, whatever the phase."""
START_STEPS = 300
METRIC = "map_small"


def batches_of(supply: Supply) -> Iterator[Batch]:
    for epoch in itertools.count(1):
        yield from supply.loader(epoch, {}, 1.0, with_mosaic=True, skip_batches=0)


Averages = Mapping[str, tuple[Averaging, Detector]]


def optimizer_of(detector: Detector, training: Training) -> torch.optim.Optimizer:
    groups = detector.parameter_groups(training.learning_rate, training.weight_decay)
    return torch.optim.AdamW(groups, betas=BETAS)


def train(
    detector: Detector, optimizer: torch.optim.Optimizer, batches: Iterator[Batch], clip: float, averages: Averages
) -> Iterator[int]:
    """Train step by step, all averages after each; gives the number of steps done."""
    for step in itertools.count(1):
        detector.train()
        images, targets = next(batches)
        optimizer.zero_grad()
        detector.losses(images, targets).total.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(detector.parameters(), clip)
        optimizer.step()
        for averaging, average in averages.values():
            averaging.move(average, detector, MATURE + step)
        yield step


def measured(detector: Detector, data: Dataset, resolution: int) -> float:
    found = predict(detector.eval(), FrameStore(data), resolution).detections
    return evaluate(data.truths, found, len(data.class_names)).metrics[METRIC].value


def averages_for(start: Detector, steps_per_epoch: int) -> dict[str, tuple[Averaging, Detector]]:
    known = {f"{epochs:g} epochs": Averaging.of(Training(ema_epochs=epochs), steps_per_epoch) for epochs in HORIZONS}
    known["500 steps"] = FIXED
    return {name: (each, copy.deepcopy(start).eval().requires_grad_(False)) for name, each in known.items()}


def phase(
    start: tuple[Detector, Any], supply: Supply, training: Training, steps: int, sets: Mapping[str, Dataset]
) -> list[Any]:
    """A phase of so many steps that goes on with the optimizer's moments; each set of weights half-way and last."""
    detector, per_epoch = copy.deepcopy(start[0]), max(1, round(steps / EPOCHS))
    optimizer = optimizer_of(detector, training)
    optimizer.load_state_dict(copy.deepcopy(start[1]))
    averages, rows = averages_for(start[0], per_epoch), []
    for step in train(detector, optimizer, batches_of(supply), training.gradient_clip, averages):
        if step in (steps // 2, steps):
            weights = {"raw": detector, **{name: average for name, (_, average) in averages.items()}}
            for name, each in weights.items():
                values = {split: measured(each, data, training.resolution) for split, data in sets.items()}
                rows.append({"steps": steps, "at": step, "weights": name, **values})
                print(json.dumps(rows[-1]), flush=True)
        if step == steps:
            return rows
    raise AssertionError


def shortfall(rows: list[dict[str, Any]], horizon: str) -> list[tuple[int, int, float]]:
    """By phase and step: how far the weights that `valid` chooses lie below the better of the two on `test`."""
    found = []
    for key in sorted({(row["steps"], row["at"]) for row in rows}):
        pair = [r for r in rows if (r["steps"], r["at"]) == key and r["weights"] in ("raw", horizon)]
        judged = max(pair, key=lambda row: row["valid"])
        found.append((*key, judged["test"] - max(row["test"] for row in pair)))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("frames", type=Path)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    config = build_config(
        {
            "training": {"learning_rate": 0.002, "resolution": 640, "threads": 1},
            "dataset": {
                "coco_train_path": str(arguments.frames / "train"),
                "coco_val_path": str(arguments.frames / "valid"),
            },
        },
        "averaging",
    )
    sets = {split: read_coco(arguments.frames / split) for split in ("valid", "test")}
    train_set = read_coco(arguments.frames / "train")
    torch.set_num_threads(1)
    detector = build_detector(config, train_set.class_names, "averaging")
    supply = Supply(FrameStore(train_set, budget_mb=1000), detector, config)
    optimizer = optimizer_of(detector, config.training)
    steps = train(detector, optimizer, batches_of(supply), config.training.gradient_clip, {})
    next(itertools.islice(steps, START_STEPS - 1, None))
    start = {split: measured(detector, data, 640) for split, data in sets.items()}
    before = (detector, optimizer.state_dict())
    rows = [row for length in PHASES for row in phase(before, supply, config.training, length, sets)]
    worst = {f"{h:g} epochs": min(gap for *_, gap in shortfall(rows, f"{h:g} epochs")) for h in HORIZONS}
    outcome = {"start": start, "rows": rows, "worst shortfall of the judged weights on test": worst}
    if arguments.out:
        arguments.out.write_text(json.dumps(outcome, indent=1))
    json.dump(worst, sys.stdout, indent=1)


if __name__ == "__main__":
    main()
