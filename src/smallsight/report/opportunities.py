"""What a strategy would change and has not tried: what stands in the way now, the gain expected, the command."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from smallsight.config.load import build_config
from smallsight.report.findings import Opportunity
from smallsight.report.history import History, latest_per_epoch
from smallsight.report.issues import Issue
from smallsight.report.timeline import conditional_phases
from smallsight.report.words import setting
from smallsight.strategy.counterpart import command as command_like
from smallsight.strategy.plan import Phase
from smallsight.strategy.repeats import changes_nothing
from smallsight.strategy.treatment import flatten


def opportunities(history: History, issues: tuple[Issue, ...]) -> tuple[Opportunity, ...]:
    """The phases that change settings, have not run and need no setback first, in the strategy's order.

    Args:
        history: with its plan and its configuration; none are found without both.
        issues: of the configuration; a resolution is called reduced where one of them says so.
    """
    return tuple(_opportunities(history, {issue.key for issue in issues}))


def _opportunities(history: History, issues: set[str]) -> Iterator[Opportunity]:
    if history.plan is None or history.config is None:
        return
    config = build_config(history.config, history.source)
    begun = {story.part for story in history.phases if story.begun}
    conditional = conditional_phases(history.plan)
    for phase in history.plan.phases:
        changes = bool(phase.set or phase.scale) and not changes_nothing(phase, config)
        if not changes or phase.name in begun | conditional:
            continue
        settings = phase.settings(config)
        now = flatten(config.to_dict())
        yield Opportunity(
            phase.name,
            phase.title or phase.name,
            "; ".join(
                _in_the_way(key, now.get(key), value, issues)
                for key, value in settings.items()
                if now.get(key) != value
            ),
            settings,
            phase.expected_gain,
            phase.risk,
            command(history, phase, settings),
        )


def _in_the_way(key: str, now: Any, then: Any, issues: set[str]) -> str:
    """How a setting stands, and how the phase would set it."""
    if now is False and then is True:
        return f"{key} is off"
    if key == "training.resolution" and key in issues:
        return f"{key} is reduced to {setting(now)} px, the phase has {setting(then)} px"
    unit = " px" if key == "training.resolution" else ""
    was = "" if now is None else f" is {setting(now)}{unit}"
    return f"{key}{was}, the phase has {setting(then)}{unit}"


def command(history: History, phase: Phase, settings: Mapping[str, Any]) -> str:
    """What runs a phase by hand from the latest epoch on; empty where no such command is known.

    The last epoch is the configuration's own, as long as it is still to come.
    """
    if history.call is None:
        return ""
    config = build_config(history.config or {}, history.source)
    done = max([(config.checkpoint.start_epoch or 1) - 1, *(r.epoch for r in latest_per_epoch(history.records))])
    epochs = {} if config.training.epochs > done else {"training.epochs": done + phase.epochs}
    if history.champion is not None and history.champion.epoch < done:
        # New epochs count on after all that the folder has, whichever of them the champion is.
        epochs = {"checkpoint.start_epoch": done + 1, "training.epochs": done + phase.epochs}
    return shlex.join(command_like(history.call, history.start_path, {**settings, **epochs}))
