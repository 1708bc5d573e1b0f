"""The embedded detector: a small fully convolutional network that learns on a CPU.

A U-shaped network of plain convolutions gives a map at stride 2. Each cell holds, per class, the probability that it is
the centre of an object, and, shared by the classes, the box of that object.

Source: Zhou et al., "Objects as Points", 2019 (centre heatmap and its focal loss). Departs from it: boxes are learnt
in every cell near a centre, by generalised IoU; the heatmap's Gaussian has the proportions of the box; the map is at
stride 2.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from smallsight.config.detectors import NANO
from smallsight.detectors.base import Detector, Losses, Target, over_processes
from smallsight.detectors.foreign import ClassOutputs, ForeignFile, Start
from smallsight.detectors.nano import files
from smallsight.records import Detections

WIDTHS = (16, 32, 64, 96)
"""Channels at strides 2, 4, 8 and 16."""
PRIOR = 0.01
"""Probability of a centre that the untrained network predicts; keeps the first loss small."""
CENTRE_SHARE = 0.3
"""A cell learns a box where the Gaussian of the nearest object is at least this high."""
MAX_DETECTIONS = 100
MIN_SCORE = 0.01


_WIDTHS_TRIED = (1.0, *(hundredths / 100 for hundredths in range(5, 801, 5)))
"""Widths that are tried where a file does not name its own."""


def _channels(width: float) -> tuple[int, ...]:
    """Channels at strides 2, 4, 8 and 16."""
    return tuple(max(8, round(channels * width / 8) * 8) for channels in WIDTHS)


def descriptions(file: ForeignFile) -> list[dict[str, Any]]:
    """The embedded detector that another trainer's file fits, without its classes; empty where it fits none."""
    layers = ("down2.0.weight", "down4.0.0.weight", "down8.0.0.weight", "down16.0.0.weight", "head.weight")
    found = [file.model[name] for name in layers if name in file.model]
    if len(found) < len(layers) or any(weight.ndim != 4 for weight in found):
        return []
    *downs, head = (len(weight) for weight in found)
    width = next((w for w in _WIDTHS_TRIED if _channels(w) == tuple(downs)), None)
    if width is None or head <= files.BOX_OUTPUTS:
        return []
    return [{"detector": NANO.name, "width": width, "flip_average": False}]


def _conv(inputs: int, outputs: int, stride: int = 1, kernel: int = 3) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


class _Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(_conv(channels, channels), nn.Conv2d(channels, channels, 3, 1, 1, bias=False))
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.norm(self.body(x)) + x, inplace=True)


class NanoDetector(Detector):
    """Centre heatmap with box regression at stride 2.

    Args:
        class_names: one heatmap each.
        width: multiplies the number of channels.
        flip_average: average the maps of an image and of its mirror image for detection; takes twice the time.
    """

    kind = NANO
    stride = 2

    def __init__(self, class_names: Sequence[str], *, width: float = 1.0, flip_average: bool = False) -> None:
        super().__init__()
        self.class_names = tuple(class_names)
        self.width = width
        self.flip_average = flip_average
        c2, c4, c8, c16 = _channels(width)
        self.down2 = _conv(3, c2, stride=2)
        self.down4 = nn.Sequential(_conv(c2, c4, stride=2), _Residual(c4))
        self.down8 = nn.Sequential(_conv(c4, c8, stride=2), _Residual(c8))
        self.down16 = nn.Sequential(_conv(c8, c16, stride=2), _Residual(c16))
        self.up8 = _conv(c16, c8, kernel=1)
        self.up4 = _conv(c8, c4, kernel=1)
        self.up2 = _conv(c4, c2, kernel=1)
        self.mix8 = _conv(c8, c8)
        self.mix4 = _conv(c4, c4)
        self.mix2 = nn.Sequential(_conv(c2, c2), _conv(c2, c2))
        self.head = nn.Conv2d(c2, len(self.class_names) + files.BOX_OUTPUTS, 1)
        nn.init.normal_(self.head.weight, std=0.01)
        bias = [math.log(PRIOR / (1 - PRIOR))] * len(self.class_names) + [0.0, 0.0, 1.0, 1.0]
        self.head.bias = nn.Parameter(torch.tensor(bias))
        self.to(memory_format=torch.channels_last)

    def description(self) -> Mapping[str, Any]:
        return {
            "detector": NANO.name,
            "class_names": list(self.class_names),
            "width": self.width,
            "flip_average": self.flip_average,
        }

    def class_outputs(
        self, file: ForeignFile, category_ids: Sequence[int] | None, wanted: Mapping[str, int] | None
    ) -> ClassOutputs:
        return files.class_outputs(file, self.class_names, wanted)

    def start_from(self, file: ForeignFile, outputs: Sequence[int | None]) -> Start:
        return files.start_from(file, self.state_dict(), outputs)

    def parameter_groups(self, learning_rate: float, weight_decay: float) -> list[dict[str, Any]]:
        matrices = [p for p in self.parameters() if p.ndim > 1]
        vectors = [p for p in self.parameters() if p.ndim <= 1]
        return [
            {"params": matrices, "lr": learning_rate, "weight_decay": weight_decay},
            {"params": vectors, "lr": learning_rate, "weight_decay": 0.0},
        ]

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Maps at stride 2.

        Args:
            images: uint8 (B, 3, H, W).
        Returns:
            logits (B, classes, H/2, W/2) and boxes (B, 4, H/2, W/2): centre offset from the cell's centre and the
            logarithm of width and height, in cells.
        """
        x = images.to(memory_format=torch.channels_last).float().sub_(114.0).mul_(1 / 58.0)
        x2 = self.down2(x)
        x4 = self.down4(x2)
        x8 = self.down8(x4)
        y = self.down16(x8)
        y = self.mix8(x8 + _double(self.up8(y)))
        y = self.mix4(x4 + _double(self.up4(y)))
        y = self.mix2(x2 + _double(self.up2(y)))
        maps = self.head(y)
        classes = len(self.class_names)
        return maps[:, :classes], maps[:, classes:]

    def losses(self, images: Tensor, targets: Sequence[Target]) -> Losses:
        logits, boxes = self(images)
        return _losses(logits, boxes, targets, self.stride)

    def detect(self, images: Tensor, sizes_wh: Sequence[tuple[int, int]]) -> list[Detections]:
        return _peaks(*self._averaged(images, *self(images)), self.stride, sizes_wh)

    def detect_with_losses(
        self, images: Tensor, targets: Sequence[Target], sizes_wh: Sequence[tuple[int, int]]
    ) -> tuple[list[Detections], Losses]:
        logits, boxes = self(images)
        losses = _losses(logits, boxes, targets, self.stride)
        return _peaks(*self._averaged(images, logits, boxes), self.stride, sizes_wh), losses

    def _averaged(self, images: Tensor, logits: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
        """The maps of `images`, averaged with those of their mirror images where that is asked for."""
        if not self.flip_average:
            return logits, boxes
        mirrored_logits, mirrored_boxes = (maps.flip(3) for maps in self(images.flip(3)))
        turn = mirrored_boxes.new_tensor([-1.0, 1.0, 1.0, 1.0]).view(1, 4, 1, 1)
        return (logits + mirrored_logits) / 2, (boxes + mirrored_boxes * turn) / 2


def _double(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="nearest")


def _decode(boxes: Tensor, x: Tensor, y: Tensor, stride: int) -> Tensor:
    """Predicted values (..., 4) at cells (x, y) to xyxy, px, model frame."""
    centre = torch.stack([x, y], dim=-1) + 0.5 + boxes[..., :2]
    half = boxes[..., 2:].clamp(-4, 8).exp() / 2
    return torch.cat([centre - half, centre + half], dim=-1) * stride


class _Assignment(NamedTuple):
    """Which cells learn which of a batch's N objects that count.

    Attributes:
        heat: (B, classes, H, W), 1 at the objects' centres and falling off around them.
        centre: image, class, y and x of each object's centre cell, (N,) each.
        cell: image, y and x of the cells that learn a box, (M,) each.
        owner: (M,), whose box that is.
        height: (M,), of that object's Gaussian there.
    """

    heat: Tensor
    centre: tuple[Tensor, ...]
    cell: tuple[Tensor, ...]
    owner: Tensor
    height: Tensor


def _losses(logits: Tensor, boxes: Tensor, targets: Sequence[Target], stride: int) -> Losses:
    """Focal loss of the heatmap and generalised IoU of the boxes.

    An object's weight applies to its centre cell and to the cells that learn its box.
    """
    keep = torch.ones_like(logits)
    for index, target in enumerate(targets):
        if bool(target.ignored.any()):
            _mask(keep[index], target.boxes[target.ignored] / stride, target.labels[target.ignored])
    real = [target.counted for target in targets]
    weights, tiny, truth = (torch.cat([getattr(t, name) for t in real]) for name in ("weights", "tiny", "boxes"))
    if len(weights) == 0:
        nothing = torch.zeros_like(logits)
        (objects, _, _), processes = over_processes(weights.new_zeros(3))
        heat_loss = _focal(logits, nothing, nothing, keep) * processes / objects.clamp(min=1)
        return Losses({"heatmap": heat_loss, "box": boxes.sum() * 0.0}, logits.new_tensor(math.nan))
    heat, centre, cell, owner, height = _assign(logits, real, stride)
    keep[centre] = 1
    share = height * weights[owner]
    own = weights.new_tensor(float(len(weights))), weights.sum(), share.sum()
    (objects, weight, shares), processes = over_processes(torch.stack(own))
    heat_loss = _focal(logits, heat, _at_centres(logits, centre, weights), keep) * processes / objects
    image, y, x = cell
    predicted = _decode(boxes[image, :, y, x], x.float(), y.float(), stride)
    overlap = (1 - _generalised_iou(predicted, truth[owner])) * share
    factor = 2.0 * processes * weight / objects / shares
    with torch.no_grad():
        at = logits[centre]
        hit = -weights * (1 - at.sigmoid()) ** 2 * F.logsigmoid(at) * processes / objects
        taken = torch.cat([hit, factor * overlap])
        tiny_share = (taken * torch.cat([tiny, tiny[owner]])).sum() / taken.sum()
    return Losses({"heatmap": heat_loss, "box": factor * overlap.sum()}, tiny_share)


def _assign(logits: Tensor, targets: Sequence[Target], stride: int) -> _Assignment:
    """Assign the objects of `targets` to cells of maps like `logits`; at least one object, and all of them count."""
    heat = torch.zeros_like(logits)
    centres, cells, owners, heights = [], [], [], []
    first = 0
    for index, target in enumerate(targets):
        if len(target.boxes) == 0:
            continue
        x, y = _centre_cells(target.boxes / stride, heat.shape[-2:])
        bump = _bumps(target.boxes / stride, x, y, heat.shape[-2:])
        for label in set(target.labels.tolist()):
            heat[index, label] = bump[target.labels == label].amax(0)
        best, owner = bump.max(0)
        at = torch.nonzero(best >= CENTRE_SHARE, as_tuple=True)
        centres.append((torch.full_like(target.labels, index), target.labels, y.long(), x.long()))
        cells.append((torch.full_like(at[0], index), *at))
        owners.append(owner[at] + first)
        heights.append(best[at])
        first += len(target.boxes)
    centre, cell = (tuple(torch.cat(column) for column in zip(*rows, strict=True)) for rows in (centres, cells))
    return _Assignment(heat, centre, cell, torch.cat(owners), torch.cat(heights))


def _centre_cells(boxes: Tensor, size_hw: torch.Size) -> tuple[Tensor, Tensor]:
    """x and y of the cell in which each box's centre lies, (N,) each, whole numbers."""
    height, width = size_hw
    x, y = ((boxes[:, :2] + boxes[:, 2:]) / 2).floor().T
    return x.clamp(0, width - 1), y.clamp(0, height - 1)


def _bumps(boxes: Tensor, x: Tensor, y: Tensor, size_hw: torch.Size) -> Tensor:
    """A Gaussian of height 1 at each box's centre cell, (N, H, W), with the proportions of the box."""
    height, width = size_hw
    sigma = ((boxes[:, 2:] - boxes[:, :2]) / 5).clamp(min=0.6)
    dx = torch.arange(width, device=boxes.device) - x[:, None]
    dy = torch.arange(height, device=boxes.device) - y[:, None]
    along_x = torch.exp(-0.5 * (dx / sigma[:, :1]) ** 2)
    along_y = torch.exp(-0.5 * (dy / sigma[:, 1:]) ** 2)
    return along_y[:, :, None] * along_x[:, None, :]


def _at_centres(logits: Tensor, centre: tuple[Tensor, ...], weights: Tensor) -> Tensor:
    """Each object's weight at its centre cell, the highest where several share one; 0 elsewhere.

    Args:
        logits: (B, classes, H, W). The result has its shape and memory layout, so that sums keep the order of cells.
        centre: image, class, y and x, (N,) each.
        weights: (N,).
    """
    batch, classes, height, width = logits.shape
    image, label, y, x = centre
    values = weights.new_zeros(batch * height * width * classes)
    values.scatter_reduce_(0, ((image * height + y) * width + x) * classes + label, weights, "amax")
    return values.view(batch, height, width, classes).permute(0, 3, 1, 2)


def _mask(keep: Tensor, boxes: Tensor, labels: Tensor) -> None:
    """Set `keep` (classes, H, W) to 0 inside the boxes (N, 4), cells, each in the map of its class."""
    for (x1, y1, x2, y2), label in zip(boxes.tolist(), labels.tolist(), strict=True):
        keep[label, max(0, math.floor(y1)) : math.ceil(y2), max(0, math.floor(x1)) : math.ceil(x2)] = 0


def _focal(logits: Tensor, heat: Tensor, positive: Tensor, keep: Tensor) -> Tensor:
    """Sum of the penalty-reduced focal loss over the cells that are kept.

    Args:
        logits, heat, keep: (B, classes, H, W).
        positive: likewise, the weight of the object whose centre the cell is; 0 elsewhere.
    Source: "Objects as Points", equation 1; there all objects weigh 1.
    """
    chance = logits.sigmoid()
    hit = positive * (1 - chance) ** 2 * F.logsigmoid(logits)
    miss = (1 - heat) ** 4 * chance**2 * F.logsigmoid(-logits)
    return -((hit + miss) * keep).sum()


def _generalised_iou(a: Tensor, b: Tensor) -> Tensor:
    """Row by row, (N,). Source: Rezatofighi et al., "Generalized Intersection over Union", CVPR 2019."""
    overlap = (torch.minimum(a[:, 2:], b[:, 2:]) - torch.maximum(a[:, :2], b[:, :2])).clamp(min=0).prod(1)
    union = (a[:, 2:] - a[:, :2]).prod(1) + (b[:, 2:] - b[:, :2]).prod(1) - overlap
    hull = (torch.maximum(a[:, 2:], b[:, 2:]) - torch.minimum(a[:, :2], b[:, :2])).prod(1)
    return overlap / union.clamp(min=1e-6) - (hull - union) / hull.clamp(min=1e-6)


@torch.no_grad()
def _peaks(logits: Tensor, boxes: Tensor, stride: int, sizes_wh: Sequence[tuple[int, int]]) -> list[Detections]:
    chance = logits.sigmoid()
    chance = chance * (F.max_pool2d(chance, 3, 1, 1) == chance)
    _, classes, height, width = chance.shape
    scores, at = chance.flatten(1).topk(min(MAX_DETECTIONS, classes * height * width))
    label, cell = at // (height * width), at % (height * width)
    values = boxes.flatten(2).gather(2, cell[:, None].expand(-1, 4, -1)).transpose(1, 2)
    found = _decode(values, (cell % width).float(), (cell // width).float(), stride).cpu().numpy()
    result = []
    for index, (w, h) in enumerate(sizes_wh):
        keep = (scores[index] >= MIN_SCORE).cpu().numpy()
        factor = np.array([w, h, w, h], dtype=np.float32) / np.array([width, height] * 2, dtype=np.float32) / stride
        limit = np.array([w, h, w, h], dtype=np.float32)
        result.append(
            Detections(
                boxes=np.clip(found[index][keep] * factor, 0, limit),
                scores=scores[index].cpu().numpy()[keep],
                labels=label[index].cpu().numpy()[keep],
            )
        )
    return result
