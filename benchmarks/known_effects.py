"""A round of arms whose effect is known: one without any, one that harms, one that helps on real frames. Is each found?

    python benchmarks/known_effects.py FOLDER [--images 130] [--seeds 3] [--epochs 10] [--out FOLDER]

FOLDER holds train/ and valid/ (COCO). `images` training frames are taken evenly. The control trains on with the
champion's settings. `other_seed` differs from it by chance alone, `harmful` has 20 times the learning rate, and
`helpful` is copy-paste with the domain augmentations, which helped in docs/ablation.md. The test set is not read. A run
that was begun goes on; `--table` only prints.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ablation import DOMAIN, subset

import smallsight
from smallsight.config.yaml_files import to_yaml
from smallsight.errors import SmallsightError

TREATMENTS: list[dict[str, Any]] = [
    {"name": "other_seed", "set": {"training.seed": 1000}},
    {"name": "harmful", "scale": {"training.learning_rate": 20}},
    {
        "name": "helpful",
        "set": {"augmentation.copy_paste.enabled": True, **{f"augmentation.{name}": v for name, v in DOMAIN.items()}},
    },
]


def strategy_of(options: argparse.Namespace) -> dict[str, Any]:
    """A baseline and one round."""
    arms = ["continue", *(treatment["name"] for treatment in TREATMENTS)]
    return {
        "name": "known effects",
        "target": {"stop_at": "never"},
        "baseline": {"epochs": options.baseline},
        "treatments": TREATMENTS,
        "rounds": [{"arms": arms, "epochs": options.epochs, "stop_behind_after": [options.epochs // 3]}],
    }


def config_of(options: argparse.Namespace, train: Path, seed: int) -> dict[str, Any]:
    """The embedded detector on few frames, with no augmentation but the mirror."""
    return {
        "model": {"detector": "nano"},
        "training": {
            "seed": seed,
            "batch_size": 16,
            "learning_rate": 0.002,
            "resolution": options.resolution,
            "threads": options.threads,
        },
        "sampling": {"crops_per_image": 4},
        "augmentation": {"color_jitter": False},
        "dataset": {
            "coco_train_path": str(train.resolve()),
            "coco_val_path": str((options.folder / "valid").resolve()),
        },
    }


def optimize(options: argparse.Namespace, train: Path, seed: int) -> Path:
    """Run, or go on with, one seed; its run folder."""
    folder = options.out / f"seed_{seed}"
    config, strategy = folder.with_suffix(".yaml"), options.out / "strategy.yaml"
    config.write_text(to_yaml(config_of(options, train, seed)))
    strategy.write_text(to_yaml(strategy_of(options)))
    smallsight.optimize(config, strategy=strategy, output_dir=folder)
    return folder


def table(folders: list[Path]) -> str:
    """A row per seed and arm."""
    lines = [
        "| seed | arm | epochs | against the champion | against the control | outcome |",
        "|---|---|---|---|---|---|",
    ]
    for folder in folders:
        try:
            state = smallsight.Run(folder).state
        except SmallsightError:
            continue
        for begun in state.rounds:
            stopped = {number: rung.epoch for rung in begun.rungs for number in rung.stopped}
            for arm in state.arms(begun):
                verdict = arm.verdict
                if verdict is None:
                    continue
                words = verdict.outcome.replace("_", " ") + (", champion" if arm.crowned else "")
                words += f", stopped after epoch {stopped[arm.number]}" if arm.number in stopped else ""
                control = "" if verdict.over_control is None else f"{verdict.over_control:+.3f}"
                cells = (folder.name, arm.name, len(arm.records), f"{verdict.difference:+.3f}", control, words)
                lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def main() -> None:
    """See the top."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=130, help="training images")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--baseline", type=int, default=6, help="epochs before the round")
    parser.add_argument("--epochs", type=int, default=9, help="of each arm")
    parser.add_argument("--resolution", type=int, default=832)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("known_effects"))
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args()
    folders = [options.out / f"seed_{seed}" for seed in range(1, options.seeds + 1)]
    if not options.table:
        options.out.mkdir(parents=True, exist_ok=True)
        data = subset(options.folder / "train", options.images, options.out / "train")
        folders = [optimize(options, data, seed) for seed in range(1, options.seeds + 1)]
    print(table(folders))


if __name__ == "__main__":
    main()
