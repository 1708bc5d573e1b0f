from __future__ import annotations

import copy
import importlib.util
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from detectors.contract import DetectorContract, target
from smallsight.config.detectors import RFDETR_SIZES
from smallsight.config.load import build_config, with_settings
from smallsight.detectors.base import Detector, Target
from smallsight.detectors.build import build_detector
from smallsight.detectors.rfdetr.network import RFDetrDetector

NAMES = ("ball", "player")


def tiny(**settings: Any) -> RFDetrDetector:
    torch.manual_seed(0)
    return RFDetrDetector(NAMES, size="tiny", **settings)


def frames(n: int = 2, side: int = 96) -> Tensor:
    return torch.randint(0, 256, (n, 3, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(3))


def busy_targets() -> list[Target]:
    return [target([[20, 20, 26, 27], [40, 8, 80, 60], [2, 60, 9, 66]], [0, 1, 0]), target([[10, 30, 31, 70]], [1])]


def total(detector: Detector, *targets: Target) -> float:
    return float(detector.losses(frames(len(targets)), targets).total.detach())


class TestRFDetr(DetectorContract):
    def detector(self) -> Detector:
        return tiny()


# What the library gives


def library_loss(detector: RFDetrDetector, targets: list[Target]) -> dict[str, Tensor]:
    """The loss of the library's own criterion on the library's own targets, and its total, for one pass."""
    from rfdetr.config import TrainConfig
    from rfdetr.models.lwdetr import build_criterion_from_config

    from smallsight.detectors.rfdetr.network import library_settings

    model, _, defaults = library_settings(detector.size, len(detector.class_names), False)
    stock, _ = build_criterion_from_config(model, TrainConfig(dataset_dir=".", output_dir="."), defaults)
    stock.train(detector.training)
    own = []
    for item in targets:
        boxes = item.boxes / 96
        centres, sides = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
        own.append({"boxes": torch.cat([centres, sides], 1), "labels": item.labels})
    found = stock(library_outputs(detector, frames()), own)
    total = torch.stack([found[key] * stock.weight_dict[key] for key in found if key in stock.weight_dict]).sum()
    return {**found, "total": total}


def library_outputs(detector: RFDetrDetector, images: Tensor) -> dict[str, Any]:
    mean = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
    deviation = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    outputs: dict[str, Any] = detector.model((images / 255 - mean) / deviation)
    return outputs


@pytest.mark.parametrize("training", [True, False])
def test_losses_are_the_librarys(training: bool) -> None:
    """All groups of queries, the intermediate layers and the proposals of the encoder take part."""
    detector = tiny().train(training)
    with torch.no_grad():
        expected = library_loss(detector, busy_targets())
        losses = detector.losses(frames(), busy_targets())
    assert float(losses.total) == pytest.approx(float(expected["total"]), rel=1e-6)
    layers = [key for key in expected if key.startswith("loss_ce")]
    assert len(layers) == 3
    assert float(losses.parts["class"]) == pytest.approx(sum(float(expected[key]) for key in layers), rel=1e-6)


def test_gradients_are_the_librarys() -> None:
    detector = tiny().train()
    library_loss(detector, busy_targets())["total"].backward()
    expected = {name: p.grad.clone() for name, p in detector.named_parameters() if p.grad is not None}
    detector.zero_grad()
    detector.losses(frames(), busy_targets()).total.backward()
    for name, parameter in detector.named_parameters():
        if parameter.grad is not None:
            assert torch.allclose(parameter.grad, expected[name], rtol=1e-4, atol=1e-5), name


def test_detections_are_the_librarys() -> None:
    """Boxes, scores and order, on weights whose head is sure of some things, without the spare output."""
    detector = tiny().eval()
    with torch.no_grad():
        detector.model.class_embed.weight.normal_(0, 1, generator=torch.Generator().manual_seed(5))
        own = library_outputs(detector, frames())
        expected = detector.postprocess(own, torch.tensor([[50, 200], [96, 192]]))
    for found, wanted in zip(detector.detect(frames(), [(200, 50), (192, 96)]), expected, strict=True):
        known = wanted["labels"] < len(NAMES)
        assert 0 < int(known.sum()) < len(known)
        np.testing.assert_allclose(found.boxes, wanted["boxes"][known], rtol=1e-5, atol=1e-4)
        np.testing.assert_allclose(found.scores, wanted["scores"][known], rtol=1e-5)
        np.testing.assert_array_equal(found.labels, wanted["labels"][known])


@pytest.mark.parametrize("side", [32, 64, 160])
def test_one_detector_takes_every_legal_resolution(side: int) -> None:
    detector = tiny().eval()
    before = {name: value.shape for name, value in detector.state_dict().items()}
    with torch.no_grad():
        detector(frames(1, 96))
        ours, theirs = detector(frames(1, side)), library_outputs(copy.deepcopy(detector), frames(1, side))
    assert torch.allclose(ours["pred_boxes"], theirs["pred_boxes"], atol=1e-5)
    assert {name: value.shape for name, value in detector.state_dict().items()} == before


def test_rates_are_the_librarys() -> None:
    """Each parameter's rate and decay, against the library's function, whose package is not imported as a whole."""
    import rfdetr
    from rfdetr.config import TrainConfig

    file = Path(rfdetr.__file__).parent / "training" / "param_groups.py"
    spec = importlib.util.spec_from_file_location("library_param_groups", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    detector, training = tiny(), TrainConfig(dataset_dir=".", output_dir=".")
    settings = SimpleNamespace(**training.model_dump(), out_feature_indexes=[1, 2, 3])

    def by_parameter(groups: list[dict[str, Any]], key: str) -> dict[int, float]:
        return {id(p): group.get(key, training.weight_decay) for group in groups for p in group["params"]}

    theirs = module.get_param_dict(settings, detector.model)
    ours, doubled = (detector.parameter_groups(factor * training.lr, training.weight_decay) for factor in (1, 2))
    assert len(ours) > 4
    for key in ("lr", "weight_decay"):
        assert by_parameter(ours, key) == pytest.approx(by_parameter(theirs, key), rel=1e-9)
    twice = {key: 2 * rate for key, rate in by_parameter(ours, "lr").items()}
    assert by_parameter(doubled, "lr") == pytest.approx(twice, rel=1e-9)


# What ours adds


def test_an_objects_weight_multiplies_its_part_alone() -> None:
    """The loss is linear in the weights: the parts of two objects at weights 1 and 3, from two other passes."""
    detector = tiny().eval()
    boxes, labels = [[20.0, 20.0, 26.0, 27.0], [40.0, 8.0, 80.0, 60.0]], [0, 1]
    totals = [
        total(detector, target(boxes, labels, weights=weights))
        for weights in ([1.0, 1.0], [2.0, 1.0], [1.0, 2.0], [3.0, 0.5])
    ]
    first, second = totals[1] - totals[0], totals[2] - totals[0]
    assert first > 0 and second > 0
    assert totals[3] == pytest.approx(totals[0] + 2 * first - 0.5 * second, rel=1e-5)


def test_the_share_of_tiny_objects_follows_their_weights() -> None:
    detector = tiny().eval()
    boxes = [[20.0, 20.0, 26.0, 27.0], [40.0, 8.0, 80.0, 60.0]]
    one, more = (
        float(detector.losses(frames(1), [target(boxes, weights=weights, tiny=[True, False])]).tiny_share)
        for weights in ([1.0, 1.0], [1.5, 0.5])
    )
    assert 0 < one < 1 and more / (1 - more) == pytest.approx(3 * one / (1 - one), rel=1e-4)


def test_a_prediction_counts_as_ignored_only_where_most_of_it_is() -> None:
    from smallsight.detectors.rfdetr.criterion import _ignored

    box = torch.tensor([[[0.5, 0.5, 0.2, 0.2]]])
    for right, hidden in ((0.49, False), (0.51, True), (1.0, True)):
        ignored = {"ignored_boxes": torch.tensor([[0.0, 0.0, right, 1.0]]), "ignored_labels": torch.tensor([1])}
        mask = _ignored(box, [ignored], 3)
        assert mask is not None and mask[0, 0].tolist() == [False, hidden, False]


def test_an_ignored_box_leaves_the_rest_of_the_image_as_it_was() -> None:
    detector = tiny().train()
    corner = [90.0, 90.0, 90.5, 90.5]
    with_corner = total(detector, target([[20, 20, 26, 27], corner], [0, 1], [False, True]))
    assert total(detector, target([[20, 20, 26, 27]])) == pytest.approx(with_corner, abs=1e-6)


def test_activation_checkpointing_computes_twice_and_gives_the_same() -> None:
    def run(**settings: Any) -> tuple[float, list[Tensor], int]:
        detector = tiny(**settings).train()
        calls: list[int] = []
        layer = detector.model.backbone[0].encoder.encoder.encoder.layer[0]
        layer.register_forward_pre_hook(lambda *_: calls.append(1))
        losses = detector.losses(frames(), busy_targets())
        losses.total.backward()
        return float(losses.total.detach()), [p.grad for p in detector.parameters() if p.grad is not None], len(calls)

    plain, saving = run(), run(activation_checkpointing=True)
    assert (plain[2], saving[2]) == (1, 2)
    assert saving[0] == plain[0]
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(saving[1], plain[1], strict=True))


def test_half_precision_around_it_does_not_reach_the_losses() -> None:
    detector = tiny().train()
    full = detector.losses(frames(), busy_targets())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = detector.losses(frames(), busy_targets())
        found = detector.eval().detect(frames(), [(96, 96)] * 2)
    assert all(part.dtype == torch.float32 for part in half.parts.values())
    assert float(half.total.detach()) == pytest.approx(float(full.total.detach()), rel=0.05)
    assert found[0].boxes.dtype == np.float32
    half.total.backward()
    assert all(bool(torch.isfinite(p.grad).all()) for p in detector.parameters() if p.grad is not None)


def test_a_network_that_has_gone_wrong_gives_a_loss_that_is_not_a_number() -> None:
    detector = tiny().train()
    with torch.no_grad():
        detector.model.class_embed.weight.fill_(math.nan)
    assert math.isnan(total(detector, *busy_targets()))


def test_every_trainable_parameter_has_a_gradient() -> None:
    """Or several processes would wait for one that never comes."""
    detector = tiny().train()
    detector.losses(frames(), [target([]), target([])]).total.backward()
    assert [name for name, p in detector.named_parameters() if p.requires_grad and p.grad is None] == []


# Building it


@pytest.mark.parametrize("size", [name for name in RFDETR_SIZES if name != "tiny"])
def test_every_size_builds_offline_with_its_own_network(size: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.socket.connect", _no_network)
    detector = RFDetrDetector(("ball",), size=size)
    backbone = detector.model.backbone[0].encoder.encoder
    assert detector.resolution_step == {"base": 56}.get(size, 32)
    assert len(backbone.encoder.layer) == 12 and len(detector.model.class_embed.bias) == 2
    assert backbone.embeddings.position_embeddings.shape[1] == 1 + RFDETR_SIZES[size].positional_side ** 2
    assert len(detector.model.transformer.decoder.layers) == RFDETR_SIZES[size].decoder_layers


def _no_network(*_: object) -> None:
    raise AssertionError("asked the network")


def test_the_sizes_are_the_librarys() -> None:
    from rfdetr import config as library

    for size in RFDETR_SIZES.values():
        theirs = {name: field.default for name, field in getattr(library, size.library_config).model_fields.items()}
        if size.name != "tiny":
            assert (theirs["patch_size"], theirs["num_windows"]) == (size.patch_px, size.windows)
            assert (theirs["positional_encoding_size"], theirs["dec_layers"]) == (
                size.positional_side,
                size.decoder_layers,
            )


def test_the_seed_alone_decides_the_weights() -> None:
    config = build_config({"model": {"rfdetr_size": "tiny"}}, "test")
    other = with_settings(config, {"training.seed": 1}, "test")
    key = "model.query_feat.weight"
    first, second, third = (build_detector(c, NAMES, "test").state_dict()[key] for c in (config, config, other))
    assert torch.equal(first, second) and not torch.equal(first, third)
