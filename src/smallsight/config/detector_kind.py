"""What is known of a detector before it is loaded: the record that every detector brings. No torch here."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from smallsight.config.section import Section

CROP_KEYS = (
    "sampling.crop_px",
    "sampling.crops_per_image",
    "sampling.hard_negative_share",
    "sampling.hard_negative_frames",
)
KEYS_OF_SOME = (
    "model.width",
    "model.flip_average",
    "model.rfdetr_size",
    "model.pretrained",
    "model.remap_mscoco_category",
    "training.activation_checkpointing",
    *CROP_KEYS,
)
"""Keys of a configuration that act on some detectors only; all others act on every one."""


class NoOptions(Section):
    """Of a detector that takes no `model.options`."""


@dataclass(frozen=True)
class Size:
    """A network of one size, and the resolutions that it takes.

    Attributes:
        name: as the configuration names it; empty where the size says nothing of the resolutions.
        title: in words, for messages.
        step_px: a resolution is a multiple of it.
        least_px: the smallest resolution that it trains at.
        least_because: why not below, as the first half of a sentence; empty where it is plain.
    """

    name: str
    title: str
    step_px: int
    least_px: int
    least_because: str = ""


@dataclass(frozen=True)
class DetectorKind:
    """A detector, as everything but its own folder knows it.

    Attributes:
        name: as in `model.detector` and in the description that a checkpoint holds.
        title: in words, for messages.
        maker: where the class derived from `detectors.base.Maker` lies, as `package.module:Class`; loaded when a
            detector is built.
        sizes: the first one holds where the configuration names none of them.
        keeps_aspect: a frame keeps its shape, and `training.resolution` is its longer side, to the nearest multiple of
            the step. Else it is stretched to a square, whose side has to be a multiple.
        trains_on_crops: training samples are square parts of frames, else whole frames. Goes with `keeps_aspect`:
            whole frames of several shapes would not fit into one batch.
        size_key: where the section `model` says how large the network is, such as `width` or `options.width`; empty for
            a detector of one size.
        size_fact: where the description says it.
        keys: those of `KEYS_OF_SOME` that act on it, beside those that follow from the other attributes.
        options: what stands under `model.options`.
        checkpoints_activations: it can compute activations twice instead of keeping them, which takes less memory.
        takes_pretrained: `model.pretrained` acts on it.
        numbers_outputs_variously: files of it differ in how they number the outputs of the class head.
        package: has to be importable, beside what smallsight needs itself; empty for nothing.
        install: the command that installs it.
        strategy_px: the resolution that the strategy document raises to; the multiple below it where it is none. None
            where nothing is known.
        strategy_rate: the highest learning rate that the document's runs were stable with; None likewise.
    Raises:
        ValueError: the attributes contradict each other.
    """

    name: str
    title: str
    maker: str
    sizes: tuple[Size, ...]
    keeps_aspect: bool
    trains_on_crops: bool
    size_key: str = ""
    size_fact: str = ""
    keys: tuple[str, ...] = ()
    options: type[Section] = NoOptions
    checkpoints_activations: bool = False
    takes_pretrained: bool = False
    numbers_outputs_variously: bool = False
    package: str = ""
    install: str = ""
    strategy_px: int | None = None
    strategy_rate: float | None = None

    def __post_init__(self) -> None:
        if not self.sizes:
            raise ValueError(f"{self.name}: sizes: got none, expected one or more")
        if self.keeps_aspect != self.trains_on_crops:
            raise ValueError(f"{self.name}: keeps_aspect and trains_on_crops differ; expected both or none of them")
        if ":" not in self.maker:
            raise ValueError(f"{self.name}: maker: got {self.maker!r}, expected package.module:Class")
        if not issubclass(self.options, Section):
            raise ValueError(f"{self.name}: options: got {self.options.__name__}, expected a subclass of Section")
        if unknown := [key for key in self.keys if key not in KEYS_OF_SOME]:
            raise ValueError(f"{self.name}: keys: got {', '.join(unknown)}, expected some of {', '.join(KEYS_OF_SOME)}")

    @property
    def size_names(self) -> tuple[str, ...]:
        """The sizes by name."""
        return tuple(size.name for size in self.sizes)

    @property
    def unused_keys(self) -> tuple[str, ...]:
        """The keys of a configuration that change nothing about it."""
        used = {
            *self.keys,
            *(CROP_KEYS if self.trains_on_crops else ()),
            *(("training.activation_checkpointing",) if self.checkpoints_activations else ()),
            *(("model.pretrained",) if self.takes_pretrained else ()),
            *((f"model.{self.size_key}",) if self.size_key else ()),
        }
        return tuple(key for key in KEYS_OF_SOME if key not in used)

    def is_installed(self) -> bool:
        """Whether the package that it needs is there; it is not loaded."""
        return not self.package or importlib.util.find_spec(self.package) is not None

    def size_named(self, model: object) -> Any:
        """How large the network is, as a section `model` or plain values of one say; None where they don't."""
        value: Any = model if self.size_key else None
        for part in self.size_key.split("."):
            value = value.get(part) if isinstance(value, Mapping) else getattr(value, part, None)
        return value

    def size_in(self, model: object) -> Size:
        """The size that a section `model` names."""
        named = self.size_named(model)
        return next((size for size in self.sizes if size.name == named), self.sizes[0])

    def step_error(self, size: Size, resolution: int) -> str | None:
        """What is wrong with a resolution that is no multiple of the step, with the nearest ones; None for nothing."""
        step = size.step_px
        if self.keeps_aspect or resolution % step == 0:
            return None
        below = max(1, resolution // step) * step
        return f"{size.title} needs a multiple of {step}; got {resolution}. Use {below} or {below + step}."

    def resolution_error(self, size: Size, resolution: int) -> str | None:
        """What is wrong with a resolution to train at, with the nearest ones that fit; None where nothing is."""
        if resolution >= size.least_px:
            return self.step_error(size, resolution)
        reason = size.least_because or f"{size.title} trains on no smaller frames"
        return f"{reason}; got {resolution}, expected {size.least_px} or more. Use {size.least_px}."


def model_size_wh(size_wh: tuple[int, int], resolution: int, step: int, *, keeps_aspect: bool) -> tuple[int, int]:
    """Size of a frame as the detector sees it, px: longer side at `resolution`, or a square; multiples of `step`."""
    if not keeps_aspect:
        return resolution, resolution
    factor = resolution / max(size_wh)
    width, height = (max(step, round(side * factor / step) * step) for side in size_wh)
    return width, height
