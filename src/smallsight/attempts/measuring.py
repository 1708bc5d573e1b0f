"""Evaluate a checkpoint in a process of its own; it can fail in the same ways as an attempt. No torch here."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from smallsight.attempts.child import Workers, result_of
from smallsight.attempts.rendezvous import Rendezvous
from smallsight.attempts.spec import AttemptResult, MeasureSpec
from smallsight.errors import Interrupted
from smallsight.files import write_text_atomically

SILENCE_S = 1e9
"""No limit in practice: the evaluation of a large set may send no message for a long time."""
_ONE_PROCESS = {"device": "auto", "devices": 1, "num_nodes": 1}


def measure_in_child(spec: MeasureSpec, job: Path, log: Path) -> AttemptResult:
    """Evaluate a checkpoint; where the result names no failure, the figures are in `spec.result`.

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
    with Workers(Rendezvous.of(job, _ONE_PROCESS), 0, log, SILENCE_S) as workers:
        messages = list(workers.messages())
        code, failed = workers.outcome()
    if workers.asked_to_stop:
        raise Interrupted("stopped while a checkpoint was measured")
    return result_of(code, messages[-1] if messages else None, failed, log)
