"""How often a phase that brings nothing is called improved, and how often one that helps is: simulated detections.

A detector's epochs look at the same images: what makes an object hard is common to all, the rest is each epoch's own
luck, partly kept from one epoch to the next. A phase has ten epochs and its best by AP50 is the candidate. The champion
is the best of its own ten epochs, or a checkpoint that was given and never chosen. Ways of judging:

- plain: paired bootstrap of the two chosen epochs;
- cross-fitted: on either half of the images, the epochs that the other half chooses; the two averaged;
- bound for all: the candidate's bound holds for all its epochs at once; the champion as it is;
- smallsight: the same, and the champion is given back its luck (`evaluation.verdict`).

    python benchmarks/verdicts.py [--runs 200] [--images 100] [--replicates 400] [--kept 0.6]
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from smallsight.evaluation.ap import Evaluation, evaluate
from smallsight.evaluation.bootstrap import Resampled, draw_images, quantile, replicate_values, resample
from smallsight.evaluation.verdict import difference_of
from smallsight.records import Detections, Truth

Doubles = npt.NDArray[np.float64]
METRIC = "map_50"
SIDE = 24.0
OBJECTS, ALARMS = 3, 4


class Scene:
    """Images with objects and with places that look like one; all epochs of all phases are judged on them."""

    def __init__(self, rng: np.random.Generator, n_images: int) -> None:
        self.rng, self.n_images = rng, n_images
        hard = 0.6 * rng.standard_normal((n_images, 1))
        self.ease = 0.4 + hard + 0.8 * rng.standard_normal((n_images, OBJECTS))
        self.lure = -1.2 - hard / 2 + 0.8 * rng.standard_normal((n_images, ALARMS))
        low = np.arange(OBJECTS) * 100.0
        boxes = np.stack([low, 0 * low, low + SIDE, 0 * low + SIDE], axis=1).astype(np.float32)
        empty = np.zeros(OBJECTS, dtype=bool)
        self.boxes = np.concatenate([boxes, boxes[:1].repeat(ALARMS, 0) + np.float32(1000)])
        truth = Truth(boxes, np.zeros(OBJECTS, np.int64), np.full(OBJECTS, SIDE**2, np.float32), empty)
        self.truths = [truth] * n_images

    def phase(self, gains: Sequence[float], kept: float = 0.6) -> list[Evaluation]:
        """Epochs whose skill lies so much (log odds) above the common one; `kept` is the correlation of their luck."""
        shape = (self.n_images, OBJECTS + ALARMS)
        own = self.rng.standard_normal(shape)
        epochs = []
        for gain in gains:
            own = kept * own + math.sqrt(1 - kept**2) * self.rng.standard_normal(shape)
            lift = np.concatenate([np.full(OBJECTS, gain), np.full(ALARMS, -gain)])
            scores = np.concatenate([self.ease, self.lure], axis=1) + lift + own
            epochs.append(evaluate(self.truths, [self._found(row) for row in scores], 1))
        return epochs

    def _found(self, scores: Doubles) -> Detections:
        best = np.argsort(-scores)
        best = best[scores[best] > -1]
        squashed = (1 / (1 + np.exp(-scores[best]))).astype(np.float32)
        return Detections(self.boxes[best], squashed, np.zeros(len(best), np.int64))


def best_first(epochs: Sequence[Evaluation]) -> list[Evaluation]:
    """The epoch with the highest figure, then the others."""
    return sorted(epochs, key=lambda epoch: -epoch.metrics[METRIC].value)


def reduced(epochs: Sequence[Evaluation], replicates: int) -> list[Resampled]:
    """`resample` of each."""
    return [resample(epoch, [METRIC], replicates=replicates) for epoch in epochs]


def cross_fitted(candidates: Sequence[Evaluation], champions: Sequence[Evaluation], replicates: int) -> bool:
    """Whether the averaged difference of what each half chooses for the other is above 0."""
    n = candidates[0].n_images
    halves = np.stack([np.arange(n) % 2 == half for half in (0, 1)], axis=1).astype(np.float64)
    figures = [
        np.stack([replicate_values(e, [METRIC], halves)[METRIC] for e in side]) for side in (candidates, champions)
    ]
    values, units = np.zeros(replicates), n
    for half in (0, 1):
        ours, theirs = (
            side[int(figure[:, 1 - half].argmax())]
            for side, figure in zip((candidates, champions), figures, strict=True)
        )
        here = np.flatnonzero(halves[:, half])
        draws = np.zeros((n, replicates))
        draws[here] = draw_images(len(here), replicates=replicates, seed=half)
        values += sum(s * replicate_values(e, [METRIC], draws)[METRIC] for s, e in ((0.5, ours), (-0.5, theirs)))
    return quantile(values, 0.05, units) > 0


def verdicts(candidates: Sequence[Evaluation], champions: Sequence[Evaluation], replicates: int) -> dict[str, bool]:
    """Whether each way of judging calls it improved."""
    candidates, champions = best_first(candidates), best_first(champions)
    ours, theirs = reduced(candidates, replicates), reduced(champions, replicates)
    return {
        "plain": difference_of(ours[:1], theirs[:1], METRIC).rose(0.95),
        "cross-fitted": cross_fitted(candidates, champions, replicates),
        "bound for all": difference_of(ours, theirs[:1], METRIC).rose(0.95),
        "smallsight": difference_of(ours, theirs, METRIC).rose(0.95),
    }


def shares(
    gain: float, champions: int, kept: float, *, runs: int, images: int, replicates: int, seed: int = 0
) -> dict[str, float]:
    """The share of runs that each way calls improved, and by how much AP50 the candidates' skill was better."""
    found: dict[str, list[float]] = {}
    for run in range(runs):
        scene = Scene(np.random.default_rng((seed, run)), images)
        before, after = scene.phase([0.0] * champions, kept), scene.phase([gain] * 10, kept)
        gained = np.mean([e.metrics[METRIC].value for e in after]) - np.mean([e.metrics[METRIC].value for e in before])
        for name, value in {"true gain": float(gained), **verdicts(after, before, replicates)}.items():
            found.setdefault(name, []).append(float(value))
    return {name: float(np.mean(values)) for name, values in found.items()}


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description="Verdicts on simulated phases.")
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--replicates", type=int, default=400)
    parser.add_argument("--kept", type=float, default=0.6, help="correlation of an epoch's luck with the next one's")
    given = vars(parser.parse_args())
    print("gain of AP50; share of runs called improved, %")
    for gain in (0.0, 0.04, 0.08):
        for champions, words in ((10, "best of 10 epochs"), (1, "given")):
            found = shares(gain, champions, **given)
            row = ", ".join(f"{name} {100 * share:.1f}" for name, share in found.items() if name != "true gain")
            print(f"{found['true gain']:+.3f}, champion {words}: {row}", flush=True)


if __name__ == "__main__":
    main()
