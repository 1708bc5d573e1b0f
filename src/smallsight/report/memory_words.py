"""The peak memory of training against its limit, in a sentence."""

from __future__ import annotations

import math

from smallsight.report.history import History, PhaseMemory, PhaseStory


def memory_in_words(history: History) -> str:
    """The phase with the highest peak, and the peak predicted for it; empty where nothing is known."""
    known = [phase for phase in history.phases if _taken(phase.memory) > 0]
    if not known:
        return ""
    most: PhaseStory = max(known, key=lambda phase: _taken(phase.memory))
    memory = most.memory
    limit = f" of the {_gb(memory.limit_mb)} that may be used" if math.isfinite(memory.limit_mb) else ""
    if math.isnan(memory.peak_mb):
        return f"Memory: phase {most.name} is expected to take {_gb(memory.probe_mb)}{limit}."
    expected = "" if math.isnan(memory.probe_mb) else f"; {_gb(memory.probe_mb)} were expected before its first step"
    return f"Memory: at most {_gb(memory.peak_mb)}{limit}, in phase {most.name}{expected}."


def _taken(memory: PhaseMemory) -> float:
    """The measured peak, or the predicted one where no epoch was measured, MB; 0 where neither is known."""
    return next((value for value in (memory.peak_mb, memory.probe_mb) if not math.isnan(value)), 0.0)


def _gb(megabytes: float) -> str:
    return f"{megabytes / 1000:.2f} GB"
