"""Everything a run needs, read and checked before its folder is touched."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from smallsight.commands.exam import ChosenExam, as_known, choose_exam
from smallsight.commands.sets import FurtherSets, further_sets
from smallsight.config.load import Config, LoadedConfig, load_config, refuse_unavailable, start_file
from smallsight.config.overrides import parse_overrides, split_overrides
from smallsight.config.unused_keys import keys_without_effect
from smallsight.data.coco import ANNOTATION_FILE, Dataset
from smallsight.data.configured_sets import read_splits
from smallsight.data.every_epoch_sets import FurtherSet
from smallsight.errors import ConfigError, DatasetError, RunFolderError
from smallsight.evaluation.ap import metric_definitions
from smallsight.files import fingerprint_of, sha256_of
from smallsight.report.champion import detections_on
from smallsight.run.checkpoints import champion_detections
from smallsight.run.fold import read_state
from smallsight.run.folder import RunFolder
from smallsight.run.given import GivenFile, Origin, TrainedIn
from smallsight.run.state import State
from smallsight.strategy.plan import Plan, load_plan
from smallsight.strategy.plan_check import check_plan
from smallsight.strategy.plan_overrides import with_overrides
from smallsight.strategy.same_run import refuse_other_annotations, refuse_other_settings, refuse_other_start
from smallsight.strategy.shipped import DEFAULT_STRATEGY, is_shipped, shipped_plan

SMALL_PX2 = 32.0**2


@dataclass(frozen=True)
class Inputs:
    """Everything a run needs, read and checked.

    Attributes:
        config, source: the configuration, and its file.
        plan: the strategy.
        valid: the validation set.
        folder: the run folder.
        origin: the checkpoint to start from, and hashes of the data.
        warnings: sentences for the user.
        unseen: the datasets that no earlier start of the run has used; all their images are decoded before it begins.
        further: the sets that are evaluated after every epoch.
    """

    config: Config
    source: str
    plan: Plan
    valid: Dataset
    folder: Path
    origin: Origin
    warnings: tuple[str, ...]
    unseen: tuple[Dataset, ...]
    further: tuple[FurtherSet, ...]
    exam: ChosenExam | None = None


def read_plan(path: Path | None, overrides: Sequence[str] = ()) -> Plan:
    """The strategy in a file, or the shipped one of that name, with `strategy.KEY=VALUE` laid over it."""
    name = f"{path or DEFAULT_STRATEGY}"
    from_file = path is not None and (path.is_file() or not is_shipped(name))
    plan = load_plan(path) if path is not None and from_file else shipped_plan(name)
    return with_overrides(plan, parse_overrides(overrides), name)


def strategy_inputs(
    config_path: Path,
    strategy_path: Path | None,
    overrides: Sequence[str],
    output_dir: Path | None,
    resume: Path | None,
) -> Inputs:
    """Read and check what `optimize` was given.

    Raises:
        InputError: a file, the data, the checkpoint or the run folder can't be used.
    """
    of_config, of_strategy = split_overrides(overrides)
    loaded, plan = load_config(config_path, of_config), read_plan(strategy_path, of_strategy)
    warnings = check_plan(plan, loaded.config, str(strategy_path or DEFAULT_STRATEGY))
    inputs = read_inputs(loaded, plan, output_dir, resume, "optimize")
    return replace(inputs, warnings=(*inputs.warnings, *warnings))


def read_inputs(loaded: LoadedConfig, plan: Plan, output_dir: Path | None, resume: Path | None, kind: str) -> Inputs:
    """Read and check the data, the start and the run folder.

    Args:
        resume: the checkpoint to start from, as given on the command line.
        kind: `optimize` or `train`.
    Raises:
        InputError: the data, the checkpoint or the run folder can't be used, or don't fit an earlier start of the run.
    """
    config, source = loaded.config, loaded.source
    refuse_unavailable(config, source)
    start = start_file(config, resume)
    folder = output_dir or run_folder(loaded)
    if folder.exists() and not folder.is_dir():
        raise RunFolderError(f"{folder}: is no folder. Give another --output-dir.")
    state = read_state(folder) if RunFolder(folder).has_journal else State()
    if state.created and (kind == "optimize" or kind != state.kind):
        refuse_other_settings(folder, state, config, plan, kind)
        refuse_other_start(folder, state, str(start or ""))
    train, valid = _datasets(config, plan)
    further = further_sets(config, plan, train, valid)
    annotations, unseen = _annotations(folder, state, train, valid, further)
    exam, seen_last, about_exam = choose_exam(config, plan, train, valid, further, annotations)
    exam = as_known(exam, state)
    if exam is not None:
        exam.refuse_leaks(images=False)
    if state.champion and not state.finished:
        # Raises where the validation images have changed: phases are compared on the same images.
        detections_on(valid, champion_detections(folder, state.champion))
    given = GivenFile(str(start)) if start is not None else None
    if start is not None and not (state.created and kind == "optimize"):
        given = look_at(start, train, config)
    origin = Origin(given, annotations)
    read = (train, valid, *(each.dataset for each in further.sets), *([seen_last] if seen_last else []))
    notes = dict.fromkeys(note for dataset in read for note in dataset.notes)  # one folder may be several of them
    warnings = (
        *keys_without_effect(loaded, len(train.class_names)),
        *notes,
        *further.warnings,
        *about_exam,
        *_doubts(config, origin, train, valid),
    )
    new = (seen_last,) if seen_last is not None and exam is not None and exam.is_new else ()
    return Inputs(config, source, plan, valid, folder, origin, warnings, (*unseen, *new), further.sets, exam)


def _doubts(config: Config, origin: Origin, train: Dataset, valid: Dataset) -> Iterator[str]:
    """Warnings about input that is probably a mistake."""
    known, said = origin.annotations, config.checkpoint.start_epoch
    if (known["train"], known["train images"]) == (known["valid"], known["valid images"]):
        yield (
            f"{valid.root}: holds the same images as {train.root}. Figures on images that are trained on say nothing "
            "about others. Give other validation images."
        )
    if origin.given is not None and origin.resumed_epoch and said and said > origin.resumed_epoch + 1:
        yield (
            f"{origin.resume}: says epoch {origin.resumed_epoch}, and checkpoint.start_epoch says {said}: new epochs "
            f"begin with {said}. Give the checkpoint of epoch {said - 1}, or another checkpoint.start_epoch."
        )


def _annotations(
    folder: Path, state: State, train: Dataset, valid: Dataset, further: FurtherSets
) -> tuple[dict[str, str], tuple[Dataset, ...]]:
    """Hashes of annotations and images by split, to find changed ones; and the datasets that are new to the run."""
    datasets = {"train": train, "valid": valid}
    files = {split: dataset.root / ANNOTATION_FILE for split, dataset in datasets.items()}
    now = {split: sha256_of(file) for split, file in files.items()}
    for split, dataset in datasets.items():
        files[f"{split} images"] = dataset.root
        now[f"{split} images"] = fingerprint_of([image.path for image in dataset.images])
    now |= further.fingerprints()
    files |= further.files()
    if state.created:
        refuse_other_annotations(folder, state, now, files)
    known = {sha256 for run in state.runs for sha256 in run.annotations.values()}
    unseen = (dataset for split, dataset in datasets.items() if now[split] not in known)
    return now, (*unseen, *further.unseen(state))


def run_folder(loaded: LoadedConfig) -> Path:
    """The run folder that a configuration names, for where the command line names none."""
    config = loaded.config
    return Path(config.output.output_dir or config.checkpoint.save_dir or f"runs/{Path(loaded.source).stem}")


def _datasets(config: Config, plan: Plan) -> tuple[Dataset, Dataset]:
    train, valid = read_splits(config)
    for dataset in (train, valid):
        if not any(len(truth) for truth in dataset.truths):
            raise DatasetError(f"{dataset.root}: no object is annotated. Add annotations, or name another category.")
    known = metric_definitions(config.evaluation.max_dets)
    for metric in (plan.target.metric, plan.guard.metric):
        if metric not in known:
            raise ConfigError(f"strategy: unknown metric {metric!r}; known are {', '.join(known)}.")
    if plan.target.metric == "map_small" and not any((truth.areas < SMALL_PX2).any() for truth in valid.truths):
        raise DatasetError(
            f"{valid.root}: no object is smaller than 32x32 px, so map_small is not defined. Set target.metric."
        )
    return train, valid


def look_at(path: Path, train: Dataset, config: Config) -> GivenFile:
    """Read what a checkpoint to start from says about itself: epoch, resolution, and the run that wrote it.

    Raises:
        CheckpointError: it can't be read, or has other classes.
    """
    from smallsight.detectors.checkpoint import is_ours, labels_of
    from smallsight.training.start import epoch_of

    epoch = epoch_of(path, train, config)
    labels = labels_of(path) if is_ours(path) else {}
    wrote: list[Any] = [labels.get(name) for name in ("run_id", "phase", "attempt")]
    return GivenFile(
        path=str(path),
        sha256=sha256_of(path),
        epoch=epoch,
        resolution=labels.get("resolution", 0),
        trained_in=None if None in wrote else TrainedIn(*wrote),
        in_mid_epoch=bool(labels.get("skip_batches")),
    )
