"""Keep the latest training step of an attempt in its `live.json`, for other processes that look at the run."""

from __future__ import annotations

import json
import time
from pathlib import Path

from smallsight.attempts.child import OnProgress
from smallsight.attempts.messages import Evaluating, SignOfLife, Step, content_of
from smallsight.attempts.spec import AttemptSpec
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
            write_text_atomically(spec.live, json.dumps({**content_of(message), "at": time.time()}))
        then(spec, message)

    return listen
