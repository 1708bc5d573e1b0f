"""What a reader should know first: the strategy document's own lines, from its recorded epochs and configuration."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from smallsight.config.load import Config, load_config
from smallsight.records import EpochRecord, Estimate, Verdict
from smallsight.report.analysis import analyse
from smallsight.report.history import History, PhaseStory
from smallsight.report.under_strategy import under_strategy
from smallsight.run.given import Call
from smallsight.strategy.plan import Plan
from smallsight.strategy.shipped import shipped_plan

CONFIGS = Path(__file__).parents[2] / "configs"
CALL = Call(("smallsight", "train"), "run.yaml", "models")


def configured(history: History, name: str = "resume_20_epochs_low_memory") -> History:
    config = load_config(CONFIGS / f"{name}.yaml").config
    return under_strategy(history, shipped_plan(), config, CALL, "models/checkpoint.pth")


def by_topic(history: History) -> dict[str, str]:
    return {insight.topic: insight.text for insight in analyse(history).insights}


def command(history: History, topic: str) -> str:
    (found,) = (insight.command for insight in analyse(history).insights if insight.topic == topic)
    return found


def test_every_line_of_the_documents_key_insights(recorded: History) -> None:
    found = by_topic(configured(recorded))
    assert list(found) == [
        *("target", "improvement", "recent trend"),
        *("biggest opportunity", "second opportunity", "further opportunities", "conclusion"),
    ]
    assert found["target"] == ("map_small is 0.598 (59.8%) at epoch 39, 0.052 below the target of 0.65 to 0.70.")
    assert found["improvement"] == (
        "+0.0044 per recorded step (+0.071 in 16 steps), +0.0037 per elapsed epoch (19 epochs). The two differ because "
        "epochs 36 to 38 were not recorded: a step then spans more than one epoch. Fitted to all epochs, the rate is "
        "+0.0036 [+0.0023, +0.0049] per elapsed epoch."
    )
    assert found["recent trend"].startswith("+0.018 [")
    assert found["recent trend"].endswith(
        "over the last 5 recorded epochs (32 to 39); two epochs differ by as much by chance."
    )
    assert found["biggest opportunity"] == (
        "training.multi_scale is off. Phase 2: multi-scale training: the strategy expects +0.03 to +0.05; medium risk."
    )
    assert found["second opportunity"] == (
        "training.resolution is reduced to 1120 px, the phase has 1288 px. Phase 3A: higher resolution: the strategy "
        "expects +0.01 to +0.02; high risk."
    )
    assert found["conclusion"].startswith("Next by the strategy: Phase 1: continue with the same settings: 10 epochs")
    assert found["conclusion"].endswith("After it: Phase 2: multi-scale training, the biggest opportunity.")


def test_each_opportunity_has_the_command_that_would_do_it(recorded: History) -> None:
    history = configured(recorded)
    begin = "smallsight train --config run.yaml --output-dir models --resume models/checkpoint.pth"
    assert command(history, "biggest opportunity") == f"{begin} training.multi_scale=true"
    assert command(history, "second opportunity") == f"{begin} training.resolution=1288"
    assert command(history, "conclusion") == begin


def test_a_command_trains_on_where_the_configurations_last_epoch_is_done(recorded: History) -> None:
    later = replace(recorded, records=tuple(replace(record, epoch=record.epoch + 20) for record in recorded.records))
    assert command(configured(later), "biggest opportunity").endswith(" training.multi_scale=true training.epochs=69")


def test_without_a_configuration_the_figures_are_said(recorded: History) -> None:
    assert list(by_topic(recorded)) == ["target", "improvement", "recent trend"]


def test_a_command_from_an_older_champion_counts_on_after_all_epochs(recorded: History) -> None:
    """Else the new epochs would have the numbers of epochs that are there already."""
    champion = next(record for record in recorded.records if record.epoch == 30)
    found = command(configured(replace(recorded, champion=champion)), "biggest opportunity")
    assert found.endswith(" training.multi_scale=true checkpoint.start_epoch=40 training.epochs=49")


def test_what_is_in_force_is_no_opportunity(recorded: History) -> None:
    found = by_topic(configured(recorded, "resume_with_multiscale"))
    assert found["first opportunity"].startswith("training.resolution is reduced to 1120 px")
    found = by_topic(configured(recorded, "resume_with_higher_resolution"))
    assert "biggest opportunity" not in found and "multi_scale" not in "".join(found.values())
    (first, *_) = analyse(configured(recorded, "resume_with_higher_resolution")).opportunities
    assert first.what == "training.resolution is 1288 px, the phase has 1456 px", "not reduced: higher than that"


def test_above_the_first_limit_the_strategy_goes_to_multi_scale(recorded: History) -> None:
    last = replace(recorded.records[-1], metrics={"map_small": Estimate(0.63)})
    found = by_topic(configured(replace(recorded, records=(*recorded.records[:-1], last))))
    assert found["conclusion"] == "Next by the strategy: Phase 2: multi-scale training: 10 epochs."


@pytest.mark.parametrize(
    ("epochs", "words"),
    [
        ([1, 2, 3], ""),
        ([1, 3, 4], "because epoch 2 was not recorded"),
        ([1, 3, 7], "because epochs 2, 4 to 6 were not recorded"),
    ],
)
def test_which_epochs_are_missing(epochs: list[int], words: str) -> None:
    records = tuple(EpochRecord(e, "a", 1, {"map_small": Estimate(0.5 + e / 100)}) for e in epochs)
    text = by_topic(History("x", records))["improvement"]
    assert words in text if words else "differ" not in text


def test_a_target_that_is_reached() -> None:
    records = tuple(EpochRecord(e, "a", 1, {"map_small": Estimate(0.66)}) for e in (1, 2))
    assert by_topic(History("x", records))["target"].endswith("at epoch 2, at the target of 0.65 to 0.70.")


def test_an_empty_history_says_what_the_configuration_lacks() -> None:
    assert list(by_topic(configured(History("x", ())))) == [
        *("biggest opportunity", "second opportunity", "further opportunities"),
    ]


def led(recorded: History, **changes: Any) -> History:
    verdict = Verdict("improved", Estimate(0.04), Estimate(0.0), "so")
    phases = (PhaseStory("multi_scale", "Phase 2", 33, 39, "improved", (0.03, 0.05), verdict, plays="multi_scale"),)
    return replace(configured(recorded), phases=phases, **changes)


def test_a_run_that_a_strategy_leads_needs_no_commands_and_has_its_own_decisions(recorded: History) -> None:
    found = analyse(led(recorded, call=None)).insights
    assert "conclusion" not in [insight.topic for insight in found]
    assert not any(insight.command for insight in found)
    assert not any("multi_scale" in insight.text for insight in found), "it was tried"


def test_after_phases_by_hand_the_strategy_is_asked_what_is_next(recorded: History) -> None:
    config = Config.model_validate(
        {**configured(recorded).config, "training": {"resolution": 1120, "multi_scale": True}}
    )
    history = led(recorded, by_hand=True, config=config.to_dict())
    assert by_topic(history)["conclusion"].startswith("Next by the strategy: Phase 1")
    above = replace(history, champion=EpochRecord(39, "x", 1, {"map_small": Estimate(0.63)}))
    assert by_topic(above)["conclusion"] == (
        "Next by the strategy: Phase 3A: higher resolution: 10 epochs, because map_small 0.630 is below 0.65 and "
        "multi_scale completed."
    )
    failed = replace(above, phases=(replace(above.phases[0], outcome="failed"),))
    assert "Phase 3B, step 1" in by_topic(failed)["conclusion"]
    unfinished = replace(above, phases=(replace(above.phases[0], outcome="interrupted"),))
    assert "conclusion" not in by_topic(unfinished)


def test_a_plan_for_another_metric_concludes_nothing(recorded: History) -> None:
    history = configured(recorded)
    other = replace(history, plan=Plan.model_validate({"target": {"metric": "map_50_95"}, "phases": [{"name": "a"}]}))
    assert "conclusion" not in by_topic(other)
