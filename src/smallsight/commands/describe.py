"""What `optimize --dry-run` does: show the plan, its cost and the smallest gain that can be shown.

The input is checked as for a run.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from smallsight.commands.forecast import (
    LIMIT_S,
    costs_as_text,
    costs_of,
    gain_as_row,
    gain_as_text,
    risks_as_text,
    smallest_gain_of,
    total_of,
)
from smallsight.commands.forecast_rounds import forecasts_of, rounds_as_rows, rounds_as_text
from smallsight.commands.inputs import strategy_inputs
from smallsight.commands.train import show_warnings
from smallsight.config.sections import Training
from smallsight.records import to_json
from smallsight.report.exam import NO_EXAM_YET
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
    """The plan as text or JSON: phases, changes, conditions, risks, expected gains and shares of the budget; the exam;
    time and memory of each phase, measured in child processes; rounds, their arms and their cost beside the same
    changes one at a time; the smallest gain that the validation set can show.

    Nothing is written into the run folder.

    Raises:
        InputError: the input is wrong, as for a run; but only a few images are decoded.
        Interrupted: a stop was requested during a measurement.
    """
    inputs = strategy_inputs(config_path, strategy_path, overrides, output_dir, resume)
    plan = inputs.plan
    _refuse_missing_device(inputs.config.training)
    show_warnings(inputs.warnings)
    rows = plan_as_rows(plan, inputs.config, resumes=bool(inputs.origin.resume), budget_s=budget_s)
    console = Console(stderr=True, highlight=False)
    if console.is_terminal:
        console.print(f"Measuring one step of each phase, for {LIMIT_S:.0f} s at most.")
    costs, gain = costs_of(inputs), smallest_gain_of(inputs)
    rounds = forecasts_of(plan, costs, lambda confidence: smallest_gain_of(inputs, confidence))
    if not as_json:
        exam = inputs.exam.in_words() if inputs.exam else NO_EXAM_YET
        parts = [plan_as_text(plan, rows, inputs.config), exam, *risks_as_text(plan), *costs_as_text(costs)]
        parts += rounds_as_text(rounds, plan.target.metric)
        parts += [gain_as_text(gain, plan)] if plan.phases else []
        return "\n".join(parts)
    by_phase = {cost.name: cost.as_row() for cost in costs}
    content = {
        "exam": None if inputs.exam is None else {**to_json(inputs.exam.images), "found": inputs.exam.found},
        "plan": plan.to_dict(),
        "phases": [{**row, "cost": by_phase.get(row["name"])} for row in rows],
        "rounds": rounds_as_rows(rounds),
        "cost": total_of(costs),
        "smallest_gain": None if gain is None else gain_as_row(gain, plan),
    }
    return json.dumps(content, indent=1)


def _refuse_missing_device(training: Training) -> None:
    """Raise where the configured device is missing; in a run, the training process checks that.

    torch is imported only where the configuration asks for a particular device.
    """
    if training.device not in ("auto", "cpu") or training.devices > 1:
        from smallsight.training.device import resolve_device
        from smallsight.training.processes import Processes

        resolve_device(training.device, Processes(0, training.processes, training.devices - 1))
