"""Where a run stands: for `status.json`, for `smallsight status`, and while one watches it. No torch here."""

from __future__ import annotations

import fcntl
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from smallsight.errors import visible
from smallsight.files import write_text_atomically
from smallsight.set_figures import in_words, plain_values
from smallsight.strategy.journal import Journal
from smallsight.strategy.state import State, fold

JOURNAL = "journal.sqlite"
LIVE_FILE = "live.json"
"""The latest training step, for other processes; what counts stands in the journal."""
LIVE_EVERY_S = 2.0
LIVE_FOR_S = 60.0
"""A step that is older says nothing about now."""


def read_state(folder: Path) -> State:
    """The state of a run from its journal.

    Raises:
        RunFolderError: no journal there, or a damaged one.
    """
    with Journal(folder / JOURNAL, read_only=True) as journal:
        return fold(journal.events())


def summary_of(state: State) -> dict[str, Any]:
    """Where a run stands, in a few plain values; `last_epoch` is that of the phase."""
    metric = state.plan.get("target", {}).get("metric", "map_small")
    run = state.runs[-1] if state.runs else None
    return {
        "state": "finished" if state.done else "unfinished",
        "phase": run.name if run else None,
        "epoch": state.last_epoch,
        "last_epoch": run.current.last_epoch if run and run.current else None,
        "metric": metric,
        "baseline": _value(state.baseline.value(metric)) if state.baseline else None,
        "champion": _value(state.target_value(metric)),
        "champion_epoch": state.champion.record.epoch if state.champion else None,
        "sets": _sets(state, metric),
        "elapsed_s": round(state.elapsed_s, 1),
        "reason": state.finished or (run.decision.reason if run else None),
    }


def _sets(state: State, metric: str) -> dict[str, Any]:
    """By further evaluation set, the latest epoch's figures and the champion's, as values and in words."""
    latest = next((r for r in reversed(state.records) if r.sets), None)
    champion = state.champion.record if state.champion else None
    found: dict[str, Any] = {}
    for which, record in (("latest", latest), ("champion", champion)):
        for name, figures in record.sets.items() if record else ():
            words = in_words(figures, metric)
            said = {"epoch": record.epoch if record else 0, **plain_values(figures, metric), "words": words}
            found.setdefault(name, {})[which] = said
    return found


def going_on(state: State) -> str:
    """Where a run that was interrupted goes on, in a line."""
    run, champion = state.open_run, summary_of(state)["champion"]
    place = "the next phase" if run is None else run.name
    if run is not None and run.current is not None and run.current.status == "running":
        done, last = len(run.records), run.current.last_epoch
        place += f", epoch {min(run.current.first_epoch + done, last)} of {last}"
    return f"Going on: {place}" + ("" if champion is None else f", champion {champion:.3f}")


def _value(value: float) -> float | None:
    return None if value != value else round(value, 4)


def status_of(folder: Path) -> dict[str, Any]:
    """`summary_of` the run in a folder, whether it is `running`, and `live`: the step that is trained now, or None.

    Raises:
        RunFolderError: see `read_state`.
    """
    running = is_running(folder)
    return {**summary_of(read_state(folder)), "running": running, "live": _live(folder) if running else None}


def _live(folder: Path) -> dict[str, Any] | None:
    try:
        found = json.loads((folder / LIVE_FILE).read_text())
        return dict(found) if 0 <= time.time() - found["at"] <= LIVE_FOR_S else None
    except FileNotFoundError:
        return {"event": "starting"}
    except (OSError, ValueError, KeyError, TypeError):
        return None


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


def is_running(folder: Path) -> bool:
    """Whether a process works on the run: it holds the folder's lock."""
    try:
        with (folder / ".lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def watch(folder: Path, console: Console, every_s: float) -> None:
    """Show the status until nobody works on the run.

    Raises:
        RunFolderError: see `read_state`.
    """
    with Live(console=console, auto_refresh=False) as shown:
        while True:
            content = status_of(folder)
            shown.update(_table(content), refresh=True)
            if not is_running(folder):
                return
            time.sleep(every_s)


def _table(content: Mapping[str, Any]) -> Table:
    table = Table.grid(padding=(0, 2))
    for name, value in as_lines(content):
        table.add_row(Text(visible(name)), Text(visible(value)))
    return table


def as_lines(content: Mapping[str, Any]) -> list[tuple[str, str]]:
    """`status_of` as pairs of words."""
    stopped = "stopped; the same command goes on"
    phase, last, champion = content["phase"], content["last_epoch"], content["champion_epoch"]
    lines = {
        "run": "finished" if content["state"] == "finished" else "running" if content["running"] else stopped,
        "phase": phase and phase + ("" if last is None else f", epoch {content['epoch']} of {last} done"),
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


def _now(step: Mapping[str, Any] | None) -> str:
    """What a running process does."""
    if step is None:
        return "no step within the last minute"
    if step["event"] == "starting":
        return "starting: no step is trained yet"
    if step["event"] == "evaluating":
        return f"evaluating epoch {step['epoch']}"
    losses = " ".join(f"{name} {value:.3f}" for name, value in step["losses"].items())
    place = f"epoch {step['epoch']}/{step['last_epoch']}, batch {step['batch']}/{step['batches']}"
    return f"{place}, {losses}, {step['memory_mb'] / 1000:.1f} GB"


def _shown(value: float | None) -> str:
    return "not known yet" if value is None else f"{value:.3f}"


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    if minutes < 2:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02d} min"
