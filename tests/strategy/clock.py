"""The journal's clock, moved by training alone."""

from __future__ import annotations

from types import SimpleNamespace

import pytest


class Clock:
    """Stands still but for `pass_by`; s."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        fake = SimpleNamespace(monotonic=lambda: self.now, time=lambda: 0.0)
        monkeypatch.setattr("smallsight.run.journal.time", fake)

    def pass_by(self, seconds: float) -> None:
        """Let time go by."""
        self.now += seconds
