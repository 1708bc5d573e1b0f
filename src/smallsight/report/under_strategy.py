"""Combine recorded epochs, if there are any, with a strategy and a configuration."""

from __future__ import annotations

from dataclasses import replace

from smallsight.config.load import Config
from smallsight.report.history import History, TargetAndGuard
from smallsight.run.given import Call
from smallsight.strategy.plan import Plan


def target_of(plan: Plan, *, guard_floor: float | None = None) -> TargetAndGuard:
    """The target and guard of a plan; `guard_floor` is the baseline's guard metric minus the allowed drop."""
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
    """The history with the configuration, the plan and its target.

    Args:
        history: read with `target_of(plan)`.
        call: the command that would train on with `config`.
        start_path: the checkpoint that suggested commands start from.
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
