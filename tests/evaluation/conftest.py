"""Data sets for judging detections, as odd as asked for."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from smallsight.boxes import area
from smallsight.records import Detections, Truth

Case = tuple[list[Truth], list[Detections]]


def odd_case(seed: int, n_images: int = 6, n_classes: int = 3, ties: bool = True, crowded: bool = False) -> Case:
    """Images with truths and detections that sit on the edges of COCO's rules.

    `ties` puts boxes on whole pixels (overlaps of exactly .5, equally close truths) and scores on tenths. `crowded`
    puts more than 100 detections on an image.
    """
    rng = np.random.default_rng(seed)
    truths, detections = [], []
    for _ in range(n_images):
        n = int(rng.integers(0, 9)) * int(rng.random() > 0.2)
        low = rng.uniform(0, 60, (n, 2))
        sides = np.exp(rng.uniform(np.log(0.4), np.log(130), (n, 2)))
        boxes = np.concatenate([low, low + sides], axis=1)
        copies = rng.integers(0, n, int(rng.integers(0, 3 * n))) if n else np.zeros(0, dtype=int)
        near = boxes[copies] + rng.normal(0, 0.08, (len(copies), 4)) * np.tile(sides[copies], 2)
        m = int(rng.integers(100, 300)) if crowded else int(rng.integers(0, 8))
        far = rng.uniform(0, 60, (m, 2))
        far = np.concatenate([far, far + rng.uniform(0, 30, (m, 2))], axis=1)
        found = np.concatenate([near, far])
        if ties:
            boxes, found = np.round(boxes), np.round(found)
        boxes, found = boxes.astype(np.float32), found.astype(np.float32)
        found[:, 2:] = np.maximum(found[:, :2], found[:, 2:])
        areas = np.where(rng.random(n) < 0.3, rng.choice([0, 64, 256, 1024, 9216, 70.5], n), area(boxes) * 0.8)
        labels = rng.integers(0, n_classes, n)
        truths.append(Truth(boxes, labels, areas.astype(np.float32), rng.random(n) < 0.15))
        scores = np.round(rng.random(len(found)), 1 if ties else 12).astype(np.float32)
        best = np.argsort(-scores, kind="stable")
        found_labels = np.concatenate([labels[copies], rng.integers(0, n_classes, m)])
        detections.append(Detections(found[best], scores[best], found_labels[best]))
    return truths, detections


def plausible_case(seed: int, n_images: int = 40, quality: float = 1.0) -> Case:
    """Small objects of one class, and a detector that finds more of them the higher its `quality`.

    The objects depend on the seed alone, so two qualities make a pair.
    """
    rng = np.random.default_rng(seed)
    truths, detections = [], []
    for _ in range(n_images):
        n = int(rng.poisson(3)) + 1
        low = rng.uniform(0, 600, (n, 2))
        boxes = np.concatenate([low, low + rng.uniform(5, 25, (n, 2))], axis=1).astype(np.float32)
        seen = rng.random(n) < 1 / (1 + np.exp(-quality - rng.normal(0, 0.5)))
        near = boxes[seen] + rng.normal(0, 0.6, (int(seen.sum()), 4))
        m = int(rng.poisson(2))
        far = rng.uniform(0, 600, (m, 2))
        found = np.concatenate([near, np.concatenate([far, far + 12], axis=1)]).astype(np.float32)
        scores = np.concatenate([rng.normal(1, 1, len(near)), rng.normal(-0.5, 1, m)])
        best = np.argsort(-scores)
        squashed = (1 / (1 + np.exp(-scores))).astype(np.float32)
        truths.append(Truth(boxes, np.zeros(n, dtype=np.int64), area(boxes), np.zeros(n, dtype=bool)))
        detections.append(Detections(found[best], squashed[best], np.zeros(len(found), dtype=np.int64)))
    return truths, detections


@pytest.fixture(scope="session")
def make_odd() -> Callable[..., Case]:
    return odd_case


@pytest.fixture(scope="session")
def make_plausible() -> Callable[..., Case]:
    return plausible_case
