"""The strategy file: target, guard, rules, and the phases with the conditions under which each is run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from smallsight.config.load import Config
from smallsight.config.messages import raise_first
from smallsight.config.section import Section
from smallsight.config.yaml_files import read_yaml
from smallsight.records import Equal
from smallsight.strategy.treatment import Treatment, flatten

Level = Literal["minimum", "success", "optimal"]
Limit = Literal["minimum", "success", "optimal", "goal"]
_Share = Annotated[float, Field(gt=0, le=1_000_000)]
_Fraction = Annotated[float, Field(ge=0, le=1)]
BASELINE, CONTROL = "baseline", "control"
CONTROL_NAMES = (CONTROL, "continue")
"""What the list of a round's arms may call the control."""


class TargetLevels(Section):
    """What shall be reached, and the level that ends the run: the goal."""

    metric: str = "map_small"
    minimum: _Fraction = 0.65
    success: _Fraction = 0.70
    optimal: _Fraction = 0.75
    stop_at: Literal["minimum", "success", "optimal", "never"] = "minimum"
    rate_per_epoch: float = 0.003

    @model_validator(mode="after")
    def _ordered(self) -> TargetLevels:
        if not self.minimum <= self.success <= self.optimal:
            raise ValueError("the levels must rise: minimum <= success <= optimal. Correct them")
        return self

    @property
    def goal(self) -> float:
        """The value that ends a run: the level in `stop_at`; infinite where that is `never`."""
        return math.inf if self.stop_at == "never" else self.at(self.stop_at)

    def at(self, limit: float | Limit) -> float:
        """A level, or the goal, as a number."""
        return float(getattr(self, limit)) if isinstance(limit, str) else limit

    def level_reached(self, value: float) -> Level | None:
        """The highest level that `value` reaches."""
        names: tuple[Level, ...] = ("optimal", "success", "minimum")
        return next((name for name in names if value >= getattr(self, name)), None)


class GuardRule(Section):
    """What must not be paid with: a demonstrable drop of this metric below the champion's by more than `max_drop`.

    `floor` is a lowest value for any champion, where the baseline is not below it itself; None for no such value.
    """

    metric: str = "map_50_95"
    max_drop: Annotated[float, Field(ge=0, le=1)] = 0.002
    floor: _Fraction | None = None


class PlateauRule(Section):
    """When a metric counts as flat."""

    rule: Literal["slope", "patience"] = "slope"
    window: Annotated[int, Field(ge=3)] = 16
    threshold: float = 0.001
    confidence: Annotated[float, Field(ge=0.6, le=0.999)] = 0.95
    patience: Annotated[int, Field(ge=1)] = 3


class VerdictRule(Section):
    """How sure a phase's gain must be, one-sided, by the paired bootstrap.

    `confidence` is the least for each phase. `run_confidence` is for the run as a whole: that it takes no phase without
    effect for a gain; null for no such limit.
    """

    confidence: Annotated[float, Field(ge=0.6, le=0.999)] = 0.95
    run_confidence: Annotated[float, Field(ge=0.5, le=0.999)] | None = 0.9


_Limit = _Fraction | Limit | None


def _as_names(value: object) -> object:
    return (value,) if isinstance(value, str) else value


class When(Section):
    """Conditions; all that are given must hold.

    `target_below` and `target_at_least` compare the champion's target metric with a number, a level of the target, or
    the `goal`, which is the level in `stop_at`; where that is `never`, every value is below the goal. `completed` names
    a phase that trained to its end, `failed` one that could not, `ran` one that did either; `rolled_back` names phases
    that all trained to their end and gave no champion.
    """

    target_below: _Limit = None
    target_at_least: _Limit = None
    plateau: bool | None = None
    completed: str | None = None
    failed: str | None = None
    ran: str | None = None
    rolled_back: Annotated[tuple[str, ...], BeforeValidator(_as_names)] = ()
    any_of: tuple[When, ...] = ()

    def phases(self) -> list[str]:
        """Names of all phases that the conditions mention."""
        own = [name for name in (self.completed, self.failed, self.ran, *self.rolled_back) if name]
        return own + [name for when in self.any_of for name in when.phases()]

    def sentence(self, target: TargetLevels) -> str:
        """The conditions in words, for a plan with this target; empty where there are none."""
        parts = []
        if self.target_below is not None and target.at(self.target_below) < math.inf:
            parts.append(f"{target.metric} is below {_limit_in_words(self.target_below, target)}")
        if self.target_at_least is not None:
            parts.append(f"{target.metric} is at least {_limit_in_words(self.target_at_least, target)}")
        if self.plateau is not None:
            parts.append("it is flat" if self.plateau else "it is not flat")
        for name, word in ((self.completed, "completed"), (self.failed, "failed"), (self.ran, "was tried")):
            if name:
                parts.append(f"{name} {word}")
        parts += [f"{name} was rolled back" for name in self.rolled_back]
        if self.any_of:
            parts.append("(" + " or ".join(when.sentence(target) for when in self.any_of) + ")")
        return " and ".join(parts)


def _limit_in_words(limit: float | Limit, target: TargetLevels) -> str:
    return f"{target.at(limit):g} (the {limit})" if isinstance(limit, str) else f"{limit:g}"


class Phase(Treatment):
    """One step of the strategy: what it changes and when it is taken; `mitigation` says what is done about its risk.

    With `control`, the champion's settings train on beside it for as many epochs: what those gain, too, was not caused
    by the phase.
    """

    epochs: Annotated[int, Field(ge=1, le=1_000_000)] = 10
    when: When = When()
    budget_share: _Share = 1.0
    end_on_plateau: bool = True
    control: bool = False


class Round(Section):
    """Arms that start from the same champion and are compared with each other and with a control.

    Attributes:
        arms: names of treatments. A control is always among them.
        combine: instead of `arms`, the winners of earlier rounds that the champion was not trained with: each by
            itself, and all of them together.
        epochs: of every arm.
        equal: what all arms get the same of. With `seconds`, the control trains `epochs`, and each other arm for as
            long as that took.
        stop_behind_after: after how many epochs the arms that are demonstrably behind the leading one are stopped.
        keep: how many of its winners a later round may combine; the best of them becomes the champion.
        repeat: how often the round may be run.
    """

    title: str = ""
    arms: Annotated[tuple[str, ...], Field(max_length=20)] = ()
    combine: bool = False
    epochs: Annotated[int, Field(ge=1, le=1_000_000)] = 4
    equal: Equal = "epochs"
    stop_behind_after: tuple[Annotated[int, Field(ge=1)], ...] = ()
    keep: Annotated[int, Field(ge=1, le=20)] = 1
    repeat: Annotated[int, Field(ge=1, le=100)] = 1
    when: When = When()
    budget_share: _Share = 1.0

    @model_validator(mode="after")
    def _sensible(self) -> Round:
        if bool(self.arms) == self.combine:
            raise ValueError("a round has either arms or combine: true")
        if self.stop_behind_after and self.equal == "seconds":
            raise ValueError("stop_behind_after counts epochs, so it needs equal: epochs")
        if sorted(set(self.stop_behind_after)) != list(self.stop_behind_after) or any(
            rung >= self.epochs for rung in self.stop_behind_after
        ):
            raise ValueError("stop_behind_after must rise and stay below epochs")
        return self


class Baseline(Section):
    """The start: `epochs` of training where no checkpoint is given (the configuration's own number by default)."""

    epochs: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    budget_share: _Share = 1.0
    end_on_plateau: bool = False


class Plan(Section):
    """A whole strategy.

    `first_when_flat` names phases that go before all others where the target metric is flat after a phase. The rounds
    come after the phases; their arms are named in `treatments`.
    """

    name: str = "small objects"
    target: TargetLevels = TargetLevels()
    guard: GuardRule = GuardRule()
    plateau: PlateauRule = PlateauRule()
    verdict: VerdictRule = VerdictRule()
    baseline: Baseline = Baseline()
    first_when_flat: tuple[str, ...] = ()
    phases: Annotated[tuple[Phase, ...], Field(max_length=100)] = ()
    treatments: Annotated[tuple[Treatment, ...], Field(max_length=100)] = ()
    rounds: Annotated[tuple[Round, ...], Field(max_length=100)] = ()
    end_after_rounds_without_gain: Annotated[int, Field(ge=1)] = 2

    @model_validator(mode="after")
    def _names(self) -> Plan:
        names = [phase.name for phase in self.phases]
        treatments = [treatment.name for treatment in self.treatments]
        for name in (*names, *treatments):
            if (names + treatments).count(name) > 1 or name in (BASELINE, CONTROL):
                raise ValueError(f"the phase name {name!r} is used twice")
        for index, phase in enumerate(self.phases):
            for name in phase.when.phases():
                if name not in names[:index]:
                    raise ValueError(f"phase {phase.name!r} waits for {name!r}, which is no earlier phase")
        for name in self.first_when_flat:
            if name not in names:
                raise ValueError(f"first_when_flat names {name!r}, which is no phase")
        for number, each in enumerate(self.rounds, 1):
            for name in each.arms:
                if name not in (*treatments, *CONTROL_NAMES):
                    raise ValueError(f"round {number} has the arm {name!r}, which is not among treatments")
            for name in each.when.phases():
                if name not in names:
                    raise ValueError(f"round {number} waits for {name!r}, which is no phase")
        return self

    def treatment(self, name: str) -> Treatment | None:
        """The phase or treatment of that name."""
        return next((each for each in (*self.phases, *self.treatments) if each.name == name), None)

    def baseline_epochs(self, config: Config) -> int:
        """How many epochs a baseline without a checkpoint has; `training.epochs` is the number of the last one."""
        first = config.checkpoint.start_epoch or 1
        return self.baseline.epochs or max(1, config.training.epochs - first + 1)

    def ends_on_plateau(self, name: str) -> bool:
        """Whether flatness ends the phase of that name; never where the plan has no such phase."""
        if name == BASELINE:
            return self.baseline.end_on_plateau
        return any(phase.end_on_plateau for phase in self.phases if phase.name == name)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, every key present."""
        return self.model_dump(mode="json")


def load_plan(path: Path) -> Plan:
    """Read a strategy file.

    Raises:
        ConfigError: the file can't be read; a key is unknown; a value does not fit; a phase waits for an unknown one.
    """
    return build_plan(read_yaml(path), str(path))


def build_plan(content: Mapping[str, Any], source: str) -> Plan:
    """A plan from nested plain values.

    Raises:
        ConfigError: see `load_plan`.
    """
    try:
        return Plan.model_validate(content)
    except ValidationError as error:
        raise_first(error, source, Plan)


def possible_repeats(plan: Plan) -> dict[str, tuple[str, ...]]:
    """Phases that change the same as earlier ones, each with those: from the same champion they would train the same.

    In a run, `strategy.tree.passed_over` leaves such a phase out unless there is another champion since. Phases that
    change nothing are no repeats: each of them goes on from where the one before ended.
    """
    found = {}
    for index, phase in enumerate(plan.phases):
        changes = (flatten(phase.set), phase.scale)
        same = tuple(other.name for other in plan.phases[:index] if (flatten(other.set), other.scale) == changes)
        if same and any(changes):
            found[phase.name] = same
    return found


def epochs_in_words(count: int) -> str:
    """`1 epoch`, `2 epochs`."""
    return f"{count} epoch{'s' * (count != 1)}"


def name_of_round(index: int) -> str:
    """What the round at this place of the plan, from 0, is called."""
    return f"round_{index + 1}"
