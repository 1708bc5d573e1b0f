from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from detectors.contract import DetectorContract, target
from smallsight.detectors.base import Detector
from smallsight.detectors.nano.network import NanoDetector, _decode, _generalised_iou, _losses, _peaks


class TestNano(DetectorContract):
    def detector(self) -> Detector:
        torch.manual_seed(0)
        return NanoDetector(("ball", "player"), width=0.5)


class TestNanoWithFlipAverage(DetectorContract):
    def detector(self) -> Detector:
        torch.manual_seed(0)
        return NanoDetector(("ball", "player"), width=0.5, flip_average=True)

    def test_a_mirrored_image_gives_mirrored_detections(self) -> None:
        detector, size = self.detector().eval(), [(self.side, self.side)]
        plain, mirrored = (detector.detect(images, size)[0] for images in (self.images(1), self.images(1).flip(3)))
        turned = mirrored.boxes[:, [2, 1, 0, 3]] * np.array([-1, 1, -1, 1]) + np.array([self.side, 0, self.side, 0])
        np.testing.assert_allclose(np.sort(plain.scores), np.sort(mirrored.scores), atol=1e-5)
        np.testing.assert_allclose(np.sort(plain.boxes, axis=0), np.sort(turned, axis=0), atol=1e-2)


def test_it_is_small() -> None:
    assert sum(parameter.numel() for parameter in NanoDetector(("ball",)).parameters()) < 450_000


def test_a_perfect_map_gives_back_the_boxes() -> None:
    """Maps written by hand at the centres: decoding must return the boxes to a hundredth of a pixel."""
    boxes = torch.tensor([[10.3, 12.6, 15.1, 19.2], [40.0, 41.0, 43.0, 44.5]])
    logits, values = torch.full((1, 1, 32, 32), -9.0), torch.zeros(1, 4, 32, 32)
    for box in boxes / 2:
        centre, sides = (box[:2] + box[2:]) / 2, box[2:] - box[:2]
        x, y = int(centre[0]), int(centre[1])
        logits[0, 0, y, x] = 5.0
        values[0, :, y, x] = torch.cat([centre - torch.tensor([x + 0.5, y + 0.5]), sides.log()])
    (found,) = _peaks(logits, values, 2, [(128, 32)])
    confident = found.boxes[found.scores > 0.5]
    expected = boxes.numpy() * np.array([2, 0.5, 2, 0.5])
    np.testing.assert_allclose(np.sort(confident, axis=0), np.sort(expected, axis=0), atol=0.01)


def test_the_loss_falls_where_the_map_is_right() -> None:
    wanted = [target([[20.0, 20.0, 26.0, 28.0]])]
    empty, right = torch.full((1, 1, 32, 32), -6.0), torch.full((1, 1, 32, 32), -6.0)
    right[0, 0, 12, 11] = 6.0
    boxes = torch.zeros(1, 4, 32, 32)
    assert _losses(right, boxes, wanted, 2).parts["heatmap"] < 0.1 * _losses(empty, boxes, wanted, 2).parts["heatmap"]


BALL, PLAYER = [20.0, 20.0, 26.0, 27.0], [30.0, 24.0, 46.0, 60.0]


def _gradients(weights: list[float] | None) -> tuple[torch.Tensor, torch.Tensor]:
    """Of the heatmap's loss at the centre cells of a ball and a player, and of the box loss at them."""
    logits = torch.full((1, 1, 48, 48), -2.0, requires_grad=True)
    boxes = torch.zeros(1, 4, 48, 48, requires_grad=True)
    _losses(logits, boxes, [target([BALL, PLAYER], weights=weights)], 2).total.backward()
    assert logits.grad is not None and boxes.grad is not None
    ys, xs = [11, 21], [11, 19]
    return logits.grad[0, 0, ys, xs].abs(), boxes.grad[0, :, ys, xs].abs().sum(0)


def test_an_object_that_weighs_more_moves_the_network_more() -> None:
    even, weighted = _gradients(None), _gradients([1.5, 0.5])
    torch.testing.assert_close(weighted[0], even[0] * torch.tensor([1.5, 0.5]))
    assert float(weighted[1][0] / weighted[1][1]) == pytest.approx(3 * float(even[1][0] / even[1][1]), rel=1e-5)


def test_the_background_does_not_feel_the_weights() -> None:
    logits, boxes = torch.full((1, 1, 48, 48), -2.0), torch.zeros(1, 4, 48, 48)
    gradients = []
    for weights in ([1.0, 1.0], [1.5, 0.5]):
        leaf = logits.clone().requires_grad_()
        _losses(leaf, boxes, [target([BALL, PLAYER], weights=weights)], 2).total.backward()
        assert leaf.grad is not None
        gradients.append(leaf.grad)
    changed = (gradients[0] != gradients[1])[0, 0].nonzero().tolist()
    assert sorted(changed) == [[11, 11], [21, 19]]


def test_a_weight_that_all_have_scales_the_loss_at_objects_and_shifts_no_share() -> None:
    logits, boxes = torch.full((1, 1, 48, 48), -2.0), torch.zeros(1, 4, 48, 48)
    one, three = (
        _losses(logits, boxes, [target([BALL, PLAYER], weights=[w, w], tiny=[True, False])], 2) for w in (1.0, 3.0)
    )
    assert float(three.tiny_share) == pytest.approx(float(one.tiny_share))
    assert float(three.parts["box"]) == pytest.approx(3 * float(one.parts["box"]))


def test_the_loss_without_weights_is_the_published_one() -> None:
    """Written out cell by cell for one object: the weights' way through the code must cost nothing where all are 1."""
    logits, boxes = torch.full((1, 1, 8, 8), -2.0), torch.zeros(1, 4, 8, 8)
    chance, expected = 1 / (1 + math.exp(2)), 0.0
    for y in range(8):
        for x in range(8):
            heat = math.exp(-0.5 * ((x - 4) / 0.6) ** 2 - 0.5 * ((y - 4) / 0.6) ** 2)
            miss = -((1 - heat) ** 4) * chance**2 * math.log(1 - chance)
            expected += -((1 - chance) ** 2) * math.log(chance) if (x, y) == (4, 4) else miss
    found = _losses(logits, boxes, [target([[8.0, 8.0, 10.0, 10.0]])], 2)
    assert float(found.parts["heatmap"]) == pytest.approx(expected, rel=1e-5)
    assert float(found.parts["box"]) == pytest.approx(0.0, abs=1e-6), "the map of zeros is this very box"


@pytest.mark.parametrize(
    ("tiny", "ball_found", "expected"),
    [
        ([True, False], False, 0.5),
        ([True, False], True, 0.0),
        ([False, True], True, 1.0),
    ],
)
def test_the_share_of_the_tiny_on_planted_maps(tiny: list[bool], ball_found: bool, expected: float) -> None:
    """Two equal objects: each takes half of the loss, or the other one all of it once one is found exactly."""
    wanted = [[8.0, 8.0, 10.0, 10.0], [40.0, 40.0, 42.0, 42.0]]
    logits, boxes = torch.full((1, 1, 32, 32), -3.0), torch.full((1, 4, 32, 32), 0.3)
    if ball_found:
        logits[0, 0, 4, 4], boxes[0, :, 4, 4] = 30.0, 0.0
    found = _losses(logits, boxes, [target(wanted, tiny=tiny)], 2)
    assert float(found.tiny_share) == pytest.approx(expected, abs=1e-6)


def test_two_objects_in_one_cell_weigh_as_the_heavier_one() -> None:
    twice = [[8.0, 8.0, 10.0, 10.0], [8.2, 8.2, 9.8, 9.8]]
    logits, boxes = torch.full((1, 1, 8, 8), -2.0), torch.zeros(1, 4, 8, 8)
    orders = ([0.5, 1.5], [1.5, 0.5])
    heats = [float(_losses(logits, boxes, [target(twice, weights=w)], 2).parts["heatmap"]) for w in orders]
    assert heats[0] == heats[1]


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ([0, 0, 2, 2], [0, 0, 2, 2], 1.0),
        ([0, 0, 2, 2], [2, 0, 4, 2], 0.0),
        ([0, 0, 1, 1], [3, 0, 4, 1], -0.5),
    ],
)
def test_generalised_iou(a: list[float], b: list[float], expected: float) -> None:
    assert float(_generalised_iou(torch.tensor([a]).float(), torch.tensor([b]).float())) == pytest.approx(expected)


def test_decode_is_centred_on_the_cell() -> None:
    box = _decode(torch.tensor([0.0, 0.0, 0.0, 0.0]), torch.tensor(3.0), torch.tensor(5.0), 2)
    assert box.tolist() == [6.0, 10.0, 8.0, 12.0]


def test_the_weights_depend_on_the_seed_alone() -> None:
    from smallsight.config.load import Config
    from smallsight.detectors.build import build_detector

    first = build_detector(Config(), ("ball",), "test").state_dict()
    torch.rand(7)
    second = build_detector(Config(), ("ball",), "test").state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
