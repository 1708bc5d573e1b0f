"""A strategy in words, before anything is run: its phases, their conditions, and their shares of the budget."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from smallsight.config.load import Config, detector_of
from smallsight.records import to_json
from smallsight.strategy.plan import BASELINE, CONTROL_NAMES, Plan, epochs_in_words, name_of_round, possible_repeats
from smallsight.strategy.treatment import Treatment


@dataclass(frozen=True)
class RoundPlan:
    """A round of a strategy, or a phase beside a control, which is a round of two arms.

    Attributes:
        name, title: in the strategy.
        arms: names of its treatments; empty where it combines the winners of earlier rounds.
        most_arms: how many arms it can have, with the control; 0 where no earlier round leaves a winner to combine.
        epochs: of each arm.
        repeat: how often it may be run.
        stop_behind_after: after how many epochs the arms behind the leading one are stopped.
        beside_phase: whether it is a phase beside a control.
    """

    name: str
    title: str
    arms: tuple[str, ...]
    most_arms: int
    epochs: int
    repeat: int = 1
    stop_behind_after: tuple[int, ...] = ()
    beside_phase: bool = False

    @property
    def heading(self) -> str:
        """Name and title."""
        return f"{self.name} ({self.title})" if self.title else self.name

    def treatments(self, plan: Plan) -> tuple[Treatment, ...]:
        """What its arms change."""
        return tuple(each for name in self.arms if (each := plan.treatment(name)) is not None)


def rounds_of(plan: Plan) -> tuple[RoundPlan, ...]:
    """All rounds of a strategy: first the phases beside a control, then its rounds."""
    found = [RoundPlan(p.name, p.title, (p.name,), 2, p.epochs, beside_phase=True) for p in plan.phases if p.control]
    kept = 0
    for index, each in enumerate(plan.rounds):
        arms = tuple(name for name in each.arms if name not in CONTROL_NAMES)
        # One winner of each round is the champion already; of several left, all together are one more arm.
        combined = kept + (kept > 1) + 1 if kept else 0
        found.append(
            RoundPlan(
                name_of_round(index),
                each.title,
                arms,
                combined if each.combine else len(arms) + 1,
                each.epochs,
                each.repeat,
                each.stop_behind_after,
            )
        )
        kept += 0 if each.combine else each.keep - 1
    return tuple(found)


def _unit_s(plan: Plan, budget_s: float | None) -> float | None:
    """What a share of 1 is of the budget, if everything is run."""
    shares = [plan.baseline.budget_share, *(p.budget_share for p in plan.phases)]
    shares += [each.budget_share * each.repeat for each in plan.rounds]
    return None if budget_s is None else budget_s / sum(shares)


def _rounds_as_lines(plan: Plan, config: Config) -> Iterator[str]:
    for each, planned in zip(plan.rounds, (found for found in rounds_of(plan) if not found.beside_phase), strict=True):
        what = ", ".join(planned.arms) if planned.arms else "the winners so far, each alone and all together"
        times = f", up to {each.repeat} times" if each.repeat > 1 else ""
        equal = "" if each.equal == "epochs" else " of the control; the other arms train as many seconds"
        yield f"- {planned.heading}: {epochs_in_words(each.epochs)}{equal} each{times}; a control, {what}"
        for treatment in planned.treatments(plan):
            yield f"    {treatment.name}: {_changes(treatment.settings(config))}"
        if each.when.sentence(plan.target):
            yield f"    when {each.when.sentence(plan.target)}"
    if plan.rounds:
        count = plan.end_after_rounds_without_gain
        yield (
            f"The rounds end after {count} in a row without a gain"
            if count > 1
            else "The first round without a gain ends the run"
        )


def _changes(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={json.dumps(value)}" for key, value in settings.items()) or "no change of settings"


def plan_as_rows(plan: Plan, config: Config, *, resumes: bool, budget_s: float | None) -> list[dict[str, Any]]:
    """The baseline and each phase as plain values.

    Args:
        resumes: whether a checkpoint is given, so that the baseline is evaluated and not trained.
        budget_s: is shared out as if every phase were run.
    """
    unit = _unit_s(plan, budget_s)
    rows: list[dict[str, Any]] = [
        {
            "name": BASELINE,
            "title": f"Baseline: {'evaluate the checkpoint' if resumes else f'train from {_start(config)}'}",
            "epochs": 0 if resumes else plan.baseline_epochs(config),
            "settings": {},
            "when": "",
            "repeats": [],
            "expected_gain": None,
            "control": False,
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
                "control": phase.control,
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


def plan_as_text(plan: Plan, rows: list[dict[str, Any]], config: Config) -> str:
    """The plan and its `plan_as_rows` as lines."""
    t = plan.target
    lines = [
        f"{plan.name}: {t.metric} to {t.minimum:g} / {t.success:g} / {t.optimal:g} (stops at: {t.stop_at}); "
        f"guard: {plan.guard.metric} may drop by {plan.guard.max_drop:g}"
    ]
    for row in rows:
        changes = _changes(row["settings"])
        epochs = f": {epochs_in_words(row['epochs'])}" if row["epochs"] else ""
        epochs += ", twice: a control trains as long beside it" if row["control"] else ""
        share = "" if row["budget_s"] is None else f", up to {row['budget_s']:.0f} s if all phases run"
        lines.append(f"- {row['title']}{epochs}{share}" + ("" if row["name"] == BASELINE else f"; {changes}"))
        if row["when"]:
            lines.append(f"    when {row['when']}")
        if row["repeats"]:
            names = " or ".join(row["repeats"])
            lines.append(f"    not where {names} began with the same settings from the same champion")
    lines += _rounds_as_lines(plan, config)
    if plan.first_when_flat:
        lines.append(f"Where {t.metric} is flat after a phase, these go first: {', '.join(plan.first_when_flat)}")
    return "\n".join(lines)
