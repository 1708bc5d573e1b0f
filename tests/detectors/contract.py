"""What every detector must keep; a detector's own test file derives from `DetectorContract` and builds it."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import pytest
import torch

from smallsight.config.detectors import detector_kind
from smallsight.detectors.base import Detector, Losses, Target
from smallsight.detectors.build import detector_from_description


def target(
    boxes: list[list[float]],
    labels: list[int] | None = None,
    ignored: list[bool] | None = None,
    weights: list[float] | None = None,
    tiny: list[bool] | None = None,
) -> Target:
    """Objects of the first class that count, weigh 1 and are not tiny, unless told otherwise."""
    n = len(boxes)
    return Target(
        torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        torch.tensor(labels if labels is not None else [0] * n, dtype=torch.int64),
        torch.tensor(ignored if ignored is not None else [False] * n, dtype=torch.bool),
        torch.tensor(weights if weights is not None else [1.0] * n, dtype=torch.float32),
        torch.tensor(tiny if tiny is not None else [False] * n, dtype=torch.bool),
    )


_FLAGS = ([False, False], [True, False], [False, True], [True, True])


class DetectorContract(ABC):
    """Subclass it and give `detector()`: two classes, fresh weights."""

    side = 96

    @abstractmethod
    def detector(self) -> Detector: ...

    def images(self, n: int = 2) -> torch.Tensor:
        generator = torch.Generator().manual_seed(3)
        return torch.randint(0, 256, (n, 3, self.side, self.side), dtype=torch.uint8, generator=generator)

    def test_losses_are_finite_scalars_with_a_gradient(self) -> None:
        detector = self.detector().train()
        losses = detector.losses(self.images(), [target([[20, 20, 26, 27]]), target([])])
        assert losses.parts and all(part.ndim == 0 and torch.isfinite(part) for part in losses.parts.values())
        losses.total.backward()
        gradients = [p.grad for p in detector.parameters() if p.requires_grad]
        assert any(g is not None and bool((g != 0).any()) for g in gradients)

    def test_a_batch_without_objects_has_a_loss(self) -> None:
        losses = self.detector().train().losses(self.images(), [target([]), target([])])
        assert torch.isfinite(losses.total) and torch.isnan(losses.tiny_share)
        losses.total.backward()

    def test_no_loss_is_taken_in_ignored_boxes(self) -> None:
        """What lies in an ignored box must not matter: neither as an object nor as background."""
        detector = self.detector().eval()
        whole = [[0.0, 0.0, float(self.side), float(self.side)]] * len(detector.class_names)
        labels = list(range(len(detector.class_names)))
        losses = detector.losses(self.images(1), [target(whole, labels, [True] * len(whole))])
        assert float(losses.total.detach()) == pytest.approx(0.0, abs=1e-6)

    def test_an_ignored_box_hides_no_object_of_another_class(self) -> None:
        """A ball in front of a player who is cut by the frame must still be learnt."""
        detector = self.detector().eval()
        ball, player = [20.0, 20.0, 26.0, 27.0], [0.0, 0.0, float(self.side), float(self.side)]
        alone = detector.losses(self.images(1), [target([player], [1], [True])])
        both = detector.losses(self.images(1), [target([ball, player], [0, 1], [False, True])])
        assert float(both.total.detach()) > float(alone.total.detach())

    def test_the_share_of_the_tiny_adds_up(self) -> None:
        """Of the loss at objects: all of it where all are tiny, none where none is, and two halves make a whole."""
        ball, player = [20.0, 20.0, 26.0, 27.0], [40.0, 30.0, 60.0, 80.0]
        shares = [self._losses([ball, player], tiny=flags).tiny_share for flags in _FLAGS]
        none, first, second, both = (float(share) for share in shares)
        assert none == 0 and both == pytest.approx(1) and 0 < first < 1 and 0 < second < 1
        assert first + second == pytest.approx(1)
        assert all(share.ndim == 0 and not share.requires_grad for share in shares)

    def test_what_is_ignored_has_no_share(self) -> None:
        ball, player = [20.0, 20.0, 26.0, 27.0], [40.0, 30.0, 60.0, 80.0]
        share = self._losses([ball, player], ignored=[False, True], tiny=[False, True]).tiny_share
        assert float(share) == 0

    def test_an_object_that_weighs_more_takes_more_of_the_loss(self) -> None:
        ball, player = [20.0, 20.0, 26.0, 27.0], [40.0, 30.0, 60.0, 80.0]
        light, heavy = (
            float(self._losses([ball, player], weights=weights, tiny=[True, False]).tiny_share)
            for weights in ([1.0, 1.0], [1.5, 0.5])
        )
        assert heavy > light

    def test_the_loss_of_a_lone_object_follows_its_weight(self) -> None:
        """A weight holds whatever else the batch holds: else it would fade with the batch size."""
        light, heavy = (self._losses([[20.0, 20.0, 26.0, 27.0]], weights=[weight]).total for weight in (1.0, 2.0))
        assert float(heavy.detach()) > float(light.detach())

    def _losses(self, boxes: list[list[float]], **settings: Any) -> Losses:
        return self.detector().eval().losses(self.images(1), [target(boxes, **settings)])

    def test_detections_are_sorted_and_inside_the_original_image(self) -> None:
        detector = self.detector().eval()
        sizes = [(192, 96), (50, 200)]
        for found, (width, height) in zip(detector.detect(self.images(), sizes), sizes, strict=True):
            assert found.boxes.shape == (len(found), 4) and found.boxes.dtype == np.float32
            assert (np.diff(found.scores) <= 0).all() and ((found.scores >= 0) & (found.scores <= 1)).all()
            assert (found.boxes >= 0).all() and (found.boxes <= np.array([width, height] * 2)).all()
            assert ((found.labels >= 0) & (found.labels < len(detector.class_names))).all()

    def test_one_pass_gives_what_two_give(self) -> None:
        detector = self.detector().eval()
        targets, sizes = [target([[20, 20, 26, 27]], [1]), target([])], [(self.side, self.side)] * 2
        found, losses = detector.detect_with_losses(self.images(), targets, sizes)
        for a, b in zip(found, detector.detect(self.images(), sizes), strict=True):
            np.testing.assert_array_equal(a.boxes, b.boxes)
        again = detector.losses(self.images(), targets)
        assert {k: float(v.detach()) for k, v in losses.parts.items()} == {
            k: float(v.detach()) for k, v in again.parts.items()
        }

    def test_parameter_groups_hold_every_parameter_once(self) -> None:
        detector = self.detector()
        groups = detector.parameter_groups(0.001, 0.01)
        held = [id(p) for group in groups for p in group["params"]]
        assert sorted(held) == sorted(id(p) for p in detector.parameters() if p.requires_grad)
        assert all({"lr", "weight_decay"} <= set(group) for group in groups)

    def test_its_description_names_its_record(self) -> None:
        detector = self.detector()
        assert detector_kind(detector.description()["detector"]) == detector.kind
        assert detector.resolution_step in [size.step_px for size in detector.kind.sizes]

    def test_it_is_built_again_from_its_description(self) -> None:
        detector = self.detector().eval()
        described = json.loads(json.dumps(dict(detector.description())))
        twin = detector_from_description(described, "test").eval()
        twin.load_state_dict(detector.state_dict())
        sizes = [(self.side, self.side)] * 2
        for a, b in zip(detector.detect(self.images(), sizes), twin.detect(self.images(), sizes), strict=True):
            np.testing.assert_array_equal(a.boxes, b.boxes)
            np.testing.assert_array_equal(a.scores, b.scores)
