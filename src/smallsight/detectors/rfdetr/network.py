"""RF-DETR as a `Detector`: the library's network, matching, losses and postprocessing, without its trainer.

Importing this file loads the library, which takes seconds. Everything that the library would do on its own (fetching
weights, reading data, logging, its trainer) is left out.

Source: Robinson et al., "RF-DETR: Neural Architecture Search for Real-Time Detection Transformers", 2025; the package
`rfdetr`, whose version pyproject.toml pins.
"""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from types import SimpleNamespace
from typing import Any, cast

import torch
from torch import Tensor

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from rfdetr import config as library
    from rfdetr.models._defaults import ModelDefaults
    from rfdetr.models.lwdetr import build_criterion_from_config, build_model_from_config

    from smallsight.detectors.rfdetr.criterion import ObjectCriterion, in_float32

from smallsight.config.detectors import RFDETR, RFDETR_SIZES, RFDetrSize
from smallsight.detectors.base import Detector, Losses, Target
from smallsight.detectors.foreign import ClassOutputs, ForeignFile, Start
from smallsight.detectors.rfdetr import weights
from smallsight.records import Detections

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Mean and standard deviation of the images that the backbone was trained on, as shares of white."""
_TINY = {"hidden_dim": 32, "sa_nheads": 2, "ca_nheads": 4, "group_detr": 2}
_TINY_FEED_FORWARD, _TINY_FEATURES = 64, [1, 2, 3]
_NOT_FETCHED = "weights/are_put_in_by_ours.pth"
"""Given to the library as the file of weights; without one it downloads the backbone's."""


class RFDetrDetector(Detector):
    """RF-DETR with fresh weights; built without network access.

    Args:
        class_names: the head has one output for each and a spare one, as the library's.
        size: a name in `RFDETR_SIZES`.
        activation_checkpointing: compute the backbone's activations again in the backward pass instead of keeping them:
            less memory, more time, the same losses.
    """

    kind = RFDETR
    _mean: Tensor
    _deviation: Tensor

    def __init__(
        self, class_names: Sequence[str], *, size: str = "base", activation_checkpointing: bool = False
    ) -> None:
        super().__init__()
        self.class_names = tuple(class_names)
        self.size = RFDETR_SIZES[size]
        model, training, defaults = library_settings(self.size, len(self.class_names), activation_checkpointing)
        with _quiet():
            self.model = build_model_from_config(model, training, defaults)
            stock, self.postprocess = build_criterion_from_config(model, training, defaults)
        self.criterion = ObjectCriterion(stock)
        self._rates = SimpleNamespace(
            encoder=training.lr_encoder / training.lr,
            layer_decay=training.lr_vit_layer_decay,
            part_decay=training.lr_component_decay,
            out_feature_indexes=model.out_feature_indexes,
        )
        self._trim()
        self.register_buffer("_mean", 255 * torch.tensor(MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("_deviation", 255 * torch.tensor(DEVIATION).view(3, 1, 1), persistent=False)

    @property
    def resolution_step(self) -> int:
        return self.size.step_px

    @property
    def _backbone(self) -> Any:
        return cast("Any", self.model.backbone)[0]

    def _trim(self) -> None:
        """Drop unused weights: the backbone's layers above its last output, and a token of its pretraining."""
        backbone = self._backbone.encoder.encoder
        backbone.encoder.layer = backbone.encoder.layer[: self.size.backbone_layers]
        backbone.embeddings.mask_token.requires_grad_(False)

    def description(self) -> Mapping[str, Any]:
        return {"detector": RFDETR.name, "size": self.size.name, "class_names": list(self.class_names)}

    def class_outputs(
        self, file: ForeignFile, category_ids: Sequence[int] | None, wanted: Mapping[str, int] | None
    ) -> ClassOutputs:
        return weights.class_outputs(file, self.class_names, category_ids, wanted)

    def start_from(self, file: ForeignFile, outputs: Sequence[int | None]) -> Start:
        return weights.start_from(file, self.state_dict(), outputs)

    def forward(self, images: Tensor) -> dict[str, Any]:
        """The library's outputs: logits and boxes of every query, of the intermediate layers and the proposals as well.

        Args:
            images: uint8 (B, 3, H, W).
        """
        return cast("dict[str, Any]", self.model((images.float() - self._mean) / self._deviation))

    def losses(self, images: Tensor, targets: Sequence[Target]) -> Losses:
        return self._judge(self(images), images, targets)

    def detect(self, images: Tensor, sizes_wh: Sequence[tuple[int, int]]) -> list[Detections]:
        return self._found(self(images), sizes_wh)

    def detect_with_losses(
        self, images: Tensor, targets: Sequence[Target], sizes_wh: Sequence[tuple[int, int]]
    ) -> tuple[list[Detections], Losses]:
        outputs = self(images)
        return self._found(outputs, sizes_wh), self._judge(outputs, images, targets)

    def _judge(self, outputs: Mapping[str, Any], images: Tensor, targets: Sequence[Target]) -> Losses:
        height, width = images.shape[-2:]
        return self.criterion.judge(outputs, targets, (width, height))

    @torch.no_grad()
    def _found(self, outputs: Mapping[str, Any], sizes_wh: Sequence[tuple[int, int]]) -> list[Detections]:
        """The library's detections, without those of the head's spare output."""
        own = {key: value for key, value in outputs.items() if isinstance(value, Tensor)}
        sizes_hw = torch.tensor([(height, width) for width, height in sizes_wh], device=outputs["pred_boxes"].device)
        result = []
        for found in self.postprocess(in_float32(own), sizes_hw):
            known = found["labels"] < len(self.class_names)
            boxes, scores, labels = (found[key][known].cpu().numpy() for key in ("boxes", "scores", "labels"))
            result.append(Detections(boxes, scores, labels))
        return result

    def parameter_groups(self, learning_rate: float, weight_decay: float) -> list[dict[str, Any]]:
        """Rates by part as the library sets them: the decoder's lower than the heads', the backbone's by its layers.

        Source: `rfdetr.training.param_groups`, whose package needs more than this detector does; the ratio of the
        backbone's rate to `learning_rate` is the one of the library's defaults.
        """
        rates = SimpleNamespace(
            lr_encoder=learning_rate * self._rates.encoder,
            lr_vit_layer_decay=self._rates.layer_decay,
            lr_component_decay=self._rates.part_decay,
            out_feature_indexes=self._rates.out_feature_indexes,
            weight_decay=weight_decay,
        )
        backbone = self._backbone.get_named_param_lr_pairs(rates, prefix="backbone.0")
        groups: dict[tuple[float, float], list[Tensor]] = {}
        for name, parameter in self.model.named_parameters():
            if not parameter.requires_grad:
                continue
            slower = self._rates.part_decay if "transformer.decoder" in name else 1.0
            own = backbone.get(name, {"lr": learning_rate * slower, "weight_decay": weight_decay})
            groups.setdefault((own["lr"], own["weight_decay"]), []).append(parameter)
        return [{"params": held, "lr": lr, "weight_decay": decay} for (lr, decay), held in groups.items()]


def library_settings(
    size: RFDetrSize, classes: int, activation_checkpointing: bool
) -> tuple[library.ModelConfig, library.TrainConfig, ModelDefaults]:
    """The settings from which the library builds a network and its criterion."""
    changes: dict[str, Any] = {}
    defaults = ModelDefaults()
    if size.name == "tiny":
        changes = {**_TINY, "num_queries": size.queries, "num_select": size.queries}
        defaults = ModelDefaults(dim_feedforward=_TINY_FEED_FORWARD)
        changes["out_feature_indexes"] = list(_TINY_FEATURES)
    model = getattr(library, size.library_config)(
        num_classes=classes,
        device="cpu",
        pretrain_weights=_NOT_FETCHED,
        positional_encoding_size=size.positional_side,
        gradient_checkpointing=activation_checkpointing,
        **changes,
    )
    return model, library.TrainConfig(dataset_dir=".", output_dir="."), defaults


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence the library's warnings that the backbone's weights are not fetched; that is intended."""
    logger = logging.getLogger("rf-detr")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)
