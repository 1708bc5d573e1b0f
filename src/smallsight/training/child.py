"""The parent's end: starts the child process of an attempt, passes its events on, and answers it. No torch here.

A child process, because an out-of-memory kill raises no exception, and because it gives all memory back.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from smallsight.attempts import AttemptResult, AttemptSpec
from smallsight.errors import EXIT_DONE, ConfigError, DatasetError, InputError, Interrupted
from smallsight.records import EpochRecord, epoch_record_from_json
from smallsight.training.failures import classify

GRACE_S = 30
"""How long a child may take to save its state after it was asked to stop."""

OnProgress = Callable[[Mapping[str, Any]], None]
OnFact = Callable[[str, Mapping[str, Any]], None]


class ChildTrainer:
    """Carries out attempts, one child process each.

    Args:
        on_progress: gets every event that is no epoch (`step`, `evaluating`).
    """

    def __init__(self, on_progress: OnProgress) -> None:
        self._on_progress = on_progress

    def __call__(self, spec: AttemptSpec, on_epoch: Callable[[EpochRecord], bool], on_fact: OnFact) -> AttemptResult:
        """See `strategy.runner.Trainer`.

        A stop request always ends in `Interrupted`, also where the attempt had just come to its end: the next start
        reports its epochs again and ends at once.

        Raises:
            Interrupted, InputError: see there.
            OSError: the disk is full; once there is room, the attempt goes on where it stood.
        """
        path = spec.save()
        silence_s = float(spec.config["training"]["hang_timeout_s"])
        with _Child(path, spec.log, silence_s) as child:
            last, failed = self._converse(child, on_epoch, on_fact)
            code = child.wait()
        if child.asked_to_stop:
            raise Interrupted(str(last.get("message") or "stopped before the state could be saved"))
        if child.hung:
            return AttemptResult("crashed", f"no sign of life for {silence_s:g} s, so it was killed; see {spec.log}")
        return _result(code, last, failed, spec.log)

    def _converse(
        self, child: _Child, on_epoch: Callable[[EpochRecord], bool], on_fact: OnFact
    ) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        """Handle events until the child closes its pipe; the last one, and the one that told of a failure."""
        go_on = True
        last: Mapping[str, Any] = {}
        failed: Mapping[str, Any] = {}
        for event in child.events():
            last = event
            match event["event"]:
                case "epoch":
                    go_on = on_epoch(epoch_record_from_json(event["record"]))
                case "go_on?":
                    child.answer("go on" if go_on else "end")
                case "failed":
                    failed = event
                case "memory" | "note" as kind:
                    on_fact(kind, {key: value for key, value in event.items() if key != "event"})
                case _:
                    self._on_progress(event)
        return last, failed


class _Child:
    """A worker process with its two pipes; on the way out it is gone, whatever happened.

    Attributes:
        asked_to_stop: a stop request from outside was passed on to it.
        hung: it was silent for longer than `silence_s`, and was killed.
    """

    def __init__(self, spec: Path, log: Path, silence_s: float) -> None:
        events_read, events_write = os.pipe()
        answers_read, answers_write = os.pipe()
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "smallsight.training.worker", str(spec), str(events_write), str(answers_read)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=(events_write, answers_read),
                start_new_session=True,
            )
        os.close(events_write)
        os.close(answers_read)
        self._events = events_read
        self._silence_s = silence_s
        self._answers = os.fdopen(answers_write, "w", encoding="utf-8")
        self.asked_to_stop = self.hung = False

    def __enter__(self) -> _Child:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._kill()
            self._process.wait()
        os.close(self._events)
        try:
            self._answers.close()
        except BrokenPipeError:
            return

    def events(self) -> Iterator[Mapping[str, Any]]:
        """Events as they come. A stop request from outside is passed on to the child, which saves and ends."""
        unread = b""
        with self._signals_passed_on():
            while received := self._received():
                *lines, unread = (unread + received).split(b"\n")
                yield from map(json.loads, lines)

    def _received(self) -> bytes:
        """What the child has written since; nothing once it has closed its pipe, or where it hangs and is killed."""
        ready, _, _ = select.select([self._events], [], [], self._silence_s)
        if not ready:
            self.hung = True
            self._kill()
        return os.read(self._events, 1 << 16)

    def _kill(self) -> None:
        """End the process and those it has started: they hold the pipe too, and may be what hangs."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    @contextmanager
    def _signals_passed_on(self) -> Iterator[None]:
        """Pass SIGINT and SIGTERM on as SIGTERM; kill a child that does not end in time."""

        def pass_on(number: int, frame: FrameType | None) -> None:
            self.asked_to_stop = True
            self._process.terminate()
            signal.alarm(GRACE_S)

        def give_up(number: int, frame: FrameType | None) -> None:
            self._kill()

        handlers = {signal.SIGINT: pass_on, signal.SIGTERM: pass_on, signal.SIGALRM: give_up}
        before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        try:
            yield
        finally:
            signal.alarm(0)
            for number, handler in before.items():
                signal.signal(number, handler)

    def answer(self, text: str) -> None:
        """Answer a question; a child that is already gone needs none."""
        try:
            self._answers.write(text + "\n")
            self._answers.flush()
        except BrokenPipeError:
            return

    def wait(self) -> int:
        """The exit code; a child that has closed its pipe and does not end is killed."""
        try:
            return self._process.wait(timeout=GRACE_S)
        except subprocess.TimeoutExpired:
            self._kill()
            return self._process.wait()


def _result(code: int, last: Mapping[str, Any], failed: Mapping[str, Any], log: Path) -> AttemptResult:
    if code == EXIT_DONE or last.get("event") == "done":  # done is done, even if the process then hung or crashed
        return AttemptResult()
    message = str(failed.get("message", "")) or f"the training process ended with code {code}; see {log}"
    failure = classify(code, str(failed.get("exception", "")), message)
    if failure == "interrupted":
        raise Interrupted(str(last.get("message", "stopped")))
    if failure == "disk_full":
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), failed.get("file"))
    if failure == "bad_data":
        kinds: dict[str, type[InputError]] = {"DatasetError": DatasetError, "ConfigError": ConfigError}
        raise kinds.get(str(failed.get("exception")), InputError)(message)
    return AttemptResult(failure, message)
