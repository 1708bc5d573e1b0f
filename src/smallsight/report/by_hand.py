"""What a report says of phases by hand: their names, what the shipped strategy expects of them, commands to go on."""

from __future__ import annotations

import contextlib
import shlex
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from smallsight.config.load import Config, build_config, with_settings
from smallsight.errors import ConfigError
from smallsight.report.history import NextCommand
from smallsight.run.checkpoints import kept_start
from smallsight.run.folder import RunFolder
from smallsight.run.state import PhaseRun, State
from smallsight.strategy.counterpart import Command, command, counterpart, fallbacks
from smallsight.strategy.lineage import START
from smallsight.strategy.plan import Phase
from smallsight.strategy.shipped import shipped_plan


def names_of(state: State) -> Mapping[int, str]:
    """A name for each phase by its number.

    One that was begun again gets a count: `continue #2`. An arm of a later round gets the round's number:
    `control (round 2)`.
    """
    seen: Counter[str] = Counter()
    names = {}
    for run in state.runs:
        seen[run.name] += 1
        again = f"(round {run.round})" if run.round else f"#{seen[run.name]}"
        names[run.number] = run.name if seen[run.name] == 1 else f"{run.name} {again}"
    return names


def latest_config(state: State) -> Config:
    """The configuration that holds now: of phases by hand the latest one's, else the run's."""
    config = build_config(state.config, "journal")
    if state.kind != "train" or not state.runs:
        return config
    run = state.runs[-1]
    return with_settings(config, run.current.settings if run.current else run.decision.settings, run.name)


def known_phase(state: State, run: PhaseRun) -> Phase | None:
    """The phase of the shipped strategy that does the same; None for another change and for a start."""
    if state.kind != "train" or not run.trains:
        return None
    return counterpart(state, run, shipped_plan())


def title_of(state: State, run: PhaseRun, name: str) -> str:
    """A phase by hand in words."""
    if not run.trains and run.name == START:
        return f"Start: {run.given.path}" if run.given else "Start"
    known = known_phase(state, run)
    return name if known is None or not known.title else f"{known.title} ({name})"


def next_commands(folder: Path, state: State, *, running: bool) -> tuple[NextCommand, ...]:
    """Commands to go on with, to be pasted: after an interruption, or where memory ran out."""
    run = state.runs[-1] if state.runs else None
    if state.kind != "train" or run is None or run.call is None:
        return ()
    found: list[Command] = []
    if run.closed and run.current is not None and run.current.failure == "out_of_memory":
        with contextlib.suppress(ConfigError):
            found = fallbacks(state, run, shipped_plan(), _start_again(folder, state, run))
    elif not run.closed and not running:
        found = [Command("Go on", command(run.call, run.given.path if run.given else "", {}))]
    return tuple(NextCommand(each.title, shlex.join(each.words)) for each in found)


def _start_again(folder: Path, state: State, run: PhaseRun) -> str:
    """A file with what a phase started from: the given one, or its copy where the run has overwritten it."""
    given = Path(run.given.path) if run.given else Path()
    kept = kept_start(folder, state, run)
    overwritten = RunFolder(folder).overwrites(given)
    return str(kept if kept is not None and (overwritten or not given.is_file()) else given)
