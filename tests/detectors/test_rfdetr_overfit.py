"""The tiny RF-DETR learns eight images by heart: its losses, gradients, rates and detections belong together."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from builders import GRASS_RGB, draw_ball, make_truth
from detectors.contract import target
from smallsight.detectors.rfdetr import RFDetrDetector
from smallsight.evaluation.ap import evaluate
from smallsight.records import Truth

SIDE, IMAGES, MOST_STEPS, WARM_UP = 64, 8, 600, 20
RATE, CLIP = 0.002, 0.1


def frames() -> tuple[Tensor, list[Truth]]:
    """Noisy grass with one ball of 8 to 16 px each."""
    generator = np.random.default_rng(0)
    images, truths = [], []
    for _ in range(IMAGES):
        image = np.array(GRASS_RGB) + generator.normal(0, 6, (SIDE, SIDE, 1))
        image = np.clip(image, 0, 255).astype(np.uint8)
        ball = generator.uniform(8, 16)
        x, y = generator.uniform(1, SIDE - ball - 1, 2)
        draw_ball(image, (x, y, x + ball, y + ball))
        images.append(image)
        truths.append(make_truth([[x, y, x + ball, y + ball]]))
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous(), truths


def rate_factor(step: int) -> float:
    return min(1.0, (step + 1) / WARM_UP) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / MOST_STEPS)))


@pytest.mark.slow
def test_eight_images_are_learnt_by_heart() -> None:
    torch.manual_seed(0)
    images, truths = frames()
    targets = [target(truth.boxes.tolist()) for truth in truths]
    detector = RFDetrDetector(("ball",), size="tiny").train()
    optimizer = torch.optim.AdamW(detector.parameter_groups(RATE, 1e-4), betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate_factor)
    losses: list[float] = []
    for _ in range(MOST_STEPS):
        loss = detector.losses(images, targets).total
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(detector.parameters(), CLIP)
        optimizer.step()
        schedule.step()
        losses.append(float(loss.detach()))
        if losses[-1] < losses[0] / 10:
            break
    with torch.no_grad():
        found = detector.eval().detect(images, [(SIDE, SIDE)] * IMAGES)
    assert losses[-1] < losses[0] / 10
    assert evaluate(truths, found, 1).metrics["map_50"].value > 0.9
