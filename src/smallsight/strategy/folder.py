"""A run's folder: where its files lie, who holds it, and which run it belongs to."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from smallsight.config import Config, build_config
from smallsight.errors import ConfigError, RunFolderError
from smallsight.strategy.plan import Plan, build_plan, flatten
from smallsight.strategy.state import Attempt, PhaseRun, State

NOT_COMPARED = ("output", "logging", "checkpoint", "dataset.cache_mb", "training.num_workers", "training.threads")
"""Configuration that may differ between two starts of the same run."""


def attempt_folder(run_folder: Path, run: PhaseRun, attempt: Attempt) -> Path:
    """`phases/01_continue/attempt_1`."""
    return run_folder / "phases" / f"{run.number:02d}_{run.name}" / f"attempt_{attempt.number}"


def champion_detections(run_folder: Path, state: State) -> Path:
    """The file with what the champion found on the validation set."""
    champion = state.champion
    assert champion is not None
    folder = run_folder / "phases" / f"{champion.phase_number:02d}_{champion.phase}" / f"attempt_{champion.attempt}"
    return folder / "detections" / f"valid_epoch_{champion.record.epoch:03d}.npz"


@contextmanager
def hold(folder: Path) -> Iterator[None]:
    """Keep a run folder for this process; it is made where it is not there.

    Raises:
        RunFolderError: another process holds it, or it can't be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = (folder / ".lock").open("a+")
    except OSError as error:
        raise RunFolderError(
            f"{folder}: can't be written ({error.strerror}). Give an --output-dir that can be."
        ) from error
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise RunFolderError(
                f"{folder}: another smallsight process works on this run. Wait for it, or use another --output-dir."
            ) from error
        yield


def refuse_other_settings(folder: Path, state: State, config: Config, plan: Plan, run_kind: str) -> None:
    """Make sure that a folder's run is the one that was asked for.

    Raises:
        RunFolderError: it is another kind of run, or its configuration or strategy differs.
    """
    if state.kind != run_kind:
        raise RunFolderError(f"{folder}: holds a run of `smallsight {state.kind}`. Use another --output-dir.")
    try:
        config_before, plan_before = build_config(state.config, "journal"), build_plan(state.plan, "journal")
    except ConfigError as error:
        raise RunFolderError(
            f"{folder}: was written by another version ({error}). Use another --output-dir."
        ) from error
    before = {**flatten(config_before.to_dict()), **_flat_plan(plan_before)}
    now = {**flatten(config.to_dict()), **_flat_plan(plan)}
    for key in sorted({*before, *now}):
        if before.get(key) != now.get(key) and not key.startswith(NOT_COMPARED):
            raise RunFolderError(
                f"{folder}: holds a run with {key} {json.dumps(before.get(key))}; now {json.dumps(now.get(key))}. "
                "Give the same settings to continue it, or use another --output-dir."
            )


def _flat_plan(plan: Plan) -> dict[str, Any]:
    """A plan as dotted keys (`phases.mosaic.epochs`); `phases` alone holds the names, in order."""
    phases = {phase["name"]: phase for phase in plan.to_dict()["phases"]}
    return {**flatten({**plan.to_dict(), "phases": phases}), "phases": list(phases)}
