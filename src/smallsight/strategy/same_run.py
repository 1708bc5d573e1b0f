"""Whether a run folder holds the run that was asked for: same kind, configuration, strategy, start and data."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from smallsight.config.load import Config, build_config
from smallsight.config.overrides import STRATEGY
from smallsight.errors import ConfigError, RunFolderError
from smallsight.run.folder import RunFolder
from smallsight.run.state import State
from smallsight.strategy.plan import Plan, build_plan
from smallsight.strategy.treatment import flatten

NOT_COMPARED = (
    *("output.", "logging.", "checkpoint.", "dataset.cache_", "dataset.exam_path"),
    *("training.num_workers", "training.threads", "training.device", "training.hang_timeout_s"),
    *("training.memory_budget_mb", "training.interface", "training.resources", "evaluation.sets"),
)
"""Configuration that may differ between two starts of the same run; evaluation sets that guard may not."""
_ONLY_SAID = ("title", "risk", "mitigation", "expected_gain")
"""Keys of a phase that are shown and decide nothing; they may differ, too."""


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
    before = {**_that_matters(config_before), **_guards(config_before), **_flat_plan(plan_before)}
    now = {**_that_matters(config), **_guards(config), **_flat_plan(plan)}
    for key in sorted({*before, *now}):
        if before.get(key) != now.get(key):
            same = f"--strategy {RunFolder(folder).strategy}" if key.startswith(STRATEGY) else "the same settings"
            raise RunFolderError(
                f"{folder}: holds a run with {key} {json.dumps(before.get(key))}; now {json.dumps(now.get(key))}. "
                f"Give {same} to continue it, or use another --output-dir."
            )


def _that_matters(config: Config) -> dict[str, Any]:
    """The dotted keys in which two starts of the same run must agree.

    A table without entries says nothing: runs from before such a key go on.
    """
    flat = flatten(config.to_dict())
    return {key: value for key, value in flat.items() if not key.startswith(NOT_COMPARED) and value != {}}


def _guards(config: Config) -> dict[str, Any]:
    """The evaluation sets that guard, as dotted keys: they decide what is kept, as the others do not."""
    sets = config.evaluation.sets
    return {f"evaluation.sets.{name}": f"{sets[name].path} (guards)" for name in sets if sets[name].guards}


def phase_settings(config: Config, resume: str) -> dict[str, Any]:
    """What tells a single phase from another one: the configuration that matters and what it starts from.

    Evaluation sets that guard tell it as well, by their fingerprints, beside those of the data.
    """
    return {
        **_that_matters(config),
        "checkpoint.resume_from": resume or None,
        "checkpoint.start_epoch": config.checkpoint.start_epoch,
    }


def refuse_other_start(folder: Path, state: State, resume: str) -> None:
    """Make sure that a strategy goes on from the checkpoint that it began with; none given means the same one.

    Raises:
        RunFolderError: another one was given.
    """
    if resume and (not state.resume or Path(resume).resolve() != Path(state.resume).resolve()):
        before = f"starts from {state.resume}" if state.resume else "starts from scratch"
        raise RunFolderError(f"{folder}: holds a run that {before}; now {resume}. Use another --output-dir.")


def refuse_other_annotations(folder: Path, state: State, now: Mapping[str, str], files: Mapping[str, Path]) -> None:
    """Make sure that figures of this folder may be compared with figures on today's data.

    A strategy keeps both splits. Single phases may train on other data, but are judged on the same validation set.

    Args:
        now: SHA-256 of today's annotation files by split, and fingerprints of the images (`train images`).
        files: where they lie.

    Raises:
        RunFolderError: an annotation file has changed, or images have.
    """
    if state.kind == "optimize":
        before = list(state.annotations.items())
    else:
        runs = (state.champion_run, state.open_run)
        seen = [run.annotations for run in runs if run is not None]
        before = [(split, sha256) for each in seen for split, sha256 in each.items() if not split.startswith("train")]
    for split, sha256 in before:
        if sha256 != now.get(split, sha256):
            what = "these are not the images" if split.endswith("images") else "is not the file"
            raise RunFolderError(
                f"{files[split]}: {what} that the run in {folder} began with, so old and new figures can't be "
                "compared. Put back what has changed, or use another --output-dir"
                f"{RunFolder(folder).to_build_on()}."
            )


def _flat_plan(plan: Plan) -> dict[str, Any]:
    """What a plan decides by, as dotted keys (`strategy.phases.mosaic.epochs`).

    `strategy.phases` alone holds the names, in order. The level to stop at may be another one at every start.
    """
    phases = {
        phase["name"]: {key: value for key, value in phase.items() if key not in _ONLY_SAID}
        for phase in plan.to_dict()["phases"]
    }
    flat = {**flatten({**plan.to_dict(), "phases": phases}), "phases": list(phases)}
    return {f"{STRATEGY}{key}": value for key, value in flat.items() if key != "target.stop_at"}
