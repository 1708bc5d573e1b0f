"""What a report says of phases by hand."""

from __future__ import annotations

import io
import shlex
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from smallsight.commands.status import as_lines
from smallsight.report.analysis import analyse
from smallsight.report.by_hand import latest_config, names_of, next_commands
from smallsight.report.document import csv_text, to_document
from smallsight.report.history import History, NextCommand
from smallsight.report.html import render
from smallsight.report.markdown import to_markdown
from smallsight.report.status import summary_of
from smallsight.report.story import tell
from smallsight.report.summary import print_summary
from smallsight.run.given import Call
from smallsight.run.state import PhaseRun, State
from strategy.states import OLD, failed, from_epoch, measured, own, state_of, trained, verdict

CALL = Call(("python", "scripts/train_ball.py"), "configs/multi scale.yaml", "models")
LIGHT = own("models/checkpoints/checkpoint_epoch_42_lightweight.pth", "one", 42)
SCALES = {"training__multi_scale": True}


def one() -> PhaseRun:
    flat = verdict("no_evidence", 0.01)
    return replace(from_epoch(trained("one", 40, 42, OLD), 1, 39), verdict=flat, over_start=flat)


def two(**changed: object) -> PhaseRun:
    better = verdict("improved", 0.04)
    run = from_epoch(trained("two", 43, 44, LIGHT, **{**SCALES, **changed}), 2, 42)
    return replace(run, verdict=better, over_start=better, crowned=44, call=CALL)


def after_two(run: PhaseRun | None = None) -> State:
    return state_of(replace(measured(OLD, 39), crowned=39), one(), run or two())


def text_of(history: History, width: int = 100) -> str:
    shown = io.StringIO()
    print_summary(Console(file=shown, width=width, highlight=False), history, analyse(history))
    return shown.getvalue()


def test_expected_gains_titles_and_verdicts_against_the_start() -> None:
    history = tell(Path("models"), after_two())
    assert [(p.name, p.title, p.epochs, p.outcome, p.expected_gain) for p in history.phases] == [
        ("start", "Start: models/checkpoint.pth", "39", "baseline", None),
        ("one", "Phase 1: continue with the same settings (one)", "40-42", "no_evidence", (0.02, 0.04)),
        ("two", "Phase 2: multi-scale training (two)", "43-44", "improved", (0.03, 0.05)),
    ]
    assert [review.actual.value for review in analyse(history).phases[1:]] == [0.01, 0.04]
    assert "By hand nothing is rolled back: two (epochs 43 to 44) starts from its epoch 42." in history.phases[1].reason
    page = render(history)
    assert "against the checkpoint that it started from, on the same images" in page
    assert "Phase 2: multi-scale training (two)" in page


def test_settings_and_advice_are_those_of_the_latest_phase() -> None:
    """After multi-scale nobody is to be told to switch multi-scale on."""
    before, after = state_of(measured(OLD, 39), one()), after_two()
    issues = [[issue.key for issue in analyse(tell(Path("models"), state)).issues] for state in (before, after)]
    assert "training.multi_scale" in issues[0] and "training.multi_scale" not in issues[1]
    assert latest_config(after).training.multi_scale and not latest_config(before).training.multi_scale
    history = tell(Path("models"), after)
    assert history.config and history.config["training"]["multi_scale"] is True
    assert history.phases[1].settings["training.multi_scale"] is False, "what was otherwise then"
    assert "training.multi_scale" not in history.phases[2].settings


def test_the_configuration_of_a_strategy_stays_the_runs() -> None:
    assert not latest_config(replace(after_two(), kind="optimize")).training.multi_scale
    assert not latest_config(state_of()).training.multi_scale


def test_a_phase_that_is_begun_again_has_a_name_of_its_own() -> None:
    """Phase 1 in two steps, with the same file: else one row of the report would speak for both."""
    again = from_epoch(trained("one", 43, 44, LIGHT), 2, 42)
    state = state_of(measured(OLD, 39), one(), replace(again, over_start=verdict("improved", 0.03)))
    assert list(names_of(state).values()) == ["start", "one", "one #2"]
    history = tell(Path("models"), state)
    assert [phase.outcome for phase in history.phases] == ["baseline", "no_evidence", "improved"]
    assert [record.phase for record in history.records] == ["start", *["one"] * 3, *["one #2"] * 2]
    assert [decision.phase for decision in history.decisions] == ["start", "one", "one #2"]
    assert "one #2" in csv_text(history.records)
    assert "Phase 1: continue with the same settings (one #2)" in render(history)


def test_a_start_is_no_column_of_settings() -> None:
    page = render(tell(Path("models"), after_two()))
    head = page[page.index('<section id="settings">') :].partition("</thead>")[0]
    assert ">one<" in head.replace("</span>one", ">one") and "start" not in head


def test_out_of_memory_names_what_to_run_instead() -> None:
    history = tell(Path("models"), after_two(failed(two(), "out_of_memory")), running=False)
    assert history.stopped == "failed" and history.phases[2].outcome == "failed"
    first = analyse(history).recommendations[0]
    assert first.startswith("Go on without phase two, by a command below, or give it more memory: it failed")
    begin = "python scripts/train_ball.py --config 'configs/multi scale.yaml' --output-dir models --resume "
    assert history.commands == (
        NextCommand(
            "Phase 3B, step 1: learning rate x 0.5",
            f"{begin}{LIGHT.path} training.multi_scale=false training.learning_rate=0.001",
        ),
        NextCommand(
            "Phase 4A: copy-paste augmentation",
            f"{begin}{LIGHT.path} training.multi_scale=false augmentation.copy_paste.enabled=true",
        ),
    )


def test_a_command_can_be_pasted_from_wherever_it_is_read() -> None:
    """No line of it is broken, however narrow the terminal is."""
    history = tell(Path("models"), after_two(failed(two(), "out_of_memory")), running=False)
    line = history.commands[0].line
    assert shlex.split(line)[3] == "configs/multi scale.yaml"
    assert line in text_of(history, 40).splitlines()
    assert f"```bash\n{line}\n```" in to_markdown(history)
    assert f"<pre>{line.replace(chr(39), '&#39;')}</pre>" in render(history)
    assert to_document(history, analyse(history))["commands"][0] == {
        "title": "Phase 3B, step 1: learning rate x 0.5",
        "line": line,
    }


def test_a_start_that_was_overwritten_is_taken_from_its_copy(tmp_path: Path) -> None:
    given = replace(OLD, path=str(tmp_path / "checkpoint.pth"))
    run = replace(from_epoch(failed(trained("two", 40, 44, given, **SCALES), "out_of_memory"), 1, 39), call=CALL)
    copy = tmp_path / "phases" / "01_start" / "start.pth"
    copy.parent.mkdir(parents=True)
    copy.write_text("")
    state = state_of(measured(given, 39), run)
    for command in next_commands(tmp_path, state, running=False):
        assert f"--resume {copy}" in command.line


def test_another_failure_names_no_other_phase() -> None:
    history = tell(Path("models"), after_two(failed(two(), "crashed")), running=False)
    assert history.commands == ()
    assert analyse(history).recommendations[0].startswith("Fix what stopped phase two, then run the same command")


def going(run: PhaseRun, epochs: int) -> PhaseRun:
    (attempt,) = run.attempts
    open_one = replace(attempt, records=attempt.records[:epochs], status="running")
    return replace(run, attempts=(open_one,), closed=False, verdict=None, over_start=None, crowned=None)


@pytest.mark.parametrize(
    ("epochs", "words"),
    [(1, "interrupted after epoch 43; not judged yet."), (0, "interrupted before its first epoch was")],
)
def test_an_interrupted_phase_is_not_a_failed_one(epochs: int, words: str) -> None:
    state = after_two(going(two(), epochs))
    running, stopped = (tell(Path("models"), state, running=each) for each in (True, False))
    assert (running.phases[2].outcome, running.commands, running.stopped) == ("running", (), "")
    assert (stopped.phases[2].outcome, stopped.stopped) == ("interrupted", "interrupted")
    assert stopped.phases[2].reason.startswith(words)
    begin = "python scripts/train_ball.py --config 'configs/multi scale.yaml' --output-dir models --resume "
    assert stopped.commands == (NextCommand("Go on", begin + LIGHT.path),)
    assert analyse(stopped).recommendations[0].startswith("The run was interrupted ")
    assert "interrupted" in render(stopped) and "failed" not in text_of(stopped)


def test_a_phase_that_gave_way_was_interrupted() -> None:
    gave_way = replace(failed(trained("one", 40, 42, OLD), "interrupted", epochs=2), crowned=41)
    next_one = from_epoch(trained("two", 42, 44, own("x.pth", "one", 41), **SCALES), 2, 41)
    state = state_of(replace(measured(OLD, 39), crowned=39), from_epoch(gave_way, 1, 39), next_one)
    told = tell(Path("models"), state).phases[1]
    assert told.outcome == "interrupted" and told.reason.startswith("Interrupted after epoch 41, and another phase was")
    assert "failed" not in told.reason
    assert dict(as_lines(status(state_of(gave_way))))["phase"] == "one, interrupted after epoch 41 of 42"


def status(state: State, *, running: bool = False) -> dict[str, object]:
    return {**summary_of(state), "running": running, "live": None}


GOES_ON, AGAIN = "interrupted; the same command goes on", "failed; the same command tries again"


@pytest.mark.parametrize(
    ("state", "run", "phase"),
    [
        (after_two(), "finished", "two, ended with epoch 44"),
        (after_two(failed(two(), "crashed", epochs=1)), AGAIN, "two, failed (crashed) after epoch 43 of 44"),
        (after_two(failed(two(), "crashed")), AGAIN, "two, failed (crashed) before its first epoch was done"),
        (after_two(going(two(), 1)), GOES_ON, "two, epoch 43 of 44 done"),
        (after_two(going(two(), 0)), GOES_ON, "two, no epoch done yet, 44 is to be the last"),
        (state_of(measured(OLD, 39)), GOES_ON, "start, epoch 39 measured without training"),
        (state_of(going(measured(OLD, 39), 0)), GOES_ON, "start, measuring a checkpoint"),
    ],
)
def test_status_of_phases_by_hand(state: State, run: str, phase: str) -> None:
    lines = dict(as_lines(status(state)))
    assert (lines["run"], lines["phase"]) == (run, phase)


def test_status_of_a_phase_that_ended_early() -> None:
    ended = two()
    ended = replace(ended, attempts=(replace(ended.attempts[0], last_epoch=52, ended_early="it is flat"),))
    assert dict(as_lines(status(after_two(ended))))["phase"] == "two, ended early after epoch 44 of 52: it is flat"


def test_a_doubt_about_the_start_comes_first_and_goes_with_it() -> None:
    start = measured(OLD, 39)
    attempt = replace(start.attempts[0], facts=(("warning", {"text": "It finds nothing."}),))
    doubted = replace(start, attempts=(attempt,))
    history = tell(Path("models"), state_of(doubted, one()))
    assert history.start_doubts == ("It finds nothing.",)
    assert analyse(history).recommendations[0] == "It finds nothing."
    assert tell(Path("models"), state_of(doubted, one(), two())).start_doubts == (), "it starts from another file"


def test_decisions_without_epochs_name_none() -> None:
    assert "run start: Measure it." in text_of(tell(Path("models"), after_two()))


def test_names_are_whole_in_a_terminal() -> None:
    long = replace(two(), name="resume_20_epochs_low_memory_and_more")
    shown = "".join(line.split(" ")[0] for line in text_of(tell(Path("models"), after_two(long)), 80).splitlines())
    assert "resume_20_epochs_low_memory_and_more" in shown
