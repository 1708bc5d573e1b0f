"""`python -m stand_in optimize ...`: the command line, with a stand-in for the process that trains.

It loads no torch, finds every ball, and waits in each epoch until the file `go_on` lies in the working directory, and
before its first step while `not_yet` lies there. Where there is `crash`, it crashes.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from smallsight.attempts import messages, workers
from smallsight.attempts.spec import AttemptSpec
from smallsight.data.coco import read_coco
from smallsight.errors import EXIT_DONE, EXIT_INTERRUPTED
from smallsight.evaluation.detections_file import save_detections
from smallsight.records import Detections, EpochRecord, Estimate
from smallsight.training.worker import PipeChannel

WORKER = "the worker"


class Stopped(Exception):
    """A signal asked for it."""


def work(spec: AttemptSpec, channel: PipeChannel) -> None:
    """An attempt; one that is only rehearsed tells nothing."""
    if spec.rehearses:
        return
    valid = read_coco(Path(spec.config["dataset"]["coco_val_path"]))
    found = [Detections(t.boxes, np.full(len(t), 0.9, dtype=np.float32), t.labels) for t in valid.truths]
    assert not Path("crash").exists(), "as asked"
    _wait(channel, lambda: not Path("not_yet").exists())
    for epoch in range(spec.first_epoch, spec.last_epoch + 1):
        channel.tell(messages.Step(epoch, spec.last_epoch, 1, 2, losses={}, learning_rate=0.1, memory_mb=100.0))
        _wait(channel, Path("go_on").exists)
        save_detections(spec.detections(epoch), found, [image.id for image in valid.images])
        spec.best.write_text("weights")
        metrics = {name: Estimate(0.5) for name in ("map_small", "map_50_95")}
        record = EpochRecord(epoch, spec.phase, spec.attempt, metrics, seconds=1.0)
        channel.tell(messages.EpochDone(record))
        if not channel.ask_to_go_on():
            return


def _wait(channel: PipeChannel, until: Callable[[], bool]) -> None:
    while not until():
        if channel.stop_requested():
            raise Stopped
        time.sleep(0.02)


def main(arguments: Sequence[str]) -> int:
    if arguments[0] == WORKER:
        channel = PipeChannel(int(arguments[2]), int(arguments[3]))
        channel.listen_to_signals()
        try:
            work(AttemptSpec.load(Path(arguments[1])), channel)
        except Stopped:
            channel.tell(messages.Stopped("stopped where it stood"))
            return EXIT_INTERRUPTED
        channel.tell(messages.Done())
        return EXIT_DONE
    from smallsight import cli

    popen = subprocess.Popen

    def instead(command: Sequence[str], **options: Any) -> Any:
        return popen([sys.executable, "-m", "stand_in", WORKER, *command[3:]], **options)

    names = {"DEVNULL": subprocess.DEVNULL, "TimeoutExpired": subprocess.TimeoutExpired}
    workers.subprocess = SimpleNamespace(Popen=instead, **names)  # type: ignore[assignment]
    sys.argv = ["smallsight", *arguments]
    cli.main()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
