"""A checkpoint of a run measured on another set, once per checkpoint and annotation file, in a process of its own."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from smallsight.attempts.measuring import measure_in_child
from smallsight.attempts.spec import MeasureSpec
from smallsight.config.load import Config
from smallsight.data.coco import ANNOTATION_FILE
from smallsight.errors import InputError, RunFolderError
from smallsight.files import sha256_of
from smallsight.run.folder import RunFolder


def measurement_key(checkpoint_sha256: str, data: Path) -> str:
    """What names a checkpoint on a COCO folder, see `RunFolder.measured`."""
    return f"{checkpoint_sha256[:16]}_{sha256_of(data / ANNOTATION_FILE)[:16]}"


def figures_on(
    folder: RunFolder,
    key: str,
    checkpoint: Callable[[], Path],
    data: Path,
    config: Config,
    class_names: Sequence[str] | None = None,
) -> Mapping[str, Any]:
    """Figures of a checkpoint on a set, as `training.measure.Measured` has them; measured where they are not there yet.

    Args:
        folder: of the run.
        key: from `measurement_key`.
        checkpoint: where the file lies; asked for where it has to be measured.
        data: the COCO folder.
        config: that the checkpoint was trained with.
        class_names: given where the detections are wanted as well, see `RunFolder.measured_detections`: the classes in
            the order of their labels.
    Raises:
        RunFolderError: the checkpoint is gone, or could not be measured there.
        OSError: the figures can't be written.
        Interrupted: a stop was requested.
    """
    kept, detections = folder.measured(key), folder.measured_detections(key)
    if not kept.is_file() or (class_names is not None and not detections.is_file()):
        spec = MeasureSpec(
            str(checkpoint()),
            str(data),
            str(kept),
            config.evaluation.max_dets,
            config.evaluation.centre_hit_px,
            config.training.device,
            "" if class_names is None else str(detections),
            tuple(class_names or ()),
        )
        _measure(folder, key, spec)
    for path in (folder.measuring_job(key), folder.measuring_log(key)):  # also those of a process that was killed
        path.unlink(missing_ok=True)
    content: Mapping[str, Any] = json.loads(kept.read_text())
    return content


def _measure(folder: RunFolder, key: str, spec: MeasureSpec) -> None:
    job, log = folder.measuring_job(key), folder.measuring_log(key)
    log.parent.mkdir(exist_ok=True)
    try:
        result = measure_in_child(spec, job, log)
    except InputError as error:
        raise RunFolderError(f"{spec.data}: can't be evaluated; {error}") from error
    if result.failure:
        raise RunFolderError(f"{spec.data}: can't be evaluated ({result.failure}); {result.message}")
