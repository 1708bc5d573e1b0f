"""Which phase of a strategy a phase by hand is, and what to run instead where memory ran out. Pure functions."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from smallsight.config.load import build_config, with_settings
from smallsight.run.given import Call
from smallsight.run.state import PhaseRun, State
from smallsight.strategy.lineage import settings_before
from smallsight.strategy.plan import Phase, Plan
from smallsight.strategy.relief import LADDER
from smallsight.strategy.treatment import flatten

_NO_CHANGE = ("checkpoint.", "evaluation.", "training.epochs", "training.seed", "training.effective_batch", *LADDER)
"""Settings that may differ between a phase of the strategy and one that does the same by hand."""


@dataclass(frozen=True)
class Command:
    """What can be run next: why, and the words of the command line."""

    title: str
    words: tuple[str, ...]


def counterpart(state: State, run: PhaseRun, plan: Plan) -> Phase | None:
    """The phase of `plan` that changes what a phase by hand changes; None for another change, or for several.

    What the given checkpoint was trained with is known where this run trained it. Otherwise it counts as trained with
    the same settings, but without what a phase of the plan switches on.
    """
    now = run.decision.settings
    before = settings_before(state, run)
    if run.given is None:
        return None
    if before is None:
        return _of_what_is_on(plan, now, run.given.resolution)
    changed = {key for key, value in now.items() if key in before and before[key] != value and _counts(key)}
    fits = [phase for phase in plan.phases if _makes(phase, changed, before, now)]
    return min(fits, key=lambda phase: _distance(phase, before, now), default=None)


def continues_champion(state: State, run: PhaseRun, plan: Plan) -> bool:
    """Whether a phase by hand trains on from the champion with its settings, as a phase of `plan` without changes does.

    Args:
        state: in which the phase is not judged yet.
    """
    champion, phase = state.champion, counterpart(state, run, plan)
    if not run.trains or champion is None or run.start is None or phase is None or phase.set or phase.scale:
        return False
    starts_there = (run.start.phase_number, run.start.epoch) == (champion.phase_number, champion.record.epoch)
    return starts_there and run.annotations == state.runs[champion.phase_number - 1].annotations


def _counts(key: str) -> bool:
    return not key.startswith(_NO_CHANGE)


def _of_what_is_on(plan: Plan, now: Mapping[str, Any], resolution: int) -> Phase | None:
    """The phase that a start of unknown settings goes on with."""
    raised = 0 < resolution < now["training.resolution"]
    fits = [phase for phase in plan.phases if phase.set and not phase.scale and _holds(phase, now)]
    if raised:
        fits += [phase for phase in plan.phases if phase.scale.get("training.resolution", 0) > 1]
    plain = [phase for phase in plan.phases if not phase.set and not phase.scale]
    found = fits or plain
    return found[0] if len(found) == 1 else None


def _holds(phase: Phase, now: Mapping[str, Any]) -> bool:
    return all(now.get(key) == value for key, value in flatten(phase.set).items())


def _makes(phase: Phase, changed: set[str], before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Whether a phase changes these settings and no others, each in the same direction."""
    if not changed <= {*flatten(phase.set), *phase.scale} or bool(changed) != bool(phase.set or phase.scale):
        return False
    return _holds(phase, now) and all(
        key in changed and (now[key] > before[key]) == (factor > 1) for key, factor in phase.scale.items()
    )


def _distance(phase: Phase, before: Mapping[str, Any], now: Mapping[str, Any]) -> float:
    """How far the factors of a phase are from those of a phase by hand."""
    return sum(abs(math.log(now[key] / before[key] / factor)) for key, factor in phase.scale.items())


def fallbacks(state: State, run: PhaseRun, plan: Plan, resume: str) -> list[Command]:
    """What the strategy goes on with where a phase by hand found too little memory: a lower rate, or an augmentation.

    Args:
        run: its latest attempt ran out of memory.
        resume: a file that holds the checkpoint that the phase started from.
    """
    phase = counterpart(state, run, plan)
    if run.call is None or phase is None or not (phase.set or phase.scale):
        return []
    undone = _undone(state, run, phase)
    config = with_settings(build_config(state.config, "journal"), {**run.decision.settings, **undone}, run.name)
    lower = (p for p in plan.phases if 0 < p.scale.get("training.learning_rate", 1) < 1)
    augmented = (p for p in plan.phases if any(key.startswith("augmentation.") for key in p.set))
    options = [option for option in (next(lower, None), next(augmented, None)) if option not in (None, phase)]
    return [
        Command(option.title or option.name, command(run.call, resume, {**undone, **option.settings(config)}))
        for option in options
    ]


def _undone(state: State, run: PhaseRun, phase: Phase) -> dict[str, Any]:
    """The settings of a phase as they were before it."""
    known, default = settings_before(state, run) or {}, flatten(build_config({}, "defaults").to_dict())
    before = {key: known.get(key, default[key]) for key in flatten(phase.set)}
    for key in phase.scale:
        if key in known:
            before[key] = known[key]
        elif key == "training.resolution" and run.given is not None:
            before[key] = run.given.resolution
    return before


def command(call: Call, resume: str, changes: Mapping[str, Any]) -> tuple[str, ...]:
    """A command like another one, with another start and other settings."""
    kept = [item for item in call.overrides if item.partition("=")[0] not in changes]
    words = [*call.program, "--config", call.config, "--output-dir", call.output_dir]
    words += ["--resume", resume] if resume else []
    return (*words, *kept, *(f"{key}={json.dumps(value)}" for key, value in changes.items()))
