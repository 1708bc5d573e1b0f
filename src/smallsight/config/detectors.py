"""The records of the detectors: the embedded one, RF-DETR with its sizes, and those that installed packages bring.

A package brings a detector through the entry-point group `smallsight.detectors`: the name is the detector's, the value
its record, a `DetectorKind`. docs/extending.md shows a whole one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from smallsight.config.detector_kind import DetectorKind, Size
from smallsight.errors import ConfigError

GROUP = "smallsight.detectors"
ADVICE = "Install the package that brings it."

NANO = DetectorKind(
    name="nano",
    title="the embedded detector",
    maker="smallsight.detectors.nano.maker:NanoMaker",
    sizes=(Size("", "nano", step_px=16, least_px=16),),
    keeps_aspect=True,
    trains_on_crops=True,
    size_key="width",
    size_fact="width",
    keys=("model.flip_average",),
)


@dataclass(frozen=True)
class RFDetrSize:
    """What tells one size of RF-DETR from another.

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

    def resolutions(self) -> Size:
        """The resolutions that it takes."""
        title = f"RF-DETR {self.name}"
        because = f"{title} has {self.queries} queries, each with a patch of its own"
        return Size(self.name, title, self.step_px, self.least_px, because)


_RFDETR_SIZES = (
    RFDetrSize("tiny", "RFDETRNanoConfig", 16, 2, 6, 3, 2, queries=16),
    RFDetrSize("nano", "RFDETRNanoConfig", 16, 2, 24, 12, 2),
    RFDetrSize("small", "RFDETRSmallConfig", 16, 2, 32, 12, 3),
    RFDetrSize("medium", "RFDETRMediumConfig", 16, 2, 36, 12, 4),
    RFDetrSize("base", "RFDETRBaseConfig", 14, 4, 37, 12, 3),
    RFDetrSize("large", "RFDETRLargeConfig", 16, 2, 44, 12, 4),
)
RFDETR_SIZES = {size.name: size for size in _RFDETR_SIZES}
"""By name. `tiny` is ours, for tests and a first look on a CPU: few and narrow layers, no weights to download."""

RFDETR = DetectorKind(
    name="rfdetr",
    title="RF-DETR",
    maker="smallsight.detectors.rfdetr.maker:RFDetrMaker",
    sizes=tuple(size.resolutions() for size in _RFDETR_SIZES),
    keeps_aspect=False,
    trains_on_crops=False,
    size_key="rfdetr_size",
    size_fact="size",
    checkpoints_activations=True,
    takes_pretrained=True,
    numbers_outputs_variously=True,
    package="rfdetr",
    install="pip install 'smallsight[rfdetr]'",
    strategy_px=1288,
    strategy_rate=2e-4,
)

OURS = (NANO, RFDETR)
"""Those that come with smallsight; the first one is the default."""
OUR_NAMES = tuple(kind.name for kind in OURS)


def named_in(model: Mapping[Any, Any]) -> Any:
    """The detector that plain values of the section `model` name: `detector`, or the one of which they give the size.

    Where they give several sizes, the default's counts least.
    """
    sizes = (kind.name for kind in reversed(OURS) if kind.size_key in model)
    return model["detector"] if "detector" in model else next(sizes, OURS[0].name)


def detector_names() -> tuple[str, ...]:
    """What `model.detector` takes: our own, then those of installed packages in alphabetical order. None is loaded."""
    return (*OUR_NAMES, *sorted({point.name for point in _installed()}))


@cache
def detector_kind(name: str) -> DetectorKind:
    """The record of a detector. That of an installed package is loaded, which runs code of the package.

    Raises:
        ConfigError: no such detector; the package that brings it is broken, or is one of several.
    """
    for kind in OURS:
        if kind.name == name:
            return kind
    points = [point for point in _installed() if point.name == name]
    if not points:
        known = " or ".join(detector_names())
        raise ConfigError(f"model.detector: got {name!r}, expected {known}. {ADVICE}")
    packages = [_package_of(point) for point in points]
    if len(points) > 1:
        raise ConfigError(f"model.detector: {name} comes from {' and '.join(packages)}. Uninstall all but one.")
    return _loaded(points[0], packages[0])


def _installed() -> list[EntryPoint]:
    """The entry points of installed packages; a name of ours stays ours."""
    return [point for point in entry_points(group=GROUP) if point.name not in OUR_NAMES]


def _package_of(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else point.module


def _loaded(point: EntryPoint, package: str) -> DetectorKind:
    where = f"model.detector: {point.name} of the package {package}"
    try:
        kind = point.load()
    except Exception as error:  # code of others, which may raise anything
        raise ConfigError(
            f"{where} can't be loaded ({type(error).__name__}: {error}). Repair or uninstall it."
        ) from error
    if not isinstance(kind, DetectorKind) or kind.name != point.name:
        got = f"the record of {kind.name}" if isinstance(kind, DetectorKind) else type(kind).__name__
        raise ConfigError(f"{where}: got {got} at {point.value}, expected its own record. Correct it there.")
    return kind
