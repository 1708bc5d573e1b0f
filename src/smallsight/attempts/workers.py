"""An attempt's processes on one machine: started, heard, stopped and ended. No torch here.

Processes of their own, because an out-of-memory kill raises no exception, and because they give all memory back.
"""

from __future__ import annotations

import contextlib
import math
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

from smallsight.attempts.messages import Failed, Message, decode
from smallsight.attempts.rendezvous import DOOR, Rendezvous
from smallsight.errors import EXIT_DONE, EXIT_INTERRUPTED

GRACE_S = 30
"""Time that a child may take to save its state after it was asked to stop."""


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
        log: file for what they print.
        silence_s: a leader that sends no message for this long counts as hanging. It also waits, and so sends nothing,
            where another process hangs.
        limit_s: after this time all processes are killed.
        door: the socket that the leader will listen on; this process closes its copy.
        variables: of their environment, beside this process's own.
        node: which of the meeting's machines this is.

    Attributes:
        killed_because: the leader was silent for longer than `silence_s`, or time was up; empty where neither was.
    """

    def __init__(
        self,
        meeting: Rendezvous,
        log: Path,
        silence_s: float,
        *,
        limit_s: float = math.inf,
        door: socket.socket | None = None,
        variables: Mapping[str, str] | None = None,
        node: int = 0,
    ) -> None:
        self._workers: list[_Worker] = []
        self._silence_s, self._limit_s = silence_s, limit_s
        self._culprit: _Worker | None = None
        self.killed_because = ""
        try:
            for environment in meeting.environments(node):
                leads = node == 0 and not self._workers
                environment = {**environment, **(variables or {})}
                self._workers.append(_Worker(meeting.spec, environment, log, door if leads else None))
        except BaseException:
            self.clear_away()
            raise
        finally:
            if door is not None:
                door.close()  # the leader has it
        self._talking = {worker.pipe: worker for worker in self._workers}
        self._heard = time.monotonic()
        self.until = self._heard + limit_s

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        self.clear_away()

    def clear_away(self) -> None:
        """Make sure that all processes are gone."""
        for worker in self._workers:
            worker.clear_away()

    @property
    def pipes(self) -> Collection[int]:
        """Descriptors of those that may still say something; none once all have ended."""
        return self._talking.keys()

    @property
    def due(self) -> float:
        """When they are killed if the leader says nothing until then, on the monotonic clock."""
        return min(self._heard + self._silence_s, self.until)

    def hear(self, ready: Collection[int]) -> Iterator[Message]:
        """The leader's messages in what has come in the pipes that are `ready`."""
        received = [(worker, os.read(pipe, 1 << 16)) for pipe, worker in list(self._talking.items()) if pipe in ready]
        # An end without a message comes first: the others then report only that they lost the connection.
        for worker, words in sorted(received, key=lambda item: bool(item[1])):
            messages = self._heard_from(worker, words)
            if messages is None:
                self._talking.pop(worker.pipe, None)
            elif worker is self._workers[0]:
                yield from messages
                self._heard = time.monotonic()

    def _heard_from(self, worker: _Worker, received: bytes) -> list[Message] | None:
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

    def kill_late(self) -> None:
        """Kill those that are `due`, and hear no more of them."""
        late = self.until <= self._heard + self._silence_s
        silent = f"no sign of life for {self._silence_s:g} s"
        self.killed_because = f"not done within {self._limit_s:.0f} s" if late else silent
        self.kill()
        self._talking.clear()

    def stop(self) -> None:
        """Ask all to save their state and to end."""
        for worker in self._workers:
            worker.process.terminate()

    def kill(self) -> None:
        """End all at once; their pipes are closed then."""
        _kill(self._workers)

    def answer(self, text: str) -> None:
        """Answer the leader's question; nothing happens where it has already ended."""
        self._heard = time.monotonic()  # whoever waits for an answer is silent
        answers = self._workers[0].answers
        with contextlib.suppress(BrokenPipeError):
            answers.write(text + "\n")
            answers.flush()

    def outcome(self) -> tuple[int, Failed | None]:
        """Exit code and reported failure of the first process that failed, else of the leader."""
        worker = self._culprit or self._workers[0]
        return worker.exit_code(), worker.failure


def _kill(workers: Sequence[_Worker]) -> None:
    for worker in workers:
        worker.kill()


def wait_for(attempts: Sequence[Workers], at_most_s: float = math.inf) -> set[int]:
    """Wait until one of several attempts says something; the pipes that are ready. Those that are late are killed.

    Args:
        attempts: each with open pipes.
        at_most_s: how long to wait.
    """
    now = time.monotonic()
    due = min(each.due for each in attempts)
    pipes = [pipe for each in attempts for pipe in each.pipes]
    ready = set(select.select(pipes, [], [], max(0.0, min(due - now, at_most_s)))[0])
    reached = now if ready or due - now > at_most_s else due
    for each in attempts:
        if now >= each.until or (each.due <= reached and not ready & set(each.pipes)):
            each.kill_late()
    return ready
