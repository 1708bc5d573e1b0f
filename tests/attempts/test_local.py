"""Several attempts at the same time, against child processes that behave in every odd way."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from smallsight.attempts import workers
from smallsight.attempts.jobs import Job
from smallsight.attempts.local import LocalTrainer
from smallsight.attempts.messages import AsksToGoOn, Done, EpochDone, Failed, Note, Stopped, Stopping, content_of
from smallsight.attempts.spec import AttemptResult, AttemptSpec
from smallsight.errors import DatasetError, Interrupted, TrainingError
from smallsight.records import EpochRecord, Estimate
from waiting import HANGS_S

WORKER = """\
import json, os, signal, sys, time
from pathlib import Path

stop = []
signal.signal(signal.SIGTERM, lambda *_: stop.append(1))
pipe, answers = os.fdopen(int(sys.argv[2]), "w"), os.fdopen(int(sys.argv[3]))
folder = Path(sys.argv[1]).parent

def tell(content):
    print(json.dumps(content), file=pipe, flush=True)

def wait(happened):
    while not happened():
        if stop:
            tell(STOPPED)
            sys.exit(3)
        time.sleep(0.01)

(folder / "began").write_text("")
exec((folder / "play.py").read_text(), {**globals(), "run": folder.parent})
"""
"""Tells of itself that it began, and then does what `play.py` in its folder says."""
NAMES = ("a", "b", "c")
MEETS = "wait(lambda: all((run / name / 'began').exists() for name in 'abc'))"


class Lab:
    """Attempts `a`, `b`, `c` and what came of them, in order."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.heard = folder, list[Any]()
        self.on_epoch: Callable[[str, EpochRecord], bool] = lambda name, record: True
        self.on_fact: Callable[[str, Any], None] = lambda name, fact: self.heard.append((name, fact))

    def job(self, name: str, play: str, hang_timeout_s: float) -> Job:
        folder = self.folder / name
        folder.mkdir()
        (folder / "play.py").write_text(play)
        config = {"training": {"hang_timeout_s": hang_timeout_s, "device": "cpu"}}
        spec = AttemptSpec("r", str(self.folder), str(folder), name, 1, config, 1, 1, "scratch", beside_others=True)
        return Job(
            spec,
            lambda record: self.on_epoch(name, record),
            lambda fact: self.on_fact(name, fact),
            lambda result: self.heard.append((name, result)),
        )

    def run(self, *plays: str, at_once: int = 3, hang_timeout_s: float = HANGS_S) -> None:
        jobs = [self.job(name, play, hang_timeout_s) for name, play in zip(NAMES, plays, strict=False)]
        LocalTrainer(lambda spec, message: self.heard.append((spec.phase, message)), at_once)(jobs)

    def results(self) -> dict[str, AttemptResult]:
        return {name: heard for name, heard in self.heard if isinstance(heard, AttemptResult)}


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    popen = workers.subprocess.Popen
    words = f"STOPPED = {content_of(Stopped('saved'))!r}\n"

    def instead(command: list[str], **options: Any) -> Any:
        return popen([sys.executable, "-c", words + WORKER, *command[3:]], **options)

    monkeypatch.setattr(workers.subprocess, "Popen", instead)
    return Lab(tmp_path)


def told(message: Any) -> str:
    return f"tell({content_of(message)!r})\n"


EPOCH = told(EpochDone(EpochRecord(1, "x", 1, {"map_small": Estimate(0.5)})))
DONE = told(Done())


def test_attempts_are_carried_out_at_the_same_time_and_each_is_answered(lab: Lab) -> None:
    """Each goes on only once all have begun; what each asks is answered by its own job."""
    lab.on_epoch = lambda name, record: name != "b"
    asks = (
        MEETS
        + "\n"
        + EPOCH
        + told(AsksToGoOn())
        + f"tell({{**{content_of(Note(''))!r}, 'text': answers.readline()}})\n"
    )
    lab.run(*[asks + DONE] * 3)
    assert lab.results() == dict.fromkeys(NAMES, AttemptResult())
    assert {name: fact.text for name, fact in lab.heard if isinstance(fact, Note)} == {
        "a": "go on\n",
        "b": "end\n",
        "c": "go on\n",
    }


def test_no_more_begin_than_there_are_places_and_in_their_order(lab: Lab) -> None:
    only = "assert not (run / {!r} / 'began').exists()\n"
    lab.run(only.format("b") + DONE, only.format("c") + DONE, DONE, at_once=1)
    assert list(lab.results().items()) == [(name, AttemptResult()) for name in NAMES]


def test_a_crash_and_a_hang_are_those_of_one_attempt(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock jumps once two have begun to be silent; the third one speaks in time."""
    crash = MEETS + "\nos.kill(os.getpid(), signal.SIGSEGV)"
    silent, now, select = MEETS + "\ntime.sleep(3600)", [0.0], workers.select.select
    speaks = (
        MEETS
        + "\nwait(lambda: (run / 'jump').exists())\n"
        + told(Note("here"))
        + "wait(lambda: (run / 'end').exists())\n"
    )

    def jump(pipes: Any, *_: Any) -> Any:
        """Time goes on by 9 s where only the silent one and the one that has spoken are left."""
        if len(pipes) == 2 and not (lab.folder / "jump").exists():
            (lab.folder / "jump").write_text("")
            ready = select(pipes, [], [], HANGS_S)
            now[0] += 9.0
            return ready
        if len(pipes) == 1:
            (lab.folder / "end").write_text("")
        return select(pipes, [], [], HANGS_S if len(pipes) != 2 else 0.05)

    monkeypatch.setattr(workers, "select", SimpleNamespace(select=jump))
    monkeypatch.setattr(workers, "time", SimpleNamespace(monotonic=lambda: now[0]))
    lab.run(crash, silent, speaks + DONE, hang_timeout_s=8.0)
    found = lab.results()
    assert {name: result.failure for name, result in found.items()} == {"a": "crashed", "b": "crashed", "c": ""}
    assert "no sign of life for 8 s, so it was killed" in found["b"].message and "code -11" in found["a"].message


def test_a_stop_request_reaches_all_and_nobody_else_begins(lab: Lab) -> None:
    def stop(name: str, fact: Any) -> None:
        signal.raise_signal(signal.SIGTERM)

    lab.on_fact = stop
    waits = "wait(lambda: False)"
    meet = "wait(lambda: all((run / name / 'began').exists() for name in 'ab'))\n"
    with pytest.raises(Interrupted, match="saved; saved"):
        lab.run(meet + told(Note("now")) + waits, waits, DONE, at_once=2)
    assert not (lab.folder / "c" / "began").exists() and lab.results() == {}
    assert [heard for _, heard in lab.heard] == [Stopping()], "said once"


def test_wrong_input_of_one_is_raised_once_the_others_have_saved(lab: Lab) -> None:
    fails = MEETS + "\n" + told(Failed("DatasetError", "a.jpg: can't be read")) + "sys.exit(2)"
    saves = "wait(lambda: False)"
    with pytest.raises(DatasetError, match=r"a\.jpg"):
        lab.run(saves, fails, saves)
    assert lab.results() == {}


def test_what_a_job_raises_ends_the_others_gently(lab: Lab) -> None:
    def refuse(name: str, fact: Any) -> None:
        raise TrainingError("the disk has no room")

    lab.on_fact = refuse
    saves = "try: wait(lambda: False)\nfinally: (run / Path(sys.argv[1]).parent.name / 'saved').write_text('')"
    with pytest.raises(TrainingError, match="no room"):
        lab.run(MEETS + "\n" + told(Note("now")) + "time.sleep(3600)", saves, saves)
    assert [(lab.folder / name / "saved").exists() for name in NAMES] == [False, True, True]


def test_any_other_error_leaves_no_process(lab: Lab) -> None:
    def fail(name: str, record: EpochRecord) -> bool:
        raise RuntimeError("a fault of ours")

    lab.on_epoch = fail
    pid = "(run / f'{Path(sys.argv[1]).parent.name}.pid').write_text(str(os.getpid()))\n"
    with pytest.raises(RuntimeError, match="a fault of ours"):
        lab.run(pid + MEETS + "\n" + EPOCH + "time.sleep(3600)", pid + "time.sleep(3600)", pid + "time.sleep(3600)")
    for file in lab.folder.glob("*.pid"):
        with pytest.raises(ProcessLookupError):
            os.kill(int(file.read_text()), 0)


def test_what_is_told_says_who_tells_it(lab: Lab) -> None:
    lab.run(told(Note("first")) + DONE, told(Note("second")) + DONE)
    assert {name: fact for name, fact in lab.heard if isinstance(fact, Note)} == {
        "a": Note("first"),
        "b": Note("second"),
    }
    assert json.loads((lab.folder / "a" / "attempt.json").read_text())["config"]["training"]["threads"] == 1
