"""The functions of `import smallsight`: the commands, which return values here instead of printing text.

Wrong input raises an exception with the message of the command line. Where the message names an option of the command,
the argument here has the same name. torch is imported when a function needs it, not before.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from smallsight.attempts.signals import stops_interrupt
from smallsight.commands.budget import seconds_of
from smallsight.commands.read_run import Run
from smallsight.data import coco
from smallsight.errors import EXIT_USAGE, InputError, SmallsightError, as_message

if TYPE_CHECKING:
    from smallsight.data.coco import Dataset
    from smallsight.training.loaded import LoadedDetector, Weights
    from smallsight.training.measure import Measured

AnyPath = str | Path


def load_detector(
    checkpoint: AnyPath,
    *,
    weights: Weights = "judged",
    device: str = "auto",
    data: AnyPath | None = None,
    class_outputs: Mapping[str, int] | None = None,
    resolution: int | None = None,
) -> LoadedDetector:
    """Read a checkpoint as a detector that is ready to detect.

    Args:
        checkpoint: any file that smallsight wrote, or that training can start from (RF-DETR's own, for example).
        weights: `raw`, as trained; `average`, their moving average; `judged`, those that the checkpoint's figures were
            taken with.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        data: for a file of another trainer: a COCO folder with labelled frames; the detector finds its classes. Without
            it the classes are those that the file or `class_outputs` names.
        class_outputs: for a file of another trainer: the output of its class head by class name, where the file does
            not say so.
        resolution: px, the input size; the file's own where None.
    Returns:
        An object whose `detect` takes an image or a list of images.
    Raises:
        CheckpointError: the file can't be read, or has none of the classes.
        ConfigError: the device, the weights or the resolution is not known or not available.
        DatasetError: `data` can't be read.

    Example:
        >>> import smallsight
        >>> detector = smallsight.load_detector("runs/mine/checkpoint_best.pth", device="cpu")
        >>> detector.class_names, detector.resolution
        (('ball',), 96)
        >>> first, second = detector.detect(["data/valid/000.png", "data/valid/001.png"])
        >>> len(first) == len(first.boxes) == len(first.scores) == len(first.labels)
        True
    """
    from smallsight.training.loaded import load_detector as load

    with _system_errors_as_ours():
        return load(
            Path(checkpoint),
            weights=weights,
            device=device,
            data=None if data is None else lambda: coco.read_folder_or_file(Path(data)),
            class_outputs=class_outputs,
            resolution=resolution,
        )


def evaluate(
    checkpoint: AnyPath,
    data: AnyPath,
    *,
    resolution: int | None = None,
    max_dets: int = 100,
    centre_hit_px: float = 4.0,
    weights: Weights = "judged",
    class_outputs: Mapping[str, int] | None = None,
    device: str = "auto",
    results: AnyPath | None = None,
) -> Measured:
    """Measure a checkpoint on labelled frames, as `smallsight evaluate` does.

    Args:
        checkpoint: any file that smallsight wrote, or that training can start from.
        data: a folder with images and `_annotations.coco.json`, or the annotation file; classes are matched by name.
        resolution: px, the input size; the checkpoint's own where None.
        max_dets: detections per image that count.
        centre_hit_px: largest distance of box centres that is a hit, px.
        weights, class_outputs, device: see `load_detector`.
        results: a file to write the detections to, as COCO results with the annotation file's own ids.
    Returns:
        `metrics` holds each figure by name with its 95 % interval and n. `smallsight.records.to_json` makes of it what
        `smallsight evaluate --json` prints.
    Raises:
        CheckpointError, DatasetError, ConfigError: see `load_detector`.

    Example:
        >>> import smallsight
        >>> measured = smallsight.evaluate("runs/mine/checkpoint_best.pth", "data/valid")
        >>> small = measured.metrics["map_small"]
        >>> print(f"map_small {small}, {small.n} objects")  # doctest: +ELLIPSIS
        map_small 0... [0..., ...], ... objects
    """
    from smallsight.training.measure import measure

    with _system_errors_as_ours():
        return measure(
            Path(checkpoint),
            Path(data),
            resolution=resolution,
            max_dets=max_dets,
            centre_hit_px=centre_hit_px,
            weights=weights,
            class_outputs=class_outputs,
            device=device,
            results=None if results is None else _no_folder(Path(results)),
        )


def optimize(
    config: AnyPath,
    strategy: AnyPath | None = None,
    *,
    overrides: Mapping[str, object] | Sequence[str] = (),
    output_dir: AnyPath | None = None,
    resume: AnyPath | None = None,
    budget: str | float | None = None,
) -> Run:
    """Run the whole strategy, up to a champion and a report, as `smallsight optimize` does; return when it has ended.

    The progress is written to standard error and to `run.log`. Called again with the same arguments, it continues an
    interrupted run, and does nothing where the run is finished.

    Ctrl-C, or a request of the system to stop, lets the training process save its state, and then raises `Interrupted`.
    Python handles signals in the main thread only, so call it there.

    Args:
        config: YAML file that describes data, detector and training.
        strategy: YAML file of phases, or the name of a shipped strategy; `small_objects` where None.
        overrides: values by dotted key, such as `{"training.epochs": 20}`, or texts, such as `["training.epochs=20"]`.
            Keys that begin with `strategy.` are the strategy's.
        output_dir: the run folder; that of the configuration where None.
        resume: a checkpoint to start from.
        budget: wall clock for the run: `"90s"`, `"20m"`, `"8h"`, or a number of seconds.
    Raises:
        InputError: the configuration, the data, the checkpoint or the run folder can't be used.
        TrainingError: an attempt failed, and nothing is left to try.
        Interrupted: a stop was requested; the same call continues the run.

    Example:
        >>> import smallsight
        >>> faster = {"training.learning_rate": 0.003}
        >>> run = smallsight.optimize("mine.yaml", "short.yaml", overrides=faster, output_dir="runs/mine", budget="20m")
        >>> run.champion.phase
        'longer'
    """
    from smallsight.commands.train import optimize as run

    _refuse_other_threads()
    seconds, texts = None if budget is None else seconds_of(budget), _as_texts(overrides)
    options = {"--config": config, "--strategy": strategy, "--output-dir": output_dir, "--resume": resume}
    options["--budget"] = None if seconds is None else f"{seconds:g}s"
    words = [word for name, value in options.items() if value is not None for word in (name, str(value))]
    given = (Path(config), _path(strategy), texts, _path(output_dir), _path(resume))
    with _system_errors_as_ours(), stops_interrupt():
        document = run(*given, seconds, quiet=True, words=["smallsight", "optimize", *words, *texts])
    return Run(document["source"])


def read_coco(data: AnyPath, *, class_names: Sequence[str] | None = None) -> Dataset:
    """Read one split of a COCO data set, strictly: nothing in it is guessed.

    Args:
        data: a folder with images and `_annotations.coco.json`, or the annotation file, by whatever name.
        class_names: keep these classes, in this order; all where None.
    Returns:
        `images` (id, path, size), and in `truths` what is on each: boxes (N, 4) xyxy in image px, labels, areas.
    Raises:
        DatasetError: what is wrong, and what to do about it; see docs/data.md.

    Example:
        >>> import smallsight
        >>> data = smallsight.read_coco("data/valid")
        >>> len(data), data.class_names, data.images[0].size_wh
        (6, ('ball',), (96, 96))
        >>> data.truths[0].boxes.shape[1]
        4
    """
    with _system_errors_as_ours():
        return coco.read_folder_or_file(Path(data), class_names=class_names)


def _refuse_other_threads() -> None:
    if threading.current_thread() is not threading.main_thread():
        raise SmallsightError(
            "smallsight.optimize: called in another thread than the main one, where Ctrl-C can't be heard. "
            "Call it in the main thread, or start `smallsight optimize` as a process."
        )


def _path(given: AnyPath | None) -> Path | None:
    return None if given is None else Path(given)


def _no_folder(path: Path) -> Path:
    if path.is_dir():
        raise InputError(f"{path}: is a folder, expected a file to write. Give its name, too.")
    return path


def _as_texts(overrides: Mapping[str, object] | Sequence[str]) -> list[str]:
    """Overrides as `KEY=VALUE` texts. Values are written as JSON, which is valid YAML."""
    if isinstance(overrides, str):
        return [overrides]
    if not isinstance(overrides, Mapping):
        return list(overrides)
    return [f"{key}={json.dumps(value, default=str, ensure_ascii=False)}" for key, value in overrides.items()]


@contextlib.contextmanager
def _system_errors_as_ours() -> Iterator[None]:
    """Turn an `OSError` into an exception of ours with the message of the command line.

    Raises:
        InputError: a path can't be used.
        SmallsightError: another error of the system, such as a full disk.
    """
    try:
        yield
    except OSError as error:
        said, code = as_message(error)
        kind = InputError if code == EXIT_USAGE else SmallsightError
        raise kind(said.removeprefix("Error: ")) from error
