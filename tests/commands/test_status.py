"""Where a run stands: its summary, the step that is trained now, and watching it."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from smallsight.attempts.jobs import Job
from smallsight.attempts.messages import Alive, Evaluating, SignOfLife, Step, content_of
from smallsight.attempts.spec import AttemptResult
from smallsight.commands.live import LIVE_EVERY_S, live_removed, live_writer
from smallsight.commands.status import as_lines, watch
from smallsight.config.load import Config
from smallsight.errors import RunFolderError
from smallsight.records import Decision, EpochRecord, Estimate, to_json
from smallsight.report.status import LIVE_FOR_S, going_on, status_of, summary_of
from smallsight.run.folder import RunFolder, hold
from smallsight.run.journal import Journal
from smallsight.run.state import Attempt, Champion, PhaseRun, Round, Rung, State
from smallsight.strategy.plan import Plan
from training.frames import attempt_spec

JOURNAL = "journal.sqlite"
LIVE = "live.json"

STEP = Step(3, 9, 5, 40, losses={"box": 0.5}, learning_rate=0.1, memory_mb=900.0)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    with Journal(tmp_path / JOURNAL) as journal:
        content = {"config": Config().to_dict(), "plan": Plan().to_dict(), "run_id": "x", "run_kind": "optimize"}
        journal.append("created", **content, resume="", resumed_epoch=0, annotations={})
    return tmp_path


def finish(run: Path) -> None:
    with Journal(run / JOURNAL) as journal:
        stop = {"action": "stop", "reason": "Target reached.", "phase": "", "settings": {}, "epochs": 0}
        journal.append("decided", decision=stop)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The clock of `status`, which goes on only where a test says so."""
    now = SimpleNamespace(s=1000.0)
    fake = SimpleNamespace(time=lambda: now.s, monotonic=lambda: now.s, sleep=time.sleep)
    monkeypatch.setattr("smallsight.report.status.time", fake)
    monkeypatch.setattr("smallsight.commands.live.time", fake)
    return now


def listener(run: Path, heard: list[SignOfLife]) -> Callable[[SignOfLife], None]:
    """Keeps what an attempt of the run says, and passes it on to `heard`."""
    listen = live_writer(run, lambda spec, message: heard.append(message))
    return lambda message: listen(attempt_spec(run, Config()), message)


@pytest.fixture
def held(run: Path) -> Iterator[Path]:
    """The folder, while a process works on it."""
    with hold(run):
        yield run


def test_the_latest_step_is_seen_by_others_and_passed_on(held: Path, clock: SimpleNamespace) -> None:
    run = held
    heard: list[SignOfLife] = []
    listen = listener(run, heard)
    listen(STEP)
    clock.s += LIVE_EVERY_S / 2
    listen(replace(STEP, batch=6))  # too soon to be written again
    listen(Alive())
    assert heard == [STEP, replace(STEP, batch=6), Alive()]
    assert status_of(run)["live"]["batch"] == 5
    assert dict(as_lines(status_of(run)))["now"] == "epoch 3/9, batch 5/40, box 0.500, 0.9 GB"


def test_an_attempt_beside_others_keeps_its_own_step(held: Path, clock: SimpleNamespace) -> None:
    first, second = (
        replace(attempt_spec(held, Config()), folder=str(held / name), beside_others=True) for name in ("a", "b")
    )
    listen = live_writer(held, lambda *_: None)
    listen(first, STEP)
    listen(second, replace(STEP, batch=6))
    assert [json.loads(spec.live.read_text())["batch"] for spec in (first, second)] == [5, 6]
    assert [spec.live.parent.name for spec in (first, second)] == ["a", "b"]


def test_all_attempts_that_go_on_are_shown(held: Path, clock: SimpleNamespace) -> None:
    """One that has ended is not, and the step of an earlier process neither."""
    arms = [Decision("run", "", f"arm_{index}", {}, 9) for index in range(3)]
    with Journal(held / JOURNAL) as journal:
        journal.append("decided", phase=1, decision=to_json(Decision("round", "", "round_1", arms=tuple(arms))))
        for number in (1, 2, 3):
            journal.append("attempt_started", phase=number, attempt=1, settings={}, first_epoch=1, last_epoch=9)
    folders = [RunFolder(held).attempt(number, f"arm_{number - 1}", 1).path for number in (1, 2, 3)]
    first, second, third = (
        replace(attempt_spec(held, Config()), phase=f"arm_{index}", folder=str(folder), beside_others=True)
        for index, folder in enumerate(folders)
    )
    listen = live_writer(held, lambda *_: None)
    shown: list[list[str]] = []

    def train(jobs: Sequence[Job]) -> None:
        listen(first, STEP)
        clock.s += 1
        listen(second, replace(STEP, batch=6))
        shown.append([f"{name}: {value}" for name, value in as_lines(status_of(held)) if name.startswith("now")])
        jobs[0].on_end(AttemptResult())
        shown.append([name for name, _ in as_lines(status_of(held)) if name.startswith("now")])

    listen(third, STEP)
    jobs = [Job(spec, lambda _: True, lambda _: None, lambda _: None) for spec in (first, second, third)]
    live_removed(train)(jobs)
    assert shown[0] == [
        "now arm_0: epoch 3/9, batch 5/40, box 0.500, 0.9 GB",
        "now arm_1: epoch 3/9, batch 6/40, box 0.500, 0.9 GB",
    ]
    assert shown[1] == ["now arm_1"] and status_of(held)["live"]["batch"] == 6


def test_memory_is_shown_with_its_limit(held: Path) -> None:
    listener(held, [])(replace(STEP, memory_mb=1500.0, memory_limit_mb=24_100.0))
    assert dict(as_lines(status_of(held)))["now"].endswith("box 0.500, 1.5 of 24 GB")


def test_an_evaluation_is_named(held: Path, clock: SimpleNamespace) -> None:
    listener(held, [])(Evaluating(4))
    assert dict(as_lines(status_of(held)))["now"] == "evaluating epoch 4"


TORN = ("", "{", "[]", "{}", '{"at": "yesterday"}', '{"event": "done", "at": 0}', '{"event": "step", "at": 0}')


@pytest.mark.parametrize("text", TORN)
def test_a_torn_file_says_nothing(held: Path, text: str) -> None:
    (held / LIVE).write_text(text)
    assert status_of(held)["live"] is None


def test_an_old_step_says_nothing_about_now(held: Path, clock: SimpleNamespace) -> None:
    (held / LIVE).write_text(json.dumps({**content_of(STEP), "at": clock.s - LIVE_FOR_S}))
    assert status_of(held)["live"] is not None
    clock.s += 1
    assert status_of(held)["live"] is None
    assert dict(as_lines(status_of(held)))["now"] == "no step within the last minute"


def test_watching_ends_with_the_run(run: Path) -> None:
    finish(run)
    shown = io.StringIO()
    watch(run, Console(file=shown, width=60), 0.01)
    assert "Target reached." in shown.getvalue() and "now " not in shown.getvalue()


def test_watching_ends_when_nobody_works_on_the_run_any_more(run: Path) -> None:
    (run / LIVE).write_text(json.dumps({**content_of(STEP), "at": time.time()}))
    shown = io.StringIO()
    watch(run, Console(file=shown, width=60), 0.01)
    assert "interrupted; the same command goes on" in shown.getvalue() and "batch" not in shown.getvalue()


def test_a_start_is_told_from_a_silence(held: Path, clock: SimpleNamespace) -> None:
    (held / LIVE).write_text(json.dumps({**content_of(STEP), "at": clock.s}))
    listen = listener(held, [])  # a new process: the step of the one before says nothing about it
    assert dict(as_lines(status_of(held)))["now"] == "starting: no step is trained yet"
    listen(STEP)
    assert dict(as_lines(status_of(held)))["now"].startswith("epoch 3/9")


def test_a_run_in_words() -> None:
    content = {
        **{"state": "unfinished", "phase": "multi_scale", "phase_state": "running", "ended_early": None},
        **{"epoch": 6, "phase_epoch": 6, "last_epoch": 8, "failure": None, "metric": "map_small"},
        **{"baseline": 0.4118, "champion": None, "champion_epoch": None, "elapsed_s": 4000.0, "reason": "Try it."},
        **{"running": True, "live": None},
        "round": None,
        "sets": {
            "real": {
                "latest": {"epoch": 6, "map_small": 0.4, "words": "map_small 0.400 [0.300, 0.500], n=9"},
                "champion": {"epoch": 3, "map_small": 0.3, "words": "map_small 0.300 [0.200, 0.400], n=9"},
            }
        },
    }
    assert as_lines(content) == [
        ("run", "running"),
        ("phase", "multi_scale, epoch 6 of 8 done"),
        ("baseline map_small", "0.412"),
        ("champion map_small", "not known yet"),
        (
            "on real",
            "latest, epoch 6: map_small 0.400 [0.300, 0.500], n=9; champion, epoch 3: map_small 0.300 [0.200, 0.400], "
            "n=9",
        ),
        ("time taken", "67 min"),
        ("why", "Try it."),
        ("now", "no step within the last minute"),
    ]


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.4, "0 s"), (89, "89 s"), (90, "2 min"), (3 * 3600 + 300, "3 h 05 min")]
)
def test_a_time_in_words(run: Path, seconds: float, words: str) -> None:
    assert dict(as_lines({**status_of(run), "elapsed_s": seconds}))["time taken"] == words


def test_where_an_interrupted_run_goes_on() -> None:
    decision = Decision("run", "because", "multi_scale", epochs=4)
    records = tuple(EpochRecord(epoch, "multi_scale", 1, {"map_small": Estimate(0.466)}) for epoch in (5, 6))
    attempt = Attempt(1, {}, 5, 8, records)
    going = PhaseRun("multi_scale", 2, decision, (attempt,))
    champion = Champion("baseline", 1, 1, records[0], {})
    assert going_on(State(runs=(going,))) == "Going on: multi_scale, epoch 7 of 8"
    assert going_on(State(runs=(going,), champion=champion)) == "Going on: multi_scale, epoch 7 of 8, champion 0.466"
    assert going_on(State(runs=(replace(going, attempts=()),))) == "Going on: multi_scale"
    judged = replace(going, attempts=(replace(attempt, status="completed"),))
    assert going_on(State(runs=(judged,))) == "Going on: multi_scale"
    closed = State(runs=(replace(judged, closed=True),), champion=champion)
    assert going_on(closed) == "Going on: the next phase, champion 0.466"


def test_without_a_run_there_is_nothing_to_watch(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="no journal"):
        watch(tmp_path, Console(file=io.StringIO()), 0.01)


def test_a_run_whose_budget_is_used_up_says_so(run: Path) -> None:
    content = {**status_of(run), "state": "out of budget"}
    assert dict(as_lines(content))["run"] == "out of budget; the same command with a larger --budget goes on"
    assert dict(as_lines({**content, "running": True}))["run"] == "running"


def test_further_sets_are_said_with_the_latest_epoch_and_the_champion() -> None:
    def record(epoch: int, value: float, found: float) -> EpochRecord:
        video = {name: Estimate(found, n=20) for name in ("found_10", "found_40", "detections_10", "top_score")}
        sets = {"real": {"map_small": Estimate(value, 0.1, 0.9, 34)}, "video": video}
        return EpochRecord(epoch, "a", 1, {"map_small": Estimate(0.5)}, sets=sets)

    records = (record(1, 0.4, 0.35), record(2, 0.3, 0.5))
    run = PhaseRun("a", 1, Decision("run", "why", "a"), (Attempt(1, {}, 1, 2, records),))
    found = summary_of(State(runs=(run,), champion=Champion("a", 1, 1, records[0], {})))["sets"]
    assert found["real"]["latest"] == {"epoch": 2, "map_small": 0.3, "words": "map_small 0.300 [0.100, 0.900], n=34"}
    assert found["real"]["champion"]["map_small"] == 0.4
    assert (found["video"]["champion"]["found_10"], found["video"]["champion"]["frames"]) == (0.35, 20)
    assert "found in 7 of 20 frames" in found["video"]["champion"]["words"]
    assert summary_of(State())["sets"] == {}


def racing(run: Path, *attempts: tuple[str, str]) -> State:
    """A state in which a round of a control and two treatments goes on; (status, why it was stopped) of each arm."""
    names = ("control", "helps", "harms")
    runs = [PhaseRun("baseline", 1, Decision("run", "", "baseline"), closed=True)]
    stopped: dict[int, str] = {}
    for number, (name, (status, why)) in enumerate(zip(names, attempts, strict=True), start=2):
        record = EpochRecord(3, name, 1, {"map_small": Estimate(0.1 * number)})
        attempt = Attempt(1, {}, 3, 6, (record,), status) if status else None  # type: ignore[arg-type]
        decision = Decision("run", "", name, control=name == "control")
        runs.append(PhaseRun(name, number, decision, (attempt,) if attempt else (), round=1))
        stopped |= {number: why} if why else {}
    decided = Decision("round", "Round: helps, harms and a control, 4 epochs each.", "round_1", epochs=4, rungs=(1,))
    rungs = (Rung(3, stopped),) if stopped else ()
    return State(runs=tuple(runs), rounds=(Round("round_1", 1, decided, (2, 3, 4), rungs),))


def shown(run: Path, state: State, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    monkeypatch.setattr("smallsight.report.status.read_state", lambda folder: state)
    return dict(as_lines(status_of(run)))


def test_a_round_shows_who_trains_who_waits_and_who_was_stopped(held: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = racing(held, ("paused", ""), ("running", ""), ("completed", "behind the leading arm"))
    keep_step(held, replace(STEP, epoch=4))
    lines = shown(held, state, monkeypatch)
    assert lines["round 1"] == "Round: helps, harms and a control, 4 epochs each; looked at 1 of 1 times"
    assert lines["- control"] == "waits for the other arms, epoch 3 of 6 done, best map_small 0.200"
    assert lines["- helps"] == "trains, epoch 3 of 6 done, best map_small 0.300"
    assert lines["- harms"] == "stopped, epoch 3 of 6 done, best map_small 0.400: behind the leading arm"
    assert lines["now"].startswith("epoch 4/9, batch 5/40") and not {"phase", "why"} & set(lines)


def keep_step(run: Path, step: Step) -> None:
    """Write what the arm `helps` trains now."""
    place = run / "phases" / "03_helps" / "attempt_1"
    place.mkdir(parents=True)
    (place / LIVE).write_text(json.dumps({**content_of(step), "at": time.time()}))


def test_a_step_of_before_a_pause_is_none_of_now(held: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All three may train after a look; the first one does until a step says otherwise."""
    keep_step(held, STEP)
    lines = shown(held, racing(held, ("running", ""), ("running", ""), ("running", "")), monkeypatch)
    assert lines["now"] == "starting: no step is trained yet"
    assert [lines[f"- {name}"].split(",")[0] for name in ("control", "helps", "harms")] == [
        "trains",
        *["waits for its turn"] * 2,
    ]


def test_of_two_open_arms_the_one_with_a_step_trains(held: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = racing(held, ("running", ""), ("running", ""), ("", ""))
    keep_step(held, replace(STEP, epoch=4))
    lines = shown(held, state, monkeypatch)
    assert lines["- control"].startswith("waits for its turn, epoch 3") and lines["- helps"].startswith("trains")
    assert lines["- harms"] == "waits for its turn"


def test_a_round_that_nobody_works_on_is_interrupted(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = racing(run, ("running", ""), ("paused", ""), ("", ""))
    assert shown(run, state, monkeypatch)["- control"].startswith("goes on with the same command")
    assert going_on(state).startswith("Going on: round 1, arms control, helps, harms")
