"""Examine a run's champion: its mistakes, thresholds and calibration, from the detections that were kept.

No detector runs here, except on the second evaluation sets, in a child process. Parts that can't be computed, because
images or annotations are missing or have changed, are listed in `Evidence.left_out`. The rest of the report needs the
journal alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from smallsight.config.load import Config, build_config, filled_path, with_settings
from smallsight.config.sections import EvaluationSet
from smallsight.data.coco import ANNOTATION_FILE, Dataset
from smallsight.data.configured_sets import read_splits
from smallsight.data.groups import groups_of
from smallsight.errors import BoxError, ConfigError, DatasetError, RunFolderError
from smallsight.evaluation.ap import AREA_RANGES, Evaluation, evaluate
from smallsight.evaluation.bootstrap import Draws, Resampled, Units, resample
from smallsight.evaluation.detections_file import load_detections
from smallsight.evaluation.domain_gap import gap_between
from smallsight.evaluation.evidence import Crop, DomainGap, Evidence, Mistake
from smallsight.evaluation.mistakes import mistakes_by_size, worst_false_alarms, worst_misses
from smallsight.evaluation.outcomes import judge_outcomes, survey
from smallsight.evaluation.set_figures import has_labels
from smallsight.evaluation.thresholds import BEST_F1, calibrate, operating_points
from smallsight.evaluation.verdict import difference_of, selection_bias
from smallsight.files import sha256_of
from smallsight.records import Detections, Estimate, estimate_from_json
from smallsight.report.crops import crop_around
from smallsight.report.measured import figures_on, measurement_key
from smallsight.run.checkpoints import (
    attempt_folder,
    champion_checkpoint,
    champion_contenders,
    champion_detections,
    contenders,
)
from smallsight.run.folder import RunFolder, detections_of_set
from smallsight.run.state import Champion, State

REPLICATES = 200
"""Draws for the intervals of mistakes: enough for a bar in a figure; verdicts use `evaluation.replicates`."""
WORST = 12
"""At most so many misses, and so many false alarms, are listed and shown."""


def examine(folder: Path, state: State, sets: Mapping[str, EvaluationSet] | None = None) -> Evidence | None:
    """Analyse the champion's detections: mistakes, thresholds, calibration, lift, other sets. None without a champion.

    Args:
        sets: second evaluation sets by name. Those without figures yet are measured now; sets that guard have theirs in
            the records. None: take the sets that the run began with, and measure none, since a detector that runs
            beside a training could take the memory that the training needs.
    Raises:
        Interrupted: a stop was requested during a measurement.
    """
    champion = state.champion
    if champion is None:
        return None
    evidence = Evidence(champion.record.epoch)
    try:
        dataset = validation_set(state)
        detections = detections_on(dataset, champion_detections(folder, champion))
        evidence = _mistakes(evidence, state, dataset, detections)
    except (BoxError, ConfigError, DatasetError, RunFolderError) as error:
        return replace(evidence, left_out=(f"Mistakes, thresholds and pictures: {error}",))

    @cache
    def drawn() -> _Side:
        """Read only where something is compared with the champion."""
        metric = state.plan["target"]["metric"]
        return _Side.of(champion_contenders(folder, state, champion), [metric], metric, state, dataset)

    lift, why = _lift(folder, state, champion, dataset, drawn)
    known = champion_config(state).evaluation.sets if sets is None else sets
    gaps, missing = _gaps(folder, state, champion, known, drawn, measures=sets is not None)
    return replace(evidence, lift=lift, gaps=gaps, left_out=(*why, *missing))


def champion_config(state: State) -> Config:
    """The configuration that the champion was trained with."""
    settings = state.champion.settings if state.champion else {}
    return with_settings(build_config(state.config, "journal"), settings, "champion")


def validation_set(state: State) -> Dataset:
    """The images that the champion was judged on, as they were then.

    Raises:
        ConfigError, DatasetError: they can't be read.
        RunFolderError: their annotations have changed since.
    """
    annotations = state.champion_run.annotations if state.champion_run else state.annotations
    dataset = read_splits(champion_config(state))[1]
    file = dataset.root / ANNOTATION_FILE
    if sha256_of(file) != annotations.get("valid"):
        raise RunFolderError(f"{file}: has changed since the champion was evaluated. Evaluate it again.")
    return dataset


def detections_on(valid: Dataset, path: Path) -> list[Detections]:
    """The detections in a file, one entry for each image of the validation set.

    Raises:
        RunFolderError: the file can't be read, or was made on other images.
    """
    detections, ids = load_detections(path)
    if ids != [image.id for image in valid.images]:
        raise RunFolderError(f"{path}: made on other validation images than those given now. Use another --output-dir.")
    return detections


def judged(config: Config, dataset: Dataset, detections: list[Detections]) -> Evaluation:
    """Evaluate detections, one entry per image of the dataset, with the settings of the configuration."""
    settings = config.evaluation
    return evaluate(
        dataset.truths,
        detections,
        len(dataset.class_names),
        max_dets=settings.max_dets,
        centre_hit_px=settings.centre_hit_px,
    )


def crops_of(state: State, evidence: Evidence) -> Mapping[Mistake, Crop]:
    """A picture of each mistake that is listed; those whose image can't be read are left out."""
    if not (evidence.misses or evidence.false_alarms):
        return {}
    images = validation_set(state).images
    crops = {}
    for mistake in (*evidence.misses, *evidence.false_alarms):
        try:
            crops[mistake] = crop_around(images[mistake.image], mistake.box)
        except DatasetError:
            continue
    return crops


def _mistakes(evidence: Evidence, state: State, dataset: Dataset, detections: list[Detections]) -> Evidence:
    names, files = dataset.class_names, [str(image.path.relative_to(dataset.root)) for image in dataset.images]
    scene = survey(dataset.truths, detections, len(names), max_dets=champion_config(state).evaluation.max_dets)
    draws = Draws.of(len(dataset), _units(state, dataset), replicates=REPLICATES)
    outcomes = judge_outcomes(scene, AREA_RANGES["all"])
    points = operating_points(outcomes, names, draws)
    thresholds = {point.class_name: point.threshold.value for point in points if point.purpose == BEST_F1}
    return replace(
        evidence,
        images=len(dataset),
        sizes=mistakes_by_size(scene, draws),
        misses=tuple(worst_misses(outcomes, files, names, WORST, [thresholds.get(name, 0.0) for name in names])),
        false_alarms=tuple(worst_false_alarms(outcomes, files, names, WORST)),
        operating_points=points,
        calibration=calibrate(outcomes, draws),
    )


def _units(state: State, dataset: Dataset) -> Units:
    """The units that intervals resample, the same as for verdicts: images or clips."""
    return Units.of(len(dataset), groups_of(dataset), champion_config(state).evaluation.resample)


@dataclass(frozen=True, eq=False)
class _Side:
    """A chosen epoch and those that it was chosen from by the metric `chosen_by`, resampled with the same draws."""

    epochs: tuple[Resampled, ...]
    chosen_by: str

    @classmethod
    def of(cls, files: Sequence[Path], metrics: Sequence[str], chosen_by: str, state: State, dataset: Dataset) -> _Side:
        """From files of detections, the chosen epoch's first, evaluated with the settings of the champion of `state`.

        Raises:
            RunFolderError: a file can't be read, or was made on other images.
        """
        config, units = champion_config(state), _units(state, dataset)

        def resampled(path: Path, names: Sequence[str]) -> Resampled:
            evaluation = judged(config, dataset, detections_on(dataset, path))
            return resample(evaluation, names, units, replicates=config.evaluation.replicates)

        chosen, *others = files
        return cls((resampled(chosen, metrics), *(resampled(path, [chosen_by]) for path in others)), chosen_by)

    def above(self, other: _Side, metric: str) -> Estimate:
        """The metric minus the other side's; corrected for the choice of both epochs where they were chosen by it."""
        ours, theirs = (side.epochs[: None if metric == side.chosen_by else 1] for side in (self, other))
        return difference_of(ours, theirs, metric).estimate

    @property
    def selection_bias(self) -> float:
        """The upward bias of the chosen epoch's figure that comes from choosing the best epoch."""
        return selection_bias(self.epochs, self.chosen_by)


def _lift(
    folder: Path, state: State, champion: Champion, dataset: Dataset, drawn: Callable[[], _Side]
) -> tuple[Estimate | None, tuple[str, ...]]:
    """The champion's target metric minus the baseline's; None with the reason where that can't be told."""
    baseline = state.baseline
    if baseline is None or baseline == champion.record:
        return None, ()
    run, attempt = next((run, a) for run in state.runs for a in run.attempts if baseline in a.records)
    chosen, *others = contenders(attempt_folder(folder, run, attempt.number), baseline, attempt.records)
    metric = state.plan["target"]["metric"]
    try:
        before = _Side.of([chosen, *filter(Path.is_file, others)], [metric], metric, state, dataset)
        return drawn().above(before, metric), ()
    except RunFolderError as error:
        return None, (f"The lift's interval: {error}",)


def _gaps(
    folder: Path,
    state: State,
    champion: Champion,
    sets: Mapping[str, EvaluationSet],
    drawn: Callable[[], _Side],
    *,
    measures: bool,
) -> tuple[tuple[DomainGap, ...], tuple[str, ...]]:
    """The champion on each of the second evaluation sets that have labels."""
    gaps, missing = [], []
    for name, given in sorted(sets.items()):
        figures = champion.record.sets.get(name, {})
        if figures and not has_labels(figures):
            continue  # no AP without labels; the record has the share of frames with a detection
        try:
            data = filled_path(f"evaluation.sets.{name}", given.path)
            there, images = _elsewhere(folder, state, champion, name, data, measures=measures)
            here, bias = champion.record.metrics[state.plan["target"]["metric"]], _bias_of(drawn)
            gap = gap_between(here, there, 0.0 if math.isnan(bias) else bias)
            gaps.append(DomainGap(name, images, there, gap, given.guards, bias))
        except (ConfigError, DatasetError, RunFolderError, OSError) as error:
            missing.append(f"The evaluation set {name}: {error}")
    return tuple(gaps), tuple(missing)


def _bias_of(drawn: Callable[[], _Side]) -> float:
    """The champion's selection bias; NaN where the epochs that it was chosen from can't be read."""
    try:
        return drawn().selection_bias
    except RunFolderError:
        return math.nan


def _elsewhere(
    folder: Path, state: State, champion: Champion, name: str, data: Path, *, measures: bool
) -> tuple[Estimate, int]:
    """The champion's target metric on a second set, and how many images that has."""
    metric, record = state.plan["target"]["metric"], champion.record
    if name in record.sets:
        _, ids = load_detections(detections_of_set(champion_detections(folder, champion), name))
        return record.sets[name][metric], len(ids)
    if not (data / ANNOTATION_FILE).is_file():
        raise RunFolderError(f"{data}: frames without labels, on which this champion was not evaluated")
    key = measurement_key(champion.sha256, data)
    if not measures and not RunFolder(folder).measured(key).is_file():
        raise RunFolderError(f"{data}: not measured with this champion yet; the run does so when it ends")
    measured = figures_on(
        RunFolder(folder), key, lambda: champion_checkpoint(folder, champion), data, champion_config(state)
    )
    return estimate_from_json(measured["metrics"][metric]), measured["images"]


def champions_apart(one: tuple[Path, State], other: tuple[Path, State], metrics: Sequence[str]) -> dict[str, Estimate]:
    """The paired difference of two champions on the same images, `other` minus `one`.

    Both are evaluated with the settings of `one`. The metric by which a champion was chosen is corrected for that
    choice.

    Args:
        one, other: run folder and state.
        metrics: names of the metrics to compare.
    Returns:
        Differences with 95 % intervals by metric; metrics that are not known for `one` are left out.
    Raises:
        ConfigError, DatasetError: the images can't be read.
        RunFolderError: the champions were judged on different images, or a file of detections is gone.
    """
    files = [_contenders(folder, state) for folder, state in (one, other)]
    hashes = [state.champion_run.annotations.get("valid") for _, state in (one, other) if state.champion_run]
    if hashes[0] != hashes[1]:
        raise RunFolderError(f"{other[0]}: judged on other images than {one[0]}. Evaluate both on one set.")
    dataset = validation_set(one[1])
    first, second = (
        _Side.of(found, metrics, state.plan["target"]["metric"], one[1], dataset)
        for found, (_, state) in zip(files, (one, other), strict=True)
    )
    return {metric: second.above(first, metric) for metric in metrics if first.epochs[0].points[metric].known}


def _contenders(folder: Path, state: State) -> list[Path]:
    if state.champion is None:
        raise RunFolderError(f"{folder}: no champion yet. Run its strategy on.")
    return champion_contenders(folder, state, state.champion)
