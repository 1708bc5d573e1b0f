"""The parent's end of an attempt, against child processes that behave in every odd way."""

from __future__ import annotations

import json
import os
import signal
import sys
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
pipe.close()
exec(end)
"""


@pytest.fixture
def worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., AttemptResult]:
    """Runs an attempt whose child tells `events` and then does `end`."""
    spec = AttemptSpec("r", str(tmp_path), str(tmp_path / "attempt_1"), "demo", 1, {}, 1, 1, "scratch")

    def run(events: Sequence[Any], end: str, on_epoch: Callable[[EpochRecord], bool] | None = None) -> AttemptResult:
        popen = child.subprocess.Popen

        def instead(command: list[str], **options: Any) -> Any:
            return popen([sys.executable, "-c", WORKER, json.dumps([events, end]), *command[3:]], **options)

        monkeypatch.setattr(child.subprocess, "Popen", instead)
        try:
            return child.ChildTrainer(lambda event: None)(spec, on_epoch or (lambda record: True))
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
