"""Events: the facts of a journal, each addressed by the phase and the attempt that it concerns.

`phase` in an event's content is the place of a phase among those that were begun, from 1. `attempt` is the number of
an attempt at it. `rung` and `round_closed` name the round in `round`, its place among the rounds that were begun. What
concerns the run as a whole names none of them: `created`, `budget`, `goal`, `interrupted`, and a decision to stop.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

_OF_PHASE = ("decided", "halted", "phase_closed")
_OF_ATTEMPT = ("attempt_started", "epoch", "ended_early", "fact", "attempt_ended", "attempt_continued")


@dataclass(frozen=True)
class Event:
    """One fact.

    Attributes:
        number: order in the journal, from 1.
        at: seconds since 1970 by the machine's clock; for people, never for decisions.
        elapsed_s: seconds of work on this run up to here, over all its processes; it never runs backwards.
        kind: what happened.
        content: plain JSON values.
    """

    number: int
    at: float
    elapsed_s: float
    kind: str
    content: Mapping[str, Any]


def with_addresses(events: Iterable[Event]) -> Iterator[Event]:
    """The events of a journal, those that 0.1.0 wrote with their addresses.

    0.1.0 wrote none: it worked on one attempt at a time, so an event concerned what was begun last. From the first
    event with an address on, all are passed on as they are. So is content that is not to be understood: the fold
    refuses it.
    """
    phase, attempt, ours = 0, 0, False
    for event in events:
        ours = ours or _is_addressed(event)
        if ours or not _needs_address(event):
            yield event
            continue
        content = event.content
        if event.kind == "decided":
            phase, attempt = phase + 1, 0
        elif event.kind == "attempt_started":
            attempt = content.get("attempt", 0)
        address: dict[str, Any] = {"phase": phase} if event.kind in _OF_PHASE else {"phase": phase, "attempt": attempt}
        if isinstance(content.get("crowned"), Mapping):
            address["crowned"] = {**content["crowned"], "attempt": attempt}
        yield replace(event, content={**content, **address})


def _needs_address(event: Event) -> bool:
    if not isinstance(event.content, Mapping) or event.kind not in (*_OF_PHASE, *_OF_ATTEMPT):
        return False
    decision = event.content.get("decision")
    return event.kind != "decided" or not isinstance(decision, Mapping) or decision.get("action") != "stop"


def _is_addressed(event: Event) -> bool:
    """Whether an event has today's form; 0.1.0 wrote the name of a phase that it closed where the number is now."""
    return _needs_address(event) and not isinstance(event.content.get("phase", ""), str)
