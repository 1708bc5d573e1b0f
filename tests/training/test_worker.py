"""The worker's end: what it tells of a failure, also where nothing can be written any more."""

from __future__ import annotations

import io
import os
import signal
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from smallsight.attempts.messages import Done, Failed, Message, Stopped
from smallsight.attempts.spec import AttemptSpec, MeasureSpec
from smallsight.errors import DatasetError, Interrupted
from smallsight.training import worker


def run(error: Exception | None, monkeypatch: pytest.MonkeyPatch, folder: Path) -> tuple[int, list[Message]]:
    """A worker whose attempt ends with `error`: its exit code and what it told."""
    told: list[Message] = []

    def instead(*_: Any) -> None:
        if error:
            raise error

    channel = SimpleNamespace(listen_to_signals=lambda: None, tell=told.append)
    monkeypatch.setattr(worker, "_die_with_parent", lambda: None)
    monkeypatch.setattr(worker, "PipeChannel", lambda *_: channel)
    monkeypatch.setattr(worker, "_run", instead)
    spec = AttemptSpec("r", str(folder), str(folder / "attempt_1"), "demo", 1, {}, 1, 1, "scratch").save()
    return worker.main([str(spec), "0", "0"]), told


def test_a_measurement_ends_at_once_when_it_is_asked_to_stop(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It has nothing to save, so nothing asks whether to stop."""
    went_on: list[int] = []

    def measure(spec: MeasureSpec) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        went_on.append(1)

    monkeypatch.setattr("smallsight.training.measure.write_figures", measure)
    spec = MeasureSpec("a.pth", "data", str(tmp_path / "figures.json"), 100, 4.0, "cpu")
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Interrupted, match="stopped by the system"):
        worker._run(spec, SimpleNamespace(stop_requested=lambda: False))  # type: ignore[arg-type]
    assert went_on == [] and signal.getsignal(signal.SIGTERM) == before


FULL = OSError(28, "No space left on device", "/run/checkpoint.pth")


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (None, 0, Done()),
        (Interrupted("stopped"), 3, Stopped("stopped")),
        (DatasetError("a"), 2, Failed("DatasetError", "a")),
        (MemoryError(), 1, Failed("MemoryError", "")),
        (FULL, 1, Failed("OSError", str(FULL), "/run/checkpoint.pth")),
    ],
)
def test_how_it_ends(
    error: Exception | None, code: int, told: Message, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert run(error, monkeypatch, tmp_path) == (code, [told])


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has a device that is always full")
def test_a_log_on_a_full_disk_hides_no_failure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with Path("/dev/full").open("wb", buffering=0) as raw:
        monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(raw, write_through=True))
        with pytest.raises(OSError, match="No space"):
            sys.stderr.write("x")
        code, told = run(FULL, monkeypatch, tmp_path)
    assert code == 1 and told == [Failed("OSError", str(FULL), "/run/checkpoint.pth")]
