"""The status of a run, for `status.json` and `smallsight status`. No torch here."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from smallsight.attempts.messages import Evaluating, Step, message_from
from smallsight.evaluation.set_figures import in_words, plain_values
from smallsight.run.fold import read_state
from smallsight.run.folder import RunFolder, is_running
from smallsight.run.state import PhaseRun, State
from smallsight.strategy.outcomes import has_failed, out_of_budget

LIVE_FOR_S = 60.0
"""An older step is not shown as the current one."""


def summary_of(state: State) -> dict[str, Any]:
    """The status of a run as JSON values, from its journal alone.

    `state` is finished, failed (the user has to act), out of budget or unfinished. `epoch` is the last epoch done in
    any phase. `phase_epoch` (None where none is done), `last_epoch` (as planned) and `ended_early` (why) belong to the
    latest phase. `phase_state` is its state: running, completed, failed, interrupted (another phase was begun instead),
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
    """The state in a word, from the journal, which does not know whether a process works on the run."""
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
    """The latest epoch's and the champion's figures on each further evaluation set, as values and in words."""
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
    """A line that says at which epoch an interrupted run continues."""
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


def live_message(live: Mapping[str, Any]) -> Step | Evaluating:
    """The latest step or evaluation of an attempt, from the content of its `live.json`.

    Raises:
        ValueError: the content is neither.
    """
    message = message_from({key: value for key, value in live.items() if key != "at"})
    if not isinstance(message, (Step, Evaluating)):
        raise ValueError(f"live: got {live['event']!r}, expected a step or an evaluation")
    return message


def _live(folder: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(RunFolder(folder).live.read_text())
        live_message(found)
        return dict(found) if 0 <= time.time() - found["at"] <= LIVE_FOR_S else None
    except FileNotFoundError:
        return {"event": "starting"}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
