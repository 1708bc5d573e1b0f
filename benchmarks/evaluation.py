"""What an evaluation costs: ours with intervals against one plain evaluation by pycocotools, on the same data.

Ours: the figures of `evaluation.ap` and 1000 replicates of AP over all objects, in COCO's bins and in those below
32 px. pycocotools: evaluate, accumulate, summarize; loading is not counted for it. Both run here, in turns. Last is
what judging a phase costs: its ten epochs, from the files on the disk, against a champion that was a candidate before.

    OMP_NUM_THREADS=1 python benchmarks/evaluation.py [--images 5000] [--detections 500000] [--classes 10] [--rounds 1]
"""

from __future__ import annotations

import argparse
import contextlib
import io
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from simulated import crowd

from smallsight.evaluation.ap import evaluate
from smallsight.evaluation.bootstrap import resample, with_intervals
from smallsight.evaluation.detections_file import load_detections, save_detections
from smallsight.evaluation.verdict import judge
from smallsight.records import Detections, Truth

BINS = ("map_50_95", "map_small", "map_medium", "map_large", "ap_0_8", "ap_8_16", "ap_16_32")


def ours(truths: list[Truth], found: list[Detections], classes: int) -> dict[str, float]:
    """Figures and intervals."""
    estimates = with_intervals(evaluate(truths, found, classes), BINS, replicates=1000)
    return {name: estimate.value for name, estimate in estimates.items()}


def loaded(truths: list[Truth], found: list[Detections], classes: int) -> tuple[Any, Any]:
    """The same data in pycocotools."""
    from pycocotools.coco import COCO

    truth = COCO()
    annotations = [
        {"image_id": i, "category_id": int(label), "bbox": _xywh(box), "area": float(size), "iscrowd": 0}
        for i, one in enumerate(truths)
        for box, label, size in zip(one.boxes, one.labels, one.areas, strict=True)
    ]
    truth.dataset = {
        "info": {},
        "images": [{"id": index} for index in range(len(truths))],
        "categories": [{"id": index, "name": str(index)} for index in range(classes)],
        "annotations": [{"id": number, **row} for number, row in enumerate(annotations, 1)],
    }
    truth.createIndex()
    return truth, truth.loadRes(
        [
            {"image_id": i, "category_id": int(label), "bbox": _xywh(box), "score": float(score)}
            for i, one in enumerate(found)
            for box, label, score in zip(one.boxes, one.labels, one.scores, strict=True)
        ]
    )


def _xywh(box: Any) -> list[float]:
    left, top, right, bottom = (float(side) for side in box)
    return [left, top, right - left, bottom - top]


def theirs(truth: Any, result: Any) -> dict[str, float]:
    """One plain evaluation."""
    from pycocotools.cocoeval import COCOeval

    run = COCOeval(truth, result, "bbox")
    run.evaluate()
    run.accumulate()
    run.summarize()
    return dict(zip(("map_50_95", "map_small", "map_medium", "map_large"), run.stats[[0, 3, 4, 5]], strict=True))


def judge_phase(truths: list[Truth], found: list[Detections], classes: int, epochs: int) -> None:
    """As at the end of a phase, except that all epochs found the same."""
    with tempfile.TemporaryDirectory(prefix="evaluation_benchmark_") as folder:
        path = Path(folder) / "valid_epoch_001.npz"
        save_detections(path, found, range(len(found)))
        metrics = ("map_small", "map_50_95")
        phase = [
            resample(evaluate(truths, load_detections(path)[0], classes), metrics if epoch == 0 else metrics[:1])
            for epoch in range(epochs)
        ]
    judge(phase, phase, target="map_small", guard="map_50_95", max_guard_drop=0.002)


def timed(act: Callable[[], Any]) -> tuple[float, float, Any]:
    """Seconds by the clock and of the processor, and what came out; what it prints is dropped."""
    began, used = time.perf_counter(), time.process_time()
    with contextlib.redirect_stdout(io.StringIO()):
        result = act()
    return time.perf_counter() - began, time.process_time() - used, result


def main() -> None:
    """Run both in turns and print seconds."""
    parser = argparse.ArgumentParser(description="Seconds per evaluation.")
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--detections", type=int, default=500_000)
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=10, help="of the phase that is judged")
    given = parser.parse_args()
    data = crowd(given.images, given.detections, given.classes)
    print(f"{given.images} images, {sum(map(len, data[0]))} objects, {sum(map(len, data[1]))} detections", flush=True)
    _, _, (truth, result) = timed(lambda: loaded(*data, given.classes))
    for _ in range(given.rounds):
        clock, processor, mine = timed(lambda: ours(*data, given.classes))
        print(
            f"smallsight, 1000 replicates of {len(mine)} figures: {clock:.1f} s ({processor:.1f} s processor)",
            flush=True,
        )
        clock, processor, plain = timed(lambda: theirs(truth, result))
        print(f"pycocotools, no interval: {clock:.1f} s ({processor:.1f} s processor)", flush=True)
        print(f"largest difference of a figure: {max(abs(mine[name] - plain[name]) for name in plain):.1g}")
    clock, processor, _ = timed(lambda: judge_phase(*data, given.classes, given.epochs))
    print(f"a phase of {given.epochs} epochs judged: {clock:.1f} s ({processor:.1f} s processor)")


if __name__ == "__main__":
    main()
