"""Events as 0.1.0 wrote them."""

from __future__ import annotations

from collections.abc import Iterable

from smallsight.run.events import Event

ADDRESSED = ("attempt_started", "epoch", "ended_early", "fact", "attempt_ended", "attempt_continued")


def as_in_0_1_0(events: Iterable[Event]) -> list[Event]:
    """The events as 0.1.0 would have written them."""
    names: list[str] = []
    found = []
    for event in events:
        content = dict(event.content)
        if event.kind == "decided" and content["decision"]["action"] == "run":
            names.append(content["decision"]["phase"])
        if event.kind in (*ADDRESSED, "decided", "halted", "phase_closed"):
            content.pop("phase", None)
        if event.kind in ADDRESSED and event.kind != "attempt_started":
            del content["attempt"]
        if event.kind == "phase_closed":
            content["phase"] = names[-1]
            if content["crowned"]:
                content["crowned"] = {k: v for k, v in content["crowned"].items() if k != "attempt"}
        found.append(Event(event.number, event.at, event.elapsed_s, event.kind, content))
    return found
