"""Processes of a run in which the faults of a plan happen.

`python -m faults.process PLAN optimize ...` is `smallsight optimize ...`, and its workers are started the same way.
Where the caller has loaded everything already (`warm`), processes are forked from it instead, which saves the seconds
that loading PyTorch takes at each start; what they then do is the same.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, BinaryIO

from faults.kinds import FaultPlan, arm_runner, arm_worker

HERE = "faults.process"
TESTS = Path(__file__).parents[1]


class Forked:
    """As much of `subprocess.Popen` as is used, for a fork of this process that calls `main`."""

    def __init__(self, main: Callable[[], int], output: BinaryIO, pass_fds: Sequence[int] = ()) -> None:
        self.returncode: int | None = None
        sys.stdout.flush()
        self.pid = os.fork()
        if self.pid == 0:
            self._become(main, output, pass_fds)

    def _become(self, main: Callable[[], int], output: BinaryIO, pass_fds: Sequence[int]) -> None:
        code = 70
        try:
            os.setsid()
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM):
                signal.signal(number, signal.SIG_DFL)
            signal.alarm(0)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.dup2(output.fileno(), 1)
            os.dup2(output.fileno(), 2)
            for number in [int(entry.name) for entry in Path("/proc/self/fd").iterdir()]:
                if number > 2 and number not in pass_fds:
                    with contextlib.suppress(OSError):
                        os.close(number)
            code = main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def poll(self) -> int | None:
        if self.returncode is None:
            self._collect(os.WNOHANG)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        deadline = None if timeout is None else time.monotonic() + timeout
        while self.poll() is None:
            if deadline is not None and time.monotonic() > deadline:
                raise subprocess.TimeoutExpired("forked", timeout or 0.0)
            time.sleep(0.01)
        assert self.returncode is not None
        return self.returncode

    def _collect(self, options: int) -> None:
        pid, status = os.waitpid(self.pid, options)
        if pid:
            self.returncode = os.waitstatus_to_exitcode(status)

    def terminate(self) -> None:
        self._send(signal.SIGTERM)

    def kill(self) -> None:
        self._send(signal.SIGKILL)

    def _send(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)


def load_everything() -> None:
    """So that forks have it."""
    import smallsight.commands.report
    import smallsight.commands.train
    import smallsight.training.fit
    import smallsight.training.worker  # noqa: F401


def start(plan: FaultPlan, arguments: Sequence[str], log: Path, *, warm: bool) -> Any:
    """Start the command with the faults of a plan; a `Popen`, or what is like one."""
    with log.open("ab") as output:
        if warm:
            return Forked(lambda: run_command(plan, arguments, warm=True), output)
        command = [sys.executable, "-m", HERE, str(plan.save()), *arguments]
        paths = os.pathsep.join([str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])])
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": paths},
        )


def run_command(plan: FaultPlan, arguments: Sequence[str], *, warm: bool) -> int:
    """The command line, in this process."""
    from smallsight import cli
    from smallsight.attempts import workers

    arm_runner(plan)
    names = {"DEVNULL": subprocess.DEVNULL, "TimeoutExpired": subprocess.TimeoutExpired}
    workers.subprocess = SimpleNamespace(Popen=_worker_of(plan, warm=warm), **names)  # type: ignore[assignment]
    sys.argv = ["smallsight", *arguments]
    cli.main()
    return 0


def _worker_of(plan: FaultPlan, *, warm: bool) -> Callable[..., Any]:
    popen = subprocess.Popen

    def instead(command: Sequence[str], **options: Any) -> Any:
        told = list(command[2:])  # after "python -m": the module and its arguments
        if not warm:
            return popen([sys.executable, "-m", HERE, str(plan.save()), *told], **options)
        return Forked(lambda: run_worker(plan, told[1:]), options["stdout"], options["pass_fds"])

    return instead


def run_worker(plan: FaultPlan, arguments: Sequence[str]) -> int:
    """A worker, in this process."""
    from smallsight.training import worker

    arm_worker(plan)
    return worker.main(list(arguments))


if __name__ == "__main__":
    THE_PLAN = FaultPlan.load(Path(sys.argv[1]))
    if sys.argv[2] == "smallsight.training.worker":
        sys.exit(run_worker(THE_PLAN, sys.argv[3:]))
    sys.exit(run_command(THE_PLAN, sys.argv[2:], warm=False))
