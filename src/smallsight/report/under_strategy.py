"""Recorded epochs, or none yet, looked at with a strategy and a configuration."""

from __future__ import annotations

from dataclasses import replace

from smallsight.config.load import Config
from smallsight.report.history import History, TargetAndGuard
from smallsight.run.given import Call
from smallsight.strategy.plan import Plan


def target_of(plan: Plan, *, guard_floor: float | None = None) -> TargetAndGuard:
    """What a plan wants to be reached; `guard_floor` is what a baseline leaves the guard metric to drop to."""
    target = plan.target
    return TargetAndGuard(
        metric=target.metric,
        minimum=target.minimum,
        success=target.success,
        optimal=target.optimal,
        guard_metric=plan.guard.metric,
        guard_floor=guard_floor,
        guard_absolute_floor=plan.guard.floor,
        rate_per_epoch=target.rate_per_epoch,
    )


def under_strategy(history: History, plan: Plan, config: Config, call: Call, start_path: str) -> History:
    """The history with what the configuration and the plan say.

    Args:
        history: read with `target_of(plan)`.
        call: the command that would train on with `config`.
        start_path: the checkpoint to go on from.
    """
    read = history.target
    return replace(
        history,
        config=config.to_dict(),
        plan=plan,
        target=replace(target_of(plan), metric=read.metric, unknown_metric=read.unknown_metric)
        if read.unknown_metric
        else target_of(plan),
        plateau=plan.plateau,
        call=call,
        start_path=start_path,
    )
