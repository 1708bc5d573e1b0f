"""The tiny RF-DETR learns eight images by heart: its losses, gradients, rates and detections belong together."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.transforms.functional import normalize

from builders import GRASS_RGB, draw_ball, make_truth
from detectors.contract import target
from smallsight.detectors.rfdetr.network import DEVIATION, MEAN, RFDetrDetector
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


@pytest.fixture(scope="module")
def learnt() -> tuple[RFDetrDetector, list[float]]:
    """A detector that has learnt the frames, and the loss of each step."""
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
    return detector.eval(), losses


@pytest.mark.parametrize("seed", range(3))
def test_the_queries_that_detect_are_trained_as_they_detect(seed: int) -> None:
    """At the smallest resolution, too: with fewer patches than queries the groups would get each other's places."""
    torch.manual_seed(seed)
    detector, (images, _) = RFDetrDetector(("ball",), size="tiny"), frames()
    with torch.no_grad():
        training, detecting = detector.train()(images), detector.eval()(images)
    for key in ("pred_logits", "pred_boxes"):
        first_group = training[key][:, : detecting[key].shape[1]]
        # Both modes batch the same sums differently: 1e-3 is far above float32's rounding and far below a wrong place.
        torch.testing.assert_close(first_group, detecting[key], atol=1e-3, rtol=1e-3)


@pytest.mark.slow
def test_eight_images_are_learnt_by_heart(learnt: tuple[RFDetrDetector, list[float]]) -> None:
    detector, losses = learnt
    images, truths = frames()
    targets = [target(truth.boxes.tolist()) for truth in truths]
    with torch.no_grad():
        found = detector.detect(images, [(SIDE, SIDE)] * IMAGES)
        seen_in_evaluation = float(detector.losses(images, targets).total)
    assert losses[-1] < losses[0] / 10
    assert seen_in_evaluation < losses[0] / 4, "what is trained is what detects"
    assert evaluate(truths, found, 1).metrics["map_50"].value > 0.9


@pytest.mark.slow
def test_the_ap_of_its_weights_is_that_of_the_librarys_own_evaluation(
    learnt: tuple[RFDetrDetector, list[float]],
) -> None:
    """On noisy frames and against boxes drawn by an unsteady hand, so that hits overlap more and less."""
    from pycocotools.coco import COCO
    from rfdetr.evaluation.coco_eval import CocoEvaluator

    detector, _ = learnt
    images, truths = frames()
    hand = np.random.default_rng(2)
    truths = [make_truth(truth.boxes + hand.normal(0, 1.0, (1, 4))) for truth in truths]
    noise = 130 * torch.randn(images.shape, generator=torch.Generator().manual_seed(1))
    images = (images + noise).clamp(0, 255).to(torch.uint8)
    with torch.no_grad():
        ours = evaluate(truths, detector.detect(images, [(SIDE, SIDE)] * IMAGES), 1, max_dets=500).metrics
        outputs = detector.model(normalize(images / 255, list(MEAN), list(DEVIATION)))
        found = detector.postprocess(outputs, torch.tensor([[SIDE, SIDE]] * IMAGES))

    known = COCO()
    boxes = [(index, truth.boxes[0]) for index, truth in enumerate(truths)]
    known.dataset = {
        "images": [{"id": index, "width": SIDE, "height": SIDE} for index in range(IMAGES)],
        "categories": [{"id": 0, "name": "ball"}],
        "annotations": [
            {
                "id": index + 1,
                "image_id": index,
                "category_id": 0,
                "bbox": [x, y, right - x, bottom - y],
                "area": (right - x) * (bottom - y),
                "iscrowd": 0,
            }
            for index, (x, y, right, bottom) in ((i, map(float, box)) for i, box in boxes)
        ],
    }
    known.createIndex()
    library = CocoEvaluator(known, ["bbox"], max_dets=500, log_summary=False)
    library.update(dict(enumerate(found)))
    library.synchronize_between_processes()
    library.accumulate()
    theirs = library.coco_eval["bbox"].stats
    assert 0.05 < ours["map_50_95"].value < 0.95
    for name, value in zip(("map_50_95", "map_50", "map_75", "map_small"), theirs, strict=False):
        assert ours[name].value == pytest.approx(value, abs=1e-6), name
