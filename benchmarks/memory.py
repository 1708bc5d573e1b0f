"""What the probe expects an attempt to take, beside what it then takes: each in a process of its own.

smallsight synth SMALL --images 260 --seed 1
smallsight synth LARGE --images 120 --size 1280x720 --seed 2
OMP_NUM_THREADS=1 python benchmarks/memory.py SMALL LARGE --epochs 3
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

from smallsight.attempts.child import ChildTrainer
from smallsight.attempts.messages import Fact, Memory
from smallsight.attempts.spec import AttemptSpec
from smallsight.config.load import build_config
from smallsight.records import EpochRecord

RFDETR = {"learning_rate": 0.0001, "gradient_clip": 0.1}
SETTINGS: list[tuple[str, int, dict[str, Any], dict[str, Any], dict[str, Any]]] = [
    # name, which set, model, training, dataset
    ("embedded, 640 px, batch 16, several scales", 0, {}, {"multi_scale": True}, {}),
    ("embedded, 640 px, batch 16, 2 loader processes", 0, {}, {"num_workers": 2}, {}),
    ("embedded, 1280 px, batch 8", 1, {}, {"resolution": 1280, "batch_size": 8}, {}),
    ("embedded, 320 px, batch 4, no frames kept", 0, {}, {"resolution": 320, "batch_size": 4}, {"cache_mb": 0}),
    (
        "tiny, 384 px, batch 2 x 2",
        1,
        {"rfdetr_size": "tiny"},
        {"resolution": 384, "batch_size": 2, "grad_accum_steps": 2},
        {},
    ),
    (
        "tiny, 384 px, batch 4, all scales",
        1,
        {"rfdetr_size": "tiny"},
        {"resolution": 384, "batch_size": 4, "multi_scale": True, "expanded_scales": True},
        {},
    ),
    ("tiny, 640 px, batch 2, 1 loader process", 1, {"rfdetr_size": "tiny"}, {"batch_size": 2, "num_workers": 1}, {}),
]


def measure(
    data: Path, epochs: int, model: dict[str, Any], training: dict[str, Any], dataset: dict[str, Any]
) -> tuple[float, float]:
    """MB that the probe expected, and the highest of all epochs."""
    own = {"resolution": 640, "epochs": epochs, "device": "cpu", **(RFDETR if model else {}), **training}
    paths = {"coco_train_path": str(data / "train"), "coco_val_path": str(data / "valid"), **dataset}
    config = build_config({"model": model, "training": own, "dataset": paths}, "benchmark")
    expected: list[float] = []
    peaks: list[float] = []

    def keep(record: EpochRecord) -> bool:
        peaks.append(record.peak_memory_mb)
        return True

    def fact(found: Fact) -> None:
        if isinstance(found, Memory):
            expected.append(found.probe.peak_mb)

    with tempfile.TemporaryDirectory() as folder:
        attempt = Path(folder) / "phases" / "01_memory" / "attempt_1"
        attempt.mkdir(parents=True)
        spec = AttemptSpec("memory", folder, str(attempt), "memory", 1, config.to_dict(), 1, epochs, "scratch")
        result = ChildTrainer(lambda *_: None)(spec, keep, fact)
    assert not result.failure, result
    return expected[0], max(peaks)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs=2, type=Path, help="two rendered sets: 640x360 and 1280x720")
    parser.add_argument("--epochs", type=int, default=3)
    options = parser.parse_args()
    sys.stdout.write("| setting | expected, GB | highest, GB | expected / highest |\n|---|---|---|---|\n")
    for name, which, model, training, dataset in SETTINGS:
        expected, highest = measure(options.data[which], options.epochs, model, training, dataset)
        sys.stdout.write(f"| {name} | {expected / 1000:.2f} | {highest / 1000:.2f} | {expected / highest:.2f} |\n")
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
