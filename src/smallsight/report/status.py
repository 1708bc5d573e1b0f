"""The status of a run, for `status.json` and `smallsight status`. No torch here."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from smallsight.attempts.messages import Evaluating, Step, message_from
from smallsight.evaluation.set_figures import in_words, plain_values
from smallsight.records import EpochRecord
from smallsight.run.checkpoints import attempt_folder
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
    measuring or measured (a checkpoint, without training). `round` is the round that goes on, with the state of each of
    its arms; None where none does.
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
        "round": _round(state, metric),
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


def _round(state: State, metric: str) -> dict[str, Any] | None:
    """The round whose arms are not all closed: its arms, each with its state in a word, its epochs and its best value.

    An arm trains, waits (for its turn, or for the others), was stopped (behind the leading one), has ended, or failed.
    """
    begun = state.rounds[-1] if state.rounds else None
    if begun is None or all(arm.closed for arm in state.arms(begun)):
        return None
    stopped = {number: reason for rung in begun.rungs for number, reason in rung.stopped.items()}
    return {
        "number": begun.number,
        "name": begun.name,
        "reason": begun.decision.reason,
        "looks": len(begun.rungs),
        "looks_planned": len(begun.decision.rungs),
        "arms": [_arm(arm, stopped.get(arm.number, ""), metric) for arm in state.arms(begun)],
    }


def _arm(arm: PhaseRun, stopped: str, metric: str) -> dict[str, Any]:
    attempt, values = arm.current, [r.value(metric) for r in arm.records if r.value(metric) == r.value(metric)]
    words = {"running": "trains", "paused": "waits", "completed": "ended", "failed": "failed"}
    return {
        "phase": arm.number,
        "name": arm.name,
        "control": arm.control,
        "state": "stopped" if stopped else words[attempt.status] if attempt else "waits",
        "epoch": arm.records[-1].epoch if arm.records else None,
        "last_epoch": attempt.last_epoch if attempt else None,
        "best": _value(max(values, default=float("nan"))),
        "why": stopped or (attempt.message if attempt and attempt.status == "failed" else "") or None,
    }


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
    run, champion, begun = state.open_run, summary_of(state)["champion"], summary_of(state)["round"]
    place = "the next phase" if run is None else run.name if run.trains else "measuring the start"
    if run is not None and run.trains and run.current is not None and run.current.status == "running":
        done, last = len(run.records), run.current.last_epoch
        place += f", epoch {min(run.current.first_epoch + done, last)} of {last}"
    if begun is not None:
        place = f"round {begun['number']}, arms {', '.join(arm['name'] for arm in begun['arms'])}"
    return f"Going on: {place}" + ("" if champion is None else f", champion {champion:.3f}")


def _value(value: float) -> float | None:
    return None if value != value else round(value, 4)


def status_of(folder: Path) -> dict[str, Any]:
    """`summary_of` the run in a folder, whether it is `running`, and what is trained now.

    `live` is the latest step, or None. `live_beside_others` are the latest steps of attempts that are carried out
    beside others, each with its phase and attempt.

    Raises:
        RunFolderError: see `read_state`.
    """
    state, running = read_state(folder), is_running(folder)
    lives = _lives(folder, state) if running else {}
    steps = {number: live for number, live in lives.items() if live is not None and "at" in live}
    live = max(steps.values(), key=lambda each: float(each["at"]), default=next(iter(lives.values()), None))
    summary = summary_of(state)
    # The journal does not know which of the arms that may train have a process now; before a step, it is the first.
    may_train = [arm for arm in (summary["round"] or {"arms": ()})["arms"] if arm["state"] == "trains"]
    working = set(steps) or {arm["phase"] for arm in may_train[:1]}
    for arm in may_train:
        arm["state"] = "interrupted" if not running else "trains" if arm["phase"] in working else "waits for its turn"
    beside = [step for number, step in steps.items() if number and {"phase", "attempt"} <= step.keys()]
    return {**summary, "running": running, "live": live, "live_beside_others": beside}


def _lives(folder: Path, state: State) -> dict[int, dict[str, Any] | None]:
    """The step that each open arm trains now, by the number of its phase; under 0 that of a phase without others."""
    arms = [at for at in state.open_attempts if at.run.round]
    if not arms:
        return {0: _live(RunFolder(folder).live)}
    found = {
        at.run.number: _live(RunFolder(attempt_folder(folder, at.run, at.attempt.number).path).live) for at in arms
    }
    return {at.run.number: _unless_done(found[at.run.number], at.attempt.records) for at in arms}


def _unless_done(live: dict[str, Any] | None, records: Sequence[EpochRecord]) -> dict[str, Any] | None:
    """A step of an epoch that is not recorded yet; a file of before a pause says only that the next one is to come."""
    done = records[-1].epoch if records else 0
    return {"event": "starting"} if live is not None and live.get("epoch", done + 1) <= done else live


def live_message(live: Mapping[str, Any]) -> Step | Evaluating:
    """The latest step or evaluation of an attempt, from the content of its `live.json`.

    Raises:
        ValueError: the content is neither.
    """
    message = message_from({key: value for key, value in live.items() if key not in ("at", "phase", "attempt")})
    if not isinstance(message, (Step, Evaluating)):
        raise ValueError(f"live: got {live['event']!r}, expected a step or an evaluation")
    return message


def _live(file: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(file.read_text())
        live_message(found)
        return dict(found) if 0 <= time.time() - found["at"] <= LIVE_FOR_S else None
    except FileNotFoundError:
        return {"event": "starting"}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
