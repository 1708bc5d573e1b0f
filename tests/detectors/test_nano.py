from __future__ import annotations

import numpy as np
import pytest
import torch

from detectors.contract import DetectorContract, target
from smallsight.detectors.base import Detector, count_parameters
from smallsight.detectors.nano import NanoDetector, _decode, _generalised_iou, _losses, _peaks


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
    assert count_parameters(NanoDetector(("ball",))) < 450_000


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
    assert _losses(right, boxes, wanted, 2)["heatmap"] < 0.1 * _losses(empty, boxes, wanted, 2)["heatmap"]


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
    from smallsight.config import Config
    from smallsight.detectors.build import build_detector

    first = build_detector(Config(), ("ball",), "test").state_dict()
    torch.rand(7)
    second = build_detector(Config(), ("ball",), "test").state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
