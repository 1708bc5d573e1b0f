"""How often an interval holds the true figure: simulated detectors on sets drawn from one population.

The population is clips of frames; clips and frames differ in difficulty, so frames of one clip resemble each other.
Each trial draws a set, evaluates two detectors on it and asks whether the 95 % intervals hold the figures of a set of
40,000 frames. "By clip" draws whole clips, "by image" single frames.

With `--scores`: a perfectly calibrated detector, whose scores are the chances of a hit, one detection and one object an
image. How large its calibration error looks, and how much higher than in truth the precision at the lowest threshold
with precision .90, which is chosen on the same images.

    python benchmarks/coverage.py [--trials 2000] [--replicates 1000]
    python benchmarks/coverage.py --scores [--trials 2000]
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from simulated import World, draw_set, ranked, row_of_boxes, truth_of

from smallsight.evaluation.ap import AREA_RANGES, Evaluation
from smallsight.evaluation.bootstrap import Draws, Units, resample, with_intervals
from smallsight.evaluation.outcomes import Outcomes, judge_outcomes, survey
from smallsight.evaluation.thresholds import calibrate, operating_points
from smallsight.evaluation.verdict import difference_of
from smallsight.records import Estimate

METRICS = ("map_50", "map_small", "recall_50")


def figures(pair: Sequence[Evaluation], units: Units, replicates: int, seed: int) -> dict[str, Estimate]:
    """Each metric of the first detector, and how much it is above the second."""
    alone = with_intervals(pair[0], METRICS, groups=units.groups, replicates=replicates, seed=seed)
    ours, theirs = ([resample(one, METRICS, units, replicates=replicates, seed=seed)] for one in pair)
    return {**alone, **{f"{name}, difference": difference_of(ours, theirs, name).estimate for name in METRICS}}


def coverage(
    world: World, clips: int, trials: int, *, by_clip: bool, replicates: int = 1000, seed: int = 0
) -> dict[str, float]:
    """The share of trials whose interval holds the population's figure, by figure."""
    rng = np.random.default_rng(seed)
    first, second, _ = draw_set(rng, world, 40_000 // world.frames)
    true = {name: first.metrics[name].value for name in METRICS}
    true |= {f"{name}, difference": true[name] - second.metrics[name].value for name in METRICS}
    held = dict.fromkeys(true, 0)
    for trial in range(trials):
        *pair, groups = draw_set(rng, world, clips)
        units = Units.of(len(groups), groups, "clips" if by_clip else "images")
        for name, estimate in figures(pair, units, replicates, trial).items():
            held[name] += estimate.low <= true[name] <= estimate.high
    return {name: count / trials for name, count in held.items()}


def perfect(rng: np.random.Generator, images: int) -> Outcomes:
    """A detection an image, with a score of Beta(2, 1.2); with that chance it is on the object."""
    on, off = row_of_boxes(1, 10), row_of_boxes(1, 10) + 500
    scores = rng.beta(2, 1.2, images)
    hits = rng.random(images) < scores
    found = [ranked(on if hit else off, score[None]) for hit, score in zip(hits, scores, strict=True)]
    return judge_outcomes(survey([truth_of(on)] * images, found, 1, max_dets=100), AREA_RANGES["all"])


def true_precision(threshold: float) -> float:
    """Of that detector: the mean of Beta(2, 1.2) above the threshold."""
    x: npt.NDArray[np.float64] = np.linspace(threshold, 1, 2001)[:-1]
    density = x * (1 - x) ** 0.2
    return float((x * density).sum() / density.sum())


def print_scores(trials: int) -> None:
    """A row for each number of images."""
    print(
        "images: calibration error of perfect scores, said beside it; precision at the threshold: measured, true; held"
    )
    for images in (16, 50, 116, 400):
        errors, points, held = [], [], []
        for trial in range(trials):
            outcomes = perfect(np.random.default_rng((images, trial)), images)
            draws = Draws.of(images, replicates=200, seed=trial)
            found = calibrate(outcomes, draws)
            assert found is not None
            errors.append((found.error.value, found.error_if_perfect))
            for point in operating_points(outcomes, ["object"], draws):
                if point.purpose.startswith("precision"):
                    true = true_precision(point.threshold.value)
                    points.append((point.precision.value, true))
                    held.append(point.precision.low <= true <= point.precision.high)
        (error, said), (measured, true) = np.mean(errors, axis=0), np.mean(points, axis=0)
        row = f"{images:6d}: {error:.3f}, {said:.3f}; {measured:.3f}, {true:.3f}; {100 * np.mean(held):.1f} %"
        print(row, flush=True)


def main() -> None:
    """Print a table for sets of independent images and for sets of clips."""
    parser = argparse.ArgumentParser(description="Coverage of 95 % intervals, in percent.")
    parser.add_argument("--trials", type=int, default=2000)
    parser.add_argument("--replicates", type=int, default=1000)
    parser.add_argument("--cases", default="", help="only those whose name holds this, such as clips")
    parser.add_argument("--scores", action="store_true", help="calibration error and thresholds of perfect scores")
    given = parser.parse_args()
    if given.scores:
        print_scores(given.trials)
        return
    images, film = World(frames=1, clip_sd=0.0), World(frames=5, clip_sd=0.7)
    cases = [(f"{n} images", images, n, False) for n in (10, 20, 50, 120)]
    cases += [(f"{n} clips of 5, by clip", film, n, True) for n in (3, 5, 8, 12, 20)]
    cases += [(f"{n} clips of 5, by image", film, n, False) for n in (5, 20)]
    print(f"{'set':28s}", *(f"{name:>22s}" for name in (*METRICS, *(f"{m}, difference" for m in METRICS))))
    for label, world, units, by_clip in (case for case in cases if given.cases in case[0]):
        found = coverage(world, units, given.trials, by_clip=by_clip, replicates=given.replicates)
        print(f"{label:28s}", *(f"{100 * share:22.1f}" for share in found.values()), flush=True)


if __name__ == "__main__":
    main()
