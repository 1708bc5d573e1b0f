"""No lift is credited to a phase: what a control shows, what only a trend suggests, and what is not known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from smallsight.records import Estimate, Verdict
from smallsight.report.analysis import analyse
from smallsight.report.cause import cause_in_words, subject
from smallsight.report.history import Extrapolation, History, PhaseStory
from smallsight.report.story import tell
from smallsight.strategy.plan import Plan
from strategy.lab import Lab, Script

HISTORY = History("runs/x", ())


def story(whole: Estimate, own: Estimate | None = None, **more: object) -> PhaseStory:
    verdict = Verdict("improved", whole, Estimate(0.0), "it rose", over_control=own)
    made = PhaseStory("multi_scale", "Phase 2: multi-scale training", 5, 8, "improved", verdict=verdict, changes=True)
    return replace(made, **more)  # type: ignore[arg-type]


GAIN = Estimate(0.079, 0.038, 0.140)
OWN = Estimate(0.026, 0.001, 0.06)


@pytest.mark.parametrize(
    ("phase", "words"),
    [
        (
            story(GAIN),
            "map_small +0.079 [+0.038, +0.140] over the champion; how much of it is multi-scale training is not known, "
            "because no control was trained.",
        ),
        (
            story(GAIN, extrapolated=Extrapolation(Estimate(0.053, 0.02, 0.09), "continue", 4, 3)),
            "map_small +0.079 [+0.038, +0.140] over the champion; how much of it is multi-scale training is not known, "
            "because no control was trained. More training alone, extrapolated from the trend of continue (4 epochs) "
            "over 3 epochs: +0.053 [+0.020, +0.090].",
        ),
        (
            story(GAIN, OWN),
            "map_small +0.079 [+0.038, +0.140] over the champion, of which +0.026 [+0.001, +0.060] over the control; "
            "the rest is more training.",
        ),
        (
            story(Estimate(0.02), Estimate(0.03)),
            "map_small +0.020 over the champion, and +0.030 over the control, which trained as long without the "
            "change.",
        ),
        (
            story(Estimate(0.02), Estimate(-0.01)),
            "map_small +0.020 over the champion, and -0.010 over the control, which trained as long without the "
            "change.",
        ),
        (story(GAIN, changes=False), "it changes no setting, so this is more training."),
        (story(GAIN, control=True, crowned=7), "More training became the champion: map_small +0.079"),
        (story(GAIN, control=True), "More training alone: map_small +0.079"),
        (story(Estimate(float("nan"))), ""),
        (story(GAIN, only_measures=True), ""),
        (story(GAIN, verdict=None), ""),
    ],
)
def test_what_is_due_to_the_change(phase: PhaseStory, words: str) -> None:
    told = cause_in_words(HISTORY, phase)
    assert words in told if words else told == ""


@pytest.mark.parametrize(
    ("name", "title", "words"),
    [
        ("scales", "Phase 2: multi-scale training", "multi-scale training"),
        ("scales", "Phase 3B, step 1: learning rate x 0.5", "learning rate x 0.5"),
        ("scales", "Copy-paste", "copy-paste"),
        ("scales", "AP loss", "AP loss"),
        ("two", "Phase 2: multi-scale training (two)", "multi-scale training"),
        ("two", "two", "two"),
    ],
)
def test_a_title_within_a_sentence(name: str, title: str, words: str) -> None:
    assert subject(PhaseStory(name, title, 1, 1, "improved")) == words


def told(tmp_path: Path, script: Script) -> History:
    phases = [
        {"name": "continue", "epochs": 4, "end_on_plateau": False},
        {"name": "scales", "epochs": 2, "set": {"training.multi_scale": True}, "end_on_plateau": False},
        {"name": "slower", "epochs": 1, "scale": {"training.learning_rate": 0.5}},
    ]
    plan = Plan.model_validate({"target": {"stop_at": "never"}, "phases": phases})
    return tell(tmp_path, Lab(tmp_path / "run", script, plan).optimize(), running=False)


RISING: Script = {
    "baseline": [[0.1, 0.2]],
    "continue": [[0.30, 0.31, 0.32, 0.33]],
    "scales": [[0.34, 0.36]],
    "slower": [[0.36]],
}


def test_the_trend_before_a_phase_is_extrapolated_over_as_many_epochs(tmp_path: Path) -> None:
    """The slope of `continue` is .01 an epoch, so two more epochs like these would have gained .02 of the .03."""
    found = told(tmp_path, RISING).phase("scales")
    assert found.extrapolated is not None and found.changes
    assert found.extrapolated.gain.value == pytest.approx(0.02) and found.extrapolated.gain.n == 4
    assert (found.extrapolated.phase, found.extrapolated.seen, found.extrapolated.epochs) == ("continue", 4, 2)


def test_a_noisy_trend_gives_a_wide_interval(tmp_path: Path) -> None:
    gain = told(tmp_path, {**RISING, "continue": [[0.30, 0.33, 0.30, 0.33]]}).phase("scales").extrapolated
    assert gain is not None and gain.gain.low < 0 < gain.gain.high


def test_two_epochs_are_no_trend_and_a_phase_without_changes_needs_none(tmp_path: Path) -> None:
    history = told(tmp_path, RISING)
    assert history.phase("slower").extrapolated is None, "the two epochs of multi-scale are too few"
    assert history.phase("continue").extrapolated is None
    reviews = {review.phase: review for review in analyse(history).phases}
    assert reviews["slower"].cause.endswith("is not known, because no control was trained.")
    assert "extrapolated from the trend of continue (4 epochs)" in reviews["scales"].cause


def test_short_phases_with_the_same_settings_make_one_trend(tmp_path: Path) -> None:
    history = told(tmp_path, {**RISING, "continue": [[0.22]]})
    found = history.phase("scales").extrapolated
    assert found is not None and found.seen == 3, "two epochs of the baseline and one of continue"
