"""What came of a phase by hand, in words."""

from __future__ import annotations

from dataclasses import replace

import pytest

from smallsight.records import Decision, Estimate, Outcome, Verdict
from smallsight.run.state import PhaseRun, State
from smallsight.strategy.outcomes import closed_in_words, has_failed, out_of_budget, outcome_in_words
from strategy.states import OLD, failed, from_epoch, measured, own, state_of, trained, verdict

START = replace(measured(OLD, 39), crowned=39)
LIGHT = own("models/checkpoints/checkpoint_epoch_41_lightweight.pth", "one", 41)


def test_a_start() -> None:
    state = state_of(START)
    assert outcome_in_words(state, state.runs[0]) == (
        "models/checkpoint.pth as it came: map_small 0.500. Its epoch 39 became the champion (checkpoint_best.pth)."
    )


def test_a_phase_that_beat_its_start() -> None:
    better = verdict("improved", 0.03)
    one = replace(from_epoch(trained("one", 40, 42, OLD), 1, 39), verdict=better, over_start=better, crowned=41)
    state = state_of(START, one)
    assert outcome_in_words(state, state.runs[1]) == (
        "Against epoch 39, from which it starts: map_small changed by +0.030. "
        "Its epoch 41 became the champion (checkpoint_best.pth)."
    )


def test_what_is_no_champion_may_still_be_gone_on_from() -> None:
    """By hand nothing is rolled back, so nothing is said to be."""
    flat = verdict("no_evidence", 0.001)
    one = replace(from_epoch(trained("one", 40, 42, OLD), 1, 39), verdict=flat, over_start=flat)
    two = replace(
        from_epoch(trained("two", 43, 44, LIGHT), 2, 42),
        verdict=verdict("no_evidence", 0.01),
        over_start=verdict("improved", 0.02),
    )
    none = from_epoch(failed(trained("none", 43, 44, LIGHT), "crashed"), 2, 42)
    said = [outcome_in_words(state, state.runs[1]) for state in (state_of(START, one), state_of(START, one, none, two))]
    begin = (
        "Against epoch 39, from which it starts: map_small changed by +0.001. The champion stays epoch 39 of start. "
    )
    assert said == [
        begin + "By hand nothing is rolled back: the next phase starts from what --resume names.",
        begin + "By hand nothing is rolled back: two (epochs 43 to 44) starts from its epoch 42.",
    ]
    state = state_of(START, one, two)
    assert outcome_in_words(state, state.runs[2]).startswith(
        "Against epoch 42, from which it starts: map_small changed by +0.020. "
        "Against the champion, epoch 39 of start: map_small +0.010. The champion stays epoch 39 of start."
    )


def test_an_epoch_that_was_measured_again() -> None:
    one = replace(trained("one", 40, 42), crowned=41)
    worse = verdict("regressed", -0.02)
    again = from_epoch(measured(LIGHT, 41, training__resolution=736), 1, 41)
    state = state_of(one, replace(again, verdict=worse, over_start=worse))
    assert outcome_in_words(state, state.runs[1]) == (
        "Epoch 41 at 736 px, before any training, against the same epoch at 640 px: map_small changed by -0.020. "
        "The champion stays epoch 41 of one."
    )


def test_a_second_file_that_was_measured() -> None:
    state = state_of(START, replace(measured(replace(OLD, sha256="c"), 20), verdict=verdict("regressed", -0.1)))
    assert outcome_in_words(state, state.runs[1]) == (
        "Against the champion, epoch 39 of start: map_small changed by -0.100. The champion stays epoch 39 of start."
    )


def test_the_first_phase_from_scratch() -> None:
    state = state_of(replace(trained("one", 1, 2), crowned=2))
    assert outcome_in_words(state, state.runs[0]) == (
        "First phase of this folder; not compared. Its epoch 2 became the champion (checkpoint_best.pth)."
    )


ONE = trained("one", 40, 42)


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (State(), False),
        (state_of(ONE), False),
        (state_of(failed(ONE, "crashed")), True),
        (state_of(failed(ONE, "interrupted")), False),
        (replace(state_of(failed(ONE, "crashed")), kind="optimize"), False),
        (replace(state_of(replace(failed(ONE, "crashed"), closed=False, forgiven=1)), kind="optimize"), True),
        (replace(state_of(replace(failed(ONE, "crashed"), closed=False)), kind="optimize"), False),
    ],
)
def test_whether_a_person_has_to_look(state: State, expected: bool) -> None:
    assert has_failed(state) is expected


@pytest.mark.parametrize(("elapsed_s", "expected"), [(50.0, False), (96.0, True), (110.0, True)])
def test_a_run_whose_time_is_over(elapsed_s: float, expected: bool) -> None:
    """Also where some is left, but not enough for another epoch, of 5 s here."""
    records = tuple(replace(record, seconds=5.0) for record in ONE.records)
    run = replace(ONE, attempts=(replace(ONE.attempts[0], records=records),))
    state = replace(state_of(run, elapsed_s=elapsed_s), kind="optimize")
    assert not out_of_budget(state), "there is no budget"
    assert out_of_budget(replace(state, budget_s=100.0)) is expected
    assert not out_of_budget(replace(state, budget_s=100.0, finished="Target reached."))
    going_on = replace(run, closed=False, attempts=(replace(run.attempts[0], status="running"),))
    assert not out_of_budget(replace(state, budget_s=100.0, runs=(going_on,))), "what it has is judged first"


def closed(outcome: Outcome, *, settings: bool = True, arm: bool = False, crowned: int | None = None) -> PhaseRun:
    """A closed phase of a strategy, or an arm of a round."""
    decision = Decision("run", "", "x", {"training.multi_scale": True} if settings else {}, control=not settings)
    verdict = Verdict(outcome, Estimate(0.05), Estimate(0.0), "it rose.")
    return PhaseRun("x", 2, decision, closed=True, verdict=verdict, round=int(arm), crowned=crowned)


@pytest.mark.parametrize(
    ("run", "end"),
    [
        (closed("improved"), "it rose. No control was trained, so how much of it is more training is not known."),
        (closed("improved", settings=False), "it rose. It changes no setting, so this is more training."),
        (closed("improved", arm=True, crowned=3), "it rose. It became the champion."),
        (closed("improved", arm=True), "it rose. Another arm of the round became the champion."),
        (closed("no_evidence", arm=True), "it rose. It does not become the champion."),
        (
            closed("kept", settings=False, arm=True, crowned=3),
            "it rose. It changes no setting: more training became the champion.",
        ),
        (closed("regressed"), "it rose. Rolled back: the champion stays, and the next phase starts from it."),
    ],
)
def test_no_gain_is_credited_to_a_phase_that_had_no_control(run: PhaseRun, end: str) -> None:
    assert closed_in_words(run) == end
    assert closed_in_words(replace(run, verdict=None)) == ""
