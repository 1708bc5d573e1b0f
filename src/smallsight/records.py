"""The values that cross file borders. All are frozen; arrays in them are not to be changed in place."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from smallsight.boxes import Boxes

Labels = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]
Image = npt.NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Truth:
    """What is annotated on one image.

    Attributes:
        boxes: (N, 4) float32, xyxy, px, image frame.
        labels: (N,) class indices from 0, in the order of the dataset's class names.
        areas: (N,) px^2, the annotation's own `area`; it decides the size bin.
        ignored: (N,) bool; a detection there counts neither for nor against (COCO's `iscrowd`).
    """

    boxes: Boxes
    labels: Labels
    areas: Floats
    ignored: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.boxes)


@dataclass(frozen=True, eq=False)
class Sample:
    """One decoded image with its truth: `image` is uint8 (H, W, 3) RGB."""

    image: Image
    truth: Truth
    image_id: int

    @property
    def size_wh(self) -> tuple[int, int]:
        """Width and height, px."""
        height, width = self.image.shape[:2]
        return width, height


@dataclass(frozen=True, eq=False)
class Detections:
    """What a detector found on one image, best score first.

    Attributes:
        boxes: (N, 4) float32, xyxy, px, image frame.
        scores: (N,) in [0, 1].
        labels: (N,) class indices from 0.
        class_names: by class index; empty where whoever asked for the detections has the names.
    """

    boxes: Boxes
    scores: Floats
    labels: Labels
    class_names: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.boxes)


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % interval.

    `value` is NaN where it is not defined (no object of that size); `low` and `high` are NaN where no interval is.
    `n` is the number of things it rests on: objects for an AP or a recall, epochs for a slope.
    """

    value: float
    low: float = math.nan
    high: float = math.nan
    n: int = 0

    @property
    def known(self) -> bool:
        """Whether there is a value at all."""
        return not math.isnan(self.value)

    def __format__(self, spec: str) -> str:
        spec = spec or ".3f"
        if not self.known or math.isnan(self.low):
            return shown(self.value, spec)
        return f"{shown(self.value, spec)} [{shown(self.low, spec)}, {shown(self.high, spec)}]"


def shown(value: float, spec: str = ".3f") -> str:
    """A number for people: `n/a` where it is NaN, and what rounds to zero has no minus."""
    if math.isnan(value):
        return "n/a"
    text = format(value, spec)
    return format(0.0, spec) if float(text) == 0 else text


Weights = Literal["average", "raw"]


def gigabytes(taken_mb: float, limit_mb: float | None = None) -> str:
    """Memory for people: `1.5 of 24 GB`; `1.5 GB` where the limit is not known."""
    if limit_mb is None:
        return f"{taken_mb / 1000:.1f} GB"
    return f"{taken_mb / 1000:.1f} of {limit_mb / 1000:.{0 if limit_mb >= 10_000 else 1}f} GB"


@dataclass(frozen=True)
class EpochRecord:
    """What one epoch of training reached.

    Attributes:
        epoch: number from 1, counting on across phases. 0 is a checkpoint evaluated as it came.
        phase: name of the phase in the strategy.
        attempt: number from 1 of the attempt at this phase.
        metrics: by name (`map_50_95`, `map_50`, `map_75`, `map_small`, `map_medium`, `map_large`, `ap_0_8`,
            `recall_0_8`, ..., `centre_ap`).
        train_loss, val_loss: totals, mean per image; NaN where not computed.
        loss_parts: mean of each part of the training loss.
        learning_rate: at the end of the epoch.
        seconds: of the whole epoch, evaluation included.
        images_per_second: in training.
        peak_memory_mb: the highest so far, of the attempt's process (CPU) or of its device (CUDA).
        resolution: px, the detector's input size in this phase.
        weights: whose figures `metrics` holds: the trained weights (raw) or their average, whichever had the better
            target metric; validation loss and detections are theirs too. Empty where another tool recorded the epoch.
        other: figures of the other ones; empty where both were the same.
        sets: figures of the same weights on further evaluation sets, by set (`set_figures` says which figures).
    """

    epoch: int
    phase: str
    attempt: int
    metrics: Mapping[str, Estimate]
    train_loss: float = math.nan
    val_loss: float = math.nan
    loss_parts: Mapping[str, float] = field(default_factory=dict)
    learning_rate: float = math.nan
    seconds: float = math.nan
    images_per_second: float = math.nan
    peak_memory_mb: float = math.nan
    resolution: int = 0
    weights: Weights | Literal[""] = "average"
    other: Mapping[str, Estimate] = field(default_factory=dict)
    sets: Mapping[str, Mapping[str, Estimate]] = field(default_factory=dict)

    def value(self, metric: str) -> float:
        """The metric's value, NaN where it is not known."""
        return self.metrics[metric].value if metric in self.metrics else math.nan


Outcome = Literal["improved", "kept", "no_evidence", "regressed"]


@dataclass(frozen=True)
class Verdict:
    """The comparison of a phase with the champion, on the same images.

    Attributes:
        outcome: `improved` and `regressed` are demonstrated. Without evidence, a phase that changes no setting is
            `kept`, and any other one has `no_evidence`.
        difference: of the target metric, candidate minus champion, with its paired interval.
        guard_difference: of the guard metric, likewise.
        reason: one sentence.
        sets: of the target metric on each set that guards, likewise.
        over_control: of the target metric, candidate minus the control of its round; None where there was none.
        confidence: the one-sided level that a rise had to reach; NaN where it was not written down.
    """

    outcome: Outcome
    difference: Estimate
    guard_difference: Estimate
    reason: str
    sets: Mapping[str, Estimate] = field(default_factory=dict)
    over_control: Estimate | None = None
    confidence: float = math.nan

    @property
    def accepted(self) -> bool:
        """Whether the candidate becomes the champion."""
        return self.outcome in ("improved", "kept")


Action = Literal["run", "round", "stop"]
Equal = Literal["epochs", "seconds"]


@dataclass(frozen=True)
class Decision:
    """What to do next and why.

    Attributes:
        action: run a phase, run a round of arms, or stop.
        reason: one sentence.
        phase: name of the phase or of the round; empty for stop.
        settings: dotted configuration keys that a phase or an arm changes.
        epochs: how many epochs to run; those of each arm, in a round.
        control: whether this arm only goes on with the champion's settings.
        arms: of a round, what each arm does, as decisions to run; the control is the first.
        rungs: of a round, after how many epochs the arms that are demonstrably behind are stopped.
        equal: what all arms of a round get the same of.
        keep: of a round, how many of its winners a later round may combine.
    """

    action: Action
    reason: str
    phase: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    epochs: int = 0
    control: bool = False
    arms: tuple[Decision, ...] = ()
    rungs: tuple[int, ...] = ()
    equal: Equal = "epochs"
    keep: int = 1


def to_json(value: Any) -> Any:
    """A record as plain JSON values; NaN becomes null."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_json(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_json(item) for item in value]
    if isinstance(value, (float, np.floating)):
        return None if math.isnan(value) else float(value)
    if isinstance(value, np.integer):
        return int(value)
    return value


def _number(value: Any) -> float:
    """A figure; NaN for one that is not known, which an infinite one is not either."""
    return math.nan if value is None or not math.isfinite(value) else float(value)


def estimate_from_json(value: Mapping[str, Any]) -> Estimate:
    """The inverse of `to_json` for an Estimate."""
    return Estimate(_number(value["value"]), _number(value["low"]), _number(value["high"]), int(value["n"]))


def estimates_from_json(value: Mapping[str, Any]) -> dict[str, Estimate]:
    """Estimates by name."""
    return {name: estimate_from_json(item) for name, item in value.items()}


def epoch_record_from_json(value: Mapping[str, Any]) -> EpochRecord:
    """The inverse of `to_json` for an EpochRecord."""
    numbers = ("train_loss", "val_loss", "learning_rate", "seconds", "images_per_second", "peak_memory_mb")
    return EpochRecord(
        epoch=int(value["epoch"]),
        phase=str(value["phase"]),
        attempt=int(value["attempt"]),
        metrics=estimates_from_json(value["metrics"]),
        loss_parts={name: _number(item) for name, item in value["loss_parts"].items()},
        resolution=int(value["resolution"]),
        weights=value.get("weights", "average"),
        other=estimates_from_json(value.get("other", {})),
        sets={name: estimates_from_json(figures) for name, figures in value.get("sets", {}).items()},
        **{name: _number(value[name]) for name in numbers},
    )


def verdict_from_json(value: Mapping[str, Any]) -> Verdict:
    """The inverse of `to_json` for a Verdict."""
    if value["outcome"] not in get_args(Outcome):
        raise ValueError(f"{value['outcome']!r} is no outcome of a phase")
    return Verdict(
        outcome=value["outcome"],
        difference=estimate_from_json(value["difference"]),
        guard_difference=estimate_from_json(value["guard_difference"]),
        reason=str(value["reason"]),
        sets=estimates_from_json(value.get("sets", {})),
        over_control=estimate_from_json(value["over_control"]) if value.get("over_control") else None,
        confidence=_number(value.get("confidence")),
    )


def decision_from_json(value: Mapping[str, Any]) -> Decision:
    """The inverse of `to_json` for a Decision."""
    return Decision(
        action=value["action"],
        reason=str(value["reason"]),
        phase=str(value["phase"]),
        settings=dict(value["settings"]),
        epochs=int(value["epochs"]),
        control=bool(value.get("control", False)),
        arms=tuple(decision_from_json(arm) for arm in value.get("arms", ())),
        rungs=tuple(int(rung) for rung in value.get("rungs", ())),
        equal=value.get("equal", "epochs"),
        keep=int(value.get("keep", 1)),
    )
