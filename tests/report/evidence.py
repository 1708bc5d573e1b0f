"""Evidence and pictures to report on, with names that would do harm if they were not escaped."""

from __future__ import annotations

import cv2
import numpy as np

from smallsight.evaluation.evidence import (
    MISTAKE_KINDS,
    Calibration,
    Crop,
    DomainGap,
    Evidence,
    Mistake,
    OperatingPoint,
    Part,
    ReliabilityBin,
    SizeMistakes,
)
from smallsight.records import Estimate

HOSTILE = '<script>alert("x")</script>\x1b[31m|`a`'


def half(n: int = 10) -> Estimate:
    return Estimate(0.5, 0.4, 0.6, n)


def a_size(name: str, objects: int) -> SizeMistakes:
    parts = tuple(Part(kind, 3 + i, Estimate(0.1 / (1 + i), 0.0, 0.2, objects)) for i, kind in enumerate(MISTAKE_KINDS))
    return SizeMistakes(name, objects, objects // 2, half(objects), parts)


def mistakes(count: int, kind: int = 0) -> tuple[Mistake, ...]:
    return tuple(
        Mistake(MISTAKE_KINDS[kind], i, f"{HOSTILE}{i}.jpg", HOSTILE, (10, 10, 14, 15), (11, 10, 15, 15), 0.4)
        for i in range(count)
    )


def evidence() -> Evidence:
    """All that can be said of a champion."""
    return Evidence(
        epoch=6,
        images=40,
        lift=Estimate(0.06, 0.02, 0.1, 40),
        sizes=(a_size("all", 40), a_size("small", 40), a_size("0_8", 12)),
        misses=mistakes(12),
        false_alarms=mistakes(12, 1),
        operating_points=(OperatingPoint(HOSTILE, "highest F1", half(), half(), half(), half(40)),),
        calibration=Calibration(
            half(90), (ReliabilityBin(0.1, 0.2, 0.15, half()), ReliabilityBin(0.8, 0.9, 0.85, half())), 0.08
        ),
        gaps=(
            DomainGap(HOSTILE, 30, Estimate(0.2, 0.1, 0.3, 30), Estimate(0.3, 0.2, 0.4, 30)),
            DomainGap("like it", 30, half(), Estimate(0.01, -0.1, 0.1, 30)),
            DomainGap("the same", 30, half(), Estimate(-0.1, -0.2, -0.05, 30)),
        ),
        left_out=(f"Something: {HOSTILE}",),
    )


def crops(found: Evidence) -> dict[Mistake, Crop]:
    """A noisy picture of each mistake, as large as they get."""
    noise = np.random.default_rng(0).integers(0, 255, (256, 256, 3), dtype=np.uint8)
    jpeg = cv2.imencode(".jpg", noise, [cv2.IMWRITE_JPEG_QUALITY, 88])[1].tobytes()
    return {mistake: Crop(jpeg, (0, 0, 64, 64)) for mistake in (*found.misses, *found.false_alarms)}
