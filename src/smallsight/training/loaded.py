"""A checkpoint of smallsight or of another trainer, loaded as a detector that is ready to detect."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, overload

import numpy as np
import torch

from smallsight.data.coco import Dataset
from smallsight.data.frames import read_image
from smallsight.detectors.base import Detector
from smallsight.detectors.build import descriptions_of, detector_from_description
from smallsight.detectors.checkpoint import is_ours, load_checkpoint, load_weights, refuse_missing
from smallsight.detectors.foreign import ForeignFile, read_foreign
from smallsight.errors import CheckpointError, ConfigError, InputError
from smallsight.records import Detections, Image
from smallsight.training.class_outputs import settled
from smallsight.training.device import resolve_device
from smallsight.training.predict import detect_images
from smallsight.training.start import as_checkpoint

Weights = Literal["judged", "average", "raw"]
"""`judged`: the weights that the file's metrics belong to, where smallsight wrote it; else the average."""
ImageSource = str | Path | Image
"""An image file, or its pixels: uint8 (H, W, 3) RGB."""
AnyImage = TypeVar("AnyImage", bound=ImageSource)


def legal(resolution: int, detector: Detector) -> int:
    """Check an input size, px, and return it.

    Raises:
        ConfigError: the detector does not accept it.
    """
    step = detector.resolution_step
    if resolution < step or (resolution % step and not detector.keeps_aspect):
        below = max(1, resolution // step) * step
        raise ConfigError(f"--resolution: needs a multiple of {step}; got {resolution}. Use {below} or {below + step}.")
    return resolution


@dataclass(frozen=True, eq=False)
class LoadedDetector:
    """A detector ready to detect, and what its file records.

    Attributes:
        detector: the module, on its device, in evaluation mode.
        resolution: px, the input size it detects at.
        epoch: the last one that it was trained for; 0 where the file does not say.
        weights: which of the file's two sets was taken.
        notes: for another trainer's file, sentences on what was decided and what is not used.
    """

    detector: Detector
    resolution: int
    epoch: int
    weights: Literal["average", "raw"]
    notes: tuple[str, ...] = ()

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes, by class index."""
        return self.detector.class_names

    @overload
    def detect(self, images: ImageSource, *, batch_size: int = 8) -> Detections: ...

    @overload
    def detect(self, images: list[AnyImage] | tuple[AnyImage, ...], *, batch_size: int = 8) -> list[Detections]: ...

    def detect(
        self, images: ImageSource | list[AnyImage] | tuple[AnyImage, ...], *, batch_size: int = 8
    ) -> Detections | list[Detections]:
        """Find objects on whole images.

        Args:
            images: one image, or a list of them. Each is the path of a file, or an array uint8 (H, W, 3) in RGB. The
                pixels are taken as they are stored: no rotation by EXIF.
            batch_size: most images per forward pass. Only consecutive images of the same size share one.
        Returns:
            For each image, boxes in px of that image (xyxy, edges exclusive), scores and labels, the best score first,
            with the names of the classes. Detections with low scores are included.
        Raises:
            DatasetError: a file can't be read as an image.
            InputError: an array is no RGB image of bytes.

        Example:
            >>> import smallsight
            >>> detector = smallsight.load_detector("runs/mine/checkpoint_best.pth")
            >>> found = detector.detect("data/valid/000.png")
            >>> sure = found.scores >= 0.5
            >>> found.boxes[sure].shape[1], found.class_names
            (4, ('ball',))
        """
        if not isinstance(images, (list, tuple)):
            return self._detected([_pixels(images)])[0]
        found: list[Detections] = []
        for start in range(0, len(images), batch_size):
            batch = [_pixels(image) for image in images[start : start + batch_size]]
            for _, alike in groupby(batch, key=lambda image: image.shape):
                found += self._detected(list(alike))
        return found

    def _detected(self, images: list[Image]) -> list[Detections]:
        found = detect_images(self.detector, images, self.resolution)
        return [replace(one, class_names=self.class_names) for one in found]


def _pixels(image: object) -> Image:
    """An image file's pixels, or an array after a check of its type and shape; uint8 (H, W, 3) RGB."""
    if isinstance(image, (str, Path)):
        return read_image(Path(image))
    pixels = np.asarray(image)
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        shape = ", ".join(map(str, pixels.shape))
        raise InputError(f"image: got {pixels.dtype} ({shape}), expected uint8 (H, W, 3) in RGB. Convert it.")
    return np.ascontiguousarray(pixels)


def load_detector(
    checkpoint: Path,
    *,
    weights: Weights = "judged",
    device: str = "auto",
    data: Callable[[], Dataset] | None = None,
    class_outputs: Mapping[str, int] | None = None,
    resolution: int | None = None,
) -> LoadedDetector:
    """Load a checkpoint; another trainer's file that does not name its classes needs the data with the wanted classes.

    Args:
        checkpoint: any file that smallsight wrote, or that training can start from.
        weights: which of the two sets in the file.
        device: as `training.device`.
        data: reads labelled frames; only used for another trainer's file. Without it the classes are those that the
            file or `class_outputs` names.
        class_outputs: outputs of another trainer's class head, by class name. Where None, the file gives them, or they
            are determined on some of the frames.
        resolution: px; the file's own where None.
    Raises:
        CheckpointError: it can't be read or knows none of the classes.
        ConfigError: the resolution of another trainer's file is not known, or the detector does not accept it.
    """
    if weights not in get_args(Weights):
        raise ConfigError(f"--weights: got {weights!r}, expected {', '.join(get_args(Weights))}.")
    refuse_missing(checkpoint)
    where = resolve_device(device)
    notes: tuple[str, ...] = ()
    if is_ours(checkpoint):
        content = load_checkpoint(checkpoint)
        detector = detector_from_description(content["detector"], str(checkpoint))
    else:
        labelled = None if data is None else data()
        content, detector, notes = _foreign(checkpoint, class_outputs, labelled, resolution, where)
    px = int(content["resolution"]) if resolution is None else legal(resolution, detector)
    taken = weights if weights != "judged" else content.get("judged", "average")
    load_weights(detector, content["model" if taken == "raw" else "ema_model"], checkpoint)
    return LoadedDetector(detector.eval().to(where), px, content["epoch"], taken, notes)


def _foreign(
    checkpoint: Path,
    class_outputs: Mapping[str, int] | None,
    data: Dataset | None,
    resolution: int | None,
    device: torch.device,
) -> tuple[dict[str, Any], Detector, tuple[str, ...]]:
    """Another trainer's file as the content of a smallsight checkpoint, with those wanted classes that it knows."""
    file = read_foreign(checkpoint)
    px = resolution or file.resolution
    description = descriptions_of(file)[0]
    if px is None:
        raise ConfigError(f"{checkpoint}: does not say what resolution it was trained at. Give it with --resolution.")
    names = data.class_names if data is not None else _own_names(file, class_outputs)
    detector = detector_from_description({**description, "class_names": list(names)}, str(checkpoint))
    legal(px, detector)
    outputs = detector.class_outputs(file, data.category_ids if data is not None else None, class_outputs)
    if data is not None:
        outputs = settled(file, detector.to(device), outputs, data, px)
    elif not outputs.is_known:
        raise _needs_frames(file, outputs.note)
    known = [(name, taken) for name, taken in zip(names, outputs.taken, strict=True) if taken is not None]
    if not known:
        where = "" if data is None else f" of {data.root}"
        raise CheckpointError(
            f"{checkpoint}: knows none of the classes{where}: {', '.join(names)}; {outputs.note}. "
            f"Name the output of each class, for example --class-outputs {names[0]}=0."
        )
    detector = detector_from_description({**description, "class_names": [name for name, _ in known]}, str(checkpoint))
    start = detector.start_from(file, [taken for _, taken in known])
    return as_checkpoint(file, start, detector, px), detector, (outputs.note, *file.left_behind)


def _own_names(file: ForeignFile, class_outputs: Mapping[str, int] | None) -> tuple[str, ...]:
    names = file.class_names if class_outputs is None else tuple(class_outputs)
    if not names:
        raise _needs_frames(file, "the file names no classes")
    return names


def _needs_frames(file: ForeignFile, why: str) -> CheckpointError:
    return CheckpointError(
        f"{file.path}: which output is which class is not known; {why}. Give labelled frames, or the output of each "
        "class."
    )
