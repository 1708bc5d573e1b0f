"""Show the status of a run on the terminal: once, or until it has ended."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from smallsight.attempts.messages import Evaluating
from smallsight.commands.streams import reader_left
from smallsight.errors import visible
from smallsight.records import gigabytes
from smallsight.report.status import live_message, status_of
from smallsight.run.folder import is_running


def watch(folder: Path, console: Console, every_s: float) -> None:
    """Show the status until no process works on the run, or the reader has closed the output.

    Raises:
        RunFolderError: see `read_state`.
    """
    with Live(console=console, auto_refresh=False) as shown:
        while True:
            content = status_of(folder)
            shown.update(_table(content), refresh=True)
            if reader_left() or not is_running(folder):
                return
            time.sleep(every_s)


def _table(content: Mapping[str, Any]) -> Table:
    table = Table.grid(padding=(0, 2))
    for name, value in as_lines(content):
        table.add_row(Text(visible(name)), Text(visible(value)))
    return table


def as_lines(content: Mapping[str, Any]) -> list[tuple[str, str]]:
    """`status_of` as pairs of a name and a text; what is not known is left out."""
    states = {
        "finished": "finished",
        "failed": "failed; the same command tries again",
        "out of budget": "out of budget; the same command with a larger --budget goes on",
    }
    going = "running" if content["running"] else "interrupted; the same command goes on"
    champion = content["champion_epoch"]
    lines = {
        "run": going if content["running"] else states.get(content["state"], going),
        "phase": content["phase"] and f"{content['phase']}{_phase_in_words(content)}",
        f"baseline {content['metric']}": _shown(content["baseline"]),
        f"champion {content['metric']}": _shown(content["champion"]) + (f", epoch {champion}" if champion else ""),
        **{
            f"on {name}": "; ".join(f"{which}, epoch {said['epoch']}: {said['words']}" for which, said in found.items())
            for name, found in content["sets"].items()
        },
        "time taken": _duration(content["elapsed_s"]),
        "why": content["reason"],
        "now": _now(content["live"]) if content["running"] else None,
    }
    return [(name, value) for name, value in lines.items() if value]


def _phase_in_words(content: Mapping[str, Any]) -> str:
    """The progress of the latest phase, as the end of a sentence."""
    done, last, state = content["phase_epoch"], content["last_epoch"], content["phase_state"]
    if last is None:
        return ""
    if state in ("measuring", "measured"):
        return ", measuring a checkpoint" if done is None else f", epoch {done} measured without training"
    if state in ("failed", "interrupted"):
        how = f"failed ({content['failure']})" if state == "failed" else state
        return f", {how} {'before its first epoch was done' if done is None else f'after epoch {done} of {last}'}"
    if done is None:
        return f", no epoch done yet, {last} is to be the last"
    if state == "completed" and content["ended_early"]:
        return f", ended early after epoch {done} of {last}: {content['ended_early']}"
    return f", ended with epoch {done}" if state == "completed" else f", epoch {done} of {last} done"


def _now(step: Mapping[str, Any] | None) -> str:
    """What a running process does."""
    if step is None:
        return "no step within the last minute"
    if step["event"] == "starting":
        return "starting: no step is trained yet"
    message = live_message(step)
    if isinstance(message, Evaluating):
        return f"evaluating epoch {message.epoch}"
    losses = " ".join(f"{name} {value:.3f}" for name, value in message.losses.items())
    place = f"epoch {message.epoch}/{message.last_epoch}, batch {message.batch}/{message.batches}"
    return f"{place}, {losses}, {gigabytes(message.memory_mb, message.memory_limit_mb)}"


def _shown(value: float | None) -> str:
    return "not known yet" if value is None else f"{value:.3f}"


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    if minutes < 2:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02d} min"
