"""A checkpoint measured in a process of its own, with the failures of an attempt. No torch here."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from smallsight.attempts.conversation import result_of
from smallsight.attempts.local import heard
from smallsight.attempts.rendezvous import Rendezvous
from smallsight.attempts.spec import AttemptResult, MeasureSpec
from smallsight.attempts.workers import Workers
from smallsight.errors import Interrupted
from smallsight.files import write_text_atomically

SILENCE_S = 1e9
"""No limit in practice: the evaluation of a large set may send no message for a long time."""


def measure_in_child(spec: MeasureSpec, job: Path, log: Path) -> AttemptResult:
    """Measure a checkpoint; where the result names no failure, the figures are in `spec.result`.

    Args:
        spec: what to measure.
        job: where to write the specification for the process.
        log: file for what the process prints.
    Raises:
        Interrupted: a stop was requested.
        InputError: the checkpoint or the data can't be used.
        OSError: the disk is full.
    """
    write_text_atomically(job, json.dumps(asdict(spec)))
    with Workers(Rendezvous(str(job)), log, SILENCE_S) as workers:
        messages, asked_to_stop = heard(workers)
        code, failed = workers.outcome()
    if asked_to_stop:
        raise Interrupted("stopped while a checkpoint was measured")
    return result_of(code, messages[-1] if messages else None, failed, log)
