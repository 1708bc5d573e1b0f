"""The keys of a configuration, section by section: what each means, its default and its limits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, model_validator

from smallsight.config.detectors import ADVICE, NANO, OUR_NAMES, RFDETR, detector_names, named_in
from smallsight.config.overrides import as_exam, as_set, as_switch, unwrap_train
from smallsight.config.section import OneOf, Section

_Probability = Annotated[float, Field(ge=0, le=1)]
_Positive = Annotated[int, Field(ge=1, le=1_000_000)]
_Quality = Annotated[int, Field(ge=1, le=100)]
_Share = Annotated[float, Field(ge=0, le=1)]
_Factor = Annotated[float, Field(gt=0, le=4)]
_Enlargement = Annotated[float, Field(ge=1, le=4)]
_Reduction = Annotated[float, Field(ge=0.5, le=1)]
_Output = Annotated[int, Field(ge=0, le=100_000)]
_OUTPUTS = "names of classes with output numbers, such as {ball: 1}"
_INTERFACE = "the name of a network interface, for example eth0"
_DEVICES = "auto, cpu, cuda, cuda:0 (or another number) or mps"
_SETS = "names with folders, such as {night: data/night}, or as an override evaluation.sets.night=data/night"
_EXAM = "a folder, auto, or none"
_SET = "a folder, or keys such as {path: data/night, guards: true}"
AUTO = "auto"
"""`dataset.exam_path`: the exam is looked for."""
LEAST_PX, LARGEST_PX = 32, 8192
"""The resolutions that a configuration takes."""
_Pair = TypeVar("_Pair", tuple[int, int], tuple[float, float])
Keep = _Positive | Literal["all"]
"""How many checkpoints stay."""


def _ascending(pair: _Pair) -> _Pair:
    if pair[0] > pair[1]:
        raise ValueError("the lower end comes first")
    return pair


def _from_zero(value: object) -> object:
    return (0.0, value) if isinstance(value, (int, float)) else value


class Switch(Section):
    """An augmentation that is on with a probability."""

    model_config = ConfigDict(json_schema_extra={"description": "a probability, true, false, or keys and values"})

    enabled: bool = True
    prob: _Probability = 0.5

    @property
    def chance(self) -> float:
        """Probability that it is applied to a sample."""
        return self.prob if self.enabled else 0.0


class Mosaic(Switch):
    """Parts of several frames in one sample, at `scale_range` times the usual scale.

    No object gets a side under `min_bbox_size` px by it; one that is cut to a side under `border_margin` px is ignored.
    There is none in the last `off_last_epochs` epochs of a phase.
    """

    enabled: bool = False
    min_bbox_size: Annotated[float, Field(ge=0, le=1000)] = 5
    border_margin: Annotated[float, Field(ge=0, le=1000)] = 10
    tiles: Literal[4, 9] = 4
    scale_range: Annotated[tuple[_Factor, _Factor], AfterValidator(_ascending)] = (0.7, 1.4)
    off_last_epochs: Annotated[int, Field(ge=0)] = 1


class Zoom(Switch):
    """A part of the frame, enlarged by a factor drawn from `factor_range`; nothing is ever made smaller."""

    enabled: bool = False
    factor_range: Annotated[tuple[_Enlargement, _Enlargement], AfterValidator(_ascending)] = (1.0, 1.5)


class CopyPaste(Switch):
    """Objects with sides of up to `max_side_px`, image frame, pasted into other frames, some drawn out to a streak."""

    enabled: bool = False
    max_pastes: Annotated[int, Field(ge=1, le=100)] = 3
    max_side_px: Annotated[float, Field(gt=0, le=1000)] = 32
    streak_prob: _Probability = 0.0


class MotionBlur(Switch):
    """Blur along a random direction; the streak's length, an odd number of px, is drawn from 3 to `max_kernel_size`."""

    enabled: bool = False
    max_kernel_size: Annotated[int, Field(ge=3, le=99)] = 7


class GaussianBlur(Switch):
    """Blur the same in all directions; the kernel's side, an odd number of px, is drawn from 3 to `max_kernel_size`."""

    enabled: bool = False
    max_kernel_size: Annotated[int, Field(ge=3, le=31)] = 5


class IsoNoise(Switch):
    """Sensor noise; its standard deviation, a share of white, is drawn from `noise_level` (a bare number: from 0)."""

    enabled: bool = False
    noise_level: Annotated[tuple[_Share, _Share], BeforeValidator(_from_zero), AfterValidator(_ascending)] = (0.0, 0.04)


class Downscale(Switch):
    """Down to a smaller size and up again; the factor is drawn from `factor_range`."""

    enabled: bool = False
    factor_range: Annotated[tuple[_Reduction, _Reduction], AfterValidator(_ascending)] = (0.5, 0.9)


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
    """Changes of the training samples; the validation images are never changed.

    An object of which a cut leaves less than `min_visible` of its area is ignored: no loss is taken there.
    """

    min_visible: _Share = 0.4
    horizontal_flip: Annotated[Switch, _OnOff] = Switch()
    color_jitter: Annotated[ColorJitter, _OnOff] = ColorJitter()
    zoom: Annotated[Zoom, _OnOff] = Zoom()
    mosaic: Annotated[Mosaic, _OnOff] = Mosaic()
    copy_paste: Annotated[CopyPaste, _OnOff] = CopyPaste()
    motion_blur: Annotated[MotionBlur, _OnOff] = MotionBlur()
    gaussian_blur: Annotated[GaussianBlur, _OnOff] = GaussianBlur()
    iso_noise: Annotated[IsoNoise, _OnOff] = IsoNoise()
    downscale: Annotated[Downscale, _OnOff] = Downscale()
    jpeg_compression: Annotated[Jpeg, _OnOff] = Jpeg()

    @model_validator(mode="before")
    @classmethod
    def _unwrap_train(cls, value: Any) -> Any:
        value = unwrap_train(value)
        if isinstance(value, Mapping) and "train" in value:
            raise ValueError(f"train: got {value['train']!r}, expected augmentations by name")
        return value


class Model(Section):
    """The detector. Keys from `architecture` on have no effect and are accepted from older files.

    `class_outputs` numbers the outputs of a foreign checkpoint's class head from 0; without it they are found out.
    `detector` also takes the name of a detector that an installed package brings; `options` are its own keys.
    """

    detector: Annotated[str, OneOf(detector_names, OUR_NAMES, ADVICE)] = NANO.name
    width: Annotated[float, Field(gt=0, le=8)] = 1.0
    flip_average: bool = False
    rfdetr_size: Annotated[str, OneOf(lambda: RFDETR.size_names)] = "base"
    options: dict[str, Any] = Field(default={}, description="keys and values")
    num_classes: _Positive | None = None
    pretrained: Annotated[bool | str, Field(description="true, false or a file with weights")] = False
    class_outputs: Annotated[dict[str, _Output] | None, Field(description=_OUTPUTS)] = None
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
        return {**value, "detector": named_in(value)} if isinstance(value, Mapping) else value


EFFECTIVE_BATCH = 16


class Resources(Section):
    """What an attempt takes of a machine while others train beside it: CPUs, which are its threads, and GPUs.

    Without `cpu`, as many as `training.threads`, else one; without `gpu`, one where it trains on a GPU.
    """

    cpu: Annotated[int, Field(ge=1, le=1024)] | None = None
    gpu: Annotated[int, Field(ge=0, le=64)] | None = None


class Training(Section):
    """How a phase trains. `epochs` is the number of the last epoch, not a count.

    `devices` are those of one machine, one process each; `batch_size` images go to every device of every machine.
    Processes on several machines talk over the network `interface` of that name; those on one over its loopback.
    `batch_size: auto` takes the largest batch that fits, and accumulates to `effective_batch` images per optimizer step
    (`EFFECTIVE_BATCH` where it is not given). `top_scale` caps the scales of multi-scale training, as a share of the
    resolution. `warmup_steps` is the longest ramp of the learning rate. The average of the weights looks back over
    `ema_epochs` epochs, but never keeps more than `ema_decay` of itself at a step. A training process that gives no
    sign of life for `hang_timeout_s` is killed and started again.
    """

    batch_size: _Positive | Literal["auto"] = 16
    effective_batch: _Positive | None = None
    memory_budget_mb: Annotated[float | None, Field(gt=0, description="a number of MB, for example 2000")] = None
    hang_timeout_s: Annotated[float, Field(gt=0)] = 900
    activation_checkpointing: bool = False
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 0.002
    epochs: _Positive = 10
    weight_decay: Annotated[float, Field(ge=0, le=1)] = 0.0001
    gradient_clip: Annotated[float, Field(ge=0)] = 5.0
    grad_accum_steps: _Positive = 1
    resolution: Annotated[int, Field(ge=LEAST_PX, le=LARGEST_PX)] = 640
    num_workers: Annotated[int, Field(ge=0, le=256)] = 0
    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d{1,2})?|mps)$", description=_DEVICES)] = "auto"
    devices: Annotated[int, Field(ge=1, le=64)] = 1
    num_nodes: Annotated[int, Field(ge=1, le=1000)] = 1
    mixed_precision: bool = False
    multi_scale: bool = False
    expanded_scales: bool = False
    top_scale: Annotated[float, Field(ge=1, le=4)] | None = None
    schedule: Literal["constant", "cosine"] = "constant"
    warmup_steps: Annotated[int, Field(ge=0, le=1_000_000)] = 50
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.998
    ema_epochs: Annotated[float, Field(gt=0, le=1000)] = 2.0
    small_object_loss_weight: Annotated[float, Field(ge=1, le=100)] = 1.0
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    threads: Annotated[int, Field(ge=0, le=1024)] = 0
    interface: Annotated[str, Field(pattern=r"^[\w.:-]{1,15}$", description=_INTERFACE)] | None = None
    resources: Resources = Resources()

    @property
    def micro_batch(self) -> int:
        """`batch_size` as a number; 1 while it is left open."""
        return 1 if self.batch_size == "auto" else self.batch_size

    @property
    def images_per_step(self) -> int:
        """Images of an optimizer step."""
        if self.batch_size == "auto":
            return self.effective_batch or EFFECTIVE_BATCH
        return self.images_per_batch * self.grad_accum_steps

    @property
    def processes(self) -> int:
        """How many train together, on all machines."""
        return self.devices * self.num_nodes

    @property
    def images_per_batch(self) -> int:
        """Images of a batch, the parts of all processes together."""
        return self.micro_batch * self.processes


class Sampling(Section):
    """Which frames are trained on, and which parts of them (detectors that learn on crops; tiles of a mosaic).

    `oversample` takes images with rare classes or tiny objects more often. `loss_fed` takes tiny objects more often
    while their share of the loss is low for their number. An epoch keeps its length.
    """

    crop_px: Annotated[int, Field(ge=32, le=8192, multiple_of=32)] = 192
    crops_per_image: Annotated[int, Field(ge=1, le=1000)] = 2
    oversample: Literal["none", "rare_classes", "tiny_objects"] = "none"
    loss_fed: bool = False
    object_share: _Probability = 0.5
    hard_negative_share: _Probability = 0.25
    hard_negative_frames: Annotated[int, Field(ge=0)] = 64


class DatasetPaths(Section):
    """Where the images are. Paths may hold environment variables; a relative one starts at the working directory.

    `exam_path` is a folder of any of the three formats whose images no decision sees: baseline and champion are
    measured there at the end of a run. `auto` takes `test/` beside `train/`, or what a YOLO or VOC set has as its test
    split; `none` switches it off.
    """

    coco_train_path: str | None = None
    coco_val_path: str | None = None
    yolo_train_path: str | None = None
    yolo_val_path: str | None = None
    voc_train_path: str | None = None
    voc_val_path: str | None = None
    exam_path: Annotated[str | None, BeforeValidator(as_exam), Field(description=_EXAM)] = AUTO
    category_name: str | None = None
    category_id: int | None = None
    ball_class_id: int | None = None
    pin_memory: bool = False
    prefetch_factor: _Positive | None = None
    persistent_workers: bool = False
    cache_mb: Annotated[float, Field(ge=0)] = 1000
    cache_dir: str | None = None
    cache_disk_mb: Annotated[float, Field(ge=0)] = 20_000


class EvaluationSet(Section):
    """A folder to evaluate on beside the validation set.

    `guards`: it is measured after every epoch, and a phase that demonstrably loses there is no champion.
    """

    model_config = ConfigDict(json_schema_extra={"description": _SET})

    path: Annotated[str, Field(min_length=1)]
    guards: bool = False


class EvaluationSettings(Section):
    """How figures are made. `max_dets: 100` gives figures that can be compared with others'.

    `sets` names folders by a word of the user's. A COCO folder is measured at the end of a run, with the champion; one
    that `guards` and one that holds frames without labels are looked at after every epoch.
    """

    max_dets: _Positive = 100
    centre_hit_px: Annotated[float, Field(gt=0, le=1000)] = 4.0
    replicates: Annotated[int, Field(ge=100, le=100_000)] = 1000
    resample: Literal["auto", "images", "clips"] = "auto"
    batch_size: _Positive = 1
    sets: dict[str, Annotated[EvaluationSet, BeforeValidator(as_set, json_schema_input_type=EvaluationSet)]] = Field(
        default={}, description=_SETS
    )


class Checkpoint(Section):
    """Where to start from, how epochs are counted, how often an epoch in training is saved, and what stays on the disk.

    `every_steps`: optimizer steps between two saves; where it is not given, every four minutes.
    `keep`: so many lightweight checkpoints stay, the latest ones; so do the best and the last of each phase, and those
    that a phase starts from. `all` keeps every file.
    """

    resume_from: str | None = None
    start_epoch: Annotated[int, Field(ge=0, le=1_000_000)] | None = None
    save_dir: str | None = None
    every_steps: _Positive | None = None
    keep: Keep = 3


class Logging(Section):
    """Where figures are sent besides the run folder."""

    mlflow: bool = False
    mlflow_tracking_uri: str | None = None
    mlflow_experiment_name: str | None = None


class Output(Section):
    """Where the run is written."""

    output_dir: str | None = None
