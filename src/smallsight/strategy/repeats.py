"""Whether a phase or an arm would show anything new: what it changes, and what was trained from the same champion."""

from __future__ import annotations

from smallsight.config.load import Config, with_settings
from smallsight.config.unused_keys import without_effect
from smallsight.run.state import State
from smallsight.strategy.treatment import Treatment, flatten


def changes_nothing(phase: Treatment, config: Config) -> str | None:
    """Why what a phase sets makes no difference, as half a sentence; None where it does, or where it sets nothing."""
    settings = phase.settings(config)
    if not settings:
        return None
    if with_settings(config, settings, phase.name) == config:
        return "its settings are in force already"
    useless = settings_without_effect(phase, config)
    if useless.keys() == flatten(settings).keys():
        return "; ".join(f"{key} has no effect: {why}" for key, why in useless.items())
    return None


def passed_over(phase: Treatment, epochs: int, state: State, config: Config) -> str | None:
    """Why training a phase for so many epochs would show nothing new, as half a sentence, or None.

    Args:
        phase: one that was not begun.
        epochs: how many.
        state: of the run.
        config: the champion's.
    """
    useless = changes_nothing(phase, config)
    if useless or state.champion is None:
        return useless
    changed = with_settings(config, phase.settings(config), phase.name)
    beside = state.runs[state.champion.phase_number - 1].round
    for run in state.runs[state.champion.phase_number :]:
        from_it = run.round == 0 or run.round != beside
        as_long = run.closed and from_it and run.decision.epochs >= epochs
        if as_long and with_settings(config, run.decision.settings, run.name) == changed:
            return f"{run.name} began with the same settings from the same champion"
    return None


def settings_without_effect(phase: Treatment, config: Config) -> dict[str, str]:
    """The keys that a phase sets and that change nothing with this configuration's detector, each with the reason."""
    settings = phase.settings(config)
    reasons = without_effect(with_settings(config, settings, phase.name))
    return {key: reasons[key] for key in flatten(settings) if key in reasons}
