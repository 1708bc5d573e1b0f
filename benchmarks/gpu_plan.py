"""What `gpu.py` measures, in three sizes: for a GPU, quick, and with the embedded detector alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

Precision = Literal["fp32", "bf16", "fp16"]
CROPS = 2
"""Of each frame in an epoch, for the embedded detector."""


@dataclass(frozen=True)
class Job:
    """One training.

    Attributes:
        size: of RF-DETR, or `embedded`.
        resolution: px.
        batch: images of a batch.
        precision: as asked for; a CPU trains in float32 whatever is asked.
        epochs: how many.
        training: further keys of the section `training`.
    """

    size: str
    resolution: int
    batch: int
    precision: Precision = "bf16"
    epochs: int = 4
    training: Mapping[str, Any] = field(default_factory=dict)

    @property
    def setting(self) -> str:
        """In words."""
        return f"{self.size}, {self.resolution} px, batch {self.batch}, {self.precision}"

    def config(self, data: str, device: str, workers: int) -> dict[str, Any]:
        """As it stands in a file."""
        if self.size == "embedded":
            model: dict[str, Any] = {"detector": "nano"}
            own: dict[str, Any] = {"learning_rate": 0.002}
        else:
            model, own = {"rfdetr_size": self.size}, {"learning_rate": 0.0002, "gradient_clip": 0.1}
        training = {
            "batch_size": self.batch,
            "resolution": self.resolution,
            "epochs": self.epochs,
            "mixed_precision": self.precision != "fp32",
            "device": device,
            "num_workers": workers,
            "threads": 1 if device == "cpu" else 0,
            "warmup_steps": 5,
            **own,
            **self.training,
        }
        return {
            "model": model,
            "training": training,
            "sampling": {"crop_px": 96 if self.resolution < 400 else 192, "crops_per_image": CROPS},
            "dataset": {
                "coco_train_path": f"{data}/train",
                "coco_val_path": f"{data}/valid",
                "pin_memory": device != "cpu",
            },
            "evaluation": {"replicates": 100},
        }


@dataclass(frozen=True)
class Plan:
    """What each part is done with.

    Attributes:
        images, size_wh: frames that are rendered, and their size, px; one of nine validates.
        workers: processes that load data.
        jobs: trained one after another, for precision, speed and memory.
        ratio: the same job by our engine and by the library's trainer; None leaves it out. `ratio_rounds` times.
        resumed: killed and resumed.
        scarce: has less memory than its batch needs.
        too_large: its batch fits on no card; None leaves it out.
        detected: size and resolution of the detectors whose speed is measured.
        whole: a run as a user starts it.
        loaders: numbers of loading processes to compare.
        tests: what pytest is given.
    """

    images: int
    size_wh: tuple[int, int]
    workers: int
    jobs: tuple[Job, ...]
    ratio: Job | None
    ratio_rounds: int
    resumed: Job
    scarce: Job
    too_large: Job | None
    detected: tuple[tuple[str, int], ...]
    whole: Job
    loaders: tuple[int, ...]
    tests: tuple[str, ...]


_CHOSEN = ("tests/detectors", "tests/training", "-k", "cuda or precision or memory")

GPU = Plan(
    images=162,
    size_wh=(960, 540),
    workers=8,
    jobs=(
        Job("base", 560, 8, "fp32"),
        Job("base", 560, 8, "bf16", epochs=6),
        Job("base", 560, 8, "fp16", epochs=6),
        Job("base", 1120, 4, "bf16"),
        Job("embedded", 960, 16, "fp32"),
        Job("nano", 384, 16, "bf16"),
        Job("embedded", 960, 16, "bf16"),
        Job("tiny", 384, 16, "fp16"),
    ),
    ratio=Job("small", 512, 8, "bf16"),  # the library asks the network for base's backbone, weights or no
    ratio_rounds=4,
    resumed=Job("nano", 384, 8, "bf16", epochs=3),
    scarce=Job("base", 560, 16, "bf16", epochs=2),
    too_large=Job("base", 1120, 144, "fp32", epochs=1),
    detected=(("base", 1120), ("base", 560), ("embedded", 960)),
    whole=Job("base", 560, 8, "bf16", epochs=5),
    loaders=(0, 4, 8),
    tests=("-n", "8", *_CHOSEN),
)
_FAST = {"learning_rate": 0.001}
_TINY, _SMALL = Job("tiny", 192, 2, epochs=3, training=_FAST), Job("embedded", 192, 4, epochs=2)
QUICK = Plan(
    images=18,
    size_wh=(192, 108),
    workers=0,
    jobs=(replace(_TINY, precision="fp32"), _TINY, replace(_TINY, precision="fp16"), _SMALL),
    ratio=_TINY,
    ratio_rounds=2,
    resumed=Job("tiny", 192, 2, epochs=3),
    scarce=Job("embedded", 192, 64, epochs=2),
    too_large=None,
    detected=(("tiny", 192), ("embedded", 192)),
    whole=_TINY,
    loaders=(0, 1),
    tests=("tests/training/test_device.py",),
)
EMBEDDED = Plan(
    images=18,
    size_wh=(192, 108),
    workers=0,
    jobs=(Job("embedded", 192, 4, "fp32", epochs=2),),
    ratio=None,
    ratio_rounds=0,
    resumed=Job("embedded", 192, 2, epochs=3),
    scarce=Job("embedded", 192, 64, epochs=1),
    too_large=None,
    detected=(("embedded", 192),),
    whole=_SMALL,
    loaders=(0,),
    tests=("tests/training/test_device.py",),
)
PLANS: Mapping[str, Plan] = {"gpu": GPU, "quick": QUICK, "embedded": EMBEDDED}
