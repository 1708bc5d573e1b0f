"""How fast a detector finds objects: over frames from the disk, as an evaluation does, and on frames that are there."""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from gpu_figures import Figure
from gpu_plan import Job

from smallsight.config.detector_kind import model_size_wh
from smallsight.config.load import build_config
from smallsight.data.coco import read_coco
from smallsight.data.frames import FrameStore
from smallsight.detectors.base import Detector
from smallsight.detectors.build import build_detector
from smallsight.training.predict import predict

ROUNDS, REPEATS = 3, 10


def measure(size: str, resolution: int, folder: Path, device: str) -> list[Figure]:
    """Images per second of a detector with random weights.

    Args:
        size: of RF-DETR, or `embedded`.
        resolution: px.
        folder: frames with annotations.
        device: cpu or cuda.
    """
    content = Job(size, resolution, 1).config(str(folder.parent), device, 0)
    dataset = read_coco(folder)
    detector = build_detector(build_config(content, "benchmark"), dataset.class_names, "benchmark").eval().to(device)
    frames = FrameStore(dataset)
    found = [_evaluation(detector, frames, size, resolution, batch, device) for batch in (1, 4)]
    on = torch.float32, torch.bfloat16
    precisions = on if device == "cuda" else on[:1]
    return found + [_network(detector, dataset.images[0].size_wh, size, resolution, device, p) for p in precisions]


def _evaluation(detector: Detector, frames: FrameStore, size: str, resolution: int, batch: int, device: str) -> Figure:
    def run() -> None:
        predict(detector, frames, resolution, batch_size=batch)

    rates = [len(frames) / seconds for seconds in _seconds(run, ROUNDS, device)]
    setting = f"{size}, {resolution} px, batch {batch}, fp32"
    return _figure("evaluation: decoding, network, detections", setting, rates)


def _network(
    detector: Detector, size_wh: tuple[int, int], size: str, resolution: int, device: str, precision: torch.dtype
) -> Figure:
    width, height = model_size_wh(size_wh, resolution, detector.resolution_step, keeps_aspect=detector.keeps_aspect)
    images = torch.randint(0, 256, (1, 3, height, width), dtype=torch.uint8, device=device)
    lower = precision != torch.float32

    @torch.inference_mode()
    def run() -> None:
        with torch.autocast(device, precision) if lower else contextlib.nullcontext():
            detector(images)

    rates = [1 / seconds for seconds in _seconds(run, REPEATS, device)]
    setting = f"{size}, {resolution} px, batch 1, {'bf16' if lower else 'fp32'}"
    return _figure("network alone, frames on the device", setting, rates)


def _seconds(run: Callable[[], None], times: int, device: str) -> list[float]:
    """Of each of so many runs, after one that is not counted."""
    found = []
    for _ in range(times + 1):
        began = time.perf_counter()
        run()
        if device == "cuda":
            torch.cuda.synchronize()
        found.append(time.perf_counter() - began)
    return found[1:]


def _figure(what: str, setting: str, rates: list[float]) -> Figure:
    return Figure(what, setting, statistics.median(rates), "images/s", len(rates), "", min(rates), max(rates))
