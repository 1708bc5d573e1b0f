"""Settings of a configuration that limit the AP of small objects, according to the strategy or to measurements.

A key that the configuration does not state raises no issue. A limit that was measured on one detector applies to it
alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from smallsight.config.detector_kind import DetectorKind
from smallsight.config.detectors import OURS, named_in

Severity = Literal["high", "medium", "low"]

_ORDER: tuple[Severity, ...] = ("high", "medium", "low")
_FEWEST_IMAGES_PER_STEP = 16


@dataclass(frozen=True)
class Issue:
    """One setting that limits small objects: `key` is dotted, `message` says why, `remedy` what to set."""

    severity: Severity
    key: str
    message: str
    remedy: str


def configuration_issues(config: Mapping[str, Any] | None) -> tuple[Issue, ...]:
    """What to change in a configuration, the most severe first.

    Args:
        config: sections `model`, `training`, `augmentation` as in the configuration file; None for not known.
    """
    if config is None:
        return ()
    model, training = _section(config, "model"), _section(config, "training")
    augmentation = _section(config, "augmentation")
    if isinstance(augmentation.get("train"), Mapping):
        augmentation = augmentation["train"]
    found = [*_scale_issues(model, training), *_optimizer_issues(model, training), *_augmentation_issues(augmentation)]
    return tuple(sorted(found, key=lambda issue: _ORDER.index(issue.severity)))


def _scale_issues(model: Mapping[str, Any], training: Mapping[str, Any]) -> list[Issue]:
    issues = []
    if training.get("multi_scale") is False:
        issues.append(
            Issue(
                "high",
                "training.multi_scale",
                "multi-scale training is off; the strategy calls it the most impactful change and "
                "expects +0.03 to +0.05 map_small of it",
                "set it to true, after a check that the largest scale fits the memory",
            )
        )
    if training.get("multi_scale") is True and training.get("expanded_scales") is True:
        issues.append(
            Issue(
                "low",
                "training.expanded_scales",
                "expanded scales raise the largest training size; it is drawn at random, so memory may run out late",
                "set it to false where memory is short",
            )
        )
    resolution, wanted = _number(training.get("resolution")), _strategy_px(model)
    if wanted is not None and resolution is not None and resolution < wanted:
        issues.append(
            Issue(
                "medium",
                "training.resolution",
                f"{resolution:g} px leaves fewer pixels on small objects than the strategy's {wanted} "
                "(the strategy expects +0.01 to +0.02 map_small)",
                f"set it to {wanted} where memory allows, with batch_size 1 if need be",
            )
        )
    return issues


def _optimizer_issues(model: Mapping[str, Any], training: Mapping[str, Any]) -> list[Issue]:
    issues = []
    batch, steps = _number(training.get("batch_size")), _number(training.get("grad_accum_steps"))
    devices = (_number(training.get("devices")) or 1) * (_number(training.get("num_nodes")) or 1)
    if batch is not None and steps is not None and batch * steps * devices < _FEWEST_IMAGES_PER_STEP:
        on = f" x {devices:g} devices" if devices > 1 else ""
        issues.append(
            Issue(
                "medium",
                "training.grad_accum_steps",
                f"an optimizer step sees {batch * steps * devices:g} images (batch {batch:g} x {steps:g}{on}); below "
                f"{_FEWEST_IMAGES_PER_STEP} its gradient is noisy, and the strategy's runs used 40",
                "raise it until batch_size x grad_accum_steps is 16 or more; it costs no memory",
            )
        )
    rate = _number(training.get("learning_rate"))
    kind = _stated(model)
    stable = kind.strategy_rate if kind is not None else None
    if stable is not None and rate is not None and rate > stable:
        issues.append(
            Issue(
                "medium",
                "training.learning_rate",
                f"{rate:g} is above {stable:g}, the rate that the strategy's runs were stable with",
                f"set it to {stable:g} or less",
            )
        )
    workers = training.get("num_workers")
    on_cuda = str(training.get("device", "")).startswith("cuda")
    if workers == 0 and not isinstance(workers, bool) and on_cuda:
        issues.append(
            Issue("low", "training.num_workers", "images are decoded while the GPU waits", "set it to 1 or more")
        )
    return issues


def _augmentation_issues(augmentation: Mapping[str, Any]) -> list[Issue]:
    issues = []
    if augmentation and not any(_enabled(value) for value in augmentation.values()):
        issues.append(
            Issue(
                "medium",
                "augmentation",
                "all augmentation is off; the strategy expects +0.01 to +0.02 map_small of copy-paste and as much of "
                "mosaic",
                "enable copy_paste first",
            )
        )
    elif "copy_paste" in augmentation and not _enabled(augmentation["copy_paste"]):
        issues.append(
            Issue(
                "low",
                "augmentation.copy_paste",
                "copy-paste is off; the strategy expects +0.01 to +0.02 map_small of it",
                "enable it",
            )
        )
    return issues


def _section(config: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    section = config.get(name)
    return section if isinstance(section, Mapping) else {}


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _enabled(value: Any) -> bool:
    """A setting of augmentation may be a switch, a bare probability, or a table with both."""
    if isinstance(value, Mapping):
        return bool(value.get("enabled", True)) and _enabled(value.get("prob", 1.0))
    return isinstance(value, (bool, int, float)) and value > 0


def _stated(model: Mapping[str, Any]) -> DetectorKind | None:
    """The detector of this package whose size a configuration states; None where it states none."""
    name = named_in(model)
    return next((kind for kind in OURS if kind.name == name and kind.size_named(model)), None)


def _strategy_px(model: Mapping[str, Any]) -> int | None:
    """The resolution that the strategy raises to, as a multiple of what the stated size takes."""
    kind = _stated(model)
    if kind is None or kind.strategy_px is None:
        return None
    step = kind.size_in(model).step_px
    return kind.strategy_px // step * step
