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
from smallsight.records import gigabytes
from smallsight.set_figures import in_words, plain_values
from smallsight.strategy.journal import Journal
from smallsight.strategy.outcomes import has_failed, out_of_budget
from smallsight.strategy.state import PhaseRun, State, fold
from smallsight.streams import reader_left

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
    """Where a run stands, in a few plain values.

    `state` is finished, failed (a person has to look), out of budget or unfinished. `epoch` is the last one that was
    done in any phase. `phase_epoch` (None where none is done), `last_epoch` (as planned) and `ended_early` (why) are
    the latest phase's, and `phase_state` says how it stands: running, completed, failed, interrupted (for another one),
    measuring or measured (a checkpoint, without training).
    """
    metric = state.plan.get("target", {}).get("metric", "map_small")
    run = state.runs[-1] if state.runs else None
    attempt = run.current if run else None
    return {
        "state": _state(state),
        "phase": run.name if run else None,
        "phase_state": _phase_state(run) if run else None,
        "phase_epoch": run.records[-1].epoch if run and run.records else None,
        "epoch": state.last_epoch,
        "last_epoch": attempt.last_epoch if attempt else None,
        "ended_early": attempt.ended_early or None if attempt else None,
        "failure": attempt.failure or None if attempt else None,
        "metric": metric,
        "baseline": _value(state.baseline.value(metric)) if state.baseline else None,
        "champion": _value(state.target_value(metric)),
        "champion_epoch": state.champion.record.epoch if state.champion else None,
        "sets": _sets(state, metric),
        "elapsed_s": round(state.elapsed_s, 1),
        "reason": state.finished or (run.decision.reason if run else None),
    }


def _state(state: State) -> str:
    """In a word, as far as the journal knows: whether a process works on the run stands elsewhere."""
    if state.done:
        return "finished"
    return "failed" if has_failed(state) else "out of budget" if out_of_budget(state) else "unfinished"


def _phase_state(run: PhaseRun) -> str:
    if run.interrupted or run.status == "failed":
        return "interrupted" if run.interrupted else "failed"
    if not run.trains:
        return "measured" if run.records else "measuring"
    return run.status


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
    place = "the next phase" if run is None else run.name if run.trains else "measuring the start"
    if run is not None and run.trains and run.current is not None and run.current.status == "running":
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
    """Show the status until nobody works on the run, or nobody reads it.

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
    """`status_of` as pairs of words."""
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
    """How far the latest phase came."""
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
    if step["event"] == "evaluating":
        return f"evaluating epoch {step['epoch']}"
    losses = " ".join(f"{name} {value:.3f}" for name, value in step["losses"].items())
    place = f"epoch {step['epoch']}/{step['last_epoch']}, batch {step['batch']}/{step['batches']}"
    return f"{place}, {losses}, {gigabytes(step['memory_mb'], step.get('memory_limit_mb'))}"


def _shown(value: float | None) -> str:
    return "not known yet" if value is None else f"{value:.3f}"


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    if minutes < 2:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02d} min"
