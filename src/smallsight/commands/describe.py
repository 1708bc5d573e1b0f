"""What `optimize --dry-run` does: the plan, after the same checks as a run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from smallsight.commands.inputs import strategy_inputs
from smallsight.commands.train import show_warnings
from smallsight.sections import Training
from smallsight.strategy.describe import plan_as_rows, plan_as_text


def describe_plan(
    config_path: Path,
    strategy_path: Path | None,
    overrides: Sequence[str],
    output_dir: Path | None,
    resume: Path | None,
    budget_s: float | None,
    *,
    as_json: bool,
) -> str:
    """The plan as text or JSON: phases, changes, conditions, expected gains and shares of the budget.

    Raises:
        InputError: what a run would refuse before it trains; only that no image is looked into.
    """
    inputs = strategy_inputs(config_path, strategy_path, overrides, output_dir, resume)
    plan = inputs.plan
    _refuse_missing_device(inputs.config.training)
    show_warnings(inputs.warnings)
    rows = plan_as_rows(plan, inputs.config, resumes=bool(inputs.origin.resume), budget_s=budget_s)
    return json.dumps({"plan": plan.to_dict(), "phases": rows}, indent=1) if as_json else plan_as_text(plan, rows)


def _refuse_missing_device(training: Training) -> None:
    """In a run its training process finds out, because torch is not loaded here; nor is it where any device will do."""
    if training.device not in ("auto", "cpu") or training.devices > 1:
        from smallsight.training.device import resolve_device
        from smallsight.training.processes import Processes

        resolve_device(training.device, Processes(0, training.processes, training.devices - 1))
