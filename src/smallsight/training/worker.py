"""The child process: one attempt, or one measurement, from its specification to an exit code.

It writes messages to one pipe and reads the answers from another. It ends with its parent; otherwise it would go on
training beside the attempt that follows.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import signal
import sys
import time
import traceback
import warnings
from pathlib import Path
from types import FrameType

from smallsight.attempts.messages import Alive, AsksToGoOn, Done, Failed, Message, Stopped, encode
from smallsight.attempts.signals import handle_stops, stops_interrupt
from smallsight.attempts.spec import AttemptSpec, MeasureSpec, load_spec
from smallsight.errors import EXIT_DONE, EXIT_FAILED, EXIT_INTERRUPTED, Interrupted, SmallsightError

_PR_SET_PDEATHSIG = 1
ALIVE_EVERY_S = 5.0


class PipeChannel:
    """The worker's end of the two pipes."""

    def __init__(self, events: int, answers: int) -> None:
        self._events = os.fdopen(events, "w", encoding="utf-8")
        self._answers = os.fdopen(answers, encoding="utf-8")
        self._stop = False
        self._told = time.monotonic()

    def tell(self, message: Message) -> None:
        """Write one message; where the runner is gone, the broken pipe ends this process."""
        self._told = time.monotonic()
        self._events.write(encode(message) + "\n")
        self._events.flush()

    def ask_to_go_on(self) -> bool:
        """Wait for the runner's answer to the epoch just reported."""
        self.tell(AsksToGoOn())
        return self._answers.readline().strip() == "go on"

    def stop_requested(self) -> bool:
        """Whether a signal asked for a stop. All long work calls this, so it also sends the runner a sign of life."""
        if time.monotonic() - self._told > ALIVE_EVERY_S:
            self.tell(Alive())
        return self._stop

    def listen_to_signals(self) -> None:
        """Turn signals to stop into a stop request, which the attempt follows after its next step."""

        def request(number: int, frame: FrameType | None) -> None:
            self._stop = True

        handle_stops(request)


def main(arguments: list[str]) -> int:
    """Run `worker SPEC EVENTS_FD ANSWERS_FD`; returns the exit code."""
    _die_with_parent()
    channel = PipeChannel(int(arguments[1]), int(arguments[2]))
    channel.listen_to_signals()
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    try:
        _run(load_spec(Path(arguments[0])), channel)
    except Interrupted as error:
        channel.tell(Stopped(str(error)))
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        return EXIT_FAILED
    except Exception as error:
        with contextlib.suppress(BrokenPipeError):
            channel.tell(_failed(error))
        with contextlib.suppress(OSError):  # the log may lie on a full disk
            traceback.print_exc()
        return error.exit_code if isinstance(error, SmallsightError) else EXIT_FAILED
    channel.tell(Done())
    return EXIT_DONE


def _failed(error: Exception) -> Failed:
    file = error.filename if isinstance(error, OSError) else None
    return Failed(type(error).__name__, str(error), str(file) if file else None)


def _run(spec: AttemptSpec | MeasureSpec, channel: PipeChannel) -> None:
    # The slow imports are here, after the signal handlers are set.
    from smallsight.training.fit import run_attempt
    from smallsight.training.measure import write_figures

    if channel.stop_requested():
        raise Interrupted("stopped before the training began")
    if isinstance(spec, MeasureSpec):
        with stops_interrupt():  # there is nothing to save
            write_figures(spec)
    else:
        run_attempt(spec, channel)


def _die_with_parent() -> None:
    """Ask Linux to kill this process when its parent dies; elsewhere a broken pipe ends it."""
    if sys.platform == "linux":
        parent = os.getppid()
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(EXIT_FAILED)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
