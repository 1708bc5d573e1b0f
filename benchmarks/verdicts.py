"""How often a phase without effect is called improved, and how often one that helps is: simulated detections.

A detector's epochs look at the same images (`simulated.Scene`): what makes an object hard is common to all, the rest is
each epoch's own noise, partly kept from one epoch to the next. A phase has ten epochs and its best by AP50 is the
candidate. The champion is the best of its own ten epochs, or a checkpoint that was given and never chosen. Ways of
judging:

- plain: paired bootstrap of the two chosen epochs;
- cross-fitted: on either half of the images, the epochs that the other half chooses; the two averaged;
- bound for all: the candidate's bound holds for all its epochs at once; the champion as it is;
- smallsight: the same, and the champion is corrected for its choice, too (`evaluation.verdict`).

With `--strategies`: the AP50 after a whole strategy, by true skill. A given checkpoint is trained on without a change
(phase 1), then two settings are changed (phases 2 and 3). What a phase truly gains is added to the champion that it
starts from. A changed setting has to prove its gain; two rules for phase 1 are compared on the same noise:

- proof: phase 1 has to prove its gain, too;
- kept: it is kept unless it is demonstrably worse (`strategy.tree.without_burden`).

    python benchmarks/verdicts.py [--runs 200] [--images 100] [--replicates 400] [--kept 0.6]
    python benchmarks/verdicts.py --strategies [--runs 300] [--images 100] [--replicates 200]
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
from simulated import Scene

from smallsight.evaluation.ap import Evaluation
from smallsight.evaluation.bootstrap import Resampled, draw_images, quantile, replicate_values, resample
from smallsight.evaluation.verdict import difference_of
from smallsight.records import Estimate, Outcome, Verdict
from smallsight.strategy.tree import without_burden

Doubles = npt.NDArray[np.float64]
METRIC = "map_50"
EPOCHS, CONFIDENCE = 10, 0.95
STRATEGIES = ((0.03, 0.02, 0.02), (0.0, 0.02, 0.02), (-0.02, 0.02, 0.02))
"""True gains of AP50 by phase; the first one changes no setting."""


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


@dataclass(frozen=True, eq=False)
class Skills:
    """How skill and AP50 belong together, on images without number.

    Attributes:
        lifts: log odds above the common skill, rising.
        aps: the AP50 of each.
    """

    lifts: Doubles
    aps: Doubles

    @classmethod
    def measured(cls, images: int = 4_000) -> Skills:
        """On so many images, the same for every lift."""
        lifts = np.linspace(-0.4, 1.0, 15)
        aps = [Scene(np.random.default_rng(0), images).phase([lift])[0].metrics[METRIC].value for lift in lifts]
        return cls(lifts, np.array(aps))

    def ap(self, lift: float) -> float:
        """The AP50 of a lift."""
        return float(np.interp(lift, self.lifts, self.aps))

    def lift(self, ap: float) -> float:
        """The lift that has this AP50."""
        return float(np.interp(ap, self.aps, self.lifts))


@dataclass(frozen=True, eq=False)
class Crowned:
    """A champion: its true skill, and its epochs as resampled, the chosen one first."""

    lift: float
    epochs: Sequence[Resampled]


Trained = Callable[[int, float], Sequence[Resampled]]
"""The epochs of the phase with this number, at this skill, the best one first; number 0 is the given checkpoint."""


def strategy(gains: Sequence[float], trained: Trained, skills: Skills, *, burden: bool) -> tuple[float, bool]:
    """The champion's true AP50 after all phases, and whether the first one was accepted.

    Args:
        burden: whether the first phase, which changes no setting, has to prove its gain.
    """
    champion, accepted = Crowned(0.0, trained(0, 0.0)), []
    for number, gain in enumerate(gains, start=1):
        lift = skills.lift(skills.ap(champion.lift) + gain)
        candidate = Crowned(lift, trained(number, lift))
        difference = difference_of(candidate.epochs, champion.epochs, METRIC)
        rose, fell = difference.rose(CONFIDENCE), difference.fell(CONFIDENCE)
        outcome: Outcome = "improved" if rose else "regressed" if fell else "no_evidence"
        verdict = Verdict(outcome, difference.estimate, Estimate(0.0), "")
        accepted.append(without_burden(verdict, changes=burden or number > 1).accepted)
        champion = candidate if accepted[-1] else champion
    return skills.ap(champion.lift), accepted[0]


def both_rules(gains: Sequence[float], skills: Skills, runs: Sequence[int], images: int, replicates: int) -> Doubles:
    """(runs, 4): AP50 at the end by `proof` and by `kept`, and whether either accepted the first phase.

    Args:
        runs: their numbers, from which all noise is drawn.
    """
    rows = []
    for run in runs:

        @cache
        def trained(number: int, lift: float, run: int = run) -> Sequence[Resampled]:
            scene = Scene(np.random.default_rng((run, 0)), images)
            scene.rng = np.random.default_rng((run, 1 + number))
            return reduced(best_first(scene.phase([lift] * (EPOCHS if number else 1))), replicates)

        ends = [strategy(gains, trained, skills, burden=burden) for burden in (True, False)]
        rows.append([end for end, _ in ends] + [float(first) for _, first in ends])
    return np.array(rows)


def print_strategies(runs: int, images: int, replicates: int) -> None:
    """A row for each combination of true gains: means over runs with 95 % intervals."""
    skills = Skills.measured()
    print(f"{images} images, n={runs}, given checkpoint AP50 {skills.ap(0.0):.3f}; gain of AP50 over a whole strategy")
    for gains in STRATEGIES:
        print(f"{gains}: {_row(both_rules(gains, skills, range(runs), images, replicates), skills)}", flush=True)


def _row(rows: Doubles, skills: Skills) -> str:
    won = rows[:, :2] - skills.ap(0.0)
    proof, kept, difference = (_mean(column) for column in (won[:, 0], won[:, 1], won[:, 1] - won[:, 0]))
    first = ", ".join(f"{100 * share:.1f} %" for share in rows[:, 2:].mean(axis=0))
    return f"proof {proof}, kept {kept}, difference {difference}; phase 1 accepted {first}"


def _mean(values: Doubles) -> str:
    return f"{values.mean():+.4f} ±{1.96 * values.std(ddof=1) / math.sqrt(len(values)):.4f}"


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description="Verdicts on simulated phases.")
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--replicates", type=int, default=400)
    parser.add_argument("--kept", type=float, default=0.6, help="correlation of an epoch's noise with the next one's")
    parser.add_argument("--strategies", action="store_true", help="the AP50 after a whole strategy, by two rules")
    given = vars(parser.parse_args())
    if given.pop("strategies"):
        print_strategies(given["runs"], given["images"], given["replicates"])
        return
    print("gain of AP50; share of runs called improved, %")
    for gain in (0.0, 0.04, 0.08):
        for champions, words in ((10, "best of 10 epochs"), (1, "given")):
            found = shares(gain, champions, **given)
            row = ", ".join(f"{name} {100 * share:.1f}" for name, share in found.items() if name != "true gain")
            print(f"{found['true gain']:+.3f}, champion {words}: {row}", flush=True)


if __name__ == "__main__":
    main()
