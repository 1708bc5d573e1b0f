"""The library's criterion, extended by object weights and by ignored boxes, in which no loss is computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from rfdetr.models.criterion import SetCriterion
from rfdetr.utilities.box_ops import box_cxcywh_to_xyxy, elementwise_box_iou, elementwise_generalized_box_iou
from torch import Tensor

from smallsight.detectors.base import Losses, Target, over_processes

IGNORED_SHARE = 0.5
"""A prediction has no loss where at least this share of its box lies in an ignored one, as in COCO's evaluation."""
NO_CHANCE = -50.0
"""A logit whose focal loss and gradient are zero in float32."""
LEAST_SIDE = 1e-4
PARTS = {"class": "loss_ce", "box": "loss_bbox", "giou": "loss_giou"}
"""Our name of each part of the loss, and the library's."""


def library_targets(targets: Sequence[Target], size_wh: tuple[int, int]) -> list[dict[str, Tensor]]:
    """Targets as the criterion takes them: boxes as shares of the model frame; ignored boxes apart, xyxy.

    Args:
        targets: boxes in px, model frame of `size_wh`.
    """
    result = []
    for target in targets:
        real, boxes = ~target.ignored, target.boxes / target.boxes.new_tensor([*size_wh, *size_wh])
        counted = boxes[real]
        result.append(
            {
                "boxes": torch.cat([(counted[:, :2] + counted[:, 2:]) / 2, counted[:, 2:] - counted[:, :2]], dim=1),
                "labels": target.labels[real],
                "weights": target.weights[real],
                "tiny": target.tiny[real],
                "ignored_boxes": boxes[target.ignored],
                "ignored_labels": target.labels[target.ignored],
            }
        )
    return result


class ObjectCriterion(SetCriterion):
    """`SetCriterion` with object weights, and without a loss in ignored boxes of a class.

    With all weights 1 and no ignored box it equals the library's. Its last class, the spare one that no object has, is
    ignored where all classes are.
    """

    def __init__(self, stock: SetCriterion) -> None:
        super().__init__(
            stock.num_classes,
            matcher=stock.matcher,
            weight_dict=stock.weight_dict,
            focal_alpha=stock.focal_alpha,
            losses=["labels", "boxes"],
            group_detr=stock.group_detr,
            sum_group_losses=stock.sum_group_losses,
            ia_bce_loss=stock.ia_bce_loss,
        )
        if not stock.ia_bce_loss:
            raise ValueError("the weights of objects are built for the library's IoU-aware classification loss only")

    def judge(self, outputs: Mapping[str, Any], targets: Sequence[Target], size_wh: tuple[int, int]) -> Losses:
        """Losses of the network's `outputs`, computed in float32 whatever the surrounding precision."""
        with torch.autocast(outputs["pred_boxes"].device.type, enabled=False):
            found = self(in_float32(outputs), library_targets(targets, size_wh))
        parts = {ours: self._over_layers(found, theirs) for ours, theirs in PARTS.items()}
        of_objects, of_tiny = (
            torch.stack([value for key, value in found.items() if key.startswith(f"{whose}_")]).sum()
            for whose in ("objects", "tiny")
        )
        return Losses(parts, (of_tiny / of_objects).detach())

    def _over_layers(self, found: Mapping[str, Tensor], name: str) -> Tensor:
        """One part of the loss, weighted, over the decoder's layers and the encoder's proposals."""
        keys = [key for key in self.weight_dict if key.startswith(name) and key in found]
        return torch.stack([found[key] * self.weight_dict[key] for key in keys]).sum()

    def num_boxes_for_targets(self, outputs: Mapping[str, Any], targets: Sequence[Mapping[str, Tensor]]) -> Tensor:
        """The divisor of the losses: the library's number of objects, over all processes that train together."""
        objects = sum(len(target["labels"]) for target in targets)
        groups = self.group_detr if self.training and not self.sum_group_losses else 1
        total, processes = over_processes(outputs["pred_boxes"].new_tensor([float(objects * groups)]))
        return total[0].clamp(min=1.0) / processes

    def loss_labels(
        self,
        outputs: dict[str, Any],
        targets: list[dict[str, Tensor]],
        indices: list[tuple[Tensor, Tensor]],
        num_boxes: Tensor,
        log: bool = True,
        matched_targets: Any = None,
    ) -> dict[str, Tensor]:
        """The library's classification loss, the matched predictions weighted, the ignored ones left out."""
        logits, at = outputs["pred_logits"], (*matched_targets.source_indices, matched_targets.labels)
        ignored = _ignored(outputs["pred_boxes"], targets, logits.shape[-1])
        if ignored is not None:
            ignored[at] = False
            outputs = {**outputs, "pred_logits": logits.masked_fill(ignored, NO_CHANCE)}
        losses: dict[str, Tensor] = super().loss_labels(
            outputs, targets, indices, num_boxes, log=False, matched_targets=matched_targets
        )
        weights, tiny = _of_matched(targets, indices)
        each = self._matched_class_loss(logits[at], outputs["pred_boxes"][at[:2]], matched_targets.boxes)
        losses["loss_ce"] = losses["loss_ce"] + ((weights - 1) * each).sum() / num_boxes
        return losses | _shares("ce", self.weight_dict["loss_ce"] * weights * each, tiny)

    def _matched_class_loss(self, logits: Tensor, found: Tensor, truth: Tensor) -> Tensor:
        """The part that each matched prediction (M,) has in the library's classification loss."""
        overlap, _ = elementwise_box_iou(box_cxcywh_to_xyxy(found.detach()), box_cxcywh_to_xyxy(truth))
        aim = logits.sigmoid() ** self.focal_alpha * overlap ** (1 - self.focal_alpha)
        aim = aim.clamp(min=0.01).detach()
        return -(aim * F.logsigmoid(logits) + (1 - aim) * F.logsigmoid(-logits))

    def loss_boxes(
        self,
        outputs: dict[str, Any],
        targets: list[dict[str, Tensor]],
        indices: list[tuple[Tensor, Tensor]],
        num_boxes: Tensor,
        matched_targets: Any = None,
    ) -> dict[str, Tensor]:
        """The library's box losses, weighted."""
        found, truth = outputs["pred_boxes"][matched_targets.source_indices], matched_targets.boxes
        weights, tiny = _of_matched(targets, indices)
        away = weights * F.l1_loss(found, truth, reduction="none").sum(1)
        apart = weights * (1 - elementwise_generalized_box_iou(box_cxcywh_to_xyxy(found), box_cxcywh_to_xyxy(truth)))
        each = self.weight_dict["loss_bbox"] * away + self.weight_dict["loss_giou"] * apart
        losses = {"loss_bbox": away.sum() / num_boxes, "loss_giou": apart.sum() / num_boxes}
        return losses | _shares("boxes", each, tiny)


def _of_matched(targets: list[dict[str, Tensor]], indices: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Weight of the object that each matched prediction is matched with, and whether it is tiny; (M,) each."""
    weights, tiny = (
        torch.cat([target[key][matched] for target, (_, matched) in zip(targets, indices, strict=True)])
        for key in ("weights", "tiny")
    )
    return weights, tiny


def _shares(name: str, each: Tensor, tiny: Tensor) -> dict[str, Tensor]:
    """Sums over all objects and over the tiny ones, under keys that are no losses of the library's."""
    each = each.detach()
    return {f"objects_{name}": each.sum(), f"tiny_{name}": (each * tiny).sum()}


@torch.no_grad()
def _ignored(boxes: Tensor, targets: list[dict[str, Tensor]], classes: int) -> Tensor | None:
    """Which predictions of which class have no loss, (B, Q, classes); None where no box is ignored.

    Args:
        boxes: (B, Q, 4) predicted, centre and size, as shares of the model frame.
        classes: of the head; the last one is the spare one.
    """
    if not any(len(target["ignored_boxes"]) for target in targets):
        return None
    result = []
    for predicted, target in zip(boxes, targets, strict=True):
        lies_in = _share_inside(predicted, target["ignored_boxes"]) >= IGNORED_SHARE
        of_class = F.one_hot(target["ignored_labels"], classes - 1).bool()
        ignored = (lies_in[:, :, None] & of_class[None]).any(1)
        result.append(torch.cat([ignored, ignored.all(1, keepdim=True)], dim=1))
    return torch.stack(result)


def _share_inside(predicted: Tensor, ignored: Tensor) -> Tensor:
    """Share of each predicted box's area (Q) that lies in each ignored one (K), both cut to the frame, (Q, K)."""
    centre, half = predicted[:, :2].clamp(0, 1), predicted[:, 2:].clamp(min=LEAST_SIDE) / 2
    low, high = (centre - half).clamp(min=0), (centre + half).clamp(max=1)
    common = torch.minimum(high[:, None], ignored[None, :, 2:]) - torch.maximum(low[:, None], ignored[None, :, :2])
    return common.clamp(min=0).prod(2) / (high - low).prod(1)[:, None]


def in_float32(outputs: Mapping[str, Any]) -> dict[str, Any]:
    """The network's outputs of all layers in float32."""
    result: dict[str, Any] = {}
    for key, value in outputs.items():
        if isinstance(value, Tensor):
            result[key] = value.float()
        elif isinstance(value, Mapping):
            result[key] = in_float32(value)
        else:
            result[key] = [in_float32(layer) for layer in value]
    return result
