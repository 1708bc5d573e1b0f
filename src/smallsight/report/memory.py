"""What training took of the memory that there is, in a sentence."""

from __future__ import annotations

import math

from smallsight.report.history import History, Memory, PhaseStory


def memory_in_words(history: History) -> str:
    """The phase that took most, beside what its hardest step took when it was tried; empty where nothing is known."""
    known = [phase for phase in history.phases if _taken(phase.memory) > 0]
    if not known:
        return ""
    most: PhaseStory = max(known, key=lambda phase: _taken(phase.memory))
    memory = most.memory
    words = f"Memory: {_gb(_taken(memory))} at most, in phase {most.name}"
    if not math.isnan(memory.probe_mb):
        words += f"; its hardest step, tried before the first one, took {_gb(memory.probe_mb)}"
    return words + (f" of the {_gb(memory.limit_mb)} there may be." if math.isfinite(memory.limit_mb) else ".")


def _taken(memory: Memory) -> float:
    return max((value for value in (memory.peak_mb, memory.probe_mb) if not math.isnan(value)), default=0.0)


def _gb(megabytes: float) -> str:
    return f"{megabytes / 1000:.2f} GB"
