"""The short form, and two runs side by side."""

from __future__ import annotations

import dataclasses
import json

import pytest

from report.evidence import HOSTILE, evidence
from smallsight.records import Estimate
from smallsight.report.comparison import (
    Comparison,
    metrics_to_compare,
    settings_apart,
    to_comparison_document,
    to_comparison_markdown,
)
from smallsight.report.history import History, PhaseMemory
from smallsight.report.lessons import gap_warnings, lessons
from smallsight.report.markdown import to_markdown
from smallsight.report.summary import comparison_in_words


def test_the_short_form_says_what_matters(run: History) -> None:
    text = to_markdown(run, evidence())
    assert text.startswith("- The lift was measured on the images that also decided") and "\n\n**Next:** " in text
    assert "| champion, epoch 6 | 0.560 [0.460, 0.700] | 80 |" in text
    assert "| lift, same images | +0.060 [+0.020, +0.100] | 40 |" in text
    assert (
        "| multi_scale | 7-12 | +0.030 to +0.050 | +0.010 [-0.020, +0.020] |  | no evidence, below expected |" in text
    )
    assert "| 0–8 px | 0.50 [0.40, 0.60] | 6 of 12 | missed | 0.100 [0.000, 0.200] |" in text
    assert len(text.splitlines()) < 50


def test_names_do_not_become_markup(run: History) -> None:
    phases = (dataclasses.replace(run.phases[0], name=f"{HOSTILE}[a](b)"), run.phases[1])
    text = to_markdown(dataclasses.replace(run, phases=phases), evidence())
    assert "<script>" not in text.replace("\\<", "") and "\x1b" not in text
    assert "](b)" not in text.replace("\\](", "")
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert all(row.replace("\\|", "").count("|") in (4, 5, 6, 7) for row in rows)


def test_a_recorded_history_is_enough(recorded: History) -> None:
    assert "| latest, epoch 39 | 0.598 |  |" in to_markdown(recorded)


def test_lessons_name_the_costliest_mistake() -> None:
    assert lessons(evidence())[0] == (
        "Most AP50 is lost to missed mistakes (nothing is found near the object): 0.100 [0.000, 0.200] of 0.500, n=3."
    )


def test_lessons_say_what_calibration_error_chance_gives() -> None:
    found, unknown = lessons(evidence())[-1], dataclasses.replace(evidence().calibration, error_if_perfect=float("nan"))
    assert found.endswith("(ECE), n=90; perfectly calibrated scores would have 0.080 by chance.")
    assert lessons(dataclasses.replace(evidence(), calibration=unknown))[-1].endswith("(ECE), n=90.")


def test_a_set_that_is_lower_for_sure_is_warned_of_first() -> None:
    first, second = gap_warnings(evidence(), "map_small")
    assert first.startswith("map_small is lower on ") and "represent" not in first
    assert "than on the validation set: 0.200 [0.100, 0.300] there (n=30), lower by 0.300 [0.200, 0.400]. What" in first
    assert second.startswith("Whether map_small is lower on like it than on the validation set can't be told")


@pytest.mark.parametrize(
    ("bias", "words"),
    [
        (0.0, "lower by 0.300 [0.200, 0.400]. What"),
        (0.012, "lower by 0.300 [0.200, 0.400], corrected for choosing the champion on the validation set (by 0.012)."),
        (float("nan"), ", not corrected for choosing the champion on the validation set, which makes it look larger."),
    ],
)
def test_a_gap_says_whether_it_is_corrected_for_choosing(bias: float, words: str) -> None:
    found = evidence()
    one = dataclasses.replace(found.gaps[0], selection_bias=bias)
    assert words in gap_warnings(dataclasses.replace(found, gaps=(one,)), "map_small")[0]


def paired(run: History, low: float, high: float) -> Comparison:
    other = dataclasses.replace(run, source="runs/two", config={"training": {"multi_scale": True}})
    return Comparison(run, other, "map_small", {"map_small": Estimate((low + high) / 2, low, high, 80)})


def test_the_better_run_is_named_only_when_it_is_shown(run: History) -> None:
    assert paired(run, 0.01, 0.03).verdict().startswith("runs/two is better: map_small differs by +0.020")
    assert paired(run, -0.03, -0.01).verdict().startswith("runs/[bold]one is better")
    assert paired(run, -0.01, 0.03).verdict().startswith("No difference can be shown")
    unknown = dataclasses.replace(paired(run, 0, 1), differences={}, note="judged on other images.")
    assert unknown.verdict() == "Which champion is better can't be told: judged on other images."


def test_two_runs_in_a_terminal_are_aligned_and_in_words(run: History) -> None:
    one = dataclasses.replace(run, config={"a": None, "b": {}, "c": False, "d": 0.0001, "e": [1, 2], "same": 1})
    other = dataclasses.replace(one, source="runs/two", config={"a": 1, "b": 2, "c": True, "d": 3e-4, "same": 1})
    comparison = Comparison(one, other, "map_small", {"map_small": Estimate(-1e-9, -0.02, 0.01, 80)})
    text = comparison_in_words(comparison, 100)
    assert "|" not in text and "None" not in text and "{}" not in text
    assert "A  runs/[bold]one\nB  runs/two\n" in text
    lines = text.splitlines()
    head = next(line for line in lines if line.startswith("champion"))
    row = next(line for line in lines if line.startswith("map_small"))
    assert row.index("0.560") == head.index("A") and row.endswith("+0.000 [-0.020, +0.010]")
    assert row.index("+0.000") == head.index("difference")
    rows = {line.split()[0]: line.split()[1:] for line in lines if line[:1] in "abcde" and line[1:2] == " "}
    assert rows == {"a": ["not", "set", "1"], "b": ["none", "2"], "c": ["false", "true"], "d": ["0.0001", "0.0003"]} | {
        "e": ["1,", "2", "not", "set"]
    }


def test_a_comparison_fits_a_narrow_terminal(run: History) -> None:
    text = comparison_in_words(paired(run, 0.01, 0.03), 60)
    assert max(map(len, text.splitlines())) <= 60


def test_the_phase_that_the_champion_comes_from_is_compared(run: History) -> None:
    """Single phases of one folder may share a name."""
    phases = (
        dataclasses.replace(run.phases[0], name="x", settings={"training.seed": 1}),
        dataclasses.replace(run.phases[1], name="x", settings={"training.seed": 2}),
    )
    first = dataclasses.replace(run, phases=phases, champion=dataclasses.replace(run.records[7], phase="x"))
    comparison = Comparison(first, dataclasses.replace(run, phases=()), "map_small", {})
    assert ("training.seed", 2, None) in settings_apart(comparison)


def test_memory_is_told_in_a_line(run: History) -> None:
    memory = PhaseMemory(probe_mb=1182.5, peak_mb=1204.0, limit_mb=24328.1)
    small = dataclasses.replace(run.phases[0], memory=PhaseMemory(peak_mb=800.0))
    large = dataclasses.replace(run.phases[1], memory=memory)
    assert (
        "Memory: at most 1.20 GB of the 24.33 GB that may be used, in phase multi_scale; 1.18 GB were expected before "
        "its first step."
    ) in to_markdown(dataclasses.replace(run, phases=(small, large)))
    unlimited = dataclasses.replace(run, phases=(dataclasses.replace(large, memory=PhaseMemory(peak_mb=800.0)),))
    assert "Memory: at most 0.80 GB, in phase multi_scale.\n" in to_markdown(unlimited)
    begun = dataclasses.replace(run, phases=(dataclasses.replace(large, memory=PhaseMemory(probe_mb=900.0)),))
    assert "Memory: phase multi_scale is expected to take 0.90 GB.\n" in to_markdown(begun)
    assert "Memory" not in to_markdown(run)


def test_a_size_without_mistakes_costs_nothing(run: History) -> None:
    found = evidence()
    faultless = dataclasses.replace(
        found.sizes[0],
        parts=tuple(dataclasses.replace(p, ap_lost=Estimate(0.0, 0.0, 0.0)) for p in found.sizes[0].parts),
    )
    text = to_markdown(run, dataclasses.replace(found, sizes=(faultless,)))
    assert "| all sizes | 0.50 [0.40, 0.60] | 20 of 40 | nothing |  |" in text


def test_two_runs_side_by_side(run: History, recorded: History) -> None:
    text = to_comparison_markdown(paired(run, 0.01, 0.03))
    assert "| map_small | 0.560 [0.460, 0.700] | 0.560 [0.460, 0.700] | +0.020 [+0.010, +0.030] |" in text
    assert "| training.multi_scale | false | true |" in text
    assert "| multi_scale | no evidence, +0.010 over the champion | no evidence, +0.010 over the champion |" in text
    assert metrics_to_compare(run, recorded) == ("map_small", "map_50_95")
    document = to_comparison_document(Comparison(run, recorded, "map_small", {}, "x"))
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    assert (document["champions"][1]["epoch"], document["settings"]) == (39, [])
