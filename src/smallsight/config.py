"""The configuration of a run: its keys, how a file and `key=value` overrides become one, and what the messages say."""

from __future__ import annotations

import difflib
import math
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn, TypeVar, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from smallsight.errors import ConfigError
from smallsight.overrides import as_switch, parse_overrides, place, unwrap_train
from smallsight.yaml_files import read_yaml

MULTI_SCALE_SPAN = (0.85, 1.2)
EXPANDED_SPAN = (0.75, 1.25)
"""Scales of multi-scale training, as shares of the resolution. They give RF-DETR's own sets at 1120 and 1288 px."""

_Probability = Annotated[float, Field(ge=0, le=1)]
_Positive = Annotated[int, Field(ge=1)]
_Quality = Annotated[int, Field(ge=1, le=100)]
_Share = Annotated[float, Field(ge=0, le=1)]
_Pair = TypeVar("_Pair", tuple[int, int], tuple[float, float])


def _ascending(pair: _Pair) -> _Pair:
    if pair[0] > pair[1]:
        raise ValueError("the lower end comes first")
    return pair


def _from_zero(value: object) -> object:
    return (0.0, value) if isinstance(value, (int, float)) else value


class Section(BaseModel):
    """Base of every section: unknown keys are errors, values don't change."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Switch(Section):
    """An augmentation that is on with a probability."""

    enabled: bool = True
    prob: _Probability = 0.5

    @property
    def chance(self) -> float:
        """Probability that it is applied to a sample."""
        return self.prob if self.enabled else 0.0


class Mosaic(Switch):
    """Several images in one (not built yet)."""

    enabled: bool = False
    min_bbox_size: Annotated[float, Field(ge=0)] = 5
    border_margin: Annotated[float, Field(ge=0)] = 10


class CopyPaste(Switch):
    """Objects pasted into other images (not built yet)."""

    enabled: bool = False
    max_pastes: _Positive = 3


class MotionBlur(Switch):
    """Blur along a direction (not built yet)."""

    enabled: bool = False
    max_kernel_size: _Positive = 7


class GaussianBlur(Switch):
    """Blur the same in all directions; the kernel's side is drawn from 3 to `max_kernel_size` px."""

    enabled: bool = False
    max_kernel_size: Annotated[int, Field(ge=3, le=31)] = 5


class IsoNoise(Switch):
    """Sensor noise; its standard deviation, a share of white, is drawn from `noise_level` (a bare number: from 0)."""

    enabled: bool = False
    noise_level: Annotated[tuple[_Share, _Share], BeforeValidator(_from_zero), AfterValidator(_ascending)] = (0.0, 0.04)


class Jpeg(Switch):
    """JPEG compression; the quality is drawn from `quality_range`, both ends included."""

    enabled: bool = False
    quality_range: Annotated[tuple[_Quality, _Quality], AfterValidator(_ascending)] = (40, 95)


class ColorJitter(Switch):
    """Exposure and colour.

    `brightness` moves all pixels by up to that share of half the range; `contrast`, `saturation` and `cast` (each
    channel on its own) multiply by 1 - x to 1 + x; `hue` turns by up to that share of the circle.
    """

    prob: _Probability = 0.8
    brightness: Annotated[float, Field(ge=0, lt=1)] = 0.2
    contrast: Annotated[float, Field(ge=0, lt=1)] = 0.3
    saturation: Annotated[float, Field(ge=0, lt=1)] = 0.3
    hue: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    cast: Annotated[float, Field(ge=0, lt=1)] = 0.2


_OnOff = BeforeValidator(as_switch)


class Augmentation(Section):
    """Changes of the training samples; the validation images are never changed."""

    horizontal_flip: Annotated[Switch, _OnOff] = Switch()
    color_jitter: Annotated[ColorJitter, _OnOff] = ColorJitter()
    mosaic: Annotated[Mosaic, _OnOff] = Mosaic()
    copy_paste: Annotated[CopyPaste, _OnOff] = CopyPaste()
    motion_blur: Annotated[MotionBlur, _OnOff] = MotionBlur()
    gaussian_blur: Annotated[GaussianBlur, _OnOff] = GaussianBlur()
    iso_noise: Annotated[IsoNoise, _OnOff] = IsoNoise()
    jpeg_compression: Annotated[Jpeg, _OnOff] = Jpeg()

    @model_validator(mode="before")
    @classmethod
    def _unwrap_train(cls, value: Any) -> Any:
        value = unwrap_train(value)
        if isinstance(value, Mapping) and "train" in value:
            raise ValueError(f"train: expected augmentations by name, got {value['train']!r}")
        return value


class Model(Section):
    """The detector. Keys from `architecture` on have no effect and are accepted from older files."""

    detector: Literal["nano", "rfdetr"] = "nano"
    width: Annotated[float, Field(gt=0, le=8)] = 1.0
    flip_average: bool = False
    rfdetr_size: Literal["nano", "small", "medium", "base", "large"] = "base"
    num_classes: _Positive | None = None
    pretrained: bool | str = False
    remap_mscoco_category: bool = False
    architecture: str | None = None
    backbone: str | None = None
    hidden_dim: int | None = None
    nheads: int | None = None
    num_encoder_layers: int | None = None
    num_decoder_layers: int | None = None

    @model_validator(mode="before")
    @classmethod
    def _detector_from_size(cls, value: Any) -> Any:
        if isinstance(value, Mapping) and "rfdetr_size" in value and "detector" not in value:
            return {"detector": "rfdetr", **value}
        return value


class Training(Section):
    """How a phase trains. `epochs` is the number of the last epoch, not a count."""

    batch_size: _Positive = 16
    learning_rate: Annotated[float, Field(gt=0)] = 0.002
    epochs: _Positive = 10
    weight_decay: Annotated[float, Field(ge=0)] = 0.0001
    gradient_clip: Annotated[float, Field(ge=0)] = 5.0
    grad_accum_steps: _Positive = 1
    resolution: Annotated[int, Field(ge=32, le=8192)] = 640
    num_workers: Annotated[int, Field(ge=0)] = 0
    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d+)?|mps)$")] = "auto"
    mixed_precision: bool = False
    multi_scale: bool = False
    expanded_scales: bool = False
    schedule: Literal["constant", "cosine"] = "constant"
    warmup_steps: Annotated[int, Field(ge=0)] = 50
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.998
    small_object_loss_weight: Annotated[float, Field(ge=1)] = 1.0
    seed: Annotated[int, Field(ge=0)] = 0
    threads: Annotated[int, Field(ge=0)] = 0


class Sampling(Section):
    """Which parts of the frames are trained on, for detectors that learn on crops."""

    crop_px: Annotated[int, Field(ge=32, multiple_of=32)] = 192
    crops_per_image: _Positive = 2
    object_share: _Probability = 0.5
    hard_negative_share: _Probability = 0.25
    hard_negative_frames: Annotated[int, Field(ge=0)] = 64


class DatasetPaths(Section):
    """Where the images are. Paths may hold environment variables; a relative one starts at the working directory."""

    coco_train_path: str | None = None
    coco_val_path: str | None = None
    yolo_train_path: str | None = None
    yolo_val_path: str | None = None
    voc_train_path: str | None = None
    voc_val_path: str | None = None
    category_name: str | None = None
    category_id: int | None = None
    ball_class_id: int | None = None
    pin_memory: bool = False
    prefetch_factor: _Positive | None = None
    persistent_workers: bool = False
    cache_mb: Annotated[float, Field(ge=0)] = 1000
    cache_dir: str | None = None
    cache_disk_mb: Annotated[float, Field(ge=0)] = 20_000


class Evaluation(Section):
    """How figures are made. `max_dets: 100` gives figures that can be compared with others'."""

    max_dets: _Positive = 100
    centre_hit_px: Annotated[float, Field(gt=0)] = 4.0
    replicates: Annotated[int, Field(ge=100, le=100_000)] = 1000
    batch_size: _Positive = 1


class Checkpoint(Section):
    """Where to start from, and how epochs are counted."""

    resume_from: str | None = None
    start_epoch: Annotated[int, Field(ge=0)] | None = None
    save_dir: str | None = None


class Logging(Section):
    """Where figures are sent besides the run folder."""

    mlflow: bool = False
    mlflow_tracking_uri: str | None = None
    mlflow_experiment_name: str | None = None


class Output(Section):
    """Where the run is written."""

    output_dir: str | None = None


class Config(Section):
    """A whole run."""

    model: Model = Model()
    training: Training = Training()
    sampling: Sampling = Sampling()
    dataset: DatasetPaths = DatasetPaths()
    augmentation: Augmentation = Augmentation()
    evaluation: Evaluation = Evaluation()
    checkpoint: Checkpoint = Checkpoint()
    logging: Logging = Logging()
    output: Output = Output()

    def to_dict(self) -> dict[str, Any]:
        """Plain values, every key present."""
        return self.model_dump(mode="json")


@dataclass(frozen=True)
class LoadedConfig:
    """A configuration, the name of its file, and what was given in it and laid over it."""

    config: Config
    source: str
    content: Mapping[str, Any]


def load_config(path: Path, overrides: Sequence[str] = ()) -> LoadedConfig:
    """Read a file and lay `section.key=value` overrides over it.

    Raises:
        ConfigError: the file can't be read; a key is unknown; a value does not fit.
    """
    content = read_yaml(path)
    if "augmentation" in content:
        content["augmentation"] = unwrap_train(content["augmentation"])
    given = parse_overrides(overrides)
    for dotted, value in given.items():
        place(content, dotted, value)
    config = build_config(content, str(path), overridden=given)
    return LoadedConfig(config, str(path), content)


def build_config(content: Mapping[str, Any], source: str, *, overridden: Iterable[str] = ()) -> Config:
    """A configuration from nested plain values.

    Raises:
        ConfigError: see `load_config`.
    """
    try:
        return Config.model_validate({key: value if value is not None else {} for key, value in content.items()})
    except ValidationError as error:
        raise_first(error, source, Config, overridden)


def with_settings(config: Config, settings: Mapping[str, Any], source: str) -> Config:
    """`config` with dotted keys replaced; `source` begins the message where one does not fit."""
    content = config.to_dict()
    for dotted, value in settings.items():
        try:
            place(content, dotted, value)
        except ConfigError as error:
            raise ConfigError(f"{source}: {error}") from error
    return build_config(content, source)


def raise_first(
    error: ValidationError, source: str, schema: type[BaseModel], overridden: Iterable[str] = ()
) -> NoReturn:
    """Turn pydantic's first complaint into one line that teaches.

    Raises:
        ConfigError: always.
    """
    item = error.errors()[0]
    names = [str(part) for part in item["loc"]]
    dotted = ".".join(names)
    blamed = any(f"{dotted}.".startswith(f"{key}.") or key.startswith(f"{dotted}.") for key in overridden)
    where = f"{dotted}=" if blamed else f"{source}: {dotted}" if dotted else source
    if item["type"] == "extra_forbidden":
        known = _known_keys(schema, names[:-1])
        near = difflib.get_close_matches(names[-1], known, n=1, cutoff=0.5)
        hint = f"Did you mean {near[0]}?" if near else f"Known here: {', '.join(sorted(known))}."
        raise ConfigError(f"{where}: unknown key. {hint}") from error
    message = item["msg"].removeprefix("Value error, ")
    got = "" if isinstance(item["input"], (dict, list)) else f"; got {item['input']!r}"
    raise ConfigError(f"{where}: {message}{got}.") from error


def _known_keys(schema: type[BaseModel], path: Sequence[str]) -> list[str]:
    """The keys that may stand at `path`; list indices on the way are passed over."""
    for name in path:
        info = schema.model_fields.get(name)
        kinds = (info.annotation, *get_args(info.annotation)) if info else ()
        schema = next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), schema)
    return list(schema.model_fields)


def refuse_unavailable(config: Config, source: str) -> None:
    """Stop early where the configured detector is not built yet.

    Raises:
        ConfigError: the configuration names RF-DETR.
    """
    if config.model.detector == "rfdetr":
        raise ConfigError(
            f"{source}: model.detector: RF-DETR is not available in this version of smallsight; "
            f"got rfdetr (size {config.model.rfdetr_size}), expected nano. "
            "Try the strategy on the embedded detector with configs/demo.yaml."
        )


def start_file(config: Config, given: Path | None) -> Path | None:
    """The checkpoint to start from: the one given on the command line, else the configuration's, else none."""
    return given or (Path(config.checkpoint.resume_from) if config.checkpoint.resume_from else None)


def filled_path(key: str, value: str) -> Path:
    """The path in `value`, given for `key`, with `~` and environment variables filled in.

    Raises:
        ConfigError: an environment variable is not set.
    """
    filled = os.path.expanduser(os.path.expandvars(value))  # noqa: PTH111 - before it is a path
    left = re.search(r"\$\{?(\w+)\}?", filled)
    if left:
        raise ConfigError(f"{key}: the environment variable {left[1]} is not set. Set it, or pass {key}=FOLDER.")
    return Path(filled)


def training_scales(config: Config, step: int) -> tuple[int, ...]:
    """The resolutions that training draws from, px: the resolution alone, or the multiples of `step` around it."""
    resolution = config.training.resolution
    if not config.training.multi_scale:
        return (resolution,)
    low, high = EXPANDED_SPAN if config.training.expanded_scales else MULTI_SCALE_SPAN
    first, last = math.ceil(resolution * low / step - 1e-6), math.floor(resolution * high / step + 1e-6)
    return tuple(range(first * step, last * step + 1, step)) or (resolution,)
