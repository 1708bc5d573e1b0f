"""Requests to stop: Ctrl-C, the system's, and a terminal that is closed."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, NoReturn

from smallsight.errors import Interrupted

Handler = Callable[[int, FrameType | None], Any]


def handle_stops(handler: Handler) -> dict[int, Any]:
    """Call `handler` for SIGINT, SIGTERM and SIGHUP; returns the previous handlers by number, to be restored.

    Where SIGHUP is ignored, as under `nohup`, it stays ignored.
    """
    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    return {number: signal.signal(number, handler) for number in numbers}


def cause_of(number: int) -> str:
    """Who asked for the stop, in words."""
    causes = {signal.SIGINT: "stopped by the user", signal.SIGHUP: "stopped because its terminal was closed"}
    return causes.get(signal.Signals(number), "stopped by the system")


def interrupt(number: int, frame: FrameType | None) -> NoReturn:
    """A signal handler that ends the current work.

    Raises:
        Interrupted: always.
    """
    raise Interrupted(cause_of(number))


@contextlib.contextmanager
def stops_interrupt() -> Iterator[None]:
    """In this block a request to stop raises `Interrupted`; afterwards the previous handlers are restored."""
    before = handle_stops(interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
