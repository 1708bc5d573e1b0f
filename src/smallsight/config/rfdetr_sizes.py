"""The sizes of RF-DETR and the resolutions that each takes; nothing of the library is loaded for it."""

from __future__ import annotations

import importlib.util
import math
from dataclasses import dataclass

INSTALL = "pip install 'smallsight[rfdetr]'"


@dataclass(frozen=True)
class RFDetrSize:
    """What tells one size from another.

    Attributes:
        name: as in `model.rfdetr_size`.
        library_config: name of the library's configuration class.
        patch_px: side of the patch that a token stands for.
        windows: the image is divided into windows x windows parts, each a whole number of patches.
        positional_side: side of the learnt grid of positions, in patches. It stays as it is at every resolution, so
            weights, average and optimizer fit whatever the resolution; the network stretches it to the image.
        backbone_layers, decoder_layers: how many.
        queries: how many objects it looks for; each starts at a patch of its own.
    """

    name: str
    library_config: str
    patch_px: int
    windows: int
    positional_side: int
    backbone_layers: int
    decoder_layers: int
    queries: int = 300

    @property
    def least_px(self) -> int:
        """The smallest resolution that it trains at.

        With fewer patches than queries, the library hands the places of one group of queries to the next one, and the
        group that detects is trained on places that it never sees when it detects.
        """
        side = math.ceil(math.sqrt(self.queries))
        return math.ceil(side * self.patch_px / self.step_px) * self.step_px

    @property
    def step_px(self) -> int:
        """A resolution is a multiple of it."""
        return self.patch_px * self.windows


_ALL = (
    RFDetrSize("tiny", "RFDETRNanoConfig", 16, 2, 6, 3, 2, queries=16),
    RFDetrSize("nano", "RFDETRNanoConfig", 16, 2, 24, 12, 2),
    RFDetrSize("small", "RFDETRSmallConfig", 16, 2, 32, 12, 3),
    RFDetrSize("medium", "RFDETRMediumConfig", 16, 2, 36, 12, 4),
    RFDetrSize("base", "RFDETRBaseConfig", 14, 4, 37, 12, 3),
    RFDetrSize("large", "RFDETRLargeConfig", 16, 2, 44, 12, 4),
)
SIZES = {size.name: size for size in _ALL}
"""By name. `tiny` is ours, for tests and a first look on a CPU: few and narrow layers, no weights to download."""


def is_installed() -> bool:
    """Whether the library is there; it is not loaded."""
    return importlib.util.find_spec("rfdetr") is not None


def resolution_error(size_name: str, resolution: int) -> str | None:
    """What is wrong with a resolution, with the nearest ones that fit; None where nothing is."""
    size = SIZES[size_name]
    step, least = size.step_px, size.least_px
    if resolution < least:
        return (
            f"RF-DETR {size_name} has {size.queries} queries, each with a patch of its own; got {resolution}, expected "
            f"{least} or more. Use {least}."
        )
    if resolution % step == 0:
        return None
    below = resolution // step * step
    return f"RF-DETR {size_name} needs a multiple of {step}; got {resolution}. Use {below} or {below + step}."
