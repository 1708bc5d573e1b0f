"""The parent's end of an attempt, against child processes that behave in every odd way."""

from __future__ import annotations

import errno
import itertools
import json
import select
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from smallsight.attempts import child, local, workers
from smallsight.attempts.messages import Alive, Done, EpochDone, Memory, NotAMessage, Note, Probe, content_of
from smallsight.attempts.spec import AttemptResult, AttemptSpec
from smallsight.errors import ConfigError, InputError, Interrupted
from smallsight.records import EpochRecord, Estimate
from waiting import HANGS_S, until_gone

DONE = content_of(Done())
EPOCH = content_of(EpochDone(EpochRecord(1, "demo", 1, {"map_small": Estimate(0.5)})))
WORKER = """\
import json, os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
events, end = json.loads(sys.argv[1])
pipe = os.fdopen(int(sys.argv[3]), "w")
for event in events:
    pipe.write(json.dumps(event) + "\\n")
pipe.flush()
if not end.startswith("with the pipe open: "):
    pipe.close()
exec(end.removeprefix("with the pipe open: "))
"""
SLEEPS_WITH_THE_PIPE = "with the pipe open: (os.fork(), time.sleep(600))"
"""A process that a hung worker has started, for example one that loads data, holds the pipe as well."""


@pytest.fixture
def worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., AttemptResult]:
    """Runs an attempt whose child tells `events` and then does `end`."""

    def run(
        events: Sequence[Any],
        end: str,
        on_epoch: Callable[[EpochRecord], bool] | None = None,
        facts: list[Any] | None = None,
        hang_timeout_s: float = HANGS_S,
        devices: int = 1,
    ) -> AttemptResult:
        config = {"training": {"hang_timeout_s": hang_timeout_s, "device": "cpu", "devices": devices}}
        spec = AttemptSpec("r", str(tmp_path), str(tmp_path / "attempt_1"), "demo", 1, config, 1, 1, "scratch")
        popen = workers.subprocess.Popen

        def instead(command: list[str], **options: Any) -> Any:
            return popen([sys.executable, "-c", WORKER, json.dumps([events, end]), *command[3:]], **options)

        monkeypatch.setattr(workers.subprocess, "Popen", instead)
        try:
            keep = [] if facts is None else facts
            return child.ChildTrainer(lambda *_: None)(spec, on_epoch or (lambda record: True), keep.append)
        finally:
            monkeypatch.setattr(workers.subprocess, "Popen", popen)

    return run


@pytest.mark.parametrize(
    ("events", "end", "failure"),
    [
        ([EPOCH, DONE], "", ""),
        ([EPOCH, DONE], "os.kill(os.getpid(), signal.SIGSEGV)", ""),
        ([EPOCH], "os.kill(os.getpid(), signal.SIGSEGV)", "crashed"),
        ([EPOCH], "os.kill(os.getpid(), signal.SIGKILL)", "out_of_memory"),
        ([{"event": "failed", "exception": "NotANumber", "message": "nan"}], "sys.exit(1)", "not_a_number"),
    ],
)
def test_how_an_attempt_ended(
    worker: Callable[..., AttemptResult], events: Sequence[Any], end: str, failure: str
) -> None:
    assert worker(events, end).failure == failure


def test_an_attempt_that_is_done_and_hangs_is_done(
    worker: Callable[..., AttemptResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "GRACE_S", 0.5)
    assert worker([EPOCH, DONE], "time.sleep(60)") == AttemptResult()


@pytest.mark.parametrize("end", ["", "sys.exit(3)", "sys.exit(1)"])
def test_a_stop_request_at_the_very_end_is_honoured(worker: Callable[..., AttemptResult], end: str) -> None:
    """The child may have ended well already; its parent was asked to stop all the same."""

    def stop(record: EpochRecord) -> bool:
        signal.raise_signal(signal.SIGTERM)
        return False

    with pytest.raises(Interrupted):
        worker([EPOCH, DONE], end, stop)


@pytest.mark.parametrize(("exception", "kind"), [("ConfigError", ConfigError), ("Other", InputError)])
def test_wrong_input_is_raised(worker: Callable[..., AttemptResult], exception: str, kind: type[Exception]) -> None:
    with pytest.raises(kind, match="no CUDA here"):
        worker([{"event": "failed", "exception": exception, "message": "no CUDA here"}], "sys.exit(2)")


def test_facts_are_passed_on(worker: Callable[..., AttemptResult]) -> None:
    facts: list[Any] = []
    worker(
        [content_of(Memory(Probe(1, 7.0, 9.0))), content_of(Alive()), content_of(Note("n")), DONE],
        "",
        None,
        facts,
    )
    assert facts == [Memory(Probe(1, 7.0, 9.0)), Note("n")]


def test_a_silent_worker_is_killed_with_all_that_it_started(
    worker: Callable[..., AttemptResult], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It sleeps for as long as a test may take, and so does what it has started, with the pipe open as well."""
    family = tmp_path / "pids"
    note = f"print(os.getpid(), file=open({str(family)!r}, 'a'))"
    end = f"with the pipe open: os.fork(); {note}; time.sleep(3600)"

    def silence(pipes: Any, *_: Any) -> Any:
        """Nothing is to be read once both sleep, however long the timeout."""
        while True:
            ready = select.select(pipes, [], [], 0.05)
            if ready[0] or (family.is_file() and len(family.read_text().split()) == 2):
                return ready

    monkeypatch.setattr(workers, "select", SimpleNamespace(select=silence))
    result = worker([EPOCH], end, hang_timeout_s=7.0)
    assert result.failure == "crashed" and "no sign of life for 7 s, so it was killed" in result.message
    until_gone(map(int, family.read_text().split()))


def test_a_worker_may_be_silent_for_so_long_after_each_of_its_words(
    worker: Callable[..., AttemptResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock goes on by 4 s whenever it is looked at, so 7 s are over after the second look without a word."""
    clock = itertools.count(0.0, 4.0)
    patience: list[float] = []

    def ready(pipes: Any, write: Any, wrong: Any, timeout: float) -> Any:
        patience.append(timeout)
        return select.select(pipes, write, wrong)

    monkeypatch.setattr(workers, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    monkeypatch.setattr(workers, "select", SimpleNamespace(select=ready))
    assert worker([EPOCH, DONE], "", hang_timeout_s=7.0) == AttemptResult()
    assert set(patience) == {3.0}


def test_a_worker_that_takes_longer_than_it_may_is_killed_though_it_talks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock stands until the child has spoken once, then the time is up; by itself it would talk for an hour."""
    popen, spoken = workers.subprocess.Popen, threading.Event()
    talk = 'import os, sys\nwhile True: os.write(int(sys.argv[1]), b\'{"event": "alive"}\\n\')'

    def instead(command: list[str], **options: Any) -> Any:
        return popen([sys.executable, "-c", talk, command[-2]], **options)

    monkeypatch.setattr(workers.subprocess, "Popen", instead)
    monkeypatch.setattr(workers, "time", SimpleNamespace(monotonic=lambda: 60.0 if spoken.is_set() else 0.0))
    config = {"training": {"hang_timeout_s": HANGS_S, "device": "cpu", "devices": 1}}
    spec = AttemptSpec("r", str(tmp_path), str(tmp_path / "attempt_1"), "demo", 1, config, 1, 1, "scratch")
    result = child.ChildTrainer(lambda *_: spoken.set(), 60.0)(spec, lambda record: True, lambda *_: None)
    assert result.failure == "crashed" and result.message.startswith("not done within 60 s, so it was killed")


def test_who_was_killed_is_the_cause_and_not_who_lost_the_connection(
    worker: Callable[..., AttemptResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the runner is so slow that it learns of both at once."""
    lost = {"event": "failed", "exception": "RuntimeError", "message": "Connection closed by peer"}
    end = f"""with the pipe open: if os.environ["RANK"] == "1":
    os.kill(os.getpid(), signal.SIGKILL)
print(json.dumps({lost}), file=pipe, flush=True)
time.sleep(3600)"""

    def both(pipes: Any, write: Any, wrong: Any, timeout: float) -> Any:
        while len(ready := select.select(pipes, [], [], 0.01)[0]) < len(pipes):
            continue
        return ready, [], []

    monkeypatch.setattr(workers, "select", SimpleNamespace(select=both))
    assert worker([], end, devices=2).failure == "out_of_memory"


def test_a_stop_request_is_given_its_time_and_no_more(
    worker: Callable[..., AttemptResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker ignores SIGTERM here; it has until the grace of whoever sent it is over."""
    monkeypatch.setattr(local, "GRACE_S", 1)

    def stop(record: EpochRecord) -> bool:
        signal.raise_signal(signal.SIGTERM)
        return True

    with pytest.raises(Interrupted, match="stopped before the state could be saved"):
        worker([EPOCH], SLEEPS_WITH_THE_PIPE, stop)


def test_a_full_disk_is_no_failure_of_the_attempt(worker: Callable[..., AttemptResult]) -> None:
    told = {"exception": "OSError", "message": "[Errno 28] No space left on device: '/run/x.pth'", "file": "/run/x.pth"}
    with pytest.raises(OSError, match="No space left on device") as caught:
        worker([EPOCH, {"event": "failed", **told}], "sys.exit(1)")
    assert caught.value.errno == errno.ENOSPC and caught.value.filename == "/run/x.pth"


def test_another_line_in_the_pipe_is_no_message(worker: Callable[..., AttemptResult]) -> None:
    """What a library prints goes to the log: it does not know the pipe."""
    with pytest.raises(NotAMessage, match="Loading weights"):
        worker([], "with the pipe open: os.write(int(sys.argv[3]), b'Loading weights\\n')")
    assert worker([DONE], "print('Loading weights')") == AttemptResult()
