"""The end of an epoch: evaluate, look for hard negatives, write the epoch's files, report.

What was trained is saved first; the outcome follows in the order detections, lightweight file, `best.pth`,
`checkpoint.pth`, report. `checkpoint.pth` carries the attempt's records, so a crash between any two of them loses
nothing and counts nothing twice.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from smallsight.attempts.messages import Caution, EpochDone, Evaluating, Note
from smallsight.config.load import Config
from smallsight.data.coco import Dataset
from smallsight.data.groups import groups_of
from smallsight.detectors.base import Detector
from smallsight.detectors.checkpoint import is_of_run, previous_of, save_checkpoint
from smallsight.evaluation.ap import Evaluation, evaluate
from smallsight.evaluation.bootstrap import Units, with_intervals
from smallsight.evaluation.detections_file import save_detections
from smallsight.files import copy_atomically
from smallsight.records import Detections, EpochRecord, Estimate, Weights
from smallsight.rng import keyed_generator
from smallsight.run.foreign_files import keep
from smallsight.training.averaging import are_equal
from smallsight.training.doubt import doubt_about_start
from smallsight.training.further_sets import measure_elsewhere
from smallsight.training.memory import peak_mb
from smallsight.training.module import LossMeter
from smallsight.training.predict import Prediction, hard_points, predict
from smallsight.training.state import TrainingState


def finish_epoch(state: TrainingState, began: float) -> bool:
    """Evaluate and report the epoch just trained; returns whether to train another one.

    Args:
        state: after the last batch of its epoch.
        began: when the epoch began, on the monotonic clock, s.
    Raises:
        Interrupted: a stop was requested; what was trained is saved.
    """
    state.save(state.spec.checkpoint, batches_done=state.supply.batches, seconds=time.monotonic() - began)
    _conclude(state, state.epoch, began)
    return state.channel.ask_to_go_on()


def evaluate_start(state: TrainingState) -> None:
    """Evaluate the weights before any training, as the epoch before the first, and warn if the figures look wrong."""
    _conclude(state, state.spec.first_epoch - 1, time.monotonic())
    own = state.start.get("trained_in", {}).get("run_id") == state.spec.run_id  # then its classes and images are known
    doubt = doubt_about_start(state.records[-1], state.start, state.config, state.detector.class_names)
    if doubt is not None and not own:
        state.channel.tell(Caution(doubt))


@dataclass(frozen=True)
class _Candidate:
    """One set of weights after an epoch, with its detections and their evaluation."""

    weights: Weights
    prediction: Prediction
    evaluation: Evaluation

    def value(self, metric: str) -> float:
        """The metric's value; minus infinity where it is not known."""
        value = self.evaluation.metrics[metric].value
        return -math.inf if math.isnan(value) else value


def _conclude(state: TrainingState, epoch: int, began: float) -> None:
    trained_s = time.monotonic() - began
    state.channel.tell(Evaluating(epoch))
    state.processes.even_buffers(state.module.detector, state.module.ema)
    judged, *others = _candidates(state)
    if state.spec.first_epoch <= epoch < state.spec.last_epoch:
        _look_for_hard_negatives(state, state.module.weights(judged.weights), epoch)
    elsewhere = measure_elsewhere(state, state.module.weights(judged.weights), epoch)
    own = None
    if state.processes.leads:
        own = replace(_record(state, epoch, judged, others, began, trained_s), sets=elsewhere)
    record = state.processes.broadcast(own)
    _keep(state, record)
    if state.processes.leads:
        state.log.add(record)
    state.channel.tell(EpochDone(record))


def _candidates(state: TrainingState) -> list[_Candidate]:
    """The averaged and the raw weights, the better one by the target metric first; one where both are the same.

    The average is usually better late in a training, the raw weights while they still change much.
    """
    module, target = state.module, state.spec.target_metric
    names: tuple[Weights, ...] = ("average",) if are_equal(module.ema, module.detector) else ("average", "raw")
    found = [_candidate(state, name) for name in names]
    return sorted(found, key=lambda each: each.value(target), reverse=True)  # stable: the average where they are equal


def _candidate(state: TrainingState, weights: Weights) -> _Candidate:
    config = state.config
    found = predict(
        state.module.weights(weights).eval(),
        state.valid,
        config.training.resolution,
        batch_size=config.evaluation.batch_size,
        with_losses=True,
        stop_requested=state.channel.stop_requested,
        processes=state.processes,
    )
    return _Candidate(weights, found, _evaluated(config, state.valid.dataset, found.detections))


def _record(
    state: TrainingState, epoch: int, judged: _Candidate, others: list[_Candidate], began: float, trained_s: float
) -> EpochRecord:
    """Save the detections of all candidates and return the record, whose figures are those of the judged one."""
    config, spec, means = state.config, state.spec, state.module.meter.means()
    ids = [image.id for image in state.valid.dataset.images]
    for candidate in (judged, *others):
        path = spec.detections(epoch, other=candidate is not judged)
        save_detections(path, candidate.prediction.detections, ids)
    return EpochRecord(
        epoch=epoch,
        phase=spec.phase,
        attempt=spec.attempt,
        metrics=_with_intervals(config, state.valid.dataset, judged.evaluation),
        train_loss=sum(means.values()) if means else math.nan,
        val_loss=judged.prediction.loss,
        loss_parts=means,
        learning_rate=state.module.learning_rate if means else math.nan,
        seconds=time.monotonic() - began,
        images_per_second=state.supply.samples / trained_s if means else math.nan,
        peak_memory_mb=peak_mb(state.device),
        resolution=config.training.resolution,
        weights=judged.weights,
        other=others[0].evaluation.metrics if others else {},
    )


def _evaluated(config: Config, dataset: Dataset, detections: list[Detections]) -> Evaluation:
    settings, classes = config.evaluation, len(dataset.class_names)
    return evaluate(
        dataset.truths, detections, classes, max_dets=settings.max_dets, centre_hit_px=settings.centre_hit_px
    )


def _with_intervals(config: Config, dataset: Dataset, evaluation: Evaluation) -> Mapping[str, Estimate]:
    settings = config.evaluation
    units = Units.of(len(dataset), groups_of(dataset), settings.resample)
    return with_intervals(evaluation, groups=units.groups, replicates=settings.replicates)


def _look_for_hard_negatives(state: TrainingState, detector: Detector, epoch: int) -> None:
    """Store the false positives on a few training frames, which are drawn anew for each epoch."""
    sampling = state.config.sampling
    count = min(sampling.hard_negative_frames, len(state.train))
    if not count or not sampling.hard_negative_share or not state.detector.trains_on_crops:
        return
    generator = keyed_generator("hard", state.config.training.seed, epoch)
    chosen = [int(index) for index in generator.choice(len(state.train), size=count, replace=False)]
    mine = state.processes.own_part(chosen)
    found = hard_points(detector, state.train, mine, state.config.training.resolution)
    state.hard_xy.update(state.processes.merged(found))


def _keep(state: TrainingState, record: EpochRecord) -> None:
    """Write the epoch's files and move on to the next epoch."""
    spec = state.spec
    value = record.value(spec.target_metric)
    is_best = not state.records or value > max(r.value(spec.target_metric) for r in state.records)
    state.records.append(record)
    state.epoch, state.skip_batches, state.seconds_before = record.epoch + 1, 0, 0.0
    state.boost = state.supply.next_boost(state.boost, state.module.meter.tiny_share)
    state.module.meter = LossMeter()
    if not state.processes.leads:
        return
    if record.epoch < spec.first_epoch:  # nothing was trained: the file that was given stays what it is
        state.save(spec.best)
        return
    _make_way(state, spec.lightweight(record.epoch))
    save_checkpoint(spec.lightweight(record.epoch), state.weights(record.epoch))
    if is_best:
        state.save(spec.best)
        copy_atomically(spec.best, spec.checkpoint, previous_of(spec.checkpoint))
    else:
        state.save(spec.checkpoint)


def _make_way(state: TrainingState, path: Path) -> None:
    """Rename a file that this run did not write, so that it is not overwritten."""
    if path.exists() and not is_of_run(path, state.spec.run_id):
        state.channel.tell(Note(keep(path, "not of this run")))
