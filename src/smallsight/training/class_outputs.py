"""Which output of another trainer's class head is which class, determined on labelled frames."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from smallsight.data.coco import Dataset
from smallsight.data.frames import FrameStore
from smallsight.detectors.base import Detector, device_of
from smallsight.detectors.build import detector_from_description
from smallsight.detectors.foreign import ClassOutputs, ForeignFile
from smallsight.evaluation.ap import evaluate
from smallsight.records import Detections, Truth
from smallsight.training.doubt import NEXT_TO_NOTHING
from smallsight.training.predict import predict

FRAMES = 50
"""Most labelled frames that the outputs are tried on."""


@dataclass(frozen=True)
class Trial:
    """How well each output of a head finds each class.

    Attributes:
        frames: number of frames that it was measured on.
        ap50: (classes, outputs); NaN for a class without objects there.
    """

    frames: int
    ap50: np.ndarray

    def assigned(self) -> dict[int, int]:
        """By class, the output that finds it best; each output is given once, the highest AP50 first."""
        left = np.where(self.ap50 >= NEXT_TO_NOTHING, self.ap50, -1.0)
        found: dict[int, int] = {}
        while left.size and (best := left.max()) > 0:
            label, output = (int(at) for at in np.argwhere(left == best)[0])
            found[label] = output
            left[label, :] = left[:, output] = -1.0
        return found


def settled(
    file: ForeignFile, detector: Detector, outputs: ClassOutputs, data: Dataset, resolution: int
) -> ClassOutputs:
    """Determine which output of a file's head is which class, by a trial on labelled frames where it is not known.

    Args:
        file: of the detector's network.
        detector: whose classes are wanted, on the device to use; it is not changed.
        outputs: as read from the file.
        data: its labelled frames are used; `FRAMES` at most, evenly spread.
        resolution: px, the input size.
    Returns:
        `outputs` where they are known; else the outputs that the trial chose, with its figures in words.
    """
    if outputs.is_known:
        return outputs
    trial = try_outputs(file, detector, outputs.count, data, resolution)
    found = trial.assigned()
    words = ". ".join(_said(name, trial.ap50[label], found.get(label)) for label, name in enumerate(data.class_names))
    where = f"tried on {trial.frames} labelled frames at {resolution} px"
    if not found:
        return replace(outputs, note=f"{outputs.note}; {where}, no output finds anything: {words}")
    free = [None if output in found.values() else output for output in outputs.taken]
    taken = tuple(found.get(label, free[label]) for label in range(len(outputs.taken)))
    return ClassOutputs(taken, outputs.count, True, f"class head: {where}: {words}")


def _said(name: str, ap50: np.ndarray, taken: int | None) -> str:
    """One class's three best outputs with their AP50, and the one taken, in words."""
    order = [int(output) for output in np.argsort(-ap50, kind="stable") if not math.isnan(ap50[output])]
    figures = ", ".join(f"output {output} has AP50 {ap50[output]:.2f}" for output in order[:3])
    if not order:
        return f"{name} does not occur there"
    return f"{name}: {figures}; {'none' if taken is None else f'output {taken}'} taken"


def try_outputs(file: ForeignFile, detector: Detector, count: int, data: Dataset, resolution: int) -> Trial:
    """AP50 of every output of a file's head for every class.

    Args:
        file, detector, data, resolution: as for `settled`.
        count: outputs of the head.
    Returns:
        The AP50 values and the number of frames.
    """
    labelled = [index for index, truth in enumerate(data.truths) if len(truth)]
    spread = np.unique(np.linspace(0, len(labelled) - 1, min(FRAMES, len(labelled))).round().astype(int))
    chosen = [labelled[at] for at in spread]
    frames = replace(
        data, images=tuple(data.images[at] for at in chosen), truths=tuple(data.truths[at] for at in chosen)
    )
    whole = detector_from_description(
        {**detector.description(), "class_names": [f"output {at}" for at in range(count)]}, str(file.path)
    )
    whole.load_state_dict(whole.start_from(file, range(count)).average)
    found = predict(whole.to(device_of(detector)).eval(), FrameStore(frames), resolution).detections
    ap50 = [
        [_ap50(frames.truths, found, label, output) for output in range(count)]
        for label in range(len(data.class_names))
    ]
    return Trial(len(frames), np.array(ap50).reshape(len(data.class_names), count))


def _ap50(truths: Sequence[Truth], found: Sequence[Detections], label: int, output: int) -> float:
    """AP50 of one output for one class; all other outputs and classes are left out."""
    objects = [_objects(truth, truth.labels == label) for truth in truths]
    own = [_detections(item, item.labels == output) for item in found]
    return evaluate(objects, own, 1).metrics["map_50"].value


def _objects(truth: Truth, which: np.ndarray) -> Truth:
    boxes = truth.boxes[which]
    return Truth(boxes, np.zeros(len(boxes), dtype=np.int64), truth.areas[which], truth.ignored[which])


def _detections(found: Detections, which: np.ndarray) -> Detections:
    boxes = found.boxes[which]
    return Detections(boxes, found.scores[which], np.zeros(len(boxes), dtype=np.int64))
