"""The parent's end of an attempt, against child processes that behave in every odd way."""

from __future__ import annotations

import errno
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from smallsight.attempts import AttemptResult, AttemptSpec
from smallsight.errors import ConfigError, InputError, Interrupted
from smallsight.records import EpochRecord, Estimate, to_json
from smallsight.training import child

DONE = {"event": "done"}
EPOCH = {"event": "epoch", "record": to_json(EpochRecord(1, "demo", 1, {"map_small": Estimate(0.5)}))}
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
        hang_timeout_s: float = 60.0,
    ) -> AttemptResult:
        config = {"training": {"hang_timeout_s": hang_timeout_s}}
        spec = AttemptSpec("r", str(tmp_path), str(tmp_path / "attempt_1"), "demo", 1, config, 1, 1, "scratch")
        popen = child.subprocess.Popen

        def instead(command: list[str], **options: Any) -> Any:
            return popen([sys.executable, "-c", WORKER, json.dumps([events, end]), *command[3:]], **options)

        monkeypatch.setattr(child.subprocess, "Popen", instead)
        try:
            keep = [] if facts is None else facts
            return child.ChildTrainer(lambda event: None)(
                spec, on_epoch or (lambda record: True), lambda kind, content: keep.append((kind, content))
            )
        finally:
            monkeypatch.setattr(child.subprocess, "Popen", popen)

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
    monkeypatch.setattr(child, "GRACE_S", 0.5)
    assert worker([EPOCH, DONE], "time.sleep(60)") == AttemptResult()


@pytest.mark.parametrize("end", ["", "sys.exit(3)", "sys.exit(1)"])
def test_a_stop_request_at_the_very_end_is_honoured(worker: Callable[..., AttemptResult], end: str) -> None:
    """The child may have ended well already; its parent was asked to stop all the same."""

    def stop(record: EpochRecord) -> bool:
        os.kill(os.getpid(), signal.SIGTERM)
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
        [{"event": "memory", "probe": {"peak_mb": 7}}, {"event": "alive"}, {"event": "note", "text": "n"}, DONE],
        "",
        None,
        facts,
    )
    assert facts == [("memory", {"probe": {"peak_mb": 7}}), ("note", {"text": "n"})]


@pytest.mark.parametrize("end", ["with the pipe open: time.sleep(600)", SLEEPS_WITH_THE_PIPE])
def test_a_silent_worker_is_killed_with_all_that_it_started(worker: Callable[..., AttemptResult], end: str) -> None:
    before = time.monotonic()
    result = worker([EPOCH], end, hang_timeout_s=2.0)
    assert result.failure == "crashed" and "no sign of life for 2 s, so it was killed" in result.message
    assert time.monotonic() - before < 60


def test_a_stop_request_is_given_its_time_and_no_more(
    worker: Callable[..., AttemptResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker ignores SIGTERM here; it has until the grace of whoever sent it is over."""
    monkeypatch.setattr(child, "GRACE_S", 1)

    def stop(record: EpochRecord) -> bool:
        os.kill(os.getpid(), signal.SIGTERM)
        return True

    with pytest.raises(Interrupted, match="stopped before the state could be saved"):
        worker([EPOCH], SLEEPS_WITH_THE_PIPE, stop)


def test_a_full_disk_is_no_failure_of_the_attempt(worker: Callable[..., AttemptResult]) -> None:
    told = {"exception": "OSError", "message": "[Errno 28] No space left on device: '/run/x.pth'", "file": "/run/x.pth"}
    with pytest.raises(OSError, match="No space left on device") as caught:
        worker([EPOCH, {"event": "failed", **told}], "sys.exit(1)")
    assert caught.value.errno == errno.ENOSPC and caught.value.filename == "/run/x.pth"
