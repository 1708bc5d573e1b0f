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

from smallsight.config.detector_kind import DetectorKind, Size
from smallsight.config.detectors import detector_kind
from smallsight.config.messages import raise_first
from smallsight.config.overrides import STRATEGY, parse_overrides, place, unwrap_train
from smallsight.config.section import Section
from smallsight.config.sections import (
    Augmentation,
    Checkpoint,
    DatasetPaths,
    EvaluationSettings,
    Logging,
    Model,
    Output,
    Sampling,
    Training,
)
from smallsight.config.yaml_files import read_yaml
from smallsight.errors import ConfigError

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
    evaluation: EvaluationSettings = EvaluationSettings()
    checkpoint: Checkpoint = Checkpoint()
    logging: Logging = Logging()
    output: Output = Output()

    def to_dict(self) -> dict[str, Any]:
        """Plain values, every key present."""
        return self.model_dump(mode="json")

    def for_training(self) -> dict[str, Any]:
        """`to_dict` for a process that trains: it is not told where the exam is."""
        content = self.to_dict()
        content["dataset"]["exam_path"] = None
        return content


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
    given = {key: key for key in overridden}
    try:
        config = Config.model_validate({key: value if value is not None else {} for key, value in content.items()})
    except ValidationError as error:
        raise_first(error, source, Config, given)
    try:
        kind = detector_of(config)
    except ConfigError as error:
        raise ConfigError(f"{source}: {error}") from error
    config = _with_options(config, kind, source, given)
    wrong = kind.resolution_error(size_of(config), config.training.resolution)
    if wrong:
        raise ConfigError(f"{source}: training.resolution: {wrong}")
    return config


def _with_options(config: Config, kind: DetectorKind, source: str, overridden: Mapping[str, str]) -> Config:
    """`config` with the detector's own keys checked, every one present."""
    given = config.model.options
    if given and not kind.options.model_fields:
        raise ConfigError(
            f"{source}: model.options: got {', '.join(map(str, given))}, expected no keys: {kind.title} has none. "
            "Leave them out."
        )
    try:
        options = kind.options.model_validate(given).model_dump(mode="json")
    except ValidationError as error:
        raise_first(error, source, kind.options, overridden, within="model.options")
    if options == given:
        return config
    return config.model_copy(update={"model": config.model.model_copy(update={"options": options})})


def detector_of(config: Config) -> DetectorKind:
    """The record of the configured detector.

    Raises:
        ConfigError: the package that brings it is gone or broken.
    """
    return detector_kind(config.model.detector)


def size_of(config: Config) -> Size:
    """The configured size of the detector.

    Raises:
        ConfigError: as `detector_of`.
    """
    return detector_of(config).size_in(config.model)


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
        ConfigError: the library of the configured detector or MLflow is not installed.
    """
    kind = detector_of(config)
    if not kind.is_installed():
        raise ConfigError(f"{source}: model.detector: {kind.title} is not installed. Run: {kind.install}")
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


def training_scales(config: Config, step: int) -> tuple[int, ...]:
    """The resolutions that training draws from, px: the resolution alone, or the multiples of `step` around it."""
    resolution = config.training.resolution
    if not config.training.multi_scale:
        return (resolution,)
    low, high = EXPANDED_SPAN if config.training.expanded_scales else MULTI_SCALE_SPAN
    high = min(high, config.training.top_scale or high)
    low_px = max(resolution * low, size_of(config).least_px)
    first, last = math.ceil(low_px / step - 1e-6), math.floor(resolution * high / step + 1e-6)
    return tuple(range(first * step, last * step + 1, step)) or (resolution,)
