"""The configuration of a run: how a file and `key=value` overrides become one."""

from __future__ import annotations

import importlib.util
import math
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from smallsight.config.messages import raise_first
from smallsight.config.overrides import STRATEGY, parse_overrides, place, unwrap_train
from smallsight.config.rfdetr_sizes import INSTALL, SIZES, is_installed, resolution_error
from smallsight.config.sections import (
    Augmentation,
    Checkpoint,
    DatasetPaths,
    Evaluation,
    Logging,
    Model,
    Output,
    Sampling,
    Section,
    Training,
)
from smallsight.config.yaml_files import read_yaml
from smallsight.errors import ConfigError

NANO_STEP_PX = 16
MULTI_SCALE_SPAN = (0.85, 1.2)
EXPANDED_SPAN = (0.75, 1.25)
"""Scales of multi-scale training, as shares of the resolution. They give RF-DETR's own sets at 1120 and 1288 px."""


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
        if dotted.startswith(STRATEGY):
            raise ConfigError(f"{dotted}: a single phase has no strategy. Give it to smallsight optimize.")
        place(content, dotted, value)
    config = build_config(content, str(path), overridden=given)
    return LoadedConfig(config, str(path), content)


def build_config(content: Mapping[str, Any], source: str, *, overridden: Iterable[str] = ()) -> Config:
    """A configuration from nested plain values.

    Raises:
        ConfigError: see `load_config`.
    """
    try:
        config = Config.model_validate({key: value if value is not None else {} for key, value in content.items()})
    except ValidationError as error:
        raise_first(error, source, Config, {key: key for key in overridden})
    wrong = resolution_error(config.model.rfdetr_size, config.training.resolution)
    if config.model.detector == "rfdetr" and wrong:
        raise ConfigError(f"{source}: training.resolution: {wrong}")
    return config


def with_settings(config: Config, settings: Mapping[str, Any], source: str) -> Config:
    """`config` with dotted keys replaced; `source` begins the message where one does not fit."""
    content = config.to_dict()
    for dotted, value in settings.items():
        try:
            place(content, dotted, value)
        except ConfigError as error:
            raise ConfigError(f"{source}: {error}") from error
    return build_config(content, source)


def refuse_unavailable(config: Config, source: str) -> None:
    """Stop early where a package that the configuration asks for is not there.

    Raises:
        ConfigError: the configuration names RF-DETR or MLflow, and the library is not installed.
    """
    if config.model.detector == "rfdetr" and not is_installed():
        raise ConfigError(f"{source}: model.detector: RF-DETR is not installed. Run: {INSTALL}")
    if config.logging.mlflow and importlib.util.find_spec("mlflow") is None:
        raise ConfigError(f"{source}: logging.mlflow: MLflow is not installed. Run: pip install 'smallsight[mlflow]'")


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


def resolution_step(config: Config) -> int:
    """What a resolution is a multiple of, px."""
    model = config.model
    return SIZES[model.rfdetr_size].step_px if model.detector == "rfdetr" else NANO_STEP_PX


def _least_px(config: Config) -> int:
    """The smallest resolution that the detector trains at, px."""
    model = config.model
    return SIZES[model.rfdetr_size].least_px if model.detector == "rfdetr" else NANO_STEP_PX


def training_scales(config: Config, step: int) -> tuple[int, ...]:
    """The resolutions that training draws from, px: the resolution alone, or the multiples of `step` around it."""
    resolution = config.training.resolution
    if not config.training.multi_scale:
        return (resolution,)
    low, high = EXPANDED_SPAN if config.training.expanded_scales else MULTI_SCALE_SPAN
    high = min(high, config.training.top_scale or high)
    low_px = max(resolution * low, _least_px(config))
    first, last = math.ceil(low_px / step - 1e-6), math.floor(resolution * high / step + 1e-6)
    return tuple(range(first * step, last * step + 1, step)) or (resolution,)
