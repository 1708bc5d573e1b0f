"""`strategy.KEY=VALUE`: any key of a strategy from the command line."""

from __future__ import annotations

from typing import Any

import pytest

from smallsight.config.load import load_config
from smallsight.config.overrides import parse_overrides, split_overrides
from smallsight.errors import ConfigError
from smallsight.strategy.plan import Plan
from smallsight.strategy.plan_overrides import with_overrides
from smallsight.strategy.shipped import shipped_plan
from smallsight.strategy.treatment import flatten


def laid(*items: str, strategy: str = "small_objects") -> Plan:
    return with_overrides(shipped_plan(strategy), parse_overrides(items), strategy)


def phase(plan: Plan, name: str) -> Any:
    return next(phase for phase in plan.phases if phase.name == name)


@pytest.mark.parametrize("key", ["strategy.stop_at", "strategy.target.stop_at"])
@pytest.mark.parametrize("strategy", ["small_objects", "small_sets", "demo", "field"])
def test_the_level_to_stop_at(key: str, strategy: str) -> None:
    assert laid(f"{key}=optimal", strategy=strategy).target.stop_at == "optimal"


def test_nothing_else_changes() -> None:
    before, after = (flatten(plan.to_dict()) for plan in (shipped_plan(), laid("strategy.max_drop=0.01")))
    assert {key for key in before if before[key] != after[key]} == {"guard.max_drop"}
    assert laid() == shipped_plan(), "and nothing at all where nothing is given"


def test_levels_may_be_moved_together() -> None:
    target = laid("strategy.minimum=0.8", "strategy.success=0.85", "strategy.optimal=0.9").target
    assert (target.minimum, target.success, target.optimal) == (0.8, 0.85, 0.9)


def test_keys_of_phases() -> None:
    plan = laid(
        "strategy.phases.continue.epochs=20",
        "strategy.phases.continue.when.target_below=success",
        "strategy.phases.lr_decay_half.when.any_of=[{plateau: true}]",
        "strategy.phases.lr_decay_half.scale.training.learning_rate=0.3",
        "strategy.phases.domain.set.augmentation.iso_noise.prob=0.9",
        "strategy.phases.mosaic.expected_gain=null",
    )
    assert (phase(plan, "continue").epochs, phase(plan, "continue").when.target_below) == (20, "success")
    assert [when.plateau for when in phase(plan, "lr_decay_half").when.any_of] == [True]
    assert phase(plan, "lr_decay_half").scale == {"training.learning_rate": 0.3}
    assert phase(plan, "domain").set["augmentation.iso_noise.prob"] == 0.9
    assert phase(plan, "mosaic").expected_gain is None
    assert [one.name for one in plan.phases] == [one.name for one in shipped_plan().phases]


def test_a_whole_section_or_phase() -> None:
    plan = laid(
        "strategy.plateau={rule: patience}", "strategy.phases.mosaic={name: mosaic, epochs: 3}", "strategy.name=mine"
    )
    assert (plan.plateau.rule, plan.name) == ("patience", "mine")
    assert (phase(plan, "mosaic").epochs, phase(plan, "mosaic").set) == (3, {})
    assert laid("strategy.phases=[]").phases == ()


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ("strategy.stopat=success", "strategy.stopat: unknown key. Did you mean stop_at?"),
        ("strategy.targt.stop_at=success", "strategy.targt.stop_at: unknown key. Did you mean target?"),
        ("strategy.target.stopat=success", "strategy.target.stopat: unknown key. Did you mean stop_at?"),
        ("strategy.zzz=1", "strategy.zzz: unknown key. Known here: baseline, end_after_rounds_without_gain, "),
        (
            "strategy.stop_at=sucess",
            "strategy.stop_at: got 'sucess', expected minimum, success, optimal or never. Did you mean success?",
        ),
        ("strategy.target.minimum=65", "strategy.target.minimum: got 65, expected a number from 0 up to 1."),
        ("strategy.target.minimum=0.8", "strategy.target: the levels must rise: minimum <= success <= optimal."),
        (
            "strategy.confidence=0.8",
            "strategy.confidence: part of a key. Write strategy.plateau.confidence or strategy.verdict.confidence.",
        ),
        (
            "strategy.epochs=3",
            "strategy.epochs: part of a key. Write strategy.baseline.epochs or strategy.phases.NAME.epochs.",
        ),
        ("strategy.risk=low", "strategy.risk: part of a key. Write strategy.phases.NAME.risk."),
        (
            "strategy.phases.copypaste.epochs=3",
            "strategy.phases.copypaste.epochs: unknown phase copypaste. Did you mean copy_paste?",
        ),
        ("strategy.phases.x.epochs=3", "strategy.phases.x.epochs: unknown phase x. Known here: continue, copy_paste, "),
        ("strategy.phases.mosaic.epoch=3", "strategy.phases.mosaic.epoch: unknown key. Did you mean epochs?"),
        ("strategy.phases.mosaic.epochs=0", "strategy.phases.mosaic.epochs: got 0, expected a whole number from 1"),
        ("strategy.phases.mosaic.when.ran=x", "small_objects: phase 'mosaic' waits for 'x', which is no earlier phase"),
        ("strategy.phases.mosaic.expected_gain.low=1", "expected_gain has no keys of its own. Set expected_gain as a"),
        ("strategy.phases.mosaic.when.any_of.0=1", "any_of has no keys of its own. Set any_of as a whole."),
        ("strategy.first_when_flat=[x]", "small_objects: first_when_flat names 'x', which is no phase."),
        ("strategy.target=3", "strategy.target: got 3, expected keys and values."),
        ("strategy.target.stop_at.x=3", "strategy.target.stop_at.x: stop_at has no keys of its own. Set stop_at as a"),
    ],
)
def test_a_wrong_override(item: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        laid(item)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_the_file_is_blamed_for_what_stands_in_it(tmp_path: Any) -> None:
    """An override is at fault only where the file alone was not."""
    with pytest.raises(ConfigError, match=r"^small_objects: the phase name 'mosaic' is used twice"):
        laid("strategy.phases.copy_paste.name=mosaic")


def test_overrides_of_both_kinds_are_told_apart() -> None:
    given = ["training.epochs=3", "strategy.stop_at=never", "model.width=2"]
    assert split_overrides(given) == (["training.epochs=3", "model.width=2"], ["strategy.stop_at=never"])


def test_a_phase_by_hand_has_no_strategy(tmp_path: Any) -> None:
    (tmp_path / "run.yaml").write_text("")
    with pytest.raises(ConfigError) as caught:
        load_config(tmp_path / "run.yaml", ["strategy.stop_at=success"])
    assert str(caught.value) == ("strategy.stop_at: a single phase has no strategy. Give it to smallsight optimize.")
