"""Evaluation of an epoch's weights on the further evaluation sets."""

from __future__ import annotations

from collections.abc import Mapping

from smallsight.config.load import Config
from smallsight.data.every_epoch_sets import FurtherSet
from smallsight.data.groups import groups_of
from smallsight.detectors.base import Detector
from smallsight.evaluation.ap import evaluate
from smallsight.evaluation.bootstrap import Units, with_intervals
from smallsight.evaluation.detections_file import save_detections
from smallsight.evaluation.presence import presence
from smallsight.records import Detections, Estimate
from smallsight.run.folder import detections_of_set
from smallsight.training.predict import predict
from smallsight.training.state import TrainingState


def measure_elsewhere(state: TrainingState, detector: Detector, epoch: int) -> dict[str, Mapping[str, Estimate]]:
    """Detect on each further set, save the detections, and compute the metrics.

    Args:
        state: all processes share the frames; the leader alone writes.
        detector: with the weights that are judged, in evaluation mode.
        epoch: its number.
    Returns:
        Metrics by set: for a set with labels, those of the validation set with their intervals; for one without
        labels, those of `presence`. Empty in processes that don't lead.
    Raises:
        Interrupted: a stop was requested.
    """
    config, figures = state.config, {}
    for further, frames in state.further:
        found = predict(
            detector,
            frames,
            config.training.resolution,
            batch_size=config.evaluation.batch_size,
            stop_requested=state.channel.stop_requested,
            processes=state.processes,
        ).detections
        if state.processes.leads:
            ids = [image.id for image in further.dataset.images]
            save_detections(detections_of_set(state.spec.detections(epoch), further.name), found, ids)
            figures[further.name] = _figures(config, further, found)
    return figures


def _figures(config: Config, further: FurtherSet, found: list[Detections]) -> Mapping[str, Estimate]:
    if not further.labelled:
        return presence(found)
    settings, dataset = config.evaluation, further.dataset
    evaluation = evaluate(
        dataset.truths,
        found,
        len(dataset.class_names),
        max_dets=settings.max_dets,
        centre_hit_px=settings.centre_hit_px,
    )
    units = Units.of(len(dataset), groups_of(dataset), settings.resample)
    return with_intervals(evaluation, groups=units.groups, replicates=settings.replicates)
