"""Which signals are requests to stop, and which one is left alone where it is ignored."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from smallsight.attempts.signals import cause_of, handle_stops
from smallsight.training.worker import PipeChannel

STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """A hang-up as a terminal's user gets it, also where the tests ignore it (`nohup make test`)."""
    before = {number: signal.getsignal(number) for number in STOPS}
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", STOPS, ids=lambda number: number.name)
def test_each_of_them_is_a_request(number: signal.Signals) -> None:
    seen: list[int] = []
    before = handle_stops(lambda number, frame: seen.append(number))
    signal.raise_signal(number)
    assert seen == [number]
    assert set(before) == set(STOPS) and before[signal.SIGHUP] == signal.SIG_DFL, "to be put back"


def test_an_ignored_hang_up_stays_ignored() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    seen: list[int] = []
    before = handle_stops(lambda number, frame: seen.append(number))
    signal.raise_signal(signal.SIGHUP)
    assert seen == [] and set(before) == {signal.SIGINT, signal.SIGTERM}


@pytest.mark.parametrize("number", STOPS, ids=lambda number: number.name)
def test_a_training_process_stops_at_its_next_step(number: signal.Signals) -> None:
    read, write = os.pipe()
    channel = PipeChannel(write, read)
    channel.listen_to_signals()
    assert not channel.stop_requested()
    signal.raise_signal(number)
    assert channel.stop_requested()
    channel._events.close()
    channel._answers.close()


@pytest.mark.parametrize(
    ("number", "cause"),
    [
        (signal.SIGINT, "stopped by the user"),
        (signal.SIGTERM, "stopped by the system"),
        (signal.SIGHUP, "stopped because its terminal was closed"),
    ],
)
def test_who_asked(number: int, cause: str) -> None:
    assert cause_of(number) == cause
