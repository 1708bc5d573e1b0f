"""Whether a strategy fits a configuration: a typo shows before hours of training."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from fractions import Fraction

from smallsight.config.load import Config, detector_of, with_settings
from smallsight.config.unused_keys import switched_on_without_effect
from smallsight.errors import ConfigError
from smallsight.strategy.plan import Plan
from smallsight.strategy.repeats import settings_without_effect
from smallsight.strategy.treatment import Treatment, flatten


def check_plan(plan: Plan, config: Config, source: str) -> list[str]:
    """Try the settings of every phase and treatment on the configuration.

    Returns:
        Warnings of settings that have no effect.
    Raises:
        ConfigError: a phase sets a key that is not there, or to a value that does not fit; an arm of a round changes
            how many optimizer steps an epoch has.
    """
    warnings: list[str] = []
    for phase in plan.phases:
        warnings += _checked(phase, phase.epochs, config, f"{source}: phase {phase.name}")
    for treatment in plan.treatments:
        epochs = max((each.epochs for each in plan.rounds if treatment.name in each.arms), default=1)
        warnings += _checked(treatment, epochs, config, f"{source}: treatment {treatment.name}")
    _refuse_other_steps(plan, config, source)
    return warnings


def _checked(phase: Treatment, epochs: int, config: Config, where: str) -> Iterator[str]:
    values = flatten(config.to_dict())
    numbers = [key for key, value in values.items() if isinstance(value, (int, float)) and not isinstance(value, bool)]
    for dotted in phase.scale:
        if dotted not in numbers:
            got = f"got {values[dotted]!r}" if dotted in values else "unknown key"
            near = [] if dotted in values else difflib.get_close_matches(dotted, numbers, n=1)
            hint = f"Did you mean {near[0]}?" if near else "Scale a key such as training.learning_rate."
            raise ConfigError(f"{where}: scale.{dotted}: {got}, expected a number of the configuration. {hint}")
    changed = with_settings(config, phase.settings(config), where)
    useless = settings_without_effect(phase, config)
    yield from (f"{where}: {key} has no effect: {why}." for key, why in useless.items())
    if changed.augmentation != config.augmentation:
        yield from (f"{where}: {warning}" for warning in switched_on_without_effect(changed, epochs))


def _refuse_other_steps(plan: Plan, config: Config, source: str) -> None:
    """Arms that are compared after equal epochs need as many optimizer steps in an epoch."""
    named = {name for each in plan.rounds if each.equal == "epochs" for name in each.arms}
    treatments: list[Treatment] = [phase for phase in plan.phases if phase.control]
    treatments += [each for each in plan.treatments if each.name in named]
    for treatment in treatments:
        changed = with_settings(config, treatment.settings(config), treatment.name)
        if _steps_per_frame(changed) != _steps_per_frame(config):
            raise ConfigError(
                f"{source}: {treatment.name}: it changes how many optimizer steps an epoch has, so it can't be "
                "compared with the control after equal epochs. Keep batch_size x grad_accum_steps and "
                "crops_per_image, or give its round equal: seconds."
            )


def _steps_per_frame(config: Config) -> Fraction:
    crops = config.sampling.crops_per_image if detector_of(config).trains_on_crops else 1
    return Fraction(crops, config.training.images_per_step)
