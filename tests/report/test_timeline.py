"""The expected timeline: the strategy document's own rows, and what happened beside them."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from smallsight.config.load import Config
from smallsight.records import EpochRecord, Estimate, Verdict
from smallsight.report.analysis import analyse
from smallsight.report.findings import Mark, Timeline
from smallsight.report.history import History, PhaseOutcome, PhaseStory
from smallsight.report.timeline import HEAD, cells, conditional_phases, timeline
from smallsight.strategy.plan import Plan
from smallsight.strategy.shipped import shipped_plan

START = Mark(39, Estimate(0.598))


def document() -> Plan:
    """The document's phases 1, 2 and 3A as the shipped strategy has them."""
    plan = shipped_plan()
    kept = ("continue", "multi_scale", "higher_resolution")
    return plan.model_copy(update={"phases": tuple(phase for phase in plan.phases if phase.name in kept)})


def planned(plan: Plan | None = None, **changes: Any) -> History:
    return replace(History("x", (), plan=plan or document()), **changes)


def found(history: History, start: Mark | None = START) -> Timeline:
    result = timeline(history, start)
    assert result is not None
    return result


def row(table: tuple[tuple[str, ...], ...], name: str) -> dict[str, str]:
    (cells_of,) = (cells_ for cells_ in table if cells_[0] == name)
    return {f"{head} {index}": cell for index, (head, cell) in enumerate(zip(HEAD, cells_of, strict=True))}


def test_the_documents_own_rows() -> None:
    """Phase 1 0.62-0.64 (+0.02-0.04), phase 2 0.67-0.69 (+0.07-0.09), phase 3A 0.68-0.70 (+0.08-0.10), target."""
    assert [cells_[:4] for cells_ in cells(found(planned()))] == [
        ("start", "39", "0.598", "baseline"),
        ("continue", "40-49", "0.62 to 0.64", "+0.02 to +0.04"),
        ("multi_scale", "50-59", "0.67 to 0.69", "+0.07 to +0.09"),
        ("higher_resolution", "60-69", "0.68 to 0.70", "+0.08 to +0.10"),
        ("target", "", "0.65 to 0.70", "+0.05 to +0.10"),
    ]


def test_nothing_is_expected_beyond_the_success_level_unless_it_is_there_already() -> None:
    last = found(planned(), Mark(39, Estimate(0.66))).rows[-1]
    assert last.expected == pytest.approx((0.70, 0.70))
    above = found(planned(), Mark(39, Estimate(0.72))).rows[-1]
    assert above.expected == pytest.approx((0.72, 0.72))


def test_where_the_start_is_not_measured_gains_are_still_known() -> None:
    result = found(planned(), None)
    assert result.start is None and result.goal_total is None
    assert [r.expected for r in result.rows] == [None] * 3
    assert result.rows[1].expected_total == pytest.approx((0.07, 0.09))
    assert cells(result)[0] == ("continue", "1-10", "", "+0.02 to +0.04", "", "", "", "")


def test_a_phase_that_is_in_force_from_the_start_is_left_out_unless_it_was_run() -> None:
    config = Config.model_validate({"training": {"multi_scale": True}}).to_dict()
    assert [r.phase for r in found(planned(config=config)).rows] == ["continue", "higher_resolution"]
    story = PhaseStory("multi_scale", "Scales", 40, 49, "improved")
    assert [r.phase for r in found(planned(config=config, phases=(story,))).rows][1] == "multi_scale"


def test_phases_that_need_a_setback_are_not_counted() -> None:
    plan = Plan.model_validate(
        {
            "phases": [
                {"name": "a", "expected_gain": [0.01, 0.02], "set": {"training.multi_scale": True}},
                {"name": "flat", "when": {"plateau": True}, "expected_gain": [0.05, 0.05]},
                {"name": "after_flat", "when": {"ran": "flat"}, "expected_gain": [0.05, 0.05]},
                {"name": "failed", "when": {"any_of": [{"failed": "a"}, {"plateau": True}]}},
                {"name": "either", "when": {"any_of": [{"failed": "a"}, {"target_below": 0.9}]}},
                {"name": "back", "when": {"rolled_back": "a"}},
                {"name": "b", "expected_gain": [0.01, 0.02], "set": {"training.seed": 1}},
            ]
        }
    )
    assert conditional_phases(plan) == {"flat", "after_flat", "failed", "back"}
    rows = {r.phase: r for r in found(planned(plan)).rows}
    assert rows["b"].expected_total == pytest.approx((0.02, 0.04))
    assert (rows["b"].first_epoch, rows["flat"].first_epoch) == (60, 0)
    table = cells(found(planned(plan)))
    assert row(table, "flat")["planned 1"] == "10, if needed"
    assert row(table, "flat")["gain so far 3"] == "+0.05 more"


def verdict(outcome: Any) -> Verdict:
    return Verdict(outcome, Estimate(0.01), Estimate(0.0), "so")


def led() -> History:
    """A run that kept multi-scale after it had rolled back the phase before, and is in the third one."""
    values = {39: 0.598, 40: 0.610, 41: 0.600, 42: 0.630, 43: 0.641, 44: 0.650}
    outcomes: list[tuple[str, int, int, PhaseOutcome]] = [
        ("baseline", 39, 39, "baseline"),
        ("continue", 40, 41, "no_evidence"),
        ("multi_scale", 42, 43, "improved"),
        ("higher_resolution", 44, 44, "running"),
    ]
    records = tuple(EpochRecord(e, "x", 1, {"map_small": Estimate(value)}) for e, value in values.items())
    phases = tuple(PhaseStory(name, name, first, last, how) for name, first, last, how in outcomes)
    return planned(records=records, phases=phases, baseline=records[0])


def test_what_happened_stands_beside_it() -> None:
    result = analyse(led()).timeline
    assert result is not None and result.start == START
    assert [(r.epochs, r.outcome) for r in result.rows] == [
        ("40-41", "no evidence"),
        ("42-43", "improved"),
        ("44", "running"),
    ]
    assert [r.reached for r in result.rows] == [0.610, 0.641, 0.650]
    totals = [r.total for r in result.rows]
    assert totals[:2] == pytest.approx([0.0, 0.043]) and math.isnan(totals[2])
    assert cells(result)[2] == (
        *("multi_scale", "50-59", "0.67 to 0.69", "+0.07 to +0.09"),
        *("42-43", "0.641", "+0.043", "improved"),
    )


def test_a_phase_that_was_kept_counts() -> None:
    history = led()
    first, second, *others = history.phases
    kept = replace(history, phases=(first, replace(second, outcome="kept"), *others))
    result = timeline(kept, START)
    assert result is not None and result.rows[0].outcome == "kept"
    assert [row.total for row in result.rows[:2]] == pytest.approx([0.012, 0.043])


def test_phases_by_hand_keep_what_they_reached_and_may_be_begun_twice() -> None:
    """Nothing is rolled back by hand; a file that goes by another name is the strategy's phase that it plays."""
    history = led()
    phases = (
        PhaseStory("one", "One", 40, 41, "no_evidence", plays="continue"),
        PhaseStory("one #2", "One", 42, 42, "improved", plays="continue"),
        PhaseStory("own", "Own", 43, 43, "improved"),
    )
    result = timeline(replace(history, phases=phases, by_hand=True), START)
    assert result is not None
    first = result.rows[0]
    assert (first.epochs, first.reached, first.outcome) == ("40-41, 42", 0.630, "improved")
    assert first.total == pytest.approx(0.032) and "rolled back" not in result.note
    assert result.note.endswith("More training is a part of every gain: a gain so far is not what a phase caused.")
    assert not any(r.epochs for r in result.rows[1:])


def test_a_champion_is_needed_for_no_row() -> None:
    unknown = tuple(replace(record, metrics={}) for record in led().records)
    result = found(replace(led(), records=unknown, baseline=None))
    assert all(math.isnan(r.reached) and math.isnan(r.total) for r in result.rows)


@pytest.mark.parametrize(
    "history",
    [
        History("x", ()),
        History("x", (), plan=Plan()),
        planned(target=replace(History("x", ()).target, metric="map_50_95", unknown_metric="map_small")),
    ],
)
def test_without_phases_or_the_plans_metric_there_is_none(history: History) -> None:
    assert timeline(history, START) is None


def test_the_note_says_when_the_run_ends() -> None:
    assert "not corrected for choosing" not in found(planned()).note, "nothing was measured yet"
    assert found(planned()).note.endswith("The run ends as soon as map_small reaches 0.65.")
    never = Plan.model_validate({"target": {"stop_at": "never"}, "phases": [{"name": "a"}]})
    assert found(planned(never)).note.endswith("is rolled back.")
    assert not found(planned(never)).expects_something
