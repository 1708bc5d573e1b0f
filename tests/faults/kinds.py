"""The faults: what each does to a run, in which process, and how the command then ends.

They are armed in processes that `faults.process` starts. Nothing in the package knows of them: a normal run has no
place where a fault could come in.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from smallsight.errors import EXIT_DONE, EXIT_FAILED, EXIT_INTERRUPTED

KILLED = -signal.SIGKILL
FULL = OSError(28, "No space left on device")


@dataclass(frozen=True)
class Kind:
    """How a run takes a fault.

    Attributes:
        end: exit code of the command.
        exact: whether the end of the run is the same to the bit; else memory or the rate was given up, on purpose.
        crash: whether the phase counts it as a crash; two of them need an epoch between them.
    """

    end: int = EXIT_DONE
    exact: bool = True
    crash: bool = False


KINDS: Mapping[str, Kind] = {
    "worker crashes": Kind(crash=True),
    "exception in a step": Kind(crash=True),
    "GPU disappears": Kind(crash=True),
    "worker hangs": Kind(crash=True),
    "data loader dies": Kind(crash=True),
    "CUDA out of memory": Kind(exact=False),
    "MemoryError": Kind(exact=False),
    "worker killed by the host": Kind(exact=False),
    "loss is no number": Kind(exact=False),
    "disk full for the worker": Kind(EXIT_FAILED),
    "disk full for the runner": Kind(EXIT_FAILED),
    "disk full for the journal": Kind(EXIT_FAILED),
    "SIGTERM": Kind(EXIT_INTERRUPTED),
    "SIGTERM in a slow step": Kind(EXIT_INTERRUPTED),
    "SIGINT": Kind(EXIT_INTERRUPTED),
    "power cut": Kind(KILLED),
    "runner killed": Kind(KILLED),
    "power cut in a transaction": Kind(KILLED),
    "checkpoint cut short": Kind(KILLED),
    "checkpoint with a flipped bit": Kind(KILLED),
    "champion damaged": Kind(KILLED),
    "data changed": Kind(KILLED),
    "journal locked": Kind(KILLED),
    "second runner": Kind(),
    "clock jumps": Kind(),
}


@dataclass(frozen=True)
class Fault:
    """One fault of a plan.

    Attributes:
        number: in the plan.
        kind: a key of `KINDS`.
        epoch, batch: when it happens in the training.
        delay_s: how long after that, so that a signal falls on a save, an evaluation or the end of an epoch as well.
        count: for what happens at the n-th write or event.
    """

    number: int
    kind: str
    epoch: int
    batch: int
    delay_s: float
    count: int


@dataclass(frozen=True)
class FaultPlan:
    """The faults of one run, and the folder in which each leaves a mark when it happens, so that it does so once."""

    folder: Path
    faults: tuple[Fault, ...]

    def save(self) -> Path:
        path = self.folder / "plan.json"
        path.write_text(json.dumps([asdict(fault) for fault in self.faults]))
        return path

    @staticmethod
    def load(path: Path) -> FaultPlan:
        return FaultPlan(path.parent, tuple(Fault(**item) for item in json.loads(path.read_text())))

    def take(self, fault: Fault) -> bool:
        """Whether it happens now, for the first time."""
        try:
            (self.folder / f"happened_{fault.number}").touch(exist_ok=False)
        except FileExistsError:
            return False
        return True

    def happened(self) -> list[Fault]:
        """Those that have happened."""
        return [fault for fault in self.faults if (self.folder / f"happened_{fault.number}").exists()]


def arm_worker(plan: FaultPlan) -> None:
    """Let the faults of a plan happen in this process, which trains."""
    from smallsight.training import fit
    from smallsight.training.loader import EpochSamples
    from smallsight.training.module import TrainingModule

    _jump_clock(plan)
    begin, step, sample = fit._Conduct.on_train_batch_start, TrainingModule.training_step, EpochSamples.__getitem__
    epoch = 0

    def batch_start(self: Any, trainer: Any, module: Any, batch: Any, batch_idx: int) -> None:
        nonlocal epoch
        begin(self, trainer, module, batch, batch_idx)
        epoch = self.state.epoch
        for fault in plan.faults:
            at = fault.epoch == epoch and fault.batch <= self.state.module.meter.batches
            if at and fault.kind in IN_TRAINING and plan.take(fault):
                IN_TRAINING[fault.kind](fault, self.state)

    def training_step(self: Any, batch: Any, batch_idx: int) -> Any:
        place = self.meter.batches
        loss = step(self, batch, batch_idx)
        with (plan.folder / "steps.txt").open("a") as log:
            log.write(f"{epoch} {place} {float(loss.detach()).hex()}\n")
        return loss

    def getitem(self: Any, position: int) -> Any:
        from torch.utils.data import get_worker_info

        for fault in plan.faults if get_worker_info() is not None else ():
            at = self._key[1] == fault.epoch and position // self._batch_size >= fault.batch
            if fault.kind == "data loader dies" and at and plan.take(fault):
                os._exit(7)
        return sample(self, position)

    fit._Conduct.on_train_batch_start = batch_start  # type: ignore[method-assign]
    TrainingModule.training_step = training_step  # type: ignore[method-assign]
    EpochSamples.__getitem__ = getitem  # type: ignore[method-assign]


def arm_runner(plan: FaultPlan) -> None:
    """Let the faults of a plan happen in this process, which decides and keeps the journal."""
    from smallsight.run import journal as module

    _jump_clock(plan)
    module.PATIENCE_S = 1
    append, events = module.Journal.append, 0

    def appending(self: Any, kind: str, **content: Any) -> Any:
        nonlocal events
        events += 1
        for fault in plan.faults:
            if fault.kind in IN_JOURNAL and events == fault.count and plan.take(fault):
                content = IN_JOURNAL[fault.kind](self._connection, content)
        return append(self, kind, **content)

    module.Journal.append = appending  # type: ignore[method-assign]


def _jump_clock(plan: FaultPlan) -> None:
    for fault in plan.faults:
        if fault.kind == "clock jumps":
            plan.take(fault)
            real, by_s = time.time, random.Random(fault.number + os.getpid()).uniform(-1e8, 1e8)
            time.time = lambda: real() + by_s  # noqa: B023


def _raise(error: Exception) -> Callable[[Fault, Any], None]:
    def act(fault: Fault, state: Any) -> None:
        raise error

    return act


def _signal(*numbers: tuple[str, int]) -> Callable[[Fault, Any], None]:
    """Send signals to the runner or to this worker, a little later."""

    def act(fault: Fault, state: Any) -> None:
        pids = {"runner": os.getppid(), "worker": os.getpid()}

        def send() -> None:
            for whom, number in numbers:
                os.kill(pids[whom], number)

        threading.Timer(fault.delay_s, send).start()

    return act


def _slow_stop(fault: Fault, state: Any) -> None:
    os.kill(os.getppid(), signal.SIGTERM)
    time.sleep(4)


def _spoil_loss(fault: Fault, state: Any) -> None:
    from smallsight.detectors.base import Losses

    detector, losses = state.module.detector, state.module.detector.losses

    def broken(*arguments: Any) -> Losses:
        del detector.__dict__["losses"]
        whole = losses(*arguments)
        return Losses({name: part * float("nan") for name, part in whole.parts.items()}, whole.tiny_share)

    detector.__dict__["losses"] = broken


def _fill_disk(skip: int) -> None:
    """Let one of the next writes of this process fail, as where the disk is full."""
    fsync = os.fsync
    left = skip

    def full(descriptor: int) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            os.fsync = fsync
            raise OSError(*FULL.args)
        fsync(descriptor)

    os.fsync = full


def _tear(connection: sqlite3.Connection, content: Mapping[str, Any]) -> Mapping[str, Any]:
    """Half a transaction reaches the disk."""
    connection.execute("pragma cache_size=1")
    connection.execute("begin")
    connection.execute("update events set kind = 'half'")
    connection.execute("insert into events (at, elapsed_s, kind, content) values (0, 0, 'half', ?)", ("x" * 50_000,))
    os.kill(os.getpid(), signal.SIGKILL)
    return content


def _fill_journal(connection: sqlite3.Connection, content: Mapping[str, Any]) -> Mapping[str, Any]:
    pages = connection.execute("pragma page_count").fetchone()[0]
    connection.execute(f"pragma max_page_count={pages}")
    return {**content, "padding": "x" * 50_000}


def _fill_disk_of_runner(connection: sqlite3.Connection, content: Mapping[str, Any]) -> Mapping[str, Any]:
    _fill_disk(0)
    return content


POWER_CUT = _signal(("runner", signal.SIGKILL), ("worker", signal.SIGKILL))
IN_TRAINING: Mapping[str, Callable[[Fault, Any], None]] = {
    "worker crashes": lambda fault, state: os.abort(),
    "exception in a step": _raise(ValueError("a fault")),
    "GPU disappears": _raise(RuntimeError("CUDA error: no CUDA-capable device is detected")),
    "worker hangs": lambda fault, state: time.sleep(3600),
    "CUDA out of memory": _raise(RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")),
    "MemoryError": _raise(MemoryError()),
    "worker killed by the host": _signal(("worker", signal.SIGKILL)),
    "loss is no number": _spoil_loss,
    "disk full for the worker": lambda fault, state: _fill_disk(fault.count % 4),
    "SIGTERM": _signal(("runner", signal.SIGTERM)),
    "SIGTERM in a slow step": _slow_stop,
    "SIGINT": _signal(("runner", signal.SIGINT)),
    "power cut": POWER_CUT,
    "runner killed": _signal(("runner", signal.SIGKILL)),
    "checkpoint cut short": POWER_CUT,
    "checkpoint with a flipped bit": POWER_CUT,
    "champion damaged": POWER_CUT,
    "data changed": POWER_CUT,
    "journal locked": POWER_CUT,
    "second runner": lambda fault, state: time.sleep(1),
}
IN_JOURNAL: Mapping[str, Callable[[sqlite3.Connection, Mapping[str, Any]], Mapping[str, Any]]] = {
    "power cut in a transaction": _tear,
    "disk full for the journal": _fill_journal,
    "disk full for the runner": _fill_disk_of_runner,
}
