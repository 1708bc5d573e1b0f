"""A detector from its configuration or from a checkpoint's description, whatever its kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from smallsight.config.detector_kind import DetectorKind
from smallsight.config.detectors import ADVICE, detector_kind, detector_names
from smallsight.config.load import Config, detector_of, refuse_unavailable
from smallsight.detectors.base import Detector, Maker
from smallsight.detectors.foreign import ForeignFile, read_foreign
from smallsight.errors import CheckpointError, ConfigError


def build_detector(config: Config, class_names: Sequence[str], source: str, *, pretrained: bool = True) -> Detector:
    """A detector with fresh weights that depend on the configured seed alone, and pretrained ones where asked for.

    Args:
        pretrained: False where a checkpoint's weights will take the place of the configured pretrained ones.
    Raises:
        ConfigError: the configured detector's package is not installed or broken; its weights can't be fetched.
        CheckpointError: the configured file of weights can't be read or does not fit.
    """
    refuse_unavailable(config, source)
    kind = detector_of(config)
    maker = _maker(kind)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.training.seed)
        detector = maker.from_config(config, class_names)
    if pretrained and kind.takes_pretrained and config.model.pretrained:
        _put_pretrained(detector, maker, config, source)
    return detector


def detector_from_description(description: Mapping[str, Any], where: str) -> Detector:
    """The detector that a checkpoint describes, with fresh weights.

    Raises:
        CheckpointError: a detector that this version does not know, or whose package is not installed.
        ConfigError: the package that brings it is broken.
    """
    name, names = description.get("detector"), description.get("class_names", ())
    if not isinstance(names, (list, tuple)) or not all(isinstance(each, str) for each in names):
        raise CheckpointError(f"{where}: detector: its class names are no texts. Take another file.")
    if not isinstance(name, str) or name not in detector_names():
        known = ", ".join(detector_names())
        raise CheckpointError(f"{where}: holds a {name!r} detector; this version knows: {known}. {ADVICE}")
    kind = detector_kind(name)
    if not kind.is_installed():
        raise CheckpointError(f"{where}: {kind.title} is not installed. Run: {kind.install}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return _maker(kind).from_description(description, where)


def descriptions_of(file: ForeignFile) -> list[dict[str, Any]]:
    """The detectors whose network a foreign file can be of, likeliest first, without their class names.

    Raises:
        CheckpointError: none that this version builds.
        ConfigError: no detector of ours, and a package that brings another one is broken.
    """
    for name in detector_names():
        found = _maker(detector_kind(name)).descriptions(file)
        if found:
            return found
    *titles, last = (detector_kind(name).title for name in detector_names())
    raise CheckpointError(
        f"{file.path}: holds no detector that this version knows; expected {', '.join(titles)} or {last}. Give a "
        "checkpoint of smallsight or of the detector's own trainer."
    )


def refuse_other_network(file: ForeignFile, config: Config) -> None:
    """Make sure that a foreign file is of the configured detector's network.

    Raises:
        CheckpointError: it is not.
    """
    found, kind = descriptions_of(file), detector_of(config)
    name = found[0]["detector"]
    if name != kind.name:
        raise CheckpointError(
            f"{file.path}: holds a {name} detector; got {kind.name} in model.detector. Give a checkpoint of "
            f"{kind.name}, or set model.detector={name}."
        )
    if not kind.size_key:
        return
    wanted, sizes = kind.size_named(config.model), [each[kind.size_fact] for each in found]
    if wanted not in sizes:
        raise CheckpointError(
            f"{file.path}: holds the {name} detector with {kind.size_key} {' or '.join(map(str, sizes))}; got {wanted} "
            f"in model.{kind.size_key}. Set model.{kind.size_key}={sizes[0]}."
        )


def _put_pretrained(detector: Detector, maker: Maker, config: Config, source: str) -> None:
    """Load the weights of a file, or the published ones, into a detector; a head of other classes stays fresh."""
    given = config.model.pretrained
    path = Path(given).expanduser() if isinstance(given, str) else maker.published_weights(config, source)
    file = read_foreign(path)
    refuse_other_network(file, config)
    outputs = detector.class_outputs(file, None, config.model.class_outputs)
    detector.load_state_dict(detector.start_from(file, outputs.taken).average)


@cache
def _maker(kind: DetectorKind) -> Maker:
    """Load the maker of a kind of detector.

    Raises:
        ConfigError: it can't be loaded, or is something else.
    """
    where = f"model.detector: {kind.maker}, the maker of {kind.name},"
    module, _, name = kind.maker.partition(":")
    try:
        made = getattr(import_module(module), name)()
    except Exception as error:  # code of others, which may raise anything
        raise ConfigError(
            f"{where} can't be loaded ({type(error).__name__}: {error}). Repair or uninstall its package."
        ) from error
    if not isinstance(made, Maker):
        raise ConfigError(f"{where} is a {type(made).__name__}; expected a class derived from Maker. Correct it there.")
    return made
