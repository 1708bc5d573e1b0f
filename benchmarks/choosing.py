"""What choosing the best epoch does to figures that are not corrected for it: simulated phases.

Every figure is a mean over images, or objects. Each image gives all epochs the same, and each epoch its own noise,
partly kept from one epoch to the next. Figures of two phases differ by `power.SPREAD` an image. An epoch has two sets
of weights, the trained and the averaged ones, which correlate by .8. Three tables:

- the guard's floor (`strategy.tree.against_erosion`): how often a phase that truly changes nothing of the guard metric
  lies below the baseline's figure less `guard.max_drop`. The candidate is chosen by the target metric, whose noise
  correlates with the guard's;
- a start that was chosen elsewhere, as the best of many epochs on the same images, and is judged as if given: how often
  a phase that truly gains the smallest gain is called improved;
- the champion's own figure after a strategy of nine phases: how much too high it is, and how often its 95 % interval
  holds the truth.

    python benchmarks/choosing.py [--runs 400] [--kept 0.6]
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from power import METRIC, SPREAD, best_first
from simulated import epoch_noise

from smallsight.evaluation.bootstrap import draw_images, quantile
from smallsight.evaluation.power import smallest_gain
from smallsight.evaluation.verdict import difference_of
from smallsight.strategy.plan import Plan

Doubles = npt.NDArray[np.float64]
IMAGES, EPOCHS, CONFIDENCE, REPLICATES = 116, 10, 0.95, 300
AMONG_IMAGES = 0.217
"""Standard deviation of what an image gives to every epoch: as on the match frames of docs/real_frames.md."""
ALIKE = 0.8
"""Correlation of the noise of an epoch's two sets of weights."""


def noise_of(
    rng: np.random.Generator, shape: tuple[int, ...], epochs: int, kept: float, sets: int = 2
) -> list[Doubles]:
    """Standard normals of this shape for each candidate of a phase: its epochs, `sets` of weights each."""
    found = []
    for own, other in zip(epoch_noise(rng, shape, epochs, kept), epoch_noise(rng, shape, epochs, kept), strict=True):
        found += [own, ALIKE * own + math.sqrt(1 - ALIKE**2) * other][:sets]
    return found


def phase(rng: np.random.Generator, base: Doubles, epochs: int, kept: float, sets: int = 2) -> list[Doubles]:
    """Each image's part in the figure of each candidate, (images,)."""
    return [base + each * SPREAD / math.sqrt(2) for each in noise_of(rng, base.shape, epochs, kept, sets)]


def refused(objects: int, correlation: float, *, trained: bool, kept: float, runs: int, seed: int = 0) -> float:
    """The share of phases without an effect on the guard metric that its floor refuses.

    Args:
        correlation: of the guard's noise with the target's.
        trained: whether the baseline is the best of ten epochs by the target metric, too, or was given.
    """
    rng = np.random.default_rng((seed, objects))

    def guard_of_best(epochs: int) -> Doubles:
        target, own = (np.array(noise_of(rng, (runs,), epochs, kept)) for _ in range(2))
        guard = correlation * target + math.sqrt(1 - correlation**2) * own
        best = target.argmax(axis=0)
        return np.asarray(guard[best, np.arange(runs)] * SPREAD / math.sqrt(2 * objects))

    change = guard_of_best(EPOCHS) - guard_of_best(EPOCHS if trained else 1)
    return float(np.mean(change < -Plan().guard.max_drop))


def found_from(chosen_from: int, gain: float, *, kept: float, runs: int) -> float:
    """The share of phases with this gain called improved over a start that is the best of so many epochs."""
    found = 0
    for run in range(runs):
        rng = np.random.default_rng((1, run))
        base, draws = rng.normal(0.6, AMONG_IMAGES, IMAGES), draw_images(IMAGES, replicates=REPLICATES, seed=run)
        start = best_first(phase(rng, base, chosen_from, kept, sets=1), draws)[:1]
        candidates = best_first(phase(rng, base + gain, EPOCHS, kept), draws)
        found += difference_of(candidates, start, METRIC).rose(CONFIDENCE)
    return found / runs


def champion_after(gains: Sequence[float], *, kept: float, run: int) -> tuple[float, bool]:
    """How much the champion's figure is above the truth at the end, and whether its 95 % interval holds that.

    Args:
        gains: true ones, by phase; the first phase changes no setting and is kept unless it is worse.
    """
    rng = np.random.default_rng((2, run))
    base, draws = rng.normal(0.6, AMONG_IMAGES, IMAGES), draw_images(IMAGES, replicates=REPLICATES, seed=run)
    champion, gained = best_first(phase(rng, base, 1, kept), draws), 0.0
    for number, gain in enumerate(gains):
        candidates = best_first(phase(rng, base + gained + gain, EPOCHS, kept), draws)
        difference = difference_of(candidates, champion, METRIC)
        if difference.rose(CONFIDENCE) or (number == 0 and not difference.fell(CONFIDENCE)):
            champion, gained = candidates, gained + gain
    figure, truth = champion[0], 0.6 + gained
    low, high = (quantile(figure.values[METRIC], share, IMAGES) for share in (0.025, 0.975))
    return figure.points[METRIC].value - truth, low <= truth <= high


def main() -> None:
    """Print three tables."""
    parser = argparse.ArgumentParser(description="Figures that are not corrected for choosing the best epoch.")
    parser.add_argument("--runs", type=int, default=400)
    parser.add_argument("--kept", type=float, default=0.6, help="correlation of an epoch's noise with the next one's")
    given = vars(parser.parse_args())
    print("guard floor: objects, correlation: refused, %: baseline given, baseline trained (20,000 phases each)")
    for objects in (116, 1_000, 5_000):
        for correlation in (0.0, 0.5, 0.9):
            shares = [
                100 * refused(objects, correlation, trained=trained, kept=given["kept"], runs=20_000)
                for trained in (False, True)
            ]
            print(f"{objects}, {correlation}: {shares[0]:.1f}, {shares[1]:.1f}", flush=True)
    gain = smallest_gain(IMAGES, IMAGES, CONFIDENCE, SPREAD)
    print(f"start, {IMAGES} images: found of a gain of {gain:.3f}, found of none, %")
    for chosen_from in (1, 10, 40):
        shares = [100 * found_from(chosen_from, each, **given) for each in (gain, 0.0)]
        print(f"best of {chosen_from}: {shares[0]:.1f}, {shares[1]:.1f}", flush=True)
    print(f"true gains by phase, {IMAGES} images: champion's figure minus the truth, its interval holds it, %")
    for name, gains in (("none", [0.0] * 9), ("+.01 each", [0.01] * 9), ("+.02 or none", [0.02, 0.0] * 4 + [0.02])):
        rows = np.array([champion_after(gains, kept=given["kept"], run=run) for run in range(given["runs"])])
        print(f"{name}: {rows[:, 0].mean():+.4f}, {100 * rows[:, 1].mean():.1f}", flush=True)


if __name__ == "__main__":
    main()
