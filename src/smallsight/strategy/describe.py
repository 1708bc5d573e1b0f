"""A strategy in words, before anything is run: its phases, their conditions, and their shares of the budget."""

from __future__ import annotations

import json
from typing import Any

from smallsight.config.load import Config, detector_of
from smallsight.records import to_json
from smallsight.strategy.plan import BASELINE, Plan, epochs_in_words, possible_repeats


def plan_as_rows(plan: Plan, config: Config, *, resumes: bool, budget_s: float | None) -> list[dict[str, Any]]:
    """The baseline and each phase as plain values.

    Args:
        resumes: whether a checkpoint is given, so that the baseline is evaluated and not trained.
        budget_s: is shared out as if every phase were run.
    """
    shares = [plan.baseline.budget_share, *(p.budget_share for p in plan.phases)]
    unit = None if budget_s is None else budget_s / sum(shares)
    rows: list[dict[str, Any]] = [
        {
            "name": BASELINE,
            "title": f"Baseline: {'evaluate the checkpoint' if resumes else f'train from {_start(config)}'}",
            "epochs": 0 if resumes else plan.baseline_epochs(config),
            "settings": {},
            "when": "",
            "repeats": [],
            "expected_gain": None,
            "risk": None,
            "mitigation": "",
            "budget_s": unit and unit * plan.baseline.budget_share,
        }
    ]
    repeats = possible_repeats(plan)
    for phase in plan.phases:
        rows.append(
            {
                "name": phase.name,
                "title": phase.title or phase.name,
                "epochs": phase.epochs,
                "settings": phase.settings(config),
                "when": phase.when.sentence(plan.target),
                "repeats": list(repeats.get(phase.name, ())),
                "expected_gain": to_json(phase.expected_gain),
                "risk": phase.risk,
                "mitigation": phase.mitigation,
                "budget_s": unit and unit * phase.budget_share,
            }
        )
    return rows


def _start(config: Config) -> str:
    """What training begins with where no checkpoint is given, in words."""
    given = config.model.pretrained if detector_of(config).takes_pretrained else False
    return f"the weights in {given}" if isinstance(given, str) else "pretrained weights" if given else "scratch"


def plan_as_text(plan: Plan, rows: list[dict[str, Any]]) -> str:
    """The plan and its `plan_as_rows` as lines."""
    t = plan.target
    lines = [
        f"{plan.name}: {t.metric} to {t.minimum:g} / {t.success:g} / {t.optimal:g} (stops at: {t.stop_at}); "
        f"guard: {plan.guard.metric} may drop by {plan.guard.max_drop:g}"
    ]
    for row in rows:
        changes = (
            ", ".join(f"{key}={json.dumps(value)}" for key, value in row["settings"].items()) or "no change of settings"
        )
        epochs = f": {epochs_in_words(row['epochs'])}" if row["epochs"] else ""
        share = "" if row["budget_s"] is None else f", up to {row['budget_s']:.0f} s if all phases run"
        lines.append(f"- {row['title']}{epochs}{share}" + ("" if row["name"] == BASELINE else f"; {changes}"))
        if row["when"]:
            lines.append(f"    when {row['when']}")
        if row["repeats"]:
            names = " or ".join(row["repeats"])
            lines.append(f"    not where {names} began with the same settings from the same champion")
    if plan.first_when_flat:
        lines.append(f"Where {t.metric} is flat after a phase, these go first: {', '.join(plan.first_when_flat)}")
    return "\n".join(lines)
