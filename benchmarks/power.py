"""How often a verdict finds a gain of the size that `evaluation.power` calls the smallest: simulated phases.

A phase's best epoch is judged against a champion that was given, or that is the best of its own ten epochs, by the
verdict's own `difference_of`. Found should be 80 % at that gain, and 5 % or 20 % at most without one.

- A mean: each epoch has a figure that is a mean over images: what the image gives to all, the gain, and the epoch's own
  noise, partly kept from one epoch to the next.
- AP: the detections of `simulated.Scene`, whose objects are independent of each other, with 1 to 6 objects an
  image. The spread is measured: that of an object, by the paired bootstrap of single epochs.

    python benchmarks/power.py [--runs 400] [--replicates 400] [--kept 0.6]
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import verdicts
from simulated import Scene, epoch_noise

from smallsight.evaluation.bootstrap import Resampled, draw_images
from smallsight.evaluation.power import smallest_gain
from smallsight.evaluation.verdict import difference_of
from smallsight.records import Estimate

METRIC = "figure"
GAIN = 0.2
"""Log odds of `simulated.Scene`."""
SPREAD = 0.13
Doubles = npt.NDArray[np.float64]


def epochs_of(rng: np.random.Generator, count: int, images: int, gain: float, kept: float) -> list[Doubles]:
    """Each image's part in the figure of each epoch, (images,); those of two phases differ by SPREAD."""
    return [0.5 + gain + own * SPREAD / math.sqrt(2) for own in epoch_noise(rng, (images,), count, kept)]


def best_first(parts: list[Doubles], draws: Doubles) -> list[Resampled]:
    """The epochs as a verdict takes them, the one with the highest figure first."""
    images = len(draws)
    truths = np.ones((1, images), dtype=np.int64)
    return [
        Resampled(
            {METRIC: Estimate(float(each.mean()), n=images)},
            {METRIC: each @ draws / images},
            {METRIC: images},
            truths,
            "",
        )
        for each in sorted(parts, key=lambda each: -each.mean())
    ]


def share_found(
    gain: float, *, images: int, epochs: int, champions: int, confidence: float, runs: int, replicates: int, kept: float
) -> float:
    """The share of phases with that true gain that are called improved."""
    found = 0
    for run in range(runs):
        rng = np.random.default_rng((run, images, epochs, champions))
        draws = draw_images(images, replicates=replicates, seed=run)
        before, after = epochs_of(rng, champions, images, 0.0, kept), epochs_of(rng, epochs, images, gain, kept)
        found += difference_of(best_first(after, draws), best_first(before, draws), METRIC).rose(confidence)
    return found / runs


def spread_of_ap(objects: int, *, scenes: int = 40, images: int = 100, replicates: int = 400) -> float:
    """Standard deviation of one object's part in a paired difference of AP: the mean over scenes."""
    found = []
    for scene in _scenes(objects, scenes, images, first=1_000_000):
        (after,), (before,) = (verdicts.reduced(scene.phase([gain]), replicates) for gain in (GAIN, 0.0))
        difference = after.values[verdicts.METRIC] - before.values[verdicts.METRIC]
        found.append(float(difference.std()) * math.sqrt(objects * images))
    return float(np.mean(found))


def share_found_of_ap(
    gain: float, objects: int, *, champions: int, runs: int, replicates: int, kept: float, images: int = 100
) -> tuple[float, float]:
    """The share of phases of ten epochs called improved at 0.95, and by how much AP their skill was better.

    Args:
        gain: in the log odds of `simulated.Scene`.
        objects: of each image.
    """
    shares, gained = [], []
    for scene in _scenes(objects, runs, images):
        before, after = scene.phase([0.0] * champions, kept), scene.phase([gain] * 10, kept)
        both = [verdicts.reduced(verdicts.best_first(epochs), replicates) for epochs in (after, before)]
        shares.append(difference_of(both[0], both[1], verdicts.METRIC).rose(0.95))
        means = [np.mean([each.points[verdicts.METRIC].value for each in epochs]) for epochs in both]
        gained.append(means[0] - means[1])
    return float(np.mean(shares)), float(np.mean(gained))


def _scenes(objects: int, count: int, images: int, first: int = 0) -> Iterator[Scene]:
    return (Scene(np.random.default_rng((3, first + run)), images, objects) for run in range(count))


def table_of_means(given: dict[str, Any]) -> None:
    """How a figure that is a mean over images is judged."""
    print("a mean: images, confidence, epochs, champion: smallest gain, found of it, found of none, %")
    for images, confidence in ((50, 0.95), (200, 0.95), (1000, 0.95), (200, 0.8)):
        for epochs in (4, 10):
            for champions, words in ((1, "given"), (10, "best of 10")):
                case = {"images": images, "epochs": epochs, "champions": champions, "confidence": confidence, **given}
                gain = smallest_gain(images, images, confidence, SPREAD)
                with_gain, without = share_found(gain, **case), share_found(0.0, **case)
                row = f"{images}, {confidence}, {epochs}, {words}: {gain:.4f}"
                print(f"{row}, {100 * with_gain:.1f}, {100 * without:.1f}", flush=True)


def table_of_ap(given: dict[str, Any], images: int = 100) -> None:
    """How AP is judged; the log odds are scaled so that AP gains about what is called the smallest gain."""
    print("AP: objects per image, champion: spread, smallest gain, true gain, found of it, %")
    for objects in (1, 3, 6):
        spread = spread_of_ap(objects, images=images)
        wanted = smallest_gain(objects * images, images, 0.95, spread)
        _, of_one = share_found_of_ap(GAIN, objects, champions=10, runs=40, replicates=10, kept=0.6, images=images)
        for champions, words in ((1, "given"), (10, "best of 10")):
            found, gained = share_found_of_ap(GAIN * wanted / of_one, objects, champions=champions, **given)
            print(f"{objects}, {words}: {spread:.3f}, {wanted:.3f}, {gained:.3f}, {100 * found:.1f}", flush=True)


def main() -> None:
    """Print two tables."""
    parser = argparse.ArgumentParser(description="How often a gain of the smallest size is found.")
    parser.add_argument("--runs", type=int, default=400)
    parser.add_argument("--replicates", type=int, default=400)
    parser.add_argument("--kept", type=float, default=0.6, help="correlation of an epoch's noise with the next one's")
    given = vars(parser.parse_args())
    table_of_means(given)
    table_of_ap({**given, "runs": given["runs"] // 2})


if __name__ == "__main__":
    main()
