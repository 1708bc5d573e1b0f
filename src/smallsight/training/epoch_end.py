"""The end of an epoch: evaluate, look for hard negatives, write the epoch's files, report.

What was trained is saved first; the outcome follows in the order detections, lightweight file, `best.pth`,
`checkpoint.pth`, report. `checkpoint.pth` carries the attempt's records, so a crash between any two of them loses
nothing and counts nothing twice.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping

from smallsight.config import Config
from smallsight.data.coco import Dataset
from smallsight.data.groups import groups_of
from smallsight.evaluation.ap import evaluate
from smallsight.evaluation.bootstrap import Units, with_intervals
from smallsight.evaluation.detections_file import save_detections
from smallsight.files import copy_atomically
from smallsight.records import Detections, EpochRecord, Estimate, to_json
from smallsight.rng import keyed_generator
from smallsight.training.checkpoint import previous_of, save_checkpoint
from smallsight.training.memory import peak_mb
from smallsight.training.module import LossMeter
from smallsight.training.predict import Prediction, hard_points, predict
from smallsight.training.state import TrainingState


def finish_epoch(state: TrainingState, began: float) -> bool:
    """Evaluate and report the epoch just trained; whether to train another one.

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
    """Evaluate the weights as they came, as the epoch before the first."""
    _conclude(state, state.spec.first_epoch - 1, time.monotonic())


def _conclude(state: TrainingState, epoch: int, began: float) -> None:
    config, spec = state.config, state.spec
    trained_s = time.monotonic() - began
    state.channel.tell({"event": "evaluating", "epoch": epoch})
    state.processes.even_buffers(state.module.detector, state.module.ema)
    found = predict(
        state.module.ema,
        state.valid,
        config.training.resolution,
        batch_size=config.evaluation.batch_size,
        with_losses=True,
        stop_requested=state.channel.stop_requested,
        processes=state.processes,
    )
    if spec.first_epoch <= epoch < spec.last_epoch:
        _look_for_hard_negatives(state, epoch)
    record = _record(state, epoch, found, began, trained_s) if state.processes.leads else None
    record = state.processes.told(record)
    assert record is not None
    _keep(state, record)
    if state.processes.leads:
        state.log.add(record)
    state.channel.tell({"event": "epoch", "record": to_json(record)})


def _record(state: TrainingState, epoch: int, found: Prediction, began: float, trained_s: float) -> EpochRecord:
    """Keep the detections and judge them."""
    config, spec, means = state.config, state.spec, state.module.meter.means()
    save_detections(spec.detections(epoch), found.detections, [image.id for image in state.valid.dataset.images])
    return EpochRecord(
        epoch=epoch,
        phase=spec.phase,
        attempt=spec.attempt,
        metrics=_metrics(config, state.valid.dataset, found.detections),
        train_loss=sum(means.values()) if means else math.nan,
        val_loss=found.loss,
        loss_parts=means,
        learning_rate=state.module.learning_rate if means else math.nan,
        seconds=time.monotonic() - began,
        images_per_second=state.supply.samples / trained_s if means else math.nan,
        peak_memory_mb=peak_mb(state.device),
        resolution=config.training.resolution,
    )


def _metrics(config: Config, dataset: Dataset, detections: list[Detections]) -> Mapping[str, Estimate]:
    settings = config.evaluation
    classes = len(dataset.class_names)
    evaluation = evaluate(
        dataset.truths, detections, classes, max_dets=settings.max_dets, centre_hit_px=settings.centre_hit_px
    )
    units = Units.of(len(dataset), groups_of(dataset), settings.resample)
    return with_intervals(evaluation, groups=units.groups, replicates=settings.replicates)


def _look_for_hard_negatives(state: TrainingState, epoch: int) -> None:
    """Remember the false alarms on a few training frames, chosen by the epoch."""
    sampling = state.config.sampling
    count = min(sampling.hard_negative_frames, len(state.train))
    if not count or not sampling.hard_negative_share or not state.detector.trains_on_crops:
        return
    generator = keyed_generator("hard", state.config.training.seed, epoch)
    chosen = [int(index) for index in generator.choice(len(state.train), size=count, replace=False)]
    mine = state.processes.share(chosen)
    found = hard_points(state.module.ema, state.train, mine, state.config.training.resolution)
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
    save_checkpoint(spec.lightweight(record.epoch), state.weights(record.epoch))
    if is_best:
        state.save(spec.best)
        copy_atomically(spec.best, spec.checkpoint, previous_of(spec.checkpoint))
    else:
        state.save(spec.checkpoint)
