"""A run's folder: where its files lie, who holds it, and which run it belongs to."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from smallsight.attempts import BEST, detections_file
from smallsight.config import Config, build_config
from smallsight.errors import ConfigError, RunFolderError
from smallsight.files import copy_atomically, sha256_of
from smallsight.foreign_files import keep
from smallsight.overrides import STRATEGY
from smallsight.records import EpochRecord
from smallsight.strategy.given import GivenFile
from smallsight.strategy.plan import Plan, build_plan, flatten
from smallsight.strategy.state import PhaseRun, State

NOT_COMPARED = (
    *("output.", "logging.", "checkpoint.", "dataset.cache_"),
    *("training.num_workers", "training.threads", "training.device", "training.hang_timeout_s"),
    *("training.memory_budget_mb", "evaluation.sets"),
)
"""Configuration that may differ between two starts of the same run; evaluation sets that guard may not."""
STRATEGY_FILE = "strategy.yaml"
CHAMPION = "checkpoint_best.pth"
OWN_CHECKPOINTS = ("checkpoint.pth", "checkpoint_previous.pth", CHAMPION)
"""Checkpoints that a run writes into its folder again and again."""
_ONLY_SAID = ("title", "risk", "mitigation", "expected_gain")
"""Keys of a phase that are shown and decide nothing; they may differ, too."""


@dataclass(frozen=True)
class Origin:
    """What a run, or a phase by hand, starts from.

    Attributes:
        given: the checkpoint that the user gave; None for none.
        annotations: SHA-256 of the annotation files, by split (`train`, `valid`).
    """

    given: GivenFile | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)

    @property
    def resume(self) -> str:
        """Path of the given checkpoint; empty for none."""
        return self.given.path if self.given else ""

    @property
    def resumed_epoch(self) -> int:
        """The epoch that it comes from."""
        return self.given.epoch if self.given else 0


def phase_folder(run_folder: Path, run: PhaseRun) -> Path:
    """`phases/01_continue`."""
    return run_folder / "phases" / f"{run.number:02d}_{run.name}"


def attempt_folder(run_folder: Path, run: PhaseRun, number: int) -> Path:
    """`phases/01_continue/attempt_1`."""
    return phase_folder(run_folder, run) / f"attempt_{number}"


def champion_detections(run_folder: Path, state: State) -> Path:
    """The file with what the champion found on the validation set."""
    assert state.champion is not None
    return detections_file(_champion_attempt(run_folder, state), state.champion.record.epoch)


def contenders(folder: Path, chosen: EpochRecord, records: Iterable[EpochRecord]) -> list[Path]:
    """What each epoch of an attempt found on the validation set, the chosen one first.

    Of each epoch the raw and the averaged weights were candidates, so both are in the list.
    """
    epochs = [chosen, *(record for record in records if record.epoch != chosen.epoch)]
    judged = [detections_file(folder, record.epoch) for record in epochs]
    return [*judged, *(detections_file(folder, record.epoch, other=True) for record in epochs if record.other)]


def champion_contenders(run_folder: Path, state: State) -> list[Path]:
    """The champion's detections, and those of the epochs that it was chosen from as far as they are still there."""
    champion, run = state.champion, state.champion_run
    assert champion is not None and run is not None
    records = [record for attempt in run.attempts if attempt.number == champion.attempt for record in attempt.records]
    first, *others = contenders(_champion_attempt(run_folder, state), champion.record, records)
    return [first, *(path for path in others if path.is_file())]


def _champion_attempt(run_folder: Path, state: State) -> Path:
    champion, run = state.champion, state.champion_run
    assert champion is not None and run is not None
    return attempt_folder(run_folder, run, champion.attempt)


def champion_checkpoint(run_folder: Path, state: State) -> Path:
    """`checkpoint_best.pth`, after a look at whether it still is what was crowned; put back from its phase where not.

    Raises:
        RunFolderError: it is gone or damaged, and so is the file that it was copied from.
    """
    assert state.champion is not None
    path = run_folder / CHAMPION
    origin = _champion_attempt(run_folder, state) / BEST
    for candidate in (path, origin):
        if candidate.is_file() and sha256_of(candidate) == state.champion.sha256:
            if candidate != path:
                copy_atomically(candidate, path)
            return path
    wrong = "is not the file that the run wrote" if path.is_file() else "is gone"
    raise RunFolderError(
        f"{path}: {wrong}, and neither is {origin}. Put one of them back, or use another --output-dir, with --resume "
        "and a file of checkpoints/."
    )


def copy_of_start(run_folder: Path, run: PhaseRun) -> Path:
    """Where a phase keeps a copy of the checkpoint that it was given."""
    return phase_folder(run_folder, run) / "start.pth"


def kept_start(run_folder: Path, state: State, run: PhaseRun) -> Path | None:
    """The copy of the checkpoint that a phase by hand starts from, its own or that of a phase from the same file."""
    if run.given is None:
        return None
    same = [other for other in state.runs if other.given and other.given.sha256 == run.given.sha256 != ""]
    return next((copy for other in (run, *same) if (copy := copy_of_start(run_folder, other)).is_file()), None)


def start_checkpoint(run_folder: Path, run: PhaseRun, given: Path) -> tuple[Path, bool]:
    """The phase's own copy of the checkpoint that it starts from; the given one may be overwritten by the run itself.

    Returns:
        The copy, and whether it was made just now.
    Raises:
        RunFolderError: there is no copy yet, and the given file is gone.
    """
    copy = copy_of_start(run_folder, run)
    if copy.is_file():
        return copy, False
    if not given.is_file():
        raise RunFolderError(f"{given}: no such file, but phase {run.number} of the run starts from it. Put it back.")
    copy_atomically(given, copy)
    return copy, True


def refuse_lost_journal(folder: Path) -> None:
    """Make sure that a folder whose journal tells of no run holds none: a new one would overwrite its checkpoints.

    Raises:
        RunFolderError: there are phases of a run.
    """
    if (folder / "phases").exists():
        raise RunFolderError(
            f"{folder}: holds phases of a run, but journal.sqlite is gone or empty. Put it back, or use another "
            f"--output-dir, with --resume {folder / 'checkpoint_best.pth'} to build on what was reached."
        )


def set_foreign_aside(folder: Path, texts: Mapping[str, str], resume: str) -> list[str]:
    """Make room for a run that begins: what lies in its folder under the names of its files gets other names.

    `checkpoint.pth` stays: a run that would overwrite it refuses to begin, unless it starts from it.

    Args:
        folder: whose journal tells of no run.
        texts: by name, what is to be written at once; a file that says just that stays, too.
        resume: the checkpoint to start from, which stays because it is copied.
    Returns:
        A line for each.
    """
    lines = []
    for name in (*texts, "checkpoint_previous.pth", CHAMPION):
        path = folder / name
        if not path.exists() or (resume and path.resolve() == Path(resume).resolve()):
            continue
        if name not in texts or not path.is_file() or path.read_bytes() != texts[name].encode():
            lines.append(keep(path, "not of this run"))
    return lines


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
    before = {**_that_matters(config_before), **_guards(config_before), **_flat_plan(plan_before)}
    now = {**_that_matters(config), **_guards(config), **_flat_plan(plan)}
    for key in sorted({*before, *now}):
        if before.get(key) != now.get(key):
            same = f"--strategy {folder / STRATEGY_FILE}" if key.startswith(STRATEGY) else "the same settings"
            raise RunFolderError(
                f"{folder}: holds a run with {key} {json.dumps(before.get(key))}; now {json.dumps(now.get(key))}. "
                f"Give {same} to continue it, or use another --output-dir."
            )


def _that_matters(config: Config) -> dict[str, Any]:
    """The dotted keys in which two starts of the same run must agree."""
    return {key: value for key, value in flatten(config.to_dict()).items() if not key.startswith(NOT_COMPARED)}


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
                "compared. Put them back, or use another --output-dir, with "
                f"--resume {folder / 'checkpoint_best.pth'} to build on what was reached."
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
