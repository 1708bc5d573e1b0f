"""Keep the latest training step of an attempt in its `live.json`, for other processes that look at the run."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from smallsight.attempts.conversation import OnProgress
from smallsight.attempts.jobs import Job, Trainer
from smallsight.attempts.messages import Evaluating, SignOfLife, Step, content_of
from smallsight.attempts.spec import AttemptResult, AttemptSpec
from smallsight.files import write_text_atomically
from smallsight.run.folder import RunFolder

LIVE_EVERY_S = 2.0


def live_writer(folder: Path, then: OnProgress) -> OnProgress:
    """A callback for progress messages that writes the latest step of each attempt to its `live.json`.

    It writes at most every `LIVE_EVERY_S` and passes each message on to `then`. A `live.json` in the run folder that
    an earlier process left is removed now.
    """
    RunFolder(folder).live.unlink(missing_ok=True)
    written: dict[Path, float] = {}

    def listen(spec: AttemptSpec, message: SignOfLife) -> None:
        now = time.monotonic()
        if isinstance(message, (Step, Evaluating)) and now - written.get(spec.live, 0.0) >= LIVE_EVERY_S:
            written[spec.live] = now
            whose = {"phase": spec.phase, "attempt": spec.attempt} if spec.beside_others else {}
            write_text_atomically(spec.live, json.dumps({**content_of(message), **whose, "at": time.time()}))
        then(spec, message)

    return listen


def live_removed(train: Trainer) -> Trainer:
    """A trainer after which no attempt that was carried out beside others seems to go on."""

    def without(job: Job) -> Job:
        def end(result: AttemptResult) -> None:
            job.spec.live.unlink(missing_ok=True)
            job.on_end(result)

        return replace(job, on_end=end) if job.spec.beside_others else job

    def watched(jobs: Sequence[Job]) -> None:
        for job in jobs:
            if job.spec.beside_others:
                job.spec.live.unlink(missing_ok=True)  # of an earlier process
        train([without(job) for job in jobs])

    return watched
