"""Keep the latest training step in `live.json`, for other processes that look at the run."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from smallsight.files import write_text_atomically
from smallsight.run.folder import LIVE_FILE

LIVE_EVERY_S = 2.0


def live_writer(folder: Path, then: Callable[[Mapping[str, Any]], None]) -> Callable[[Mapping[str, Any]], None]:
    """A listener to training steps that leaves the latest one in `folder`, and passes each on to `then`.

    What an earlier process has left there is removed.
    """
    (folder / LIVE_FILE).unlink(missing_ok=True)
    written = 0.0

    def listen(event: Mapping[str, Any]) -> None:
        nonlocal written
        now = time.monotonic()
        if event["event"] in ("step", "evaluating") and now - written >= LIVE_EVERY_S:
            written = now
            write_text_atomically(folder / LIVE_FILE, json.dumps({**event, "at": time.time()}))
        then(event)

    return listen
