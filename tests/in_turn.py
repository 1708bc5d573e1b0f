"""Stand-ins for the trainer of this machine that carry out one attempt after another, as a class of the test says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from smallsight.attempts.jobs import CarryOut, OneAfterAnother


def one_at_a_time(kind: Callable[[Any], CarryOut]) -> Callable[..., OneAfterAnother]:
    """Instead of `LocalTrainer`; `kind` gets the listener to progress."""
    return lambda on_progress, workers=None: OneAfterAnother(kind(on_progress))
