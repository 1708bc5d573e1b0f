"""Makes embedded detectors, from a configuration or from a file's description."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from reprlib import repr as short
from typing import Any

from smallsight.config.load import Config
from smallsight.detectors.base import Detector, Maker
from smallsight.detectors.foreign import ForeignFile
from smallsight.detectors.nano.network import NanoDetector, descriptions
from smallsight.errors import CheckpointError

MOST_WIDTH = 8
"""Largest width, the same as for `model.width` in a configuration."""


class NanoMaker(Maker):
    """Makes `NanoDetector`s."""

    def from_config(self, config: Config, class_names: Sequence[str]) -> Detector:
        return NanoDetector(class_names, width=config.model.width, flip_average=config.model.flip_average)

    def from_description(self, description: Mapping[str, Any], where: str) -> Detector:
        width = description.get("width")
        if not isinstance(width, (int, float)) or not 0 < width <= MOST_WIDTH:
            raise CheckpointError(f"{where}: detector: got the width {short(width)}, expected up to {MOST_WIDTH}.")
        flips = bool(description.get("flip_average"))
        return NanoDetector(description["class_names"], width=float(width), flip_average=flips)

    def descriptions(self, file: ForeignFile) -> list[dict[str, Any]]:
        return descriptions(file)
