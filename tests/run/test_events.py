"""Addresses of events; journals of 0.1.0, whose events had none, give the same states."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from run.earlier import as_in_0_1_0
from smallsight.errors import RunFolderError
from smallsight.run.events import Event, with_addresses
from smallsight.run.fold import fold
from smallsight.run.journal import Journal
from strategy.lab import Fuse
from strategy.test_recovery import RUNS


@pytest.fixture(params=RUNS, ids=lambda run: run.__name__)
def events(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Event, ...]:
    """All events of a run."""
    run: Callable[..., Any] = request.param
    lab, act = run(tmp_path / "run", Fuse())
    act()
    with Journal(lab.folder / "journal.sqlite", read_only=True) as journal:
        return journal.events()


def test_events_of_0_1_0_get_their_addresses(events: tuple[Event, ...]) -> None:
    assert tuple(with_addresses(as_in_0_1_0(events))) == events


def test_a_run_that_0_1_0_began_goes_on_with_addresses(events: tuple[Event, ...]) -> None:
    for begun in range(len(events)):
        mixed = [*as_in_0_1_0(events[:begun]), *events[begun:]]
        assert fold(with_addresses(mixed)) == fold(events)


def test_events_with_addresses_stay_as_they_are(events: tuple[Event, ...]) -> None:
    assert tuple(with_addresses(events)) == events


def test_an_address_that_is_lost_is_not_made_up(events: tuple[Event, ...]) -> None:
    (at, *_) = (at for at, event in enumerate(events) if event.kind == "epoch")
    lost = {name: value for name, value in events[at].content.items() if name != "phase"}
    damaged = [*events[:at], Event(at + 1, 0.0, 0.0, "epoch", lost), *events[at + 1 :]]
    with pytest.raises(RunFolderError, match=rf"event {at + 1} \(epoch\) has no 'phase'"):
        fold(with_addresses(damaged))


@pytest.mark.parametrize("content", [[], 5, None, "x", {}, {"decision": 5}, {"decision": {}}, {"crowned": 5}])
@pytest.mark.parametrize("kind", ["decided", "epoch", "phase_closed", "attempt_started"])
def test_what_is_not_to_be_understood_is_left_to_the_fold(kind: str, content: Any) -> None:
    events = list(with_addresses([Event(1, 0.0, 0.0, kind, content)]))
    assert len(events) == 1
    with pytest.raises(RunFolderError, match=rf"event 1 \({kind}\)"):
        fold(events)
