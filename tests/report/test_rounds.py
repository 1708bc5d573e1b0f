"""Rounds in every form of the report: who was compared, who was stopped, who became the champion and what caused it."""

from __future__ import annotations

import io
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from smallsight.records import Estimate
from smallsight.report import rounds
from smallsight.report.analysis import analyse
from smallsight.report.comparison import Comparison, to_comparison_document
from smallsight.report.document import to_document
from smallsight.report.history import History
from smallsight.report.html import render
from smallsight.report.markdown import to_markdown
from smallsight.report.story import tell
from smallsight.report.summary import print_summary
from smallsight.run.state import State
from smallsight.strategy.plan import Plan
from strategy.lab import Lab, Script
from strategy.test_rounds import ROUND, SCRIPT, plan_of

NO_GAIN = [[0.5, 0.51, 0.52, 0.53]]


def history_of(folder: Path, plan: Plan, script: Script = SCRIPT) -> History:
    return tell(folder, Lab(folder, script, plan).optimize(), running=False)


@pytest.fixture(scope="module")
def raced(tmp_path_factory: pytest.TempPathFactory) -> History:
    """One round: `helps` is crowned, `nothing` gains no more than the control, `harms` is stopped."""
    return history_of(tmp_path_factory.mktemp("raced") / "run", plan_of(ROUND))


@pytest.fixture(scope="module")
def twice(tmp_path_factory: pytest.TempPathFactory) -> History:
    """Two rounds without a gain over the control, of the same arms."""
    rounds_twice = [{"arms": ["helps"], "epochs": 1}, {"arms": ["helps"], "epochs": 2}]
    script = {"baseline": [[0.4, 0.5]], "control": [[0.55], [0.6, 0.6]], "helps": [[0.55], [0.6, 0.6]]}
    plan = plan_of(*rounds_twice, end_after_rounds_without_gain=9)
    return history_of(tmp_path_factory.mktemp("twice") / "run", plan, script)


def printed(history: History, width: int = 200) -> str:
    console = Console(file=io.StringIO(), width=width, highlight=False)
    print_summary(console, history, analyse(history))
    return console.file.getvalue()  # type: ignore[attr-defined]


def one_line(text: str) -> str:
    return " ".join(text.split())


def test_arms_have_names_of_their_own(twice: History) -> None:
    names = [phase.name for phase in twice.phases]
    assert names == ["baseline", "control", "helps", "control (round 2)", "helps (round 2)"]
    assert [each.arms for each in twice.rounds] == [("control", "helps"), ("control (round 2)", "helps (round 2)")]
    assert twice.champion is not None and twice.champion.phase == "control (round 2)"
    assert [phase.part for phase in twice.phases if not phase.control] == ["baseline", "helps", "helps"]
    page = render(twice)
    assert "control (round 2)" in page and "Round 2" in page


def test_each_arm_keeps_its_epochs_and_the_line_has_those_of_one(raced: History) -> None:
    assert [len(phase.records) for phase in raced.phases] == [2, 4, 4, 4, 2]
    assert [record.phase for record in raced.records] == ["baseline"] * 2 + ["helps"] * 4
    assert {record.phase for record in raced.phase("harms").records} == {"harms"}


def test_a_round_says_who_was_stopped_who_won_and_what_it_won_beside_more_training(raced: History) -> None:
    (each,) = raced.rounds
    assert rounds.in_words(raced, each) == (
        "control, helps, nothing and harms, epochs 3 to 6 from epoch 2 of baseline (map_small 0.500).",
        "harms was stopped after epoch 4: behind the leading arm.",
        "helps became the champion: map_small +0.100 over the champion, of which +0.070 over the control; the rest is "
        "more training.",
    )
    assert rounds.cells(raced, each)[1] == ("helps", "3-6", "0.600", "+0.100", "+0.070", "improved, champion")
    assert rounds.cells(raced, each)[0][4] == "", "the control has none beside it"


def test_where_the_control_wins_more_training_is_named_as_such(twice: History) -> None:
    first, _ = twice.rounds
    told = rounds.in_words(twice, first)
    assert told[0].startswith("control and helps, epoch 3 from epoch 2")
    assert told[-1] == (
        "More training became the champion: map_small +0.050 over the champion, with the settings unchanged."
    )


def test_a_round_without_a_winner_and_one_that_goes_on(tmp_path: Path) -> None:
    worse = {**SCRIPT, "control": [[0.3] * 4], "helps": [[0.3] * 4], "nothing": [[0.3] * 4], "harms": [[0.3] * 4]}
    history = history_of(tmp_path / "run", plan_of(ROUND), worse)
    assert rounds.in_words(history, history.rounds[0])[-1].startswith("No arm became the champion")
    goes_on = replace(history.rounds[0], closed=False)
    assert rounds.in_words(history, goes_on)[-1] == "The round is not judged yet."


def test_an_arm_that_failed_is_told(tmp_path: Path) -> None:
    history = history_of(tmp_path / "run", plan_of(ROUND), {**SCRIPT, "nothing": [["crashed"]]})
    assert any(line.startswith("nothing failed (crashed)") for line in rounds.in_words(history, history.rounds[0]))


def test_every_form_has_both_differences_and_the_rounds(raced: History) -> None:
    for text in (printed(raced), to_markdown(raced), render(raced)):
        words = one_line(text)
        for part in (
            "against the champion",
            "against the control",
            "of which +0.070 over the control; the rest is more training",
            "harms was stopped after epoch 4: behind the leading arm.",
            "Round 1",
        ):
            assert part in words, part
    page = render(raced)
    assert 'id="rounds"' in page and "map_small of the arms" in page and "dot hollow" in page
    assert page.count("over the control</title>") == 3, "a row of intervals for each treatment"


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_the_terminal_breaks_no_figure(raced: History, width: int) -> None:
    wide = Estimate(0.1, 0.05, 0.2, 9)
    phases = tuple(
        replace(p, verdict=p.verdict and replace(p.verdict, difference=wide, over_control=wide)) for p in raced.phases
    )
    text = printed(replace(raced, phases=phases), width)
    assert max(len(line.rstrip()) for line in text.splitlines()) <= width
    assert "+0.100 [+0.050, +0.200] against the control" in one_line(text) or width == 120
    assert "Phases\nphase" in text if width == 120 else "- helps, epochs 3-6: improved" in one_line(text)


def test_json_has_rounds_and_the_epochs_of_each_arm(raced: History) -> None:
    document = to_document(raced, analyse(raced))
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    (each,) = document["rounds"]
    assert (each["champion"], each["stopped"][0]["arm"], each["before"]["epoch"]) == ("helps", "harms", 2)
    phases: dict[str, Any] = {phase["name"]: phase for phase in document["phases"]}
    assert list(phases["nothing"]["metrics"]) == ["3", "4", "5", "6"] and "records" not in phases["nothing"]
    assert "metrics" not in phases["baseline"]
    review = next(item for item in document["analysis"]["phases"] if item["phase"] == "helps")
    assert review["over_control"]["value"] == pytest.approx(0.07) and "rest is more training" in review["cause"]
    assert document["error_rate"] is None


def test_the_bound_on_false_champions_has_its_place(raced: History) -> None:
    told = replace(raced, error_rate="At most 10 % of such runs crown something without effect.")
    for text in (printed(told), to_markdown(told), render(told)):
        assert "At most 10 % of such runs" in one_line(text)
    assert to_document(told, analyse(told))["error_rate"].startswith("At most")


def test_two_runs_side_by_side_say_over_what(raced: History) -> None:
    phases = to_comparison_document(Comparison(raced, raced, "map_small", {}))["phases"]
    helps = next(row for row in phases if row["name"] == "helps")
    assert helps["first"] == "improved, champion, +0.100 over the champion, +0.070 over the control"


def test_decisions_name_the_round_once_with_its_arms(raced: History) -> None:
    assert [decision.action for decision in raced.decisions] == ["run", "round", "stop"]
    assert [arm.phase for arm in raced.decisions[1].arms] == ["control", "helps", "nothing", "harms"]
    assert "helps (training.multi_scale=true)" in one_line(printed(raced))
    assert "training.multi_scale" not in {issue.key for issue in analyse(raced).issues}, "it was tried"


def test_a_phase_beside_a_control_is_a_round_with_its_title(tmp_path: Path) -> None:
    phases = [{"name": "helps", "title": "Scales", "epochs": 4, "set": {"training.multi_scale": True}, "control": True}]
    plan = Plan.model_validate({"target": {"stop_at": "never"}, "phases": phases})
    history = history_of(tmp_path / "run", plan)
    assert rounds.heading(history.rounds[0]) == "Round 1: Scales beside a control"
    assert analyse(history).timeline is not None
    (row,) = analyse(history).timeline.rows  # type: ignore[union-attr]
    assert row.reached == 0.6 and row.total == pytest.approx(0.1)


def test_a_number_in_the_title_of_a_round_is_not_said_twice(tmp_path: Path) -> None:
    history = history_of(tmp_path / "run", plan_of({**ROUND, "title": "Round 7: scales"}))
    assert rounds.heading(history.rounds[0]) == "Round 1: scales"


def test_arms_of_a_round_that_goes_on_train_wait_or_are_interrupted(tmp_path: Path) -> None:
    lab = Lab(tmp_path / "run", SCRIPT, plan_of(ROUND))
    lab.optimize()

    def outcomes(state: State, *, running: bool) -> list[str]:
        return [phase.outcome for phase in tell(tmp_path, state, running=running).phases if phase.round]

    in_mid = next(s for s in lab.published if s.rounds and len(s.open_runs[1].records) == 1)
    assert outcomes(in_mid, running=True) == ["waiting", "running", "running", "running"]
    assert outcomes(in_mid, running=False) == ["waiting", "interrupted", "interrupted", "interrupted"]
    told = tell(tmp_path, in_mid, running=False)
    assert analyse(told).recommendations[0].startswith("The run was interrupted in round 1.")
    going = tell(tmp_path, in_mid, running=True)
    assert analyse(going).recommendations[0].startswith("Let round 1 run on:")
    assert not going.rounds[0].closed and not math.isnan(going.rounds[0].before.value("map_small"))  # type: ignore[union-attr]
