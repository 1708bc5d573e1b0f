"""The parts of `gpu.py` in which something goes wrong on purpose: a kill, and memory that does not suffice."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import torch
from gpu_attempt import probed, tidy
from gpu_figures import Figure, Notes
from gpu_parts import Command, Place
from gpu_plan import Job

from smallsight.detectors.checkpoint import load_checkpoint
from smallsight.errors import RunFolderError
from smallsight.records import EpochRecord
from smallsight.run.fold import read_state
from smallsight.run.state import Attempt

SAVES, SAVES_PER_EPOCH = 2, 4
"""The kill comes after so many of an epoch's checkpoints, in the second epoch."""
FLOOR, FACTOR = 0.01, 3.0
"""A resumed run may differ by so much, relatively, or by so many times what two undisturbed runs differ by."""


def resume(place: Place, notes: Notes) -> None:
    """Kill a run in its second epoch and call it again; two undisturbed runs at the same time say what chance does."""
    job = place.contents.resumed
    every = max(2, place.samples(job) // job.batch // SAVES_PER_EPOCH)
    content = {**place.config(job, num_workers=min(2, place.contents.workers)), "checkpoint": {"every_steps": every}}
    killed, *undisturbed = (Command(content, place.scratch(name)) for name in ("killed", "first", "second"))
    try:
        _wait_for_second_epoch(killed)
        _kill_tree(killed)
        at = load_checkpoint(killed.run / "checkpoint.pth")
        place_of_kill = f"epoch {at['next_epoch']}, {at['skip_batches']} batches trained"
        del at
        killed.start()
        for command in (killed, *undisturbed):
            command.finish()
    finally:
        for command in (killed, *undisturbed):
            if command.process.poll() is None:
                _kill_tree(command)
    first, second, again = (_records(command.run) for command in (*undisturbed, killed))
    _note_resume(notes, job, place_of_kill, first, second, again)


def _note_resume(
    notes: Notes, job: Job, where: str, first: Sequence[EpochRecord], second: Sequence[EpochRecord],
    again: Sequence[EpochRecord],
) -> None:  # fmt: skip
    numbers = [record.epoch for record in again]
    complete = numbers == [record.epoch for record in first] == list(range(1, job.epochs + 1))
    losses = {"first": first, "second": second, "killed": again}
    notes.detail("train_loss", {name: [r.train_loss for r in records] for name, records in losses.items()})
    notes.detail("val_loss", {name: [r.val_loss for r in records] for name, records in losses.items()})
    notes.add(
        Figure("killed in", job.setting, where),
        Figure("epochs recorded", job.setting, ", ".join(map(str, numbers)), target="each once", met=complete),
    )
    for name in ("train_loss", "val_loss"):
        chance, ours = _furthest(first, second, name), min(_furthest(again, other, name) for other in (first, second))
        allowed = max(FLOOR, FACTOR * chance)
        notes.add(
            Figure(f"{name}: two undisturbed runs differ by", job.setting, 100 * chance, "%", job.epochs, "epochs"),
            Figure(f"{name}: the resumed run differs by", job.setting, 100 * ours, "%", job.epochs, "epochs",
                   target=f"at most {100 * allowed:.2g} %", met=ours <= allowed),
        )  # fmt: skip


def _furthest(one: Sequence[EpochRecord], other: Sequence[EpochRecord], name: str) -> float:
    """Largest relative difference over the epochs."""
    pairs = zip(one, other, strict=False)
    return max(abs(getattr(a, name) / getattr(b, name) - 1) for a, b in pairs)


def _records(run: Path) -> Sequence[EpochRecord]:
    return read_state(run).runs[-1].records


def _wait_for_second_epoch(command: Command) -> None:
    """Until so many checkpoints were written after the first epoch was recorded."""
    until = _watchful(command)
    until(lambda: _has_epoch(command.run))
    for _ in range(SAVES):
        before = _stamp(command.run)
        until(lambda before=before: _stamp(command.run) not in (before, None))  # type: ignore[misc]


def _watchful(command: Command) -> Callable[[Callable[[], bool]], None]:
    def until(happened: Callable[[], bool]) -> None:
        while not happened():
            if command.process.poll() is not None:
                command.finish()
                raise RuntimeError("the run ended before it could be killed")
            time.sleep(0.01)

    return until


def _has_epoch(run: Path) -> bool:
    try:
        return bool(read_state(run).runs and read_state(run).runs[-1].records)
    except RunFolderError:  # not begun yet
        return False


def _stamp(run: Path) -> tuple[int, int] | None:
    try:
        found = (run / "checkpoint.pth").stat()
    except FileNotFoundError:  # just between two renames
        return None
    return found.st_ino, found.st_mtime_ns


def _kill_tree(command: Command) -> None:
    for process in (*psutil.Process(command.process.pid).children(recursive=True), command.process):
        try:
            os.kill(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    command.process.wait()


def memory(place: Place, notes: Notes) -> None:
    """Less memory than the batch needs and more than one image does: on a card, because this process holds the rest."""
    job = place.contents.scarce
    one, all_of_it = (
        probed(place.config(replace(job, batch=batch)), place.scratch(f"probe_{batch}")) for batch in (1, job.batch)
    )
    middle = (one + all_of_it) / 2
    notes.detail("probes_mb", {"one": one, "batch": all_of_it})
    notes.add(
        Figure("memory for one image", job.setting, one / 1000, "GB"),
        Figure("memory for the batch", job.setting, all_of_it / 1000, "GB"),
        Figure("memory that is left", job.setting, middle / 1000, "GB"),
    )
    if place.device == "cpu":
        _relieved(notes, job, Command(place.config(job, memory_budget_mb=middle), place.scratch("scarce")))
        return
    tidy()
    free, total = torch.cuda.mem_get_info()
    context_mb = (total - free - torch.cuda.memory_reserved()) / 1e6
    held = torch.empty(max(0, free - int((middle + context_mb) * 1e6)), dtype=torch.uint8, device="cuda")
    notes.detail("held_mb", held.nbytes / 1e6)
    try:
        _relieved(notes, job, Command(place.config(job), place.scratch("scarce")))
    finally:
        del held
        tidy()


def large_batch(place: Place, notes: Notes) -> None:
    """A batch that no card has the memory for."""
    job = place.contents.too_large
    assert job is not None  # else this part is left out
    _relieved(notes, job, Command(place.config(job), place.scratch("large_batch")))


def _relieved(notes: Notes, job: Job, command: Command) -> None:
    """Wait for the run and note how it went on."""
    began = time.monotonic()
    try:
        command.finish()
    finally:
        if command.process.poll() is None:
            _kill_tree(command)
    attempt: Attempt = read_state(command.run).runs[-1].attempts[-1]
    wanted: dict[str, Any] = {"failures": attempt.failures, "settings": dict(attempt.settings)}
    notes.detail("attempt", {**wanted, "messages": [setback.message for setback in attempt.setbacks]})
    ran_out = attempt.failures.count("out_of_memory")
    batch = attempt.settings.get("training.batch_size", job.batch)
    met = attempt.status == "completed" and len(attempt.records) == job.epochs
    notes.add(
        Figure("out of memory", job.setting, ran_out, "times", target="at least once", met=ran_out > 0),
        Figure("batch at the end", job.setting, batch, "images", target="smaller", met=batch < job.batch),
        Figure("the run", job.setting, f"{attempt.status}, {len(attempt.records)} of {job.epochs} epochs",
               target="all epochs", met=met),
        Figure("the command, with the failures", job.setting, time.monotonic() - began, "s"),
    )  # fmt: skip
