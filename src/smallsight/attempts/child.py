"""The parent's side: starts the processes of an attempt, passes their messages on, and answers them. No torch here.

Training runs in processes of its own, because an out-of-memory kill raises no exception, and because a process that
ends gives all its memory back.
"""

from __future__ import annotations

import contextlib
import errno
import math
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import FrameType

from smallsight.attempts.failures import classify
from smallsight.attempts.messages import (
    Alive,
    AsksToGoOn,
    Done,
    EpochDone,
    Evaluating,
    Fact,
    Failed,
    Message,
    Note,
    SignOfLife,
    Step,
    Stopped,
    Stopping,
    decode,
)
from smallsight.attempts.rendezvous import DOOR, Rendezvous, open_door
from smallsight.attempts.signals import handle_stops
from smallsight.attempts.spec import AttemptResult, AttemptSpec
from smallsight.errors import (
    EXIT_DONE,
    EXIT_INTERRUPTED,
    CheckpointError,
    ConfigError,
    DatasetError,
    InputError,
    Interrupted,
)
from smallsight.records import EpochRecord

GRACE_S = 30
"""Time that a child may take to save its state after it was asked to stop."""

WORD_WITHIN_S = 5.0
"""Time to wait, after a lost connection, for the failure that another machine writes."""

OnEpoch = Callable[[EpochRecord], bool]
OnFact = Callable[[Fact], None]
OnProgress = Callable[[AttemptSpec, SignOfLife], None]


class ChildTrainer:
    """Carries out attempts, one child process for each device.

    Args:
        on_progress: called with an attempt and each of its signs of life.
        limit_s: an attempt that takes longer is killed, and counts as crashed.
    """

    def __init__(self, on_progress: OnProgress, limit_s: float = math.inf) -> None:
        self._on_progress, self._limit_s = on_progress, limit_s

    def __call__(self, spec: AttemptSpec, on_epoch: OnEpoch, on_fact: OnFact) -> AttemptResult:
        """See `strategy.runner.Trainer`.

        A stop request always raises `Interrupted`, even where the attempt had just ended: after a restart it reports
        its epochs again and ends at once.

        Raises:
            Interrupted, InputError: see there.
            OSError: the disk is full; once there is room, the attempt can be continued.
        """
        door = open_door(spec.config["training"])
        meeting = Rendezvous.of(spec.save(), spec.config["training"], door)
        silence_s = float(spec.config["training"]["hang_timeout_s"])
        if meeting.nodes > 1:
            commands = (f"smallsight join {spec.run_folder} --node {node}" for node in range(1, meeting.nodes))
            on_fact(Note(f"Waiting for the other machines: {', '.join(commands)}."))
        with (
            _announced(meeting, Path(spec.run_folder)),
            Workers(meeting, 0, spec.log, silence_s, door, partial(self._on_progress, spec, Stopping())) as workers,
        ):
            last = self._converse(spec, workers, on_epoch, on_fact)
            code, failed = _outcome(workers, meeting)
        if workers.asked_to_stop:
            raise Interrupted(_how_it_stopped(last))
        if workers.killed_because:
            return AttemptResult("crashed", f"{workers.killed_because}, so it was killed; see {spec.log}")
        return result_of(code, last, failed, spec.log)

    def _converse(self, spec: AttemptSpec, workers: Workers, on_epoch: OnEpoch, on_fact: OnFact) -> Message | None:
        """Handle the leader's messages until all pipes are closed; returns the last message."""
        go_on = True
        last: Message | None = None
        for last in workers.messages(self._limit_s):
            match last:
                case EpochDone(record):
                    go_on = on_epoch(record)
                case AsksToGoOn():
                    workers.answer("go on" if go_on else "end")
                case Step() | Evaluating() | Alive() | Stopping():
                    self._on_progress(spec, last)
                case Stopped() | Done() | Failed():
                    continue
                case _:
                    on_fact(last)
        return last


@contextmanager
def _announced(meeting: Rendezvous, folder: Path) -> Iterator[None]:
    """Announce the rendezvous to other machines, where they take part, for the length of the block."""
    if meeting.nodes == 1:
        yield
        return
    path = meeting.announce(folder)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


class _Worker:
    """One process with its two pipes."""

    def __init__(self, spec: str, environment: Mapping[str, str], log: Path, door: socket.socket | None) -> None:
        doors = {} if door is None else {DOOR: str(door.fileno())}
        self.pipe, pipe_write = os.pipe()
        answers_read, answers_write = os.pipe()
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "smallsight.training.worker", spec, str(pipe_write), str(answers_read)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=(pipe_write, answers_read, *map(int, doors.values())),
                start_new_session=True,
                env={**environment, **doors, "PYTHONIOENCODING": "utf-8:backslashreplace"},
            )
        os.close(pipe_write)
        os.close(answers_read)
        self.answers = os.fdopen(answers_write, "w", encoding="utf-8")
        self.failure: Failed | None = None
        self._unread = b""

    def said(self, received: bytes) -> list[Message]:
        """The messages that are complete with the bytes `received`; a reported failure is stored.

        Raises:
            NotAMessage: something else was written into the pipe. (Output of libraries goes to the log.)
        """
        *lines, self._unread = (self._unread + received).split(b"\n")
        messages = [decode(line) for line in lines]
        self.failure = next((message for message in messages if isinstance(message, Failed)), self.failure)
        return messages

    def kill(self) -> None:
        """End the process and its children: they hold the pipe too, and one of them may be what hangs."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def exit_code(self) -> int:
        """Wait for the exit code; a process that has closed its pipe and does not end is killed."""
        try:
            return self.process.wait(timeout=GRACE_S)
        except subprocess.TimeoutExpired:
            self.kill()
            return self.process.wait()

    def clear_away(self) -> None:
        """Make sure that the process is gone."""
        if self.process.poll() is None:
            self.kill()
            self.process.wait()
        os.close(self.pipe)
        with contextlib.suppress(BrokenPipeError):
            self.answers.close()


class Workers:
    """An attempt's processes on this machine; the first one leads. Where one fails, all end.

    Args:
        meeting: their rendezvous.
        node: number of this machine in it.
        log: file for what they print.
        silence_s: a leader that sends no message for this long counts as hanging. It also waits, and so sends nothing,
            where another process hangs.
        door: the socket that the leader will listen on; this process closes its copy.
        on_stop: called once, when the first stop request is passed on.

    Attributes:
        asked_to_stop: a stop request from outside was passed on to them.
        killed_because: the leader was silent for longer than `silence_s`, or time was up; empty where neither was.
    """

    def __init__(
        self,
        meeting: Rendezvous,
        node: int,
        log: Path,
        silence_s: float,
        door: socket.socket | None = None,
        on_stop: Callable[[], None] = lambda: None,
    ) -> None:
        self._workers: list[_Worker] = []
        self._silence_s, self._on_stop = silence_s, on_stop
        self._culprit: _Worker | None = None
        self.asked_to_stop, self.killed_because = False, ""
        try:
            for environment in meeting.environments(node):
                leads = node == 0 and not self._workers
                self._workers.append(_Worker(meeting.spec, environment, log, door if leads else None))
        except BaseException:
            self.__exit__()
            raise
        finally:
            if door is not None:
                door.close()  # the leader has it

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.clear_away()

    def messages(self, limit_s: float = math.inf) -> Iterator[Message]:
        """The leader's messages, as they come. A stop request is passed on to the processes, which save and end.

        Args:
            limit_s: after this time all processes are killed.
        """
        leader, talking = self._workers[0], {worker.pipe: worker for worker in self._workers}
        heard = time.monotonic()
        until = heard + limit_s
        with self._signals_passed_on():
            while talking:
                now, silent_until = time.monotonic(), heard + self._silence_s
                ready, _, _ = select.select(list(talking), [], [], max(0.0, min(silent_until, until) - now))
                if not ready or now >= until:
                    late = until <= max(now, silent_until)
                    silent = f"no sign of life for {self._silence_s:g} s"
                    self.killed_because = f"not done within {limit_s:.0f} s" if late else silent
                    _kill(self._workers)
                    return
                received = [(talking[pipe], os.read(pipe, 1 << 16)) for pipe in ready]
                # An end without a message comes first: the others then report only that they lost the connection.
                for worker, words in sorted(received, key=lambda item: bool(item[1])):
                    messages = self._heard(worker, words)
                    if messages is None:
                        del talking[worker.pipe]
                    elif worker is leader:
                        yield from messages
                        heard = time.monotonic()

    def _heard(self, worker: _Worker, received: bytes) -> list[Message] | None:
        """The messages in the bytes that a worker has written since; None once it has closed its pipe.

        The first process to fail is taken as the cause; the others fail because of it, or would wait for it. After one
        that stops, they get time to save.
        """
        messages = worker.said(received) if received else None
        failed = worker.failure is not None
        if messages is None and len(self._workers) > 1 and worker.exit_code() not in (EXIT_DONE, EXIT_INTERRUPTED):
            failed = True
            _kill([other for other in self._workers if other not in (worker, self._culprit)])
        if failed and self._culprit is None:
            self._culprit = worker
        return messages

    @contextmanager
    def _signals_passed_on(self) -> Iterator[None]:
        """Pass a stop request on as SIGTERM; kill processes that do not end in time."""

        def pass_on(number: int, frame: FrameType | None) -> None:
            if not self.asked_to_stop:
                self._on_stop()
            self.asked_to_stop = True
            for worker in self._workers:
                worker.process.terminate()
            signal.alarm(GRACE_S)

        def give_up(number: int, frame: FrameType | None) -> None:
            _kill(self._workers)

        before = {**handle_stops(pass_on), signal.SIGALRM: signal.signal(signal.SIGALRM, give_up)}
        try:
            yield
        finally:
            signal.alarm(0)
            for number, handler in before.items():
                signal.signal(number, handler)

    def answer(self, text: str) -> None:
        """Answer the leader's question; nothing happens where it has already ended."""
        answers = self._workers[0].answers
        with contextlib.suppress(BrokenPipeError):
            answers.write(text + "\n")
            answers.flush()

    def outcome(self) -> tuple[int, Failed | None]:
        """Exit code and reported failure of the first process that failed, else of the leader."""
        worker = self._culprit or self._workers[0]
        return worker.exit_code(), worker.failure


def _outcome(workers: Workers, meeting: Rendezvous) -> tuple[int, Failed | None]:
    """Exit code and reported failure of the first failure; that of another machine may arrive a little later."""
    code, failed = workers.outcome()
    until = time.monotonic() + WORD_WITHIN_S
    while meeting.nodes > 1 and code not in (EXIT_DONE, EXIT_INTERRUPTED):
        if word := meeting.failure_of_others():
            return word
        if time.monotonic() > until:
            break
        time.sleep(0.1)
    return code, failed


def _kill(workers: Sequence[_Worker]) -> None:
    for worker in workers:
        worker.kill()


def _how_it_stopped(last: Message | None) -> str:
    if isinstance(last, Stopped):
        return last.message
    done = isinstance(last, Done)
    return "stopped when the attempt had just ended" if done else "stopped before the state could be saved"


def result_of(code: int, last: Message | None, failed: Failed | None, log: Path) -> AttemptResult:
    """How a process ended.

    Args:
        code: its exit code.
        last: its last message.
        failed: the failure that it named, if any.
        log: what it printed.
    Raises:
        Interrupted, InputError, OSError: see `ChildTrainer`.
    """
    if code == EXIT_DONE or isinstance(last, Done):  # it was done, even if the process then hung or crashed
        return AttemptResult()
    failed = failed or Failed()
    message = failed.message or f"the process ended with code {code}; see {log}"
    failure = classify(code, failed.exception, message)
    if failure == "interrupted":
        raise Interrupted(last.message if isinstance(last, Stopped) else "stopped")
    if failure == "disk_full":
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), failed.file)
    if failure == "bad_data":
        kinds: dict[str, type[InputError]] = {
            kind.__name__: kind for kind in (CheckpointError, ConfigError, DatasetError)
        }
        raise kinds.get(failed.exception, InputError)(message)
    return AttemptResult(failure, message)
