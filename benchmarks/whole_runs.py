"""How often a whole run without any effect takes something for a gain, and what its figures are worth: simulated runs.

All epochs are simulated detections on one validation set (`simulated.Scene`), with `--frames` images of a clip in a
row. A phase has `--epochs` epochs, and its best by AP50 is the candidate. The start is the best of as many epochs, or a
checkpoint that was given and never chosen. The levels are those of `strategy.error_rate`, and the verdicts those of
`evaluation.verdict` and `evaluation.arms`. What is shown:

- `phases`: eight phases in sequence, none of which has an effect. By how the error probability is spread over the
  phases: runs that crown one. The champion's figure minus its true AP50; the lift on an exam, which no decision has
  seen, minus the true one.
- `rounds`: three rounds of a control and four treatments, none of which has an effect; all arms gain `--training` a
  round by training on. Runs that crown a treatment, and the rest as above.
- `power`: how often a phase, or one treatment of four, with a true gain is crowned, at the levels of its place.

    python benchmarks/whole_runs.py phases [--runs 1000] [--images 100] [--frames 1] [--start given]
    python benchmarks/whole_runs.py rounds [--training 0.03]
    python benchmarks/whole_runs.py power
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from multiprocessing import Pool
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import beta
from simulated import Scene
from verdicts import METRIC, Skills

from smallsight.evaluation.ap import Evaluation, Metric
from smallsight.evaluation.arms import holm, judge_arms
from smallsight.evaluation.bootstrap import Draws, Resampled, Units, replicate_values
from smallsight.evaluation.matching import Curve
from smallsight.evaluation.verdict import difference_of
from smallsight.records import Decision, Estimate, Verdict
from smallsight.run.state import PhaseRun, Round, State
from smallsight.strategy.error_rate import rise_confidence
from smallsight.strategy.plan import Plan

Doubles = npt.NDArray[np.float64]
PHASES, ROUNDS, TREATMENTS = 8, 3, 4
EXAMS = 10
GAINS = (0.02, 0.04, 0.06)
RUN_ALPHA = 0.1
SHARES: Mapping[str, Sequence[float]] = {
    "each .05": [0.05] * PHASES,
    "each .2": [0.2] * PHASES,
    "even": [RUN_ALPHA / PHASES] * PHASES,
    "half of what is left": [RUN_ALPHA / 2 ** (1 + min(place, PHASES - 2)) for place in range(PHASES)],
    "falling": [RUN_ALPHA * (PHASES - place) / sum(range(1, PHASES + 1)) for place in range(PHASES)],
}
"""Ways to spread the error probability over eight phases of which none shows a gain."""


@dataclass(frozen=True)
class World:
    """What is simulated: images, of which `frames` in a row are a clip, epochs of a phase, and replicates."""

    images: int
    frames: int
    epochs: int
    replicates: int
    trained: bool
    training: float


@dataclass(frozen=True, eq=False)
class Crowned:
    """A champion: its true skill, its epochs as resampled, the chosen one first."""

    lift: float
    epochs: Sequence[Resampled]


class Simulated:
    """One run: what its phases find on the validation set and on the exam; the same number gives the same noise."""

    def __init__(self, world: World, skills: Skills, run: int) -> None:
        self.world, self.skills, self.run = world, skills, run
        clips = [str(image // world.frames) for image in range(world.images)]
        self.units = Units.of(world.images, clips)
        self.weights = Draws.of(world.images, self.units, replicates=world.replicates, seed=run).weights
        self.epochs = cache(self._epochs)

    def start(self) -> Crowned:
        """Number 0: a checkpoint that was given, or the best of as many epochs as a phase has."""
        return Crowned(0.0, self.epochs(0, 0.0, self.world.epochs if self.world.trained else 1))

    def phase(self, number: int, champion: Crowned, gain: float) -> Crowned:
        """The phase of this number, with a true gain of AP50 over the champion."""
        lift = self.skills.lift(self.skills.ap(champion.lift) + gain) if gain else champion.lift
        return Crowned(lift, self.epochs(number, lift, self.world.epochs))

    def exam(self, lift: float, look: int) -> float:
        """The AP50 on images that no decision has seen, as many as the validation set has; mean over `EXAMS` sets.

        Each look has its own noise.
        """
        found = []
        for number in range(EXAMS):
            scene = Scene(np.random.default_rng((self.run, 1000, number)), self.world.images, frames=self.world.frames)
            scene.rng = np.random.default_rng((self.run, 2000, number, look))
            found.append(figures(scene.phase_at_50([lift])[0], np.ones((self.world.images, 1)))[0])
        return float(np.mean(found))

    def _epochs(self, number: int, lift: float, count: int) -> Sequence[Resampled]:
        scene = Scene(np.random.default_rng((self.run, 0)), self.world.images, frames=self.world.frames)
        scene.rng = np.random.default_rng((self.run, 1 + number))
        found = [self._resampled(curve) for curve in scene.phase_at_50([lift] * count)]
        return sorted(found, key=lambda each: -each.points[METRIC].value)

    def _resampled(self, curve: Curve) -> Resampled:
        """As `bootstrap.resample` has it, over images that were drawn once for all epochs of the run."""
        values = figures(curve, self.weights)
        point = Estimate(float(values[0]), n=int(curve.truths.sum()))
        n_units = len(set(self.units.groups or range(self.world.images)))
        return Resampled({METRIC: point}, {METRIC: values[1:]}, {METRIC: n_units}, curve.truths[None], self.units.over)


def figures(curve: Curve, weights: Doubles) -> Doubles:
    """The AP50 for each column of the weights of images."""
    evaluation = Evaluation({}, {METRIC: Metric("precision", "all")}, {"all": (curve,)}, len(weights))
    return replicate_values(evaluation, [METRIC], weights)[METRIC]


def decided(number: int, name: str, settings: Mapping[str, Any], beside: int = 0) -> PhaseRun:
    """A phase that was begun."""
    return PhaseRun(name, number, Decision("run", "", name, settings, control=not settings), round=beside)


def phases_of(world: World, skills: Skills, run: int) -> list[float]:
    """Eight phases without effect: their p-values where none is crowned, then what `ended` says of the whole run."""
    simulated = Simulated(world, skills, run)
    start = champion = simulated.start()
    p_values = [
        difference_of(simulated.phase(n, start, 0.0).epochs, start.epochs, METRIC).p_rose for n in range(1, PHASES + 1)
    ]
    plan = Plan.model_validate({"phases": [{"name": f"p{n}", "set": {"n": n}} for n in range(1, PHASES + 1)]})
    runs: tuple[PhaseRun, ...] = ()
    crowned = 0
    for number in range(1, PHASES + 1):
        now = decided(number, f"p{number}", {"n": number})
        level = rise_confidence(plan, State(runs=(*runs, now)), now)
        candidate = simulated.phase(number, champion, 0.0)
        rose = difference_of(candidate.epochs, champion.epochs, METRIC).rose(level)
        verdict = Verdict("improved" if rose else "no_evidence", Estimate(0), Estimate(0), "", confidence=level)
        runs, champion = (*runs, replace(now, verdict=verdict)), candidate if rose else champion
        crowned += rose
    return [*p_values, *ended(simulated, start, champion, crowned)]


def rounds_of(world: World, skills: Skills, run: int) -> list[float]:
    """Three rounds of treatments without effect: what `ended` says of the whole run."""
    simulated = Simulated(world, skills, run)
    start = champion = simulated.start()
    names = [f"t{n}" for n in range(1, TREATMENTS + 1)]
    each = [{"name": name, "set": {"n": name}} for name in names]
    plan = Plan.model_validate({"treatments": each, "rounds": [{"arms": names}] * ROUNDS})
    state, crowned = State(), 0
    for number in range(1, ROUNDS + 1):
        first = len(state.runs) + 1
        arms = tuple(
            decided(first + place, name, {"n": name} if place else {}, number)
            for place, name in enumerate(("control", *names))
        )
        begun = Round(f"round_{number}", number, Decision("round", ""), tuple(arm.number for arm in arms))
        state = replace(state, runs=(*state.runs, *arms), rounds=(*state.rounds, begun))
        trained = {arm.number: simulated.phase(arm.number, champion, world.training) for arm in arms}
        verdicts = judged_round(trained, champion, rise_confidence(plan, state, arms[1]))
        better = [arm for arm in verdicts if verdicts[arm].outcome == "improved"]
        crowned += bool(better)
        fell = difference_of(trained[first].epochs, champion.epochs, METRIC).fell(0.95)
        best = max(better, key=lambda arm: verdicts[arm].difference.value) if better else first
        champion = champion if fell and not better else trained[best]
        state = replace(state, runs=tuple(replace(run, verdict=verdicts.get(run.number)) for run in state.runs))
    return ended(simulated, start, champion, crowned)


def judged_round(trained: Mapping[int, Crowned], champion: Crowned, level: float) -> dict[int, Verdict]:
    """The verdicts on the treatments; the arm with the lowest number is the control."""
    control = min(trained)
    treatments = {number: arm.epochs for number, arm in trained.items() if number != control}
    return judge_arms(
        treatments,
        dict.fromkeys(treatments, trained[control].epochs),
        champion.epochs,
        target=METRIC,
        guard=METRIC,
        max_guard_drop=1,
        confidence=0.95,
        rise_confidence=level,
    )


def ended(simulated: Simulated, start: Crowned, champion: Crowned, crowned: int) -> list[float]:
    """Whether something was crowned without cause, and three figures minus what they should be.

    - the champion's on the validation set, minus the one on the exam: the optimism;
    - the lift of a report on the validation set, which is corrected for choosing epochs, minus the true one;
    - the lift on the exam, minus the true one. The champion is measured there with other noise than the start.
    """
    skills = simulated.skills
    gained = skills.ap(champion.lift) - skills.ap(start.lift)
    lift = difference_of(champion.epochs, start.epochs, METRIC).value if champion is not start else 0.0
    figure, first = champion.epochs[0].points[METRIC].value, simulated.exam(start.lift, 0)
    last = simulated.exam(champion.lift, 1)
    return [float(crowned > 0), figure - last, lift - gained, last - first - gained]


def power_of(world: World, skills: Skills, run: int) -> list[float]:
    """For each gain: the p-value of a phase, and those of four treatments of which the first has the gain.

    The p-value of a treatment is the larger one of those against the champion and against the control.
    """
    simulated = Simulated(world, skills, run)
    start = simulated.start()
    control, *others = (simulated.phase(n, start, world.training) for n in range(1, 1 + TREATMENTS))
    found = []
    for gain in GAINS:
        phase = simulated.phase(10, start, gain)
        found.append(difference_of(phase.epochs, start.epochs, METRIC).p_rose)
        for arm in (simulated.phase(11, start, gain + world.training), *others):
            found.append(max(difference_of(arm.epochs, each.epochs, METRIC).p_rose for each in (start, control)))
    return found


def simulate(kind: Callable[[World, Skills, int], list[float]], world: World, runs: int, processes: int) -> Doubles:
    """A row for each run."""
    with Pool(processes) as pool:
        return np.array(pool.map(partial(kind, world, Skills.measured()), range(runs), chunksize=10))


def share(hits: npt.NDArray[np.bool_] | Doubles) -> str:
    """A share in percent with its exact 95 % interval (Clopper and Pearson, 1934)."""
    n, k = len(hits), int(np.sum(hits))
    low = beta.ppf(0.025, k, n - k + 1) if k else 0.0
    high = beta.ppf(0.975, k + 1, n - k) if k < n else 1.0
    return f"{100 * k / n:.1f} [{100 * low:.1f}, {100 * high:.1f}]"


def mean(values: Doubles) -> str:
    """A mean with the half-width of its 95 % interval."""
    return f"{values.mean():+.4f} ±{1.96 * values.std(ddof=1) / math.sqrt(len(values)):.4f}"


def print_end(rows: Doubles) -> None:
    """What `ended` says, over runs."""
    print(f"something crowned: {share(rows[:, 0])} %")
    names = (
        "champion's figure minus the exam's",
        "lift on validation minus the true one",
        "lift on the exam minus the true one",
    )
    for name, values in zip(names, rows.T[1:], strict=True):
        print(f"{name}: {mean(values)}")


def print_phases(rows: Doubles) -> None:
    """Runs that crown something, by the way of sharing; then the rest for the way that smallsight has."""
    p_values = rows[:, :PHASES]
    print(f"a single phase at .05: {100 * np.mean(p_values <= 0.05):.2f} %")
    for name, levels in SHARES.items():
        print(f"{name}: {share(np.asarray((p_values <= np.array(levels)).any(axis=1)))} %")
    print_end(rows[:, PHASES:])


def print_power(rows: Doubles) -> None:
    """How often a true gain is crowned: by the way of sharing, mean over the places of the phase; in a round."""
    columns = 1 + TREATMENTS
    for number, gain in enumerate(GAINS):
        p_values = rows[:, columns * number : columns * (number + 1)]
        for name, levels in SHARES.items():
            at = [100 * float(np.mean(p_values[:, 0] <= level)) for level in levels]
            print(f"{gain}, {name}: first {at[0]:.1f}, last {at[-1]:.1f}, mean over places {np.mean(at):.1f} %")
        for alpha in (RUN_ALPHA / ROUNDS, RUN_ALPHA / 2):
            crowned = np.array([1 in holm(dict(enumerate(row, 1)), alpha)[1] for row in p_values[:, 1:]])
            print(f"{gain}, round at {alpha:.3f}: {share(crowned)} %")


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description="Whole simulated runs.")
    parser.add_argument("kind", choices=("phases", "rounds", "power"))
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--frames", type=int, default=1, help="images of a clip; from 2 on, clips are drawn")
    parser.add_argument("--epochs", type=int, default=6, help="of a phase")
    parser.add_argument("--replicates", type=int, default=400)
    parser.add_argument("--start", choices=("given", "trained"), default="given")
    parser.add_argument("--training", type=float, default=0.0, help="gain of AP50 of all arms of a round")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--save", type=Path, help="file for the rows, .npy")
    given = parser.parse_args()
    world = World(given.images, given.frames, given.epochs, given.replicates, given.start == "trained", given.training)
    kinds = {
        "phases": (phases_of, print_phases),
        "rounds": (rounds_of, print_end),
        "power": (power_of, print_power),
    }
    act, show = kinds[given.kind]
    print(f"{given.kind}, n={given.runs}: {world}", flush=True)
    rows = simulate(act, world, given.runs, given.processes)
    if given.save:
        np.save(given.save, rows)
    show(rows)


if __name__ == "__main__":
    main()
