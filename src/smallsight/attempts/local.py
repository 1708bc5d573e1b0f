"""Carries out attempts on this machine, several at the same time where there are places. No torch here."""

from __future__ import annotations

import math
import signal
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

from smallsight.attempts.conversation import Conversation, OnProgress
from smallsight.attempts.jobs import Job
from smallsight.attempts.messages import Message, Stopping
from smallsight.attempts.places import Machine, places_of, shared_out, this_machine, variables_of
from smallsight.attempts.rendezvous import Rendezvous, open_door
from smallsight.attempts.signals import handle_stops
from smallsight.attempts.workers import GRACE_S, Workers, wait_for
from smallsight.errors import ConfigError, Interrupted, SmallsightError


class Stops:
    """Requests to stop.

    Attributes:
        asked: there was one.
    """

    asked = False


@contextmanager
def stops_passed_on(attempts: Sequence[Workers], on_stop: Callable[[], None] = lambda: None) -> Iterator[Stops]:
    """Pass requests to stop on to attempts as SIGTERM; kill processes that do not end in time.

    Args:
        attempts: those that are open when a request comes.
        on_stop: called once, before the first request is passed on.
    """
    stops = Stops()

    def pass_on(number: int, frame: FrameType | None) -> None:
        if not stops.asked:
            on_stop()
        stops.asked = True
        _stop(attempts)

    def give_up(number: int, frame: FrameType | None) -> None:
        for each in attempts:
            each.kill()

    before = {**handle_stops(pass_on), signal.SIGALRM: signal.signal(signal.SIGALRM, give_up)}
    try:
        yield stops
    finally:
        signal.alarm(0)
        for number, handler in before.items():
            signal.signal(number, handler)


def _stop(attempts: Sequence[Workers]) -> None:
    for each in attempts:
        each.stop()
    signal.alarm(GRACE_S)


def heard(workers: Workers) -> tuple[list[Message], bool]:
    """All messages of processes that ask nothing, and whether there was a request to stop."""
    messages: list[Message] = []
    with stops_passed_on([workers]) as stops:
        while workers.pipes:
            messages += workers.hear(wait_for([workers]))
    return messages, stops.asked


@dataclass(frozen=True)
class _Open:
    """An attempt that is being carried out."""

    conversation: Conversation
    workers: Workers
    place: int


class LocalTrainer:
    """Carries out attempts, each with one child process for each of its devices.

    Args:
        on_progress: gets an attempt's signs of life, with the attempt.
        workers: how many attempts at the same time; None for as many as `places_of` finds.
        limit_s: an attempt that takes longer is killed, and has crashed.
    """

    def __init__(self, on_progress: OnProgress, workers: int | None = None, limit_s: float = math.inf) -> None:
        self._on_progress, self._workers, self._limit_s = on_progress, workers, limit_s

    def __call__(self, jobs: Sequence[Job]) -> None:
        """See `Trainer`.

        A stop request always ends in `Interrupted`, also where an attempt had just come to its end: the next start
        reports its epochs again and ends at once.
        """
        if jobs:
            _Together(jobs, self._on_progress, this_machine(), self._workers, self._limit_s).carry_out()


class _Together:
    """Some jobs, as many of them open as there are places."""

    def __init__(
        self, jobs: Sequence[Job], on_progress: OnProgress, machine: Machine, workers: int | None, limit_s: float
    ) -> None:
        self._waiting, self._on_progress, self._machine, self._limit_s = deque(jobs), on_progress, machine, limit_s
        beside = all(job.spec.beside_others for job in jobs)
        count = places_of(jobs[0].spec.config["training"], machine, workers) if beside else 1
        self._free = list(range(min(count, len(jobs))))
        self._open: list[_Open] = []
        self._processes: list[Workers] = []
        self._error: Exception | None = None
        self._stopped: list[str] = []

    def carry_out(self) -> None:
        """Until all have ended, or have saved and stopped."""
        try:
            with stops_passed_on(self._processes, self._say_stopping) as self._stops:
                while self._open or (self._waiting and not self._ends):
                    while self._waiting and self._free and not self._ends:
                        job = self._waiting.popleft()
                        with self._keeping_its_error():
                            if job.may_begin():
                                self._start(job)
                    if self._open:
                        self._hear()
        finally:
            for each in self._processes:
                each.clear_away()
        if self._error is not None:
            raise self._error
        if self._stops.asked:
            raise Interrupted("; ".join(self._stopped) or "stopped before an attempt began")

    @property
    def _ends(self) -> bool:
        return self._stops.asked or self._error is not None

    def _say_stopping(self) -> None:
        for each in self._open[:1]:
            self._on_progress(each.conversation.job.spec, Stopping())

    @contextmanager
    def _keeping_its_error(self) -> Iterator[None]:
        """What ends one attempt and the run lets the others save first."""
        try:
            yield
        except (SmallsightError, OSError) as error:
            if self._error is None:
                self._error = error
                _stop(self._processes)

    def _start(self, job: Job) -> None:
        spec = shared_out(job.spec, bool(self._machine.cuda))
        training = spec.config["training"]
        if training.get("num_nodes", 1) > 1:
            raise ConfigError("training.num_nodes: several machines need Ray. Add --workers auto or ray://HOST:10001.")
        place, door = self._free.pop(0), open_door(training)
        workers = Workers(
            Rendezvous.of(spec.save(), training, door),
            spec.log,
            float(training["hang_timeout_s"]),
            limit_s=self._limit_s,
            door=door,
            variables=variables_of(spec, place, self._machine),
        )
        self._processes.append(workers)
        self._open.append(_Open(Conversation(job, self._on_progress), workers, place))
        if self._stops.asked:  # it came too early for the signal
            workers.stop()

    def _hear(self) -> None:
        """Pass on what has come; close the attempts that have ended."""
        ready = wait_for(self._processes)
        for each in list(self._open):
            with self._keeping_its_error():
                try:
                    for message in each.workers.hear(ready):
                        answer = each.conversation.hear(message)
                        if answer is not None:
                            each.workers.answer(answer)
                except BaseException:
                    self._close(each)
                    raise
                if not each.workers.pipes:
                    self._end(each)

    def _close(self, each: _Open) -> None:
        self._open.remove(each)
        self._processes.remove(each.workers)
        self._free.append(each.place)
        each.workers.clear_away()

    def _end(self, each: _Open) -> None:
        code, failed = each.workers.outcome()
        self._close(each)
        if self._ends:
            self._stopped.append(each.conversation.how_it_stopped())
            return
        job = each.conversation.job
        job.on_end(each.conversation.result(code, failed, each.workers.killed_because))
