"""Makes RF-DETRs, from a configuration or from a file's description; the library is loaded when one is made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from reprlib import repr as short
from typing import Any

from smallsight.config.detectors import RFDETR
from smallsight.config.load import Config
from smallsight.detectors.base import Detector, Maker
from smallsight.detectors.foreign import ForeignFile
from smallsight.detectors.rfdetr.files import descriptions
from smallsight.errors import CheckpointError


class RFDetrMaker(Maker):
    """Makes `RFDetrDetector`s."""

    def from_config(self, config: Config, class_names: Sequence[str]) -> Detector:
        from smallsight.detectors.rfdetr.network import RFDetrDetector

        twice = config.training.activation_checkpointing
        return RFDetrDetector(class_names, size=config.model.rfdetr_size, activation_checkpointing=twice)

    def from_description(self, description: Mapping[str, Any], where: str) -> Detector:
        from smallsight.detectors.rfdetr.network import RFDetrDetector

        size = description.get("size")
        if size not in RFDETR.size_names:
            known = ", ".join(RFDETR.size_names)
            raise CheckpointError(f"{where}: detector: got the size {short(size)}, expected one of {known}.")
        return RFDetrDetector(description["class_names"], size=str(size))

    def descriptions(self, file: ForeignFile) -> list[dict[str, Any]]:
        return descriptions(file)

    def published_weights(self, config: Config, source: str) -> Path:
        from smallsight.detectors.rfdetr.download import published_weights

        return published_weights(config.model.rfdetr_size, source)
